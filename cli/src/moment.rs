//! Times as a person reads them: absolute in the reader's zone, and relative.

use chrono::{DateTime, FixedOffset, Local, Utc};

/// Now, and the reader's zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: DateTime<Utc>,
    /// The zone's offset at an instant; it differs over a year.
    pub(crate) offset: fn(DateTime<Utc>) -> FixedOffset,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            now: Utc::now(),
            offset: |time| *time.with_timezone(&Local).offset(),
        }
    }

    /// `22:04`, `Tue 22:04` within a week, `2026-12-24 22:04` beyond.
    pub(crate) fn at(&self, time: DateTime<Utc>) -> String {
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
    pub(crate) fn ago(&self, time: DateTime<Utc>) -> String {
        format!("{}, {} ago", self.at(time), span(self.seconds_since(time)))
    }

    /// `04:00 (in 3 h 12 min)`, or `04:00 (now due)` if it is past.
    pub(crate) fn ahead(&self, time: DateTime<Utc>) -> String {
        match time.signed_duration_since(self.now).num_seconds() {
            seconds @ 1.. => format!("{} (in {})", self.at(time), span(seconds)),
            _ => format!("{} (now due)", self.at(time)),
        }
    }

    /// How long ago, in one unit, for a column.
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
    pub(crate) fn clock(&self) -> String {
        self.local(self.now).format("%H:%M:%S").to_string()
    }

    /// The text with each RFC 3339 time in it in the reader's zone and relative.
    pub(crate) fn localise(&self, text: &str) -> String {
        text.split(' ')
            .map(|word| {
                let bare = word.trim_matches(|mark: char| "(),;.".contains(mark));
                match DateTime::parse_from_rfc3339(bare) {
                    Ok(time) => word.replacen(bare, &self.either(time.to_utc()), 1),
                    Err(_) => word.to_owned(),
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn either(&self, time: DateTime<Utc>) -> String {
        if time > self.now {
            self.ahead(time)
        } else {
            format!("{} ({} ago)", self.at(time), span(self.seconds_since(time)))
        }
    }

    /// Clocks of two machines differ: what seems to lie ahead began just now.
    fn seconds_since(&self, time: DateTime<Utc>) -> i64 {
        self.now.signed_duration_since(time).num_seconds().max(0)
    }

    fn local(&self, time: DateTime<Utc>) -> DateTime<FixedOffset> {
        time.with_timezone(&(self.offset)(time))
    }
}

/// A length in its two largest units: `45 s`, `4 min`, `3 h 12 min`, `5 d 2 h`.
pub(crate) fn span(seconds: i64) -> String {
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

/// A number with commas: `3,912`.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{moment, time};

    #[test]
    fn a_time_of_today_is_a_clock_and_a_later_one_names_its_day() {
        let moment = moment("2026-11-24T22:08:00Z");
        assert_eq!(moment.at(time("2026-11-24T23:10:00Z")), "23:10");
        assert_eq!(moment.at(time("2026-11-26T03:00:00Z")), "Thu 03:00");
        assert_eq!(moment.at(time("2027-01-04T00:00:00Z")), "2027-01-04 00:00");
    }

    #[test]
    fn a_day_is_the_readers_day() {
        let moment = Moment {
            now: time("2026-11-24T22:08:00Z"),
            offset: |_| FixedOffset::east_opt(3_600).unwrap(),
        };
        assert_eq!(moment.at(time("2026-11-24T23:10:00Z")), "Wed 00:10");
    }

    #[test]
    fn times_in_a_message_are_told_in_the_readers_words() {
        let moment = moment("2026-11-24T22:08:00Z");
        assert_eq!(
            moment.localise("the next window opens 2026-11-25T01:20:00Z"),
            "the next window opens Wed 01:20 (in 3 h 12 min)"
        );
        assert_eq!(
            moment.localise("rebooting since 2026-11-24T22:07:15Z, given up on at 2026-11-24T22:22:15Z"),
            "rebooting since 22:07 (45 s ago), given up on at 22:22 (in 14 min)"
        );
    }

    #[test]
    fn lengths_have_at_most_two_units() {
        let texts: Vec<String> = [0, 59, 90, 300, 3_599, 11_520, 86_400, 439_200].map(span).into();
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
    fn a_clock_that_runs_ahead_is_no_negative_age() {
        let moment = moment("2026-11-24T22:08:00Z");
        assert_eq!(moment.age(time("2026-11-24T22:08:07Z")), "0 s");
    }

    #[test]
    fn large_counts_have_commas() {
        assert_eq!(
            [0, 12, 999, 1_000, 3_912, 1_234_567].map(count).join(" "),
            "0 12 999 1,000 3,912 1,234,567"
        );
    }
}
