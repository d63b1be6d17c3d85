//! Whether a node fits what is left of a window, and how long nodes take.

use chrono::TimeDelta;

use crate::Instant;
use crate::snapshot::DurationEstimate;
use crate::windows::{Opening, Schedule};
use lockkeeper_reasons::WaitReason;

/// Successes that are looked at, the latest first.
pub const MAX_SUCCESSES: usize = 20;
/// With fewer successes than this, the defaults hold.
pub(crate) const LEARN_AT: usize = 5;
/// So many open spans ahead are tried before it is said that none will ever be long enough.
const SPANS_AHEAD: usize = 64;

/// A success of a policy, from a node's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Success {
    /// When it ended.
    pub ended: Instant,
    /// From our cordon to our uncordon.
    pub cordoned: TimeDelta,
    /// From the slot to the free slot.
    pub total: TimeDelta,
}

/// What a policy's last successes teach: the nearest-rank 90th percentile of the cordons, the median of the whole.
pub fn estimate_durations(mut successes: Vec<Success>) -> DurationEstimate {
    successes.sort_unstable_by(|one, other| other.cmp(one));
    successes.truncate(MAX_SUCCESSES);
    if successes.len() < LEARN_AT {
        return DurationEstimate::default();
    }
    let rank = |mut lengths: Vec<TimeDelta>, percent: usize| {
        lengths.sort_unstable();
        let place = (lengths.len() * percent).div_ceil(100).max(1) - 1;
        lengths.get(place).copied()
    };
    let default = DurationEstimate::default();
    DurationEstimate {
        cordoned: rank(successes.iter().map(|one| one.cordoned).collect(), 90).unwrap_or(default.cordoned),
        total: rank(successes.iter().map(|one| one.total).collect(), 50).unwrap_or(default.total),
    }
}

/// Why a node that takes `needs` may not start in the window that `closes`; none that fits no window at all.
pub(crate) fn too_late(schedule: &Schedule, needs: TimeDelta, closes: Instant, now: Instant) -> Option<WaitReason> {
    if closes - now >= needs || !fits_ever(schedule, needs, closes) {
        return None;
    }
    let opens = match schedule.opening(closes) {
        Opening::Open { .. } => None,
        Opening::Closed { opens } | Opening::Excluded { opens, .. } => opens,
    };
    Some(WaitReason::DoesNotFitWindow { needs, closes, opens })
}

/// The first instant at which a node that takes `needs` does not fit any more what is left of the window that `closes`.
pub(crate) fn too_late_from(needs: TimeDelta, closes: Instant) -> Instant {
    closes - needs + TimeDelta::nanoseconds(1)
}

/// Whether any open span from `from` on is as long as `needs`.
fn fits_ever(schedule: &Schedule, needs: TimeDelta, from: Instant) -> bool {
    let mut at = from;
    for _ in 0..SPANS_AHEAD {
        let opens = match schedule.opening(at) {
            Opening::Open { .. } => at,
            Opening::Closed { opens: Some(opens) } | Opening::Excluded { opens: Some(opens), .. } => opens,
            Opening::Closed { opens: None } | Opening::Excluded { opens: None, .. } => return false,
        };
        match schedule.opening(opens) {
            Opening::Open { closes: None } => return true,
            Opening::Open { closes: Some(closes) } if closes - opens >= needs => return true,
            Opening::Open { closes: Some(closes) } => at = closes,
            Opening::Closed { .. } | Opening::Excluded { .. } => return false,
        }
    }
    false
}
