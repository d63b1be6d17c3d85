//! The breaker of a policy: failures open it, a person or a probe closes it.
//!
//! ```text
//! Closed --failures >= maxFailedNodes--> Open --acknowledged, or the cooldown is over--> Probing --success--> Closed
//!    ^                                     |  ^                                             |
//!    +------- retried or released ---------+  +------------------ a newer failure ----------+
//! ```
//!
//! Nothing but `accepted` is taken from the past: the rest follows from the failed nodes and the times of the last
//! reboots, so that a status that was lost or is late changes no decision.

use crate::Instant;
use crate::capacity::PolicyFacts;
use crate::operation::Operation;
use crate::snapshot::{Breaker, BreakerState};
use crate::waiting::{Rearm, Waiting};

/// The state of the breaker by what was seen.
pub(crate) fn judge(policy: &PolicyFacts, now: Instant) -> Breaker {
    let known = &policy.policy.state.breaker;
    let rule = policy.policy.breaker;
    let counted = |since: Instant| known.accepted.is_none_or(|accepted| since > accepted);
    let failures = policy.failures.iter().filter(|(_, since)| counted(*since));
    let failed: Vec<String> = failures.clone().map(|(name, _)| (*name).to_owned()).collect();
    let closed = |accepted| Breaker {
        state: BreakerState::Closed,
        opened: None,
        failed: Vec::new(),
        accepted,
    };
    let Some(opened) = failures.map(|(_, since)| *since).max() else {
        return closed(known.accepted);
    };
    if failed.len() < rule.max_failed.max(1) {
        return closed(known.accepted);
    }
    // A success that began after the last failure was the probe: nothing else starts while the breaker is open.
    if policy.last_success.is_some_and(|began| began > opened) {
        return closed(Some(opened));
    }
    let acknowledged = policy
        .policy
        .acknowledged
        .is_some_and(|until| until >= opened && until <= now);
    let cooled = rule.cooldown.is_some_and(|cooldown| now >= opened + cooldown);
    Breaker {
        state: if acknowledged || cooled {
            BreakerState::Probing
        } else {
            BreakerState::Open
        },
        opened: Some(opened),
        failed,
        accepted: known.accepted,
    }
}

/// Why the breaker keeps a node out whoever else is inside, if it does; `operation` is its own.
pub(crate) fn keeps_out(policy: &PolicyFacts, operation: Option<&Operation>) -> Result<(), Waiting> {
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
) -> Result<(), Waiting> {
    match (policy.state.breaker.state, inside.next()) {
        (BreakerState::Probing, Some(probe)) => Err(Waiting::BreakerOpen {
            nodes: policy.failed(),
            next: Rearm::Probe(probe.to_owned()),
        }),
        (BreakerState::Closed | BreakerState::Open | BreakerState::Probing, _) => Ok(()),
    }
}

fn words(policy: &PolicyFacts) -> Waiting {
    let cooldown = policy.policy.breaker.cooldown;
    let probe = policy
        .state
        .breaker
        .opened
        .zip(cooldown)
        .map(|(opened, cooldown)| opened + cooldown);
    Waiting::BreakerOpen {
        nodes: policy.failed(),
        next: probe.map_or(Rearm::Person, Rearm::ProbeAt),
    }
}
