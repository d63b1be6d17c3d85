//! Whether a schedule leaves enough time for the pending reboots: a warning, never a reason to wait.

use std::fmt;

use chrono::TimeDelta;
use lockkeeper_reasons::format_duration;

use super::schedule::Schedule;
use crate::Instant;

/// How far the estimate looks ahead: one month and a day, so that it sees each monthly window.
const HORIZON: TimeDelta = TimeDelta::days(32);
/// Less open time than this within [`HORIZON`] is too little, however few nodes there are.
const LEAST_OPEN: TimeDelta = TimeDelta::hours(4);
/// How many open spans are added up; the rest of the time is extrapolated from them.
const MAX_SPANS: usize = 256;

/// Why a schedule leaves too little time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsufficientWindowTime {
    /// It is open for less than four hours in the next 32 days.
    LittleTime {
        /// How long it is open in that time.
        open: TimeDelta,
    },
    /// Not all pending nodes fit.
    TooManyNodes {
        /// How many fit in the next 32 days.
        fit: usize,
        /// How many are pending.
        pending: usize,
        /// How long it is open in that time.
        open: TimeDelta,
        /// How long one node takes.
        each: TimeDelta,
    },
}

impl fmt::Display for InsufficientWindowTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LittleTime { open } => write!(
                f,
                "nodes may start for {} in the next 32 days, less than {}; widen spec.windows or spec.exclusions",
                format_duration(*open),
                format_duration(LEAST_OPEN)
            ),
            Self::TooManyNodes {
                fit,
                pending,
                open,
                each,
            } => write!(
                f,
                "about {fit} of {pending} nodes fit into the {} that are open in the next 32 days, {} each; \
                 widen spec.windows or raise spec.disruption.maxInProgress",
                format_duration(*open),
                format_duration(*each)
            ),
        }
    }
}

/// The reboots that a schedule must accommodate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingReboots {
    /// How many nodes are pending.
    pub(crate) pending: usize,
    /// How many may be in progress at once.
    pub(crate) at_once: usize,
    /// How long one takes.
    pub(crate) each: TimeDelta,
    /// The least time between two starts.
    pub(crate) pace: TimeDelta,
}

/// Estimates whether the schedule accommodates the pending reboots.
pub(crate) fn estimate(schedule: &Schedule, reboots: PendingReboots, now: Instant) -> Option<InsufficientWindowTime> {
    let PendingReboots { pending, each, .. } = reboots;
    if reboots.at_once == 0 || schedule.windows.is_empty() && schedule.exclusions.is_empty() {
        return None;
    }
    let until = now + HORIZON;
    let (mut open, mut fit, mut measured_until, mut spans) = (TimeDelta::zero(), 0_usize, until, 0);
    for (opens, closes) in schedule.spans(now, until) {
        open += closes - opens;
        fit += reboots.fit_into(closes - opens);
        spans += 1;
        if open >= LEAST_OPEN && fit >= pending {
            return None;
        }
        if spans == MAX_SPANS {
            measured_until = closes;
            break;
        }
    }
    // Many short spans: the rest of the month is taken to be like its beginning.
    let (measured, horizon) = ((measured_until - now).num_seconds().max(1), HORIZON.num_seconds());
    open = TimeDelta::seconds(open.num_seconds() * horizon / measured);
    let scaled = i64::try_from(fit).unwrap_or(i64::MAX).saturating_mul(horizon) / measured;
    fit = usize::try_from(scaled).unwrap_or(usize::MAX);
    if open < LEAST_OPEN {
        return Some(InsufficientWindowTime::LittleTime { open });
    }
    (fit < pending).then_some(InsufficientWindowTime::TooManyNodes {
        fit,
        pending,
        open,
        each,
    })
}

impl PendingReboots {
    /// How many nodes can be rebooted in one open span; even the shortest span lets some start.
    fn fit_into(&self, length: TimeDelta) -> usize {
        let times = |part: TimeDelta| usize::try_from(length.num_seconds() / part.num_seconds().max(1)).unwrap_or(0);
        let by_length = times(self.each).max(1).saturating_mul(self.at_once);
        if self.pace > TimeDelta::zero() {
            by_length.min(times(self.pace) + 1)
        } else {
            by_length
        }
    }
}
