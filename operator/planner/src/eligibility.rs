//! May this node start, if it had a slot? One ordered list of checks; the first one that refuses is the wait reason.
//!
//! To add a wait reason of this kind, add it to the reason table (crds/reasons) and one entry to [`CHECKS`]. The order is
//! that of [`ReasonName`]. A node passes the list when it is admitted, and once more right before its cordon.

use lockkeeper_reasons::{BreakerRecovery, ConfinementGap, ReasonName, WaitReason};

use crate::assessment::breaker::cooled_at;
use crate::assessment::{Assessment, PolicyAssessment};
use crate::context::NodeRef;
use crate::history::{check_back_off, check_released, check_still_required};
use crate::overrides::opens_by_rung;
use crate::snapshot::{Approval, BreakerState, Confinement, Deletion, Node, Operation, RebootMethod, Snapshot};
use crate::windows::Opening;

/// A node that may start: one that requires a reboot, or one that is in progress and not cordoned yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) node_ref: NodeRef<'a>,
    /// Its policy, if exactly one selects it.
    pub(crate) policy: Option<&'a PolicyAssessment<'a>>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(node_ref: NodeRef<'a>, assessment: &'a Assessment<'a>) -> Self {
        Self {
            node_ref,
            policy: node_ref.policy.and_then(|name| assessment.policies.get(name)),
        }
    }

    /// How it is rebooted: by the settings of the operation, or of the policy with which one would begin.
    fn method(&self) -> RebootMethod {
        let operation = self.node_ref.record.operation.as_deref();
        let policy = || self.policy.map(|policy| policy.context.policy.settings.method);
        let method = operation.map(|operation| operation.settings.method).or_else(policy);
        method.unwrap_or_default()
    }
}

/// When a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// At admission and before the cordon.
    Always,
    /// At admission only: the operation that has begun since is no part of the node's past.
    AtAdmission,
}

/// One question about a candidate.
struct Check {
    /// The reasons with which it refuses.
    reasons: &'static [ReasonName],
    asked: Asked,
    /// Whether it asks if the host can reboot itself, which does not matter if another system reboots it.
    of_agent: bool,
    run: fn(&Assessment, &Candidate) -> Result<(), WaitReason>,
}

/// Every check, in the order of the reasons with which they refuse. A check of the policy passes for a node without one:
/// `check_policy` has refused it before.
const CHECKS: &[Check] = &[
    always(&[ReasonName::ViewIncomplete], check_view),
    always(&[ReasonName::PolicyConflict, ReasonName::NoPolicy], check_policy),
    always(&[ReasonName::Suspended], check_suspended),
    always(&[ReasonName::BeingDeleted], check_deletion),
    always(&[ReasonName::Held], check_hold),
    always(&[ReasonName::AwaitingApproval], check_approval),
    always(&[ReasonName::AgentMissing], check_agent_reports),
    always(&[ReasonName::AgentNotConfined], check_agents_confined),
    for_agent(&[ReasonName::AgentIncapable], check_agent_capable),
    for_agent(&[ReasonName::JustBooted], check_uptime),
    for_agent(&[ReasonName::Inhibited], check_inhibitors),
    always(&[ReasonName::BreakerOpen], check_breaker),
    always(&[ReasonName::Excluded, ReasonName::OutsideWindow], check_schedule),
    always(&[ReasonName::DoesNotFitWindow], check_window_fit),
    at_admission(&[ReasonName::Released], |_, candidate| {
        check_released(candidate.node_ref.node, candidate.node_ref.record)
    }),
    at_admission(&[ReasonName::StillRequired], |assessment, candidate| {
        let NodeRef { node, record, .. } = candidate.node_ref;
        check_still_required(node, record, assessment.context.now)
    }),
    at_admission(&[ReasonName::BackingOff], |assessment, candidate| {
        let NodeRef { node, record, .. } = candidate.node_ref;
        check_back_off(node, record, assessment.context.now)
    }),
    at_admission(&[ReasonName::WriteRefused], |assessment, candidate| {
        check_writes(assessment.context.snapshot, candidate.node_ref.node)
    }),
];

