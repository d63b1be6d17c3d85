//! How far the clock of this machine is from the clock of the API server.
//!
//! Both write times into the same objects: windows open by the operator's clock, and a time that it records is compared
//! with those of other leaders. Which of the two clocks is right cannot be known here, so an operator whose clock differs
//! too much does not lead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_kube_util::Clock;
use lockkeeper_reasons::format_duration;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// The header `Date` has whole seconds: the answer may have been made at any time within that second.
const RESOLUTION: TimeDelta = TimeDelta::seconds(1);

/// What the answers of the API server show about its clock; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct ServerClock {
    last: Arc<Mutex<Option<Observation>>>,
    clock: Clock,
    metrics: Option<Arc<Metrics>>,
    max_skew: Option<Duration>,
}

/// What the last answer showed.
#[derive(Clone, Copy, Debug)]
struct Observation {
    /// How far our clock was ahead.
    skew: TimeDelta,
    /// When that was, by our clock.
    time: DateTime<Utc>,
    /// The same on a clock that nothing sets.
    since: Instant,
}

impl ServerClock {
    /// What is known of the difference to this clock of ours; it is exported.
    pub fn exported(clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            clock,
            metrics: Some(metrics),
            ..Self::default()
        }
    }

    /// The same one, whose difference may be no larger; without a limit any difference is accepted.
    #[must_use]
    pub fn limited(self, max_skew: Option<Duration>) -> Self {
        Self { max_skew, ..self }
    }

    /// The time of day by our own clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Takes in the header `Date` of an answer to a request that was sent at this time of our clock.
    pub fn observe(&self, sent: DateTime<Utc>, took: Duration, date: &str) {
        // HTTP's date is one of RFC 2822's. What cannot be read tells nothing.
        let Ok(date) = DateTime::parse_from_rfc2822(date) else {
            return;
        };
        let skew = least_skew(sent, took, date.to_utc());
        if let Some(metrics) = &self.metrics {
            metrics.set_clock_skew(skew);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Observation {
            skew,
            time: self.now(),
            since: Instant::now(),
        });
    }

    /// Why this replica must not lead, in words, by the last answer.
    pub fn error(&self) -> Option<String> {
        self.exceeds(self.last()?.skew)
    }

    /// Why this replica must not plan at this time, in words: our clock was wrong at the last answer, or was set since.
    pub fn error_at(&self, now: DateTime<Utc>) -> Option<String> {
        let last = self.last()?;
        self.exceeds(last.skew_at(now, last.since.elapsed()))
    }

    fn last(&self) -> Option<Observation> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exceeds(&self, skew: TimeDelta) -> Option<String> {
        let max = self.max_skew?;
        if skew.abs().to_std().unwrap_or_default() <= max {
            return None;
        }
        let direction = if skew > TimeDelta::zero() { "ahead of" } else { "behind" };
        Some(format!(
            "the clock of this machine is {} {direction} that of the API server, more than {}; check the time \
             synchronization of both machines",
            format_duration(skew.abs()),
            format_duration(TimeDelta::from_std(max).unwrap_or_default()),
        ))
    }
}

impl Observation {
    /// How far our clock is ahead when it shows `now`, so long after the answer.
    fn skew_at(&self, now: DateTime<Utc>, elapsed: Duration) -> TimeDelta {
        let elapsed = TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::MAX);
        self.skew + ((now - self.time) - elapsed)
    }
}

/// The smallest difference that explains the answer, positive if our clock is ahead.
///
/// The server made the answer between `sent` and `sent + took` of our clock, and between `date` and one second later of
/// its own.
fn least_skew(sent: DateTime<Utc>, took: Duration, date: DateTime<Utc>) -> TimeDelta {
    let received = sent + TimeDelta::from_std(took).unwrap_or_default();
    let ahead = sent - (date + RESOLUTION);
    let behind = date - received;
    if ahead > TimeDelta::zero() {
        ahead
    } else if behind > TimeDelta::zero() {
        -behind
    } else {
        TimeDelta::zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Mon, 30 Nov 2026 09:00:00 GMT";

    /// What an answer dated 09:00:00 shows if it was sent so many milliseconds after that, and took so many.
    fn skew(sent: i64, took: u64) -> i64 {
        let date = DateTime::parse_from_rfc2822(DATE).unwrap().to_utc();
        let skew = least_skew(date + TimeDelta::milliseconds(sent), Duration::from_millis(took), date);
        skew.num_milliseconds()
    }

    #[test]
    fn the_second_of_the_date_and_the_time_of_the_answer_are_no_difference() {
        assert_eq!(skew(0, 0), 0);
        assert_eq!(skew(999, 1), 0, "the server answered late in its second");
        assert_eq!(skew(-5000, 5000), 0, "the answer took 5 s");
        assert_eq!(skew(-1900, 2000), 0);
    }

    #[test]
    fn what_neither_explains_is_the_difference() {
        assert_eq!(skew(1001, 500), 1);
        assert_eq!(skew(31_000, 2000), 30_000);
        assert_eq!(skew(-31_000, 1000), -30_000);
    }

    #[test]
    fn a_replica_with_a_wrong_clock_says_by_how_much_and_in_which_direction() {
        let clock = ServerClock::default().limited(Some(Duration::from_secs(30)));
        assert_eq!(clock.error(), None, "nothing is known");
        let sent = |seconds| DateTime::parse_from_rfc2822(DATE).unwrap().to_utc() + TimeDelta::seconds(seconds);
        clock.observe(sent(31), Duration::ZERO, DATE);
        assert_eq!(clock.error(), None, "30 s and the rest of a second");
        clock.observe(sent(46), Duration::ZERO, DATE);
        let ahead = "the clock of this machine is 45 s ahead of that of the API server, more than 30 s; check the time \
                     synchronization of both machines";
        assert_eq!(clock.error().as_deref(), Some(ahead));
        clock.observe(sent(-3600), Duration::from_secs(1), DATE);
        assert!(clock.error().unwrap().contains("59 min behind that of"));
        clock.observe(sent(0), Duration::ZERO, "yesterday");
        assert!(clock.error().is_some(), "what cannot be read tells nothing");
        clock.observe(sent(0), Duration::ZERO, DATE);
        assert_eq!(clock.error(), None);
    }

    #[test]
    fn a_clock_that_was_set_since_the_last_answer_is_noticed_without_another_one() {
        let time = DateTime::parse_from_rfc2822(DATE).unwrap().to_utc();
        let last = Observation {
            skew: TimeDelta::seconds(2),
            time,
            since: Instant::now(),
        };
        let shows = |seconds| time + TimeDelta::seconds(seconds);
        let elapsed = Duration::from_secs(3);
        assert_eq!(last.skew_at(shows(3), elapsed), TimeDelta::seconds(2), "it was not set");
        assert_eq!(last.skew_at(shows(86_403), elapsed), TimeDelta::seconds(86_402));
        assert_eq!(last.skew_at(shows(-3597), elapsed), TimeDelta::seconds(-3598));
    }
}
