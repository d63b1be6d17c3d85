//! The limits on slots: one ordered list, as for eligibility. The first limit that refuses is the wait reason.

use std::sync::Arc;

use chrono::TimeDelta;
use lockkeeper_reasons::{BreakerRecovery, LimitScope, ReasonName, WaitReason};

use super::ledger::{PolicySlots, SlotLedger};
use super::names::Names;
use crate::assessment::PolicyAssessment;
use crate::assessment::canary::CanaryState;
use crate::eligibility::Candidate;
use crate::names::PolicyName;
use crate::snapshot::{BreakerState, Node};

/// A node that asks for a slot, with what the limits need.
struct SlotRequest<'q, 'a> {
    ledger: &'q SlotLedger<'a>,
    candidate: &'q Candidate<'q>,
    policy: &'q PolicyAssessment<'q>,
    slots: &'q PolicySlots<'a>,
    ahead: usize,
}

/// One limit.
struct Limit {
    /// The reason with which it refuses.
    reason: ReasonName,
    run: fn(&SlotRequest) -> Result<(), WaitReason>,
}

impl Limit {
    fn check(&self, request: &SlotRequest) -> Result<(), WaitReason> {
        let answer = (self.run)(request);
        debug_assert!(answer.as_ref().err().is_none_or(|why| why.name() == self.reason));
        answer
    }
}

/// Every limit, in the order in which they are checked.
const LIMITS: &[Limit] = &[
    limit(ReasonName::BreakerOpen, check_probe),
    limit(ReasonName::CanarySoaking, check_canary),
    limit(ReasonName::NoFreeSlot, check_free_slot),
    limit(ReasonName::TooManyUnavailable, check_unavailable),
    limit(ReasonName::TopologyFull, check_topology),
    limit(ReasonName::Pacing, check_pace),
    limit(ReasonName::ControlPlaneBusy, check_control_plane),
    limit(ReasonName::ViewIncomplete, check_possible_control_plane),
];

const fn limit(reason: ReasonName, run: fn(&SlotRequest) -> Result<(), WaitReason>) -> Limit {
    Limit { reason, run }
}

/// Whether this node may have a slot; `ahead` nodes of its policy are before it in the queue.
pub(crate) fn check_slot(
    ledger: &SlotLedger,
    candidate: &Candidate,
    policy: &PolicyAssessment,
    ahead: usize,
) -> Result<(), WaitReason> {
    let Some(slots) = ledger.policies.get(policy.context.name) else {
        return Err(WaitReason::NoPolicy);
    };
    let request = SlotRequest {
        ledger,
        candidate,
        policy,
        slots,
        ahead,
    };
    LIMITS.iter().try_for_each(|limit| limit.check(&request))
}

/// Whether all holders fit into the limits, this node among them; asked right before its cordon.
///
/// A view of the Nodes that lags behind hides cordons. The lock is read afresh before a cordon and hides no holder: while
/// all holders fit, all cordoned nodes do.
pub(crate) fn check_all_fit(
    ledger: &SlotLedger,
    name: &str,
    node: &Node,
    policy: &PolicyName,
) -> Result<(), WaitReason> {
    if let (Some(slots), Some(policy)) = (ledger.policies.get(policy), ledger.assessment.policies.get(policy)) {
        check_within(name, &slots.in_progress, policy.context.limit, LimitScope::Policy)?;
    }
    let cluster_limit = ledger.assessment.context.cluster_limit;
    check_within(name, &ledger.in_progress, cluster_limit, LimitScope::Cluster)?;
    if let Some(other) = ledger.other_control_plane(name).filter(|_| node.control_plane) {
        return Err(WaitReason::ControlPlaneBusy { node: other.to_owned() });
    }
    check_alone(ledger, name)
}

/// While the static pods are not known, every node may be one of the control plane: it starts alone.
fn check_alone(ledger: &SlotLedger, name: &str) -> Result<(), WaitReason> {
    match &ledger.assessment.context.snapshot.control_plane_gap {
        Some(gap) if ledger.other_control_plane(name).is_some() => Err(WaitReason::ViewIncomplete(gap.clone())),
        Some(_) | None => Ok(()),
    }
}

fn check_within(name: &str, in_progress: &Names, max: usize, scope: LimitScope) -> Result<(), WaitReason> {
    if in_progress.len() <= max {
        return Ok(());
    }
    let others = in_progress.iter().filter(|other| *other != name);
    Err(WaitReason::NoFreeSlot {
        in_progress: others.map(str::to_owned).collect(),
        max,
        scope,
        ahead: 0,
    })
}

/// While a probe is in progress, no other node starts. Failed nodes are no probes.
fn check_probe(request: &SlotRequest) -> Result<(), WaitReason> {
    let (breaker, failures) = (&request.policy.breaker, &request.policy.context.failures);
    let is_failed = |name: &str| failures.iter().any(|(failed, _)| *failed == name);
    let probe = match breaker.state {
        BreakerState::Probing => request.slots.in_progress.iter().find(|name| !is_failed(name)),
        BreakerState::Closed | BreakerState::Open => None,
    };
    match probe {
        Some(probe) => Err(WaitReason::BreakerOpen {
            nodes: breaker.failed.iter().cloned().collect(),
            recovery: BreakerRecovery::Probing(probe.to_owned()),
        }),
        None => Ok(()),
    }
}

