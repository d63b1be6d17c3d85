//! Maintenance windows: a five-field cron schedule, a length and a time zone.
//!
//! The occurrence belongs to its start instant and is half-open, `[start, start + duration)`. The schedule is read in
//! local time; a local start that spring-forward skips opens at the first valid instant after the gap, a repeated hour
//! opens once when the hour field names it and twice when the hour field is exactly `*`.

mod schedule;

use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::Instant;

pub use schedule::{Exclusion, OpenSpan, Opening, Schedule};

/// A longer shift of a local clock than any zone has made (a whole day, Samoa 2011).
const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(26);

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

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = crate::waiting::duration(self.duration);
        write!(f, "window \"{}\" {} for {length}", self.schedule, self.zone)
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.schedule == other.schedule && self.duration == other.duration && self.zone == other.zone
    }
}

impl Eq for Window {}

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
mod tests;