type Run = fn(&Assessment, &Candidate) -> Result<(), WaitReason>;

const fn always(reasons: &'static [ReasonName], run: Run) -> Check {
    Check {
        reasons,
        asked: Asked::Always,
        of_agent: false,
        run,
    }
}

const fn at_admission(reasons: &'static [ReasonName], run: Run) -> Check {
    Check {
        asked: Asked::AtAdmission,
        ..always(reasons, run)
    }
}

const fn for_agent(reasons: &'static [ReasonName], run: Run) -> Check {
    Check {
        of_agent: true,
        ..always(reasons, run)
    }
}

/// Whether the node is eligible: nothing but a free slot is missing.
pub(crate) fn check_admission(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    CHECKS.iter().try_for_each(|check| check.ask(assessment, candidate))
}

/// Whether a node that has a slot may still be cordoned.
pub(crate) fn check_cordon(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let mut checks = CHECKS.iter().filter(|check| check.asked == Asked::Always);
    checks.try_for_each(|check| check.ask(assessment, candidate))
}

impl Check {
    fn ask(&self, assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
        if self.of_agent && !candidate.method().needs_agent() {
            return Ok(());
        }
        let answer = (self.run)(assessment, candidate);
        debug_assert!(
            answer
                .as_ref()
                .err()
                .is_none_or(|why| self.reasons.contains(&why.name()))
        );
        answer
    }
}

fn check_view(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let (snapshot, node) = (assessment.context.snapshot, candidate.node_ref.node);
    let of_control_plane = snapshot.control_plane_gap.iter().filter(|_| node.control_plane);
    match snapshot.view_gaps.iter().min().or(of_control_plane.min()) {
        Some(gap) => Err(WaitReason::ViewIncomplete(gap.clone())),
        None => Ok(()),
    }
}

fn check_policy(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    match candidate.policy {
        Some(_) => Ok(()),
        None => assessment.policy_of(candidate.node_ref.node).map(drop),
    }
}

