//! The local clock of a time zone, by the time zone database.

use chrono::{LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::Instant;

/// No zone has ever shifted its local clock by more (a whole day: Samoa, 2011), or forward and back again within it.
pub(super) const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(26);

/// The local time at this instant.
pub(super) fn local(zone: Tz, time: Instant) -> NaiveDateTime {
    time.with_timezone(&zone).naive_local()
}

/// By how much the local clock is put forward or back around this instant.
pub(super) fn shift_near(zone: Tz, time: Instant) -> TimeDelta {
    let offset = |time: Instant| zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc();
    let (before, after) = (offset(time - LONGEST_SHIFT), offset(time + LONGEST_SHIFT));
    TimeDelta::seconds((before - after).abs().into())
}

/// The instants at which the local clock shows this time.
pub(super) fn instants(zone: Tz, local: NaiveDateTime) -> LocalResult<Instant> {
    zone.from_local_datetime(&local).map(|time| time.with_timezone(&Utc))
}
