//! The breaker of a policy: failures open it, a person or a probe closes it.
//!
//! ```text
//! Closed --failures >= maxFailedNodes--> Open --acknowledged, or the cooldown is over--> Probing --success--> Closed
//!    ^                                     |  ^                                             |
//!    +------- retried or released ---------+  +------------------ a newer failure ----------+
//! ```
//!
//! It is computed from the failed nodes and the times of the last reboots in each pass, so that a status that was lost
//! or is late changes no decision. Failed nodes count as long as they are Failed, whatever a probe has shown since: one
//! more failure opens it again.

use crate::Instant;
use crate::capacity::PolicyFacts;
use crate::operation::Operation;
use crate::snapshot::{Breaker, BreakerState};
use lockkeeper_reasons::{BreakerRecovery, WaitReason};

/// The state of the breaker by what was seen.
pub(crate) fn judge(policy: &PolicyFacts, now: Instant) -> Breaker {
    let rule = policy.policy.breaker;
    let Some(opened) = policy.failures.iter().map(|(_, since)| *since).max() else {
        return Breaker::default();
    };
    if policy.failures.len() < rule.max_failed.max(1) {
        return Breaker::default();
    }
    let acknowledged = policy
        .policy
        .acknowledged
        .is_some_and(|until| until >= opened && until <= now);
    let cooled = rule.cooldown.is_some_and(|cooldown| now >= opened + cooldown);
    // A success that began after the last failure was the probe: nothing else starts while the breaker is open.
    let probed = policy.last_start.is_some_and(|began| began > opened);
    let state = match (probed, acknowledged || cooled) {
        (true, _) => BreakerState::Closed,
        (false, true) => BreakerState::Probing,
        (false, false) => BreakerState::Open,
    };
    Breaker {
        state,
        opened: Some(opened),
        failed: policy.failures.iter().map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// Why the breaker keeps a node out whoever else is inside, if it does; `operation` is its own.
pub(crate) fn keeps_out(policy: &PolicyFacts, operation: Option<&Operation>) -> Result<(), WaitReason> {
    // A person who said `retry` has looked at this node.
    if operation.is_some_and(|operation| operation.attempt > 0) {
        return Ok(());
    }
    let breaker = &policy.state.breaker;
    let stands = match breaker.state {
        BreakerState::Closed => false,
        BreakerState::Open => true,
        // Only what began after the failure is a probe.
        BreakerState::Probing => operation.is_some_and(|operation| Some(operation.started) <= breaker.opened),
    };
    if stands { Err(words(policy)) } else { Ok(()) }
}

/// While a probe is inside, nobody else goes in. `inside` are the nodes of the policy that are inside and not Failed.
pub(crate) fn keeps_others_out<'a>(
    policy: &PolicyFacts,
    mut inside: impl Iterator<Item = &'a str>,
) -> Result<(), WaitReason> {
    let probe = match policy.state.breaker.state {
        BreakerState::Probing => inside.next(),
        BreakerState::Closed | BreakerState::Open => None,
    };
    match probe {
        Some(probe) => Err(WaitReason::BreakerOpen {
            nodes: policy.failed.clone(),
            recovery: BreakerRecovery::Probing(probe.to_owned()),
        }),
        None => Ok(()),
    }
}

/// When an open breaker lets a probe in by time alone: after the cooldown, or when an acknowledgement comes true that is
/// ahead of our clock.
pub(crate) fn probes_at(policy: &PolicyFacts) -> impl Iterator<Item = Instant> {
    let open = policy.state.breaker.state == BreakerState::Open;
    let times = [cooled_at(policy), policy.policy.acknowledged];
    times.into_iter().flatten().filter(move |_| open)
}

fn cooled_at(policy: &PolicyFacts) -> Option<Instant> {
    let (opened, cooldown) = (policy.state.breaker.opened?, policy.policy.breaker.cooldown?);
    Some(opened + cooldown)
}

fn words(policy: &PolicyFacts) -> WaitReason {
    WaitReason::BreakerOpen {
        nodes: policy.failed.clone(),
        recovery: cooled_at(policy).map_or(BreakerRecovery::Manual, BreakerRecovery::ProbeAt),
    }
}
