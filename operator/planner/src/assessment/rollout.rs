//! A rollout: from the first node that requires a reboot until none does.

use super::canary::soaked_at;
use crate::Instant;
use crate::context::PolicyContext;
use crate::recorded::or_now;
use crate::short_id::short_id;
use crate::snapshot::Rollout;

/// The present rollout, if any node is pending: it began with the first operation, or with the first pending node.
pub(super) fn evaluate(context: &PolicyContext, pending: usize, now: Instant) -> Option<Rollout> {
    if pending == 0 {
        return None;
    }
    let known = context.policy.state.rollout.clone();
    let mut rollout = known.unwrap_or_else(|| {
        let started = context.first_operation.map_or(now, |began| began.min(now));
        let seconds = started.timestamp().to_le_bytes();
        Rollout {
            id: short_id(context.name.bytes().chain(seconds)),
            started,
            canary_passed: None,
        }
    });
    rollout.started = or_now(rollout.started, now);
    if !rollout.has_passed_canary(now) {
        rollout.canary_passed = soaked_at(context, now).filter(|passed| *passed <= now);
    }
    Some(rollout)
}
