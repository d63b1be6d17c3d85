//! Maintenance windows: a five-field cron schedule, a length and a time zone.
//!
//! The occurrence belongs to its start instant and is half-open, `[start, start + duration)`. The schedule is read in
//! local time; a local start that spring-forward skips opens at the first valid instant after the gap, a repeated hour
//! opens once when the hour field names it and twice when the hour field is exactly `*`.

use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::Instant;

/// A longer shift of a local clock than any zone has made (a whole day, Samoa 2011).
const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(26);
/// A union that is carried on by this many occurrences in a row is as good as always open; its close is not searched.
const LONGEST_CHAIN: usize = 200;

/// One recurring window.
#[derive(Clone, Debug)]
pub struct Window {
    schedule: String,
    cron: Cron,
    every_hour: bool,
    duration: TimeDelta,
    zone: Tz,
}

/// Why a window cannot be read; a policy with one is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// The schedule is not five fields of cron.
    Schedule {
        /// The schedule.
        schedule: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The time zone is not in the database.
    Zone(String),
    /// The length is outside 60 to 604800 seconds.
    Duration(i64),
}

impl std::fmt::Display for WindowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Schedule { schedule, cause } => {
                write!(f, "schedule \"{schedule}\" is not five fields of cron: {cause}")
            }
            Self::Zone(zone) => write!(f, "timeZone \"{zone}\" is not an IANA time zone such as Europe/Berlin"),
            Self::Duration(seconds) => write!(f, "durationSeconds {seconds} is not between 60 and 604800"),
        }
    }
}

impl std::error::Error for WindowError {}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.schedule == other.schedule && self.duration == other.duration && self.zone == other.zone
    }
}

impl Eq for Window {}

/// Whether any window is open, and when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nodes may start.
    Open {
        /// When they may no longer; absent = not for long.
        closes: Option<Instant>,
    },
    /// Nodes may not start.
    Closed {
        /// When they may; absent = never.
        opens: Option<Instant>,
    },
}

/// Looks at the union of `windows`; none at all is always open.
pub fn opening(windows: &[Window], now: Instant) -> Opening {
    if windows.is_empty() {
        return Opening::Open { closes: None };
    }
    let Some(mut end) = windows.iter().filter_map(|window| window.open_until(now)).max() else {
        return Opening::Closed {
            opens: windows.iter().filter_map(|window| window.next_start(now)).min(),
        };
    };
    // Another window that is open at the end carries on; half-open spans that touch leave no gap.
    for _ in 0..LONGEST_CHAIN {
        match windows.iter().filter_map(|window| window.open_until(end)).max() {
            Some(later) => end = later,
            None => return Opening::Open { closes: Some(end) },
        }
    }
    Opening::Open { closes: None }
}

impl Window {
    /// Reads a window.
    pub fn parse(schedule: &str, duration_seconds: i64, zone: &str) -> Result<Self, WindowError> {
        if !(60..=604_800).contains(&duration_seconds) {
            return Err(WindowError::Duration(duration_seconds));
        }
        let refuse = |cause: String| WindowError::Schedule {
            schedule: schedule.to_owned(),
            cause,
        };
        only_plain_fields(schedule).map_err(refuse)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        Ok(Self {
            schedule: schedule.to_owned(),
            cron: parser.parse(schedule).map_err(|error| refuse(error.to_string()))?,
            every_hour: schedule.split_whitespace().nth(1) == Some("*"),
            duration: TimeDelta::seconds(duration_seconds),
            zone: Tz::from_str(zone).map_err(|_| WindowError::Zone(zone.to_owned()))?,
        })
    }

    /// The end of the latest occurrence that is open at `now`.
    fn open_until(&self, now: Instant) -> Option<Instant> {
        let slack = if self.clock_shifts_near(now) {
            LONGEST_SHIFT
        } else {
            TimeDelta::seconds(1)
        };
        let mut local = self.local(now) + slack;
        loop {
            local = self.cron.find_previous_occurrence(&local, false).ok()?;
            let starts = self.instants(local.naive_utc());
            if let Some(start) = starts.iter().rev().find(|start| **start <= now) {
                if *start + self.duration > now {
                    return Some(*start + self.duration);
                }
                // Local order and true order differ by at most a shift of the clock.
                if now - *start > self.duration + slack {
                    return None;
                }
            }
        }
    }

