//! How long the operations of a policy take, by its last successes.

use chrono::TimeDelta;

use crate::Instant;
use crate::snapshot::DurationEstimate;

/// How many successes count, the latest first.
pub const MAX_SUCCESSES: usize = 20;
/// With fewer successes than this, the defaults apply.
const MIN_SUCCESSES: usize = 5;

/// A successful operation, from a node's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Success {
    /// When it ended.
    pub ended: Instant,
    /// The time from cordon to uncordon.
    pub cordoned: TimeDelta,
    /// How long it had its slot.
    pub total: TimeDelta,
}

/// Estimates how long an operation takes: the nearest-rank 90th percentile of the cordons, the median of the totals.
pub fn estimate_durations(mut successes: Vec<Success>) -> DurationEstimate {
    successes.sort_unstable_by(|one, other| other.cmp(one));
    successes.truncate(MAX_SUCCESSES);
    let default = DurationEstimate::default();
    if successes.len() < MIN_SUCCESSES {
        return default;
    }
    let percentile = |mut lengths: Vec<TimeDelta>, percent: usize| {
        lengths.sort_unstable();
        let rank = (lengths.len() * percent).div_ceil(100).max(1);
        lengths.get(rank - 1).copied()
    };
    DurationEstimate {
        cordoned: percentile(successes.iter().map(|one| one.cordoned).collect(), 90).unwrap_or(default.cordoned),
        total: percentile(successes.iter().map(|one| one.total).collect(), 50).unwrap_or(default.total),
    }
}
