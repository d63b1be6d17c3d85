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

/// `[from, until]`, in seconds since 1970: the clock runs evenly.
#[derive(Clone, Copy)]
struct Even {
    zone: Tz,
    from: i64,
    until: i64,
    offset: i32,
}

thread_local! {
    static KNOWN: Cell<[Option<Even>; 4]> = const { Cell::new([None; 4]) };
}

/// The local time at `now`.
pub(super) fn local(zone: Tz, now: Instant) -> NaiveDateTime {
    now.naive_utc() + seconds(at(zone, now.timestamp()).offset.into())
}

/// By how much the local clock is put forward or back around this time.
pub(super) fn shift_near(zone: Tz, time: Instant) -> TimeDelta {
    let time = time.timestamp();
    let offset = |time: i64| i64::from(at(zone, time).offset);
    seconds((offset(time - LONGEST) - offset(time + LONGEST)).abs())
}

/// The instants at which the local clock shows this time.
pub(super) fn instants(zone: Tz, local: NaiveDateTime) -> LocalResult<Instant> {
    let shown = local.and_utc().timestamp();
    let guess = at(zone, shown - i64::from(at(zone, shown).offset)).offset;
    let time = shown - i64::from(guess);
    // Where the clock runs evenly for long enough on both sides, no other instant can show the same.
    let (before, after) = (at(zone, time - LONGEST), at(zone, time + LONGEST));
    if before.offset == guess
        && before.from <= time - LONGEST
        && after.until >= time + LONGEST
        && before.until == after.until
    {
        return LocalResult::Single((local - seconds(guess.into())).and_utc());
    }
    zone.from_local_datetime(&local).map(|time| time.with_timezone(&Utc))
}

/// The even span around this time, as far as it is known.
fn at(zone: Tz, time: i64) -> Even {
    let mut known = KNOWN.get();
    let mut of_zone = known.iter().flatten().filter(|even| even.zone == zone);
    if let Some(even) = of_zone.find(|even| even.from <= time && time <= even.until) {
        return *even;
    }
    let offset = search(zone, time);
    let mut of_zone = known.iter_mut().flatten().filter(|even| even.zone == zone);
    let near = |even: &&mut Even| even.from - LONGEST <= time && time <= even.until + LONGEST;
    let even = match of_zone.find(|even| even.offset == offset && near(even)) {
        Some(even) => {
            (even.from, even.until) = (even.from.min(time), even.until.max(time));
            *even
        }
        None => {
            let even = Even {
                zone,
                from: time,
                until: time,
                offset,
            };
            known.rotate_right(1);
            known[0] = Some(even);
            even
        }
    };
    KNOWN.set(known);
    even
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