    /// The first start after `now`.
    fn next_start(&self, now: Instant) -> Option<Instant> {
        let slack = if self.clock_shifts_near(now) {
            LONGEST_SHIFT
        } else {
            TimeDelta::zero()
        };
        let mut local = self.local(now) - slack;
        let mut first: Option<Instant> = None;
        loop {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            let naive = local.naive_utc();
            for start in self.instants(naive).into_iter().filter(|start| *start > now) {
                first = Some(first.map_or(start, |known| known.min(start)));
            }
            match first {
                // A later local time may be an earlier instant, but not by more than a shift of the clock.
                Some(known) if local > self.local(known) + LONGEST_SHIFT => return Some(known),
                Some(known) if !self.clock_shifts_near(known) => return Some(known),
                Some(_) | None => {}
            }
        }
    }

    fn clock_shifts_near(&self, time: Instant) -> bool {
        let offset = |time: Instant| self.local(time) - time;
        offset(time - LONGEST_SHIFT) != offset(time + LONGEST_SHIFT)
    }

    /// The local time at `now`, written as if it were UTC: the calendar that the schedule is read in.
    fn local(&self, now: Instant) -> DateTime<Utc> {
        now.with_timezone(&self.zone).naive_local().and_utc()
    }

    /// The instants at which this local start opens, in order.
    fn instants(&self, local: NaiveDateTime) -> Vec<Instant> {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(time) => vec![time.with_timezone(&Utc)],
            LocalResult::Ambiguous(first, second) => {
                let mut both = vec![first.with_timezone(&Utc), second.with_timezone(&Utc)];
                both.sort_unstable();
                both.truncate(if self.every_hour { 2 } else { 1 });
                both
            }
            LocalResult::None => self.first_after_gap(local).into_iter().collect(),
        }
    }

    /// The first valid instant after the gap that `local` falls into.
    fn first_after_gap(&self, local: NaiveDateTime) -> Option<Instant> {
        // Inside the gap, the offset before it is still known: bisect for the instant at which it changes.
        let outside = local.and_utc();
        let (mut before, mut after) = (outside - LONGEST_SHIFT, outside + LONGEST_SHIFT);
        let passed = |time: Instant| self.local(time) > local.and_utc();
        if passed(before) || !passed(after) {
            return None;
        }
        while after - before > TimeDelta::seconds(1) {
            let middle = before + (after - before) / 2;
            if passed(middle) {
                after = middle;
            } else {
                before = middle;
            }
        }
        Some(chrono::SubsecRound::trunc_subsecs(after, 0))
    }
}

