//! The one place where Kubernetes' time type (jiff) and ours (chrono) meet.

use chrono::{DateTime, SubsecRound, TimeZone, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// An instant in UTC, as all our API fields hold it.
pub type Instant = DateTime<Utc>;

/// Reads a Kubernetes time; a value that chrono cannot hold becomes the epoch, which is older than anything.
pub fn from_kubernetes(time: &Time) -> Instant {
    from_timestamp(time.0)
}

/// Reads a Kubernetes time with microseconds.
pub fn from_micro(time: &MicroTime) -> Instant {
    from_timestamp(time.0)
}

/// Writes a Kubernetes time, which has whole seconds.
pub fn to_kubernetes(time: Instant) -> Time {
    Time(to_timestamp(time.trunc_subsecs(0)))
}

/// Writes a Kubernetes time with microseconds.
pub fn to_micro(time: Instant) -> MicroTime {
    MicroTime(to_timestamp(time.trunc_subsecs(6)))
}

/// Whole seconds, the precision of every time that we store.
pub fn whole_seconds(time: Instant) -> Instant {
    time.trunc_subsecs(0)
}

fn from_timestamp(time: jiff::Timestamp) -> Instant {
    Utc.timestamp_opt(time.as_second(), time.subsec_nanosecond().unsigned_abs())
        .single()
        .unwrap_or_default()
}

fn to_timestamp(time: Instant) -> jiff::Timestamp {
    jiff::Timestamp::new(time.timestamp(), time.timestamp_subsec_nanos() as i32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_way_there_and_back() {
        let time = Utc.timestamp_opt(1_800_000_000, 123_456_000).unwrap();
        assert_eq!(from_micro(&to_micro(time)), time);
        assert_eq!(from_kubernetes(&to_kubernetes(time)), whole_seconds(time));
    }
}
