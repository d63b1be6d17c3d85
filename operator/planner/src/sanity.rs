//! Whether a schedule leaves enough time for what is to be done: a warning, never a reason to wait.

use std::fmt;

use chrono::TimeDelta;

use crate::Instant;
use crate::capacity::PolicyFacts;
use lockkeeper_reasons::format_duration;

/// How far ahead is looked: one month and a day, so that each monthly window is seen.
pub(crate) const AHEAD: TimeDelta = TimeDelta::days(32);
/// Less open time than this in that span is too little, however few nodes there are.
pub(crate) const LEAST_OPEN: TimeDelta = TimeDelta::hours(4);
/// So many open spans are added up; what comes later is taken to be like them.
const SPANS: usize = 256;

/// Why a schedule is too tight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsufficientWindowTime {
    /// It is open for less than [`LEAST_OPEN`].
    LittleTime {
        /// How long it is open in the next 32 days.
        open: TimeDelta,
    },
    /// Not all nodes that wait fit.
    TooManyNodes {
        /// How many fit in the next 32 days.
        fit: usize,
        /// How many wait.
        pending: usize,
        /// How long it is open in that time.
        open: TimeDelta,
        /// How long one takes.
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

/// Judges the schedule of a policy against its pending nodes; a policy that is closed on purpose is not judged.
pub(crate) fn judge(policy: &PolicyFacts, now: Instant) -> Option<InsufficientWindowTime> {
    let schedule = policy.policy.schedule.as_ref().ok()?;
    if schedule.windows.is_empty() && schedule.exclusions.is_empty() {
        return None;
    }
    let at_once = policy.limit.min(policy.max_unavailable);
    if at_once == 0 || policy.policy.suspend {
        return None;
    }
    let each = policy.policy.duration_estimate.total.max(TimeDelta::seconds(1));
    let (mut open, mut fit, mut seen_until) = (TimeDelta::zero(), 0_usize, now);
    let until = now + AHEAD;
    let (mut count, mut enough) = (0, false);
    let all = schedule.each_span(now, until, |opens, closes| {
        let length = closes - opens;
        open += length;
        fit += fit_into(policy, length, each, at_once);
        seen_until = closes;
        count += 1;
        enough = open >= LEAST_OPEN && fit >= policy.pending;
        !enough && count < SPANS
    });
    if enough {
        return None;
    }
    if all {
        seen_until = until;
    }
    // Short spans in great number: the rest of the month is taken to be like its beginning.
    let (seen, ahead) = ((seen_until - now).num_seconds().max(1), AHEAD.num_seconds());
    open = TimeDelta::seconds(open.num_seconds() * ahead / seen);
    fit = usize::try_from(i64::try_from(fit).unwrap_or(i64::MAX).saturating_mul(ahead) / seen).unwrap_or(usize::MAX);
    if open < LEAST_OPEN {
        return Some(InsufficientWindowTime::LittleTime { open });
    }
    (fit < policy.pending).then_some(InsufficientWindowTime::TooManyNodes {
        fit,
        pending: policy.pending,
        open,
        each,
    })
}

/// How many nodes can be done in one open span; one that is too short for any lets some start all the same.
fn fit_into(policy: &PolicyFacts, length: TimeDelta, each: TimeDelta, at_once: usize) -> usize {
    let whole = |part: TimeDelta| usize::try_from(length.num_seconds() / part.num_seconds().max(1)).unwrap_or(0);
    let by_length = whole(each).max(1).saturating_mul(at_once);
    if policy.policy.pace > TimeDelta::zero() {
        by_length.min(whole(policy.policy.pace) + 1)
    } else {
        by_length
    }
}