/// Refuses what the cron crate takes beyond the contract: macros, `L`, `W`, `#`, `?` and fields too few or too many.
fn only_plain_fields(schedule: &str) -> Result<(), String> {
    const MONTHS: [&str; 12] = [
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ];
    const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("it has {} fields", fields.len()));
    }
    for (index, field) in fields.iter().enumerate() {
        let names: &[&str] = match index {
            3 => &MONTHS,
            4 => &DAYS,
            _ => &[],
        };
        for part in field.split([',', '-', '/']) {
            let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if !(number || part == "*" || names.contains(&part)) {
                return Err(format!("\"{part}\" in field {}", index + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    fn window(schedule: &str, hours: f64, zone: &str) -> Window {
        Window::parse(schedule, (hours * 3600.0) as i64, zone).unwrap()
    }

    fn check(windows: &[Window], now: &str, expected: &str) {
        let text = match opening(windows, at(now)) {
            Opening::Open { closes } => format!("open until {}", closes.map_or("ever".to_owned(), |t| t.to_rfc3339())),
            Opening::Closed { opens } => {
                format!("closed until {}", opens.map_or("ever".to_owned(), |t| t.to_rfc3339()))
            }
        };
        assert_eq!(text.replace("+00:00", "Z"), expected, "at {now}");
    }

    #[test]
    fn no_window_is_always_open() {
        check(&[], "2026-11-21T11:00:00Z", "open until ever");
    }

    #[test]
    fn a_window_belongs_to_its_start_and_is_half_open() {
        let nights = [window("0 22 * * MON-THU", 6.0, "UTC")];
        check(&nights, "2026-11-19T21:59:59Z", "closed until 2026-11-19T22:00:00Z");
        check(&nights, "2026-11-19T22:00:00Z", "open until 2026-11-20T04:00:00Z");
        // Thursday's window reaches into Friday; Friday opens none.
        check(&nights, "2026-11-20T03:59:59Z", "open until 2026-11-20T04:00:00Z");
        check(&nights, "2026-11-20T04:00:00Z", "closed until 2026-11-23T22:00:00Z");
    }

    #[test]
    fn overlapping_and_touching_windows_are_one() {
        let two = [window("0 1 * * *", 2.0, "UTC"), window("0 3 * * *", 1.0, "UTC")];
        check(&two, "2026-11-21T01:30:00Z", "open until 2026-11-21T04:00:00Z");
        check(
            &[window("* * * * *", 0.02, "UTC")],
            "2026-11-21T01:30:00Z",
            "open until ever",
        );
    }

    #[test]
    fn a_start_that_spring_forward_skips_opens_after_the_gap() {
        let window = [window("30 2 * * *", 1.0, "Europe/Berlin")];
        check(&window, "2026-03-29T00:59:59Z", "closed until 2026-03-29T01:00:00Z");
        check(&window, "2026-03-29T01:00:00Z", "open until 2026-03-29T02:00:00Z");
    }

    #[test]
    fn a_repeated_hour_opens_once_when_it_is_named_and_twice_when_it_is_not() {
        // 2026-10-25: 03:00 CEST becomes 02:00 CET, so 02:30 is at 00:30Z and at 01:30Z.
        let named = [window("30 2 * * *", 0.25, "Europe/Berlin")];
        check(&named, "2026-10-25T00:30:00Z", "open until 2026-10-25T00:45:00Z");
        check(&named, "2026-10-25T00:45:00Z", "closed until 2026-10-26T01:30:00Z");
        let every = [window("30 * * * *", 0.25, "Europe/Berlin")];
        check(&every, "2026-10-25T00:45:00Z", "closed until 2026-10-25T01:30:00Z");
    }

    #[test]
    fn the_length_is_elapsed_time() {
        let window = [window("0 0 * * *", 6.0, "Europe/Berlin")];
        check(&window, "2026-03-29T03:00:00Z", "open until 2026-03-29T05:00:00Z");
    }

    #[test]
    fn day_of_month_and_weekday_both_given_means_either() {
        let window = [window("0 0 13 * FRI", 1.0, "UTC")];
        check(&window, "2026-11-12T12:00:00Z", "closed until 2026-11-13T00:00:00Z");
        check(&window, "2026-11-13T12:00:00Z", "closed until 2026-11-20T00:00:00Z");
        check(&window, "2026-12-11T12:00:00Z", "closed until 2026-12-13T00:00:00Z");
    }

    #[test]
    fn a_day_that_never_comes_never_opens() {
        check(
            &[window("0 0 31 FEB *", 1.0, "UTC")],
            "2026-11-12T12:00:00Z",
            "closed until ever",
        );
    }

    #[test]
    fn what_the_contract_does_not_name_is_refused() {
        for schedule in [
            "@daily",
            "0 0 L * *",
            "0 0 * * 5#2",
            "0 0 15W * *",
            "0 0 0 * * *",
            "0 0 * *",
            "61 0 * * *",
            "? 0 * * *",
            "",
        ] {
            assert!(Window::parse(schedule, 3600, "UTC").is_err(), "{schedule}");
        }
        assert_eq!(
            Window::parse("0 0 * * *", 3600, "Mars/Base"),
            Err(WindowError::Zone("Mars/Base".to_owned()))
        );
        assert_eq!(Window::parse("0 0 * * *", 59, "UTC"), Err(WindowError::Duration(59)));
    }
}