fn check_suspended(_: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    match candidate.policy {
        Some(policy) if policy.context.policy.suspend => Err(WaitReason::Suspended {
            policy: policy.context.name.to_string(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn check_deletion(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let node = candidate.node_ref.node;
    match &node.deletion {
        None => Ok(()),
        Some(Deletion::InProgress { since }) => Err(WaitReason::BeingDeleted {
            taint: None,
            since: Some(*since),
            stale: false,
        }),
        Some(Deletion::Tainted { taint, since }) => Err(WaitReason::BeingDeleted {
            taint: Some(taint.clone()),
            since: *since,
            stale: !node.is_leaving(assessment.context.now),
        }),
    }
}

/// A node whose writes are refused would take a slot and not use it. While writes of the lock are refused, no node gets one.
fn check_writes(snapshot: &Snapshot, node: &Node) -> Result<(), WaitReason> {
    match node.refused_write.as_ref().or(snapshot.refused_lock_write.as_ref()) {
        Some(message) => Err(WaitReason::WriteRefused {
            message: message.clone(),
        }),
        None => Ok(()),
    }
}

fn check_hold(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    match candidate.node_ref.node.hold_at(assessment.context.now) {
        Some(hold) => Err(WaitReason::Held {
            reason: hold.reason.clone(),
            until: hold.until,
        }),
        None => Ok(()),
    }
}

fn check_approval(_: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let Some(policy) = candidate.policy else {
        return Ok(());
    };
    match policy.context.policy.approval {
        Approval::Manual if candidate.node_ref.node.approved.is_none() => Err(WaitReason::AwaitingApproval {
            policy: policy.context.name.to_string(),
        }),
        Approval::Manual | Approval::Automatic => Ok(()),
    }
}

fn check_agent_reports(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let node = candidate.node_ref.node;
    match candidate.node_ref.host {
        Some(_) => Ok(()),
        None => Err(WaitReason::AgentMissing {
            since: node.agent_missing_since(assessment.context.now).unwrap_or(node.created),
        }),
    }
}

/// An agent that is not confined can write the report of any node, so none of them can be trusted.
fn check_agents_confined(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let context = &assessment.context;
    if context.snapshot.accepts_unconfined_agents {
        return Ok(());
    }
    if let Some((_, cause)) = context.unconfined.first() {
        return Err(WaitReason::AgentNotConfined(ConfinementGap::NotConfined {
            nodes: context.unconfined.iter().map(|(name, _)| (*name).to_owned()).collect(),
            cause: (*cause).to_owned(),
        }));
    }
    match candidate.node_ref.host.map(|host| &host.confinement) {
        Some(Confinement::Unreported(cause)) => Err(WaitReason::AgentNotConfined(ConfinementGap::Unreported {
            cause: cause.clone(),
        })),
        Some(Confinement::Confined | Confinement::NotConfined(_)) | None => Ok(()),
    }
}

/// An order that the agent would refuse is not given.
fn check_uptime(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let until = candidate.node_ref.host.and_then(|host| host.reboot_allowed);
    match until.filter(|until| assessment.context.now < *until) {
        Some(until) => Err(WaitReason::JustBooted { until }),
        None => Ok(()),
    }
}

fn check_agent_capable(_: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    match candidate.node_ref.node.incapable_of(candidate.method()) {
        Some(cause) => Err(WaitReason::AgentIncapable {
            cause: cause.to_owned(),
        }),
        None => Ok(()),
    }
}

fn check_inhibitors(_: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    match candidate.node_ref.host.and_then(|host| host.inhibitors.first()) {
        Some((who, why)) => Err(WaitReason::Inhibited {
            who: who.clone(),
            why: why.clone(),
        }),
        None => Ok(()),
    }
}

fn check_breaker(_: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    match candidate.policy {
        Some(policy) => breaker_admits(policy, candidate.node_ref.record.operation.as_deref()),
        None => Ok(()),
    }
}

/// Whether the breaker lets a node start or continue; `operation` is its own, if it has one.
pub(crate) fn breaker_admits(policy: &PolicyAssessment, operation: Option<&Operation>) -> Result<(), WaitReason> {
    // A person who gave the command `retry` has checked this node.
    if operation.is_some_and(|operation| operation.attempt > 0) {
        return Ok(());
    }
    let breaker = &policy.breaker;
    let refuses = match breaker.state {
        BreakerState::Closed => false,
        BreakerState::Open => true,
        // Only an operation that began after the failure is the probe.
        BreakerState::Probing => operation.is_some_and(|operation| Some(operation.started) <= breaker.opened),
    };
    if !refuses {
        return Ok(());
    }
    let probe_at = cooled_at(breaker, policy.context.policy);
    Err(WaitReason::BreakerOpen {
        nodes: breaker.failed.iter().cloned().collect(),
        recovery: probe_at.map_or(BreakerRecovery::Manual, BreakerRecovery::ProbeAt),
    })
}

/// The deadline of the policy may override windows, but never exclusions.
fn check_schedule(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let (node, now) = (candidate.node_ref.node, assessment.context.now);
    let Some(policy) = candidate.policy.map(|policy| policy.context) else {
        return Ok(());
    };
    match policy.opening_for(node, now) {
        Ok(Opening::Open { .. }) => Ok(()),
        Ok(Opening::Closed { opens }) => Err(WaitReason::OutsideWindow {
            opens: opens_by_rung(policy.policy, &policy.relaxed, node, *opens, now),
            invalid: None,
        }),
        Ok(Opening::Excluded { until, reason, .. }) => Err(WaitReason::Excluded {
            until: *until,
            reason: reason.clone(),
        }),
        Err(why) => Err(WaitReason::OutsideWindow {
            opens: None,
            invalid: Some(why.to_owned()),
        }),
    }
}

fn check_window_fit(assessment: &Assessment, candidate: &Candidate) -> Result<(), WaitReason> {
    let (node, now) = (candidate.node_ref.node, assessment.context.now);
    let too_late = candidate.policy.and_then(|policy| policy.too_late_for(node, now));
    too_late.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_refuse_in_the_order_of_the_reason_table() {
        let reasons: Vec<ReasonName> = CHECKS.iter().flat_map(|check| check.reasons).copied().collect();
        assert!(reasons.is_sorted(), "{reasons:?}");
    }
}
