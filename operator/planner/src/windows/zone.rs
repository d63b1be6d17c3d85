//! The local clock of a time zone.
//!
//! A pass asks for dozens of local times that are near each other, and the database is searched for each. So each thread
//! remembers a few spans over which a zone's clock was seen not to be put forward or back; an answer from there is the
//! same as one from the database.

use std::cell::Cell;

use chrono::{LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::Instant;

/// A longer shift of a local clock than any zone has made (a whole day, Samoa 2011). No zone's clock is put forward and
/// back again within it.
pub(super) const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(26);
const LONGEST: i64 = LONGEST_SHIFT.num_seconds();
/// So many times as far is looked ahead and back, for what is asked next.
const STEPS: i64 = 3;

/// `[from, until]`, in seconds since 1970: the clock runs evenly.
#[derive(Clone, Copy)]
struct Even {
    zone: Tz,
    from: i64,
    until: i64,
    offset: i32,
}

thread_local! {
    /// The span that was asked for last comes first.
    static KNOWN: [Cell<Option<Even>>; 4] = const { [const { Cell::new(None) }; 4] };
}

/// Around an instant, the clock runs evenly for long enough on both sides that no shift of it can matter.
#[derive(Clone, Copy)]
pub(super) struct Around(Even);

impl Around {
    /// The span around this time; absent where the clock is shifted, or where not enough is known yet.
    pub(super) fn new(zone: Tz, now: Instant) -> Option<Self> {
        let (known, time) = (Self(at(zone, now.timestamp())), now.timestamp());
        if known.covers(now) {
            return Some(known);
        }
        for towards in [-LONGEST, LONGEST] {
            let mut steps = (1..=STEPS).map(|step| at(zone, time + towards * step));
            let _ = steps.find(|even| even.offset != known.0.offset);
        }
        let known = Self(at(zone, time));
        known.covers(now).then_some(known)
    }

    /// The local time at this instant of the span.
    pub(super) fn local(&self, time: Instant) -> NaiveDateTime {
        time.naive_utc() + seconds(self.0.offset.into())
    }

    /// The one instant at which the clock shows this time, if it is in the span.
    pub(super) fn instant(&self, local: NaiveDateTime) -> Option<Instant> {
        let time = (local - seconds(self.0.offset.into())).and_utc();
        self.covers(time).then_some(time)
    }

    /// The last instant that is known to be such.
    pub(super) fn last(&self) -> Instant {
        Instant::from_timestamp(self.0.until - LONGEST, 0).unwrap_or_default()
    }

    fn covers(&self, time: Instant) -> bool {
        let time = time.timestamp();
        self.0.from <= time - LONGEST && time + LONGEST <= self.0.until
    }
}

/// The local time at `now`.
pub(super) fn local(zone: Tz, now: Instant) -> NaiveDateTime {
    now.naive_utc() + seconds(at(zone, now.timestamp()).offset.into())
}

/// By how much the local clock is put forward or back around this time.
pub(super) fn shift_near(zone: Tz, time: Instant) -> TimeDelta {
    let time = time.timestamp();
    let (before, after) = (at(zone, time - LONGEST), at(zone, time + LONGEST));
    seconds((i64::from(before.offset) - i64::from(after.offset)).abs())
}

/// The instants at which the local clock shows this time.
pub(super) fn instants(zone: Tz, local: NaiveDateTime) -> LocalResult<Instant> {
    let shown = local.and_utc();
    let guess = shown - seconds(at(zone, shown.timestamp()).offset.into());
    match Around::new(zone, guess).and_then(|around| around.instant(local)) {
        Some(time) => LocalResult::Single(time),
        None => zone.from_local_datetime(&local).map(|time| time.with_timezone(&Utc)),
    }
}

/// The even span around this time, as far as it is known.
fn at(zone: Tz, time: i64) -> Even {
    KNOWN.with(|known| {
        let is = |even: &Even| even.zone == zone && even.from <= time && time <= even.until;
        for place in 0..known.len() {
            if let Some(even) = known[place].get().filter(is) {
                to_front(known, place);
                return even;
            }
        }
        let offset = search(zone, time);
        let near = |even: &Even| {
            even.zone == zone && even.offset == offset && even.from - LONGEST <= time && time <= even.until + LONGEST
        };
        let place = (0..known.len()).find(|place| known[*place].get().is_some_and(|even| near(&even)));
        let even = place.and_then(|place| known[place].get()).map_or(
            Even {
                zone,
                from: time,
                until: time,
                offset,
            },
            |even| Even {
                from: even.from.min(time),
                until: even.until.max(time),
                ..even
            },
        );
        to_front(known, place.unwrap_or(known.len() - 1));
        known[0].set(Some(even));
        even
    })
}

fn to_front(known: &[Cell<Option<Even>>], place: usize) {
    for earlier in (0..place).rev() {
        known[earlier].swap(&known[earlier + 1]);
    }
}

fn search(zone: Tz, time: i64) -> i32 {
    let time = Instant::from_timestamp(time, 0).unwrap_or_default();
    zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()
}

fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zones with summer time, without, with half an hour of it, with Ramadan, and one that lost a day.
    const ZONES: [Tz; 8] = [
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::America__New_York,
        Tz::Australia__Lord_Howe,
        Tz::Africa__Casablanca,
        Tz::Asia__Gaza,
        Tz::Pacific__Apia,
        Tz::America__Santiago,
    ];

    #[test]
    fn what_is_remembered_is_what_the_database_says() {
        let mut step = 1_u64;
        for zone in ZONES {
            let mut time = 1_290_000_000;
            while time < 1_830_000_000 {
                // Small steps and large ones, forward and now and then back, so that spans grow, meet and are forgotten.
                step = step
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                time += [600, 3_600, 20_000, 90_000, -70_000][(step >> 33) as usize % 5];
                let now = Instant::from_timestamp(time, 0).unwrap();
                assert_eq!(local(zone, now), now.with_timezone(&zone).naive_local(), "{zone} {now}");
                let naive = now.naive_utc();
                let shown = zone.from_local_datetime(&naive).map(|time| time.with_timezone(&Utc));
                assert_eq!(instants(zone, naive), shown, "{zone} local {naive}");
            }
        }
    }
}
