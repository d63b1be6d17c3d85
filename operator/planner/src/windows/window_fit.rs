//! Whether a reboot still fits into the open window.

use chrono::TimeDelta;
use lockkeeper_reasons::WaitReason;

use super::schedule::{Opening, Schedule};
use crate::Instant;
use crate::snapshot::Policy;

/// How many open spans are tried before the reboot counts as one that never fits.
const MAX_SPANS: usize = 64;

/// How long a node may take to start in a window: a span that fits a reboot exactly would never be used.
const START_DELAY: TimeDelta = TimeDelta::seconds(10);

/// Why a reboot that takes `needs` may not start in the window that `closes`. A reboot that fits into no window at all
/// may start in any.
pub(crate) fn too_late(schedule: &Schedule, needs: TimeDelta, closes: Instant, now: Instant) -> Option<WaitReason> {
    if closes - now >= needs || !fits_later(schedule, needs, closes) {
        return None;
    }
    let opens = match schedule.opening(closes) {
        Opening::Open { .. } => None,
        Opening::Closed { opens } | Opening::Excluded { opens, .. } => opens,
    };
    Some(WaitReason::DoesNotFitWindow { needs, closes, opens })
}

/// How long a reboot of a node takes: as long as others, but if a pod may take longer than that to shut down, that long and
/// a short reboot. The notice comes before that.
pub(crate) fn needed_time(policy: &Policy, longest_grace: TimeDelta) -> TimeDelta {
    /// From the end of the drain to the uncordon.
    const SHORT_REBOOT: TimeDelta = TimeDelta::minutes(5);
    let estimate = policy.duration_estimate.cordoned;
    let notice = policy.settings.notice.unwrap_or_default();
    if longest_grace > estimate {
        notice + longest_grace + SHORT_REBOOT
    } else {
        notice + estimate
    }
}

/// The first instant at which a reboot that takes `needs` does not fit any more into the window that `closes`.
pub(crate) fn too_late_from(needs: TimeDelta, closes: Instant) -> Instant {
    closes - needs + TimeDelta::nanoseconds(1)
}

/// Whether any open span from `from` on is as long as `needs`, and as a node may take to start after it has opened.
fn fits_later(schedule: &Schedule, needs: TimeDelta, from: Instant) -> bool {
    let mut at = from;
    for _ in 0..MAX_SPANS {
        let opens = match schedule.opening(at) {
            Opening::Open { .. } => at,
            Opening::Closed { opens: Some(opens) } | Opening::Excluded { opens: Some(opens), .. } => opens,
            Opening::Closed { opens: None } | Opening::Excluded { opens: None, .. } => return false,
        };
        match schedule.opening(opens) {
            Opening::Open { closes: None } => return true,
            Opening::Open { closes: Some(closes) } if closes - opens >= needs + START_DELAY => return true,
            Opening::Open { closes: Some(closes) } => at = closes,
            Opening::Closed { .. } | Opening::Excluded { .. } => return false,
        }
    }
    false
}
