//! Maintenance windows: a five-field cron schedule, a length and a time zone.
//!
//! An occurrence belongs to its start instant and is half-open, `[start, start + duration)`. The schedule is read in
//! local time. A local start that spring-forward skips opens at the first valid instant after the gap. A repeated hour
//! opens once when the hour field names it, and twice when the hour field is exactly `*`.

mod cron;
mod schedule;
pub(crate) mod schedule_capacity;
pub(crate) mod window_fit;
mod zone;

use std::str::FromStr;

use chrono::{LocalResult, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use crate::Instant;
use cron::Cron;
use zone::LONGEST_SHIFT;

pub use schedule::{Exclusion, OpenSpan, Opening, Schedule};
pub use schedule_capacity::InsufficientWindowTime;

/// One recurring window.
#[derive(Clone, Debug)]
pub struct Window {
    schedule: String,
    cron: Cron,
    duration: TimeDelta,
    zone: Tz,
}

/// Why a window is invalid; a policy with an invalid one is closed.
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
        let length = lockkeeper_reasons::format_duration(self.duration);
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
    /// Parses a window.
    pub fn parse(schedule: &str, duration_seconds: i64, zone: &str) -> Result<Self, WindowError> {
        if !(60..=604_800).contains(&duration_seconds) {
            return Err(WindowError::Duration(duration_seconds));
        }
        let cron = Cron::parse(schedule).map_err(|cause| WindowError::Schedule {
            schedule: schedule.to_owned(),
            cause,
        })?;
        Ok(Self {
            schedule: schedule.to_owned(),
            cron,
            duration: TimeDelta::seconds(duration_seconds),
            zone: Tz::from_str(zone).map_err(|_| WindowError::Zone(zone.to_owned()))?,
        })
    }

    /// Whether it opens in every minute, and so never closes.
    fn never_closes(&self) -> bool {
        self.cron.is_every_minute()
    }

    /// The end of the latest occurrence that is open at `now`.
    fn open_until(&self, now: Instant) -> Option<Instant> {
        let shift = self.shift_near(now);
        let mut local = zone::local(self.zone, now) + shift;
        loop {
            let named = self.cron.latest(local)?;
            let mut starts = self.instants(named).into_iter().flatten().rev();
            if let Some(start) = starts.find(|start| *start <= now) {
                if start + self.duration > now {
                    return Some(start + self.duration);
                }
                // The order of local times differs from the true order by at most a shift of the clock.
                if now - start > self.duration + shift {
                    return None;
                }
            }
            local = named - TimeDelta::minutes(1);
        }
    }

    /// The first start after `now`.
    fn next_start(&self, now: Instant) -> Option<Instant> {
        let mut local = zone::local(self.zone, now) - self.shift_near(now);
        let mut first: Option<Instant> = None;
        loop {
            local = self.cron.next(local)?;
            for start in self.instants(local).into_iter().flatten().filter(|start| *start > now) {
                first = Some(first.map_or(start, |earlier| earlier.min(start)));
            }
            // A later local time may be an earlier instant, but not by more than a shift of the clock.
            let is_first = |start: &Instant| local >= zone::local(self.zone, *start) + self.shift_near(*start);
            if let Some(start) = first.filter(is_first) {
                return Some(start);
            }
        }
    }

    /// By how much the local clock is put forward or back around this time.
    fn shift_near(&self, time: Instant) -> TimeDelta {
        zone::shift_near(self.zone, time)
    }

    /// The instants at which this local start opens, in order.
    fn instants(&self, local: NaiveDateTime) -> [Option<Instant>; 2] {
        match zone::instants(self.zone, local) {
            LocalResult::Single(time) => [Some(time), None],
            LocalResult::Ambiguous(one, other) => {
                let second = self.cron.every_hour.then(|| one.max(other));
                [Some(one.min(other)), second]
            }
            LocalResult::None => [self.first_after_gap(local), None],
        }
    }

    /// The first valid instant after the gap into which `local` falls.
    fn first_after_gap(&self, local: NaiveDateTime) -> Option<Instant> {
        // The offset before the gap is still valid in it: bisect for the instant at which the offset changes.
        let outside = local.and_utc();
        let (mut before, mut after) = (outside - LONGEST_SHIFT, outside + LONGEST_SHIFT);
        let passed = |time: Instant| zone::local(self.zone, time) > local;
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

#[cfg(test)]
mod tests;
