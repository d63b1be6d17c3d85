//! The breaker of a policy: failures open it, a person or a probe closes it.
//!
//! ```text
//! Closed --failures >= maxFailedNodes--> Open --acknowledged, or the cooldown is over--> Probing --success--> Closed
//!    ^                                     |  ^                                             |
//!    +------- retried or released ---------+  +------------------ a newer failure ----------+
//! ```
//!
//! Each pass evaluates it from the failed nodes and the times of the last reboots, so that a status that is lost or late
//! changes no decision. Failed nodes count as long as they are Failed, whatever a probe has shown since: one more failure
//! opens it again.

use crate::Instant;
use crate::context::PolicyContext;
use crate::snapshot::{Breaker, BreakerState, Policy};

/// The breaker as the context shows it.
pub(crate) fn evaluate(context: &PolicyContext, now: Instant) -> Breaker {
    let (policy, failures) = (context.policy, &context.failures);
    let Some(opened) = failures.iter().map(|(_, since)| *since).max() else {
        return Breaker::default();
    };
    if failures.len() < policy.breaker.max_failed.max(1) {
        return Breaker::default();
    }
    let acknowledged = policy.acknowledged.is_some_and(|until| until >= opened && until <= now);
    let cooled = policy.breaker.cooldown.is_some_and(|cooldown| now >= opened + cooldown);
    // A success that began after the last failure was the probe: nothing else starts while the breaker is open.
    let probed = context.last_start.is_some_and(|began| began > opened);
    let state = match (probed, acknowledged || cooled) {
        (true, _) => BreakerState::Closed,
        (false, true) => BreakerState::Probing,
        (false, false) => BreakerState::Open,
    };
    Breaker {
        state,
        opened: Some(opened),
        failed: failures.iter().map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// When an open breaker admits a probe by time alone: after the cooldown, or when an acknowledgement that is ahead of our
/// clock becomes valid.
pub(crate) fn probes_at(breaker: &Breaker, policy: &Policy) -> impl Iterator<Item = Instant> + use<> {
    let open = breaker.state == BreakerState::Open;
    let times = [cooled_at(breaker, policy), policy.acknowledged];
    times.into_iter().flatten().filter(move |_| open)
}

/// When the cooldown is over.
pub(crate) fn cooled_at(breaker: &Breaker, policy: &Policy) -> Option<Instant> {
    Some(breaker.opened? + policy.breaker.cooldown?)
}
