//! Times for people: absolute in the reader's zone, and relative.

mod timestamps;

use chrono::{DateTime, FixedOffset, Local, Utc};

/// The present time and the reader's zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DisplayClock {
    pub(crate) now: DateTime<Utc>,
    /// The zone's offset at an instant; it differs over a year.
    pub(crate) offset: fn(DateTime<Utc>) -> FixedOffset,
}

impl DisplayClock {
    pub(crate) fn now() -> Self {
        Self {
            now: Utc::now(),
            offset: |time| *time.with_timezone(&Local).offset(),
        }
    }

    /// `22:04`, `Tue 22:04` within a week, `2026-12-24 22:04` beyond.
    pub(crate) fn time(&self, time: DateTime<Utc>) -> String {
        let local = self.local(time);
        let days = local
            .date_naive()
            .signed_duration_since(self.local(self.now).date_naive())
            .num_days();
        let format = match days.abs() {
            0 => "%H:%M",
            1..=6 => "%a %H:%M",
            _ => "%Y-%m-%d %H:%M",
        };
        local.format(format).to_string()
    }

    /// `22:04, 4 min ago`.
    pub(crate) fn time_and_age(&self, time: DateTime<Utc>) -> String {
        format!("{}, {} ago", self.time(time), duration(self.seconds_since(time)))
    }

    /// `04:00 (in 3 h 12 min)`, or `04:00 (overdue)` if it is past.
    pub(crate) fn time_and_remaining(&self, time: DateTime<Utc>) -> String {
        match time.signed_duration_since(self.now).num_seconds() {
            seconds @ 1.. => format!("{} (in {})", self.time(time), duration(seconds)),
            _ => format!("{} (overdue)", self.time(time)),
        }
    }

    /// The time since an instant in one unit, for a column.
    pub(crate) fn age(&self, time: DateTime<Utc>) -> String {
        let seconds = self.seconds_since(time);
        match seconds {
            ..120 => format!("{seconds} s"),
            120..7_200 => format!("{} min", seconds / 60),
            7_200..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} d", seconds / 86_400),
        }
    }

    /// `11:04:05`, for a line of a log.
    pub(crate) fn time_of_day(&self) -> String {
        self.local(self.now).format("%H:%M:%S").to_string()
    }

    /// The text with each RFC 3339 time in the reader's zone and relative.
    pub(crate) fn localize(&self, text: &str) -> String {
        timestamps::replace(text, |time| {
            if time > self.now {
                self.time_and_remaining(time)
            } else {
                format!("{} ({} ago)", self.time(time), duration(self.seconds_since(time)))
            }
        })
    }

    /// Clocks of two machines differ, so a time slightly in the future counts as now.
    fn seconds_since(&self, time: DateTime<Utc>) -> i64 {
        self.now.signed_duration_since(time).num_seconds().max(0)
    }

    fn local(&self, time: DateTime<Utc>) -> DateTime<FixedOffset> {
        time.with_timezone(&(self.offset)(time))
    }
}

/// A duration in its two largest units: `45 s`, `4 min`, `3 h 12 min`, `5 d 2 h`.
pub(crate) fn duration(seconds: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        ..60 => format!("{seconds} s"),
        60..600 => two(seconds / 60, "min", seconds % 60, "s"),
        600..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{clock, time};

    #[test]
    fn a_time_of_another_day_names_its_day() {
        let clock = clock("2026-11-24T22:08:00Z");
        assert_eq!(clock.time(time("2026-11-24T23:10:00Z")), "23:10");
        assert_eq!(clock.time(time("2026-11-26T03:00:00Z")), "Thu 03:00");
        assert_eq!(clock.time(time("2027-01-04T00:00:00Z")), "2027-01-04 00:00");
    }

    #[test]
    fn the_day_of_a_time_is_the_day_in_the_readers_zone() {
        let clock = DisplayClock {
            now: time("2026-11-24T22:08:00Z"),
            offset: |_| FixedOffset::east_opt(3_600).unwrap(),
        };
        assert_eq!(clock.time(time("2026-11-24T23:10:00Z")), "Wed 00:10");
    }

    #[test]
    fn times_in_a_message_are_shown_in_the_readers_zone_and_relative() {
        let clock = clock("2026-11-24T22:08:00Z");
        assert_eq!(
            clock.localize("the next window opens at 2026-11-25T01:20:00Z"),
            "the next window opens at Wed 01:20 (in 3 h 12 min)"
        );
        assert_eq!(
            clock.localize("rebooting since 2026-11-24T22:07:15Z; times out at 2026-11-24T22:22:15Z"),
            "rebooting since 22:07 (45 s ago); times out at 22:22 (in 14 min)"
        );
    }

    #[test]
    fn a_time_in_a_message_is_localized_whatever_follows_it() {
        let clock = clock("2026-11-24T22:08:00Z");
        for after in [":", ";", ")", ",", "", ".", "/", "]", " (", "\n", "\u{2026}"] {
            let text = format!("(rebooted at 2026-11-24T22:00:00Z{after}");
            assert_eq!(clock.localize(&text), format!("(rebooted at 22:00 (8 min ago){after}"));
        }
        assert_eq!(
            clock.localize("excluded until 2026-11-24T23:00:00+00:00: year-end freeze"),
            "excluded until 23:00 (in 52 min): year-end freeze"
        );
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        let texts: Vec<String> = [0, 59, 90, 300, 3_599, 11_520, 86_400, 439_200].map(duration).into();
        assert_eq!(
            texts,
            [
                "0 s",
                "59 s",
                "1 min 30 s",
                "5 min",
                "59 min",
                "3 h 12 min",
                "1 d",
                "5 d 2 h"
            ]
        );
    }

    #[test]
    fn a_time_in_the_future_has_no_negative_age() {
        let clock = clock("2026-11-24T22:08:00Z");
        assert_eq!(clock.age(time("2026-11-24T22:08:07Z")), "0 s");
    }
}