/// Until the canary has passed, no node starts but the canary.
fn check_canary(request: &SlotRequest) -> Result<(), WaitReason> {
    let in_progress = &request.slots.in_progress;
    let (names, until) = match &request.policy.canary {
        CanaryState::Passed => return Ok(()),
        CanaryState::Open(free) if in_progress.len() < *free => return Ok(()),
        CanaryState::Open(_) => (in_progress.for_message(), None),
        CanaryState::Soaking { names, until } => (names.iter().cloned().collect(), *until),
    };
    Err(WaitReason::CanarySoaking { names, until })
}

/// `maxInProgress` of the policy and of the lock.
fn check_free_slot(request: &SlotRequest) -> Result<(), WaitReason> {
    let cluster_limit = request.ledger.assessment.context.cluster_limit;
    let of_policy = (
        &request.slots.in_progress,
        request.policy.context.limit,
        LimitScope::Policy,
    );
    let of_cluster = (&request.ledger.in_progress, cluster_limit, LimitScope::Cluster);
    for (in_progress, max, scope) in [of_policy, of_cluster] {
        if in_progress.len() >= max {
            return Err(WaitReason::NoFreeSlot {
                in_progress: in_progress.for_message(),
                max,
                scope,
                ahead: request.ahead,
            });
        }
    }
    Ok(())
}

/// `maxUnavailable`. A node that is unavailable already makes no difference.
fn check_unavailable(request: &SlotRequest) -> Result<(), WaitReason> {
    let (context, slots) = (request.policy.context, request.slots);
    let now = request.ledger.assessment.context.now;
    let free = slots.unavailable.len() + context.unavailable.len() < context.max_unavailable;
    if free || request.candidate.node_ref.node.unavailable_cause(now).is_some() {
        return Ok(());
    }
    let list = || {
        let others = context.unavailable.iter();
        let others = others.map(|(name, cause)| (*name, cause.to_string()));
        let ours = slots.unavailable.iter().map(|name| (*name, "in progress".to_owned()));
        let all = others.chain(ours).map(|(name, cause)| (name.to_owned(), cause));
        all.collect::<Arc<[_]>>()
    };
    Err(WaitReason::TooManyUnavailable {
        nodes: slots.unavailable_message.get_or_init(list).clone(),
        max: context.max_unavailable,
    })
}

/// The policy's topology: how many domains at once, and how many nodes in one of them.
fn check_topology(request: &SlotRequest) -> Result<(), WaitReason> {
    for (place, topology) in request.policy.context.policy.topology.iter().enumerate() {
        let own = request.candidate.node_ref.node.domain(&topology.key);
        let domains = &request.slots.domains;
        let here = domains.get(&(place, own)).map_or(0, Names::len);
        let mut active = domains.range((place, "")..(place + 1, ""));
        let domain_full = topology.max_in_progress_per_domain.is_some_and(|max| here >= max);
        let none_left = here == 0 && topology.max_domains.is_some_and(|max| active.clone().count() >= max);
        let full = if domain_full {
            own
        } else if none_left {
            active.next().map_or(own, |((_, domain), _)| *domain)
        } else {
            continue;
        };
        let names = domains.get(&(place, full));
        return Err(WaitReason::TopologyFull {
            key: topology.key.clone(),
            value: full.to_owned(),
            in_progress: names.map(Names::for_message).unwrap_or_default(),
        });
    }
    Ok(())
}

/// The least time between two starts. A node counts from its admission on, and afterwards if it was rebooted. Without a
/// pace no node waits, even if the last start is ahead of a clock that was set back.
fn check_pace(request: &SlotRequest) -> Result<(), WaitReason> {
    let pace = request.policy.context.policy.pace;
    let last = request.slots.last_start.max(request.policy.context.last_reboot);
    match last.map(|last| last + pace) {
        Some(until) if pace > TimeDelta::zero() && request.ledger.assessment.context.now < until => {
            Err(WaitReason::Pacing { until })
        }
        Some(_) | None => Ok(()),
    }
}

/// A node that may be one of the control plane starts while no other one is in progress, and while no other one is known to
/// be down.
fn check_possible_control_plane(request: &SlotRequest) -> Result<(), WaitReason> {
    let name = request.candidate.node_ref.name;
    let context = request.ledger.assessment.context;
    match &context.snapshot.control_plane_gap {
        Some(gap) if context.control_plane_down.iter().any(|other| *other != name) => {
            Err(WaitReason::ViewIncomplete(gap.clone()))
        }
        Some(_) | None => check_alone(request.ledger, name),
    }
}

/// Only one control-plane node at a time, and only while all others of them are up.
fn check_control_plane(request: &SlotRequest) -> Result<(), WaitReason> {
    let name = request.candidate.node_ref.name;
    if !request.candidate.node_ref.node.control_plane {
        return Ok(());
    }
    let down = &request.ledger.assessment.context.control_plane_down;
    let down = down.iter().copied().find(|other| *other != name);
    match down.or_else(|| request.ledger.other_control_plane(name)) {
        Some(other) => Err(WaitReason::ControlPlaneBusy { node: other.to_owned() }),
        None => Ok(()),
    }
}
