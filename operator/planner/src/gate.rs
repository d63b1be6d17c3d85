//! May this node start, whoever else is inside? The first reason that says no.

use chrono::TimeDelta;

use crate::Instant;
use crate::breaker;
use crate::capacity::{Facts, PolicyFacts};
use crate::snapshot::{AnswerState, Approval, Hold, Host, HostAnswer, Node, Preflight, Record};
use crate::windows::Opening;
use lockkeeper_reasons::{ViewGap, WaitReason};

/// A node that was rebooted and still asks for the same cause is left alone for this long.
pub(crate) const STILL_REQUIRED: TimeDelta = TimeDelta::hours(24);

/// Whether the node requires a reboot.
pub(crate) fn wants_reboot(node: &Node) -> bool {
    node.requires_reboot()
}

/// The report of the agent of the present boot.
pub(crate) fn trusted_host(node: &Node) -> Option<&Host> {
    node.trusted_host()
}

/// Whether our marks on this node belong to an operation that nothing tells of, and may not be lifted yet: it is not Ready,
/// or its agent has not said that the host stays up. The order that was lost may be under way there still. Marks that a
/// person uncordoned hold nothing back, nor do those of an operation that has ended.
pub(crate) fn is_astray(node: &Node) -> bool {
    let ended = || {
        node.record
            .as_ref()
            .is_some_and(|record| record.finished == node.cordoned_for)
    };
    let goes_down = |answer: &HostAnswer| answer.state == AnswerState::Rebooting;
    let stays_up = || trusted_host(node).is_some_and(|host| !host.answer.as_ref().is_some_and(goes_down));
    !node.ready.ready || node.unschedulable && !ended() && !stays_up()
}

/// Since when the agent is missing.
pub(crate) fn agent_missing(node: &Node) -> Option<Instant> {
    node.agent_missing_since()
}

/// The one policy that a node belongs to.
pub(crate) fn policy_of<'f, 'a>(node: &Node, facts: &'f Facts<'a>) -> Result<&'f PolicyFacts<'a>, WaitReason> {
    match &*node.policies {
        [one] => facts.policy(one).ok_or(WaitReason::NoPolicy),
        [] => Err(WaitReason::NoPolicy),
        many => {
            let mut policies = many.to_vec();
            policies.sort_unstable();
            Err(WaitReason::PolicyConflict {
                policies: policies.iter().map(ToString::to_string).collect(),
            })
        }
    }
}

/// What keeps this node from starting whoever else is inside; asked before the slot and again before our marks.
pub(crate) fn standing(node: &Node, facts: &Facts) -> Result<(), WaitReason> {
    seen_all(facts)?;
    let policy = policy_of(node, facts)?;
    running(policy)?;
    own(node, trusted_host(node), policy, facts.now)?;
    breaker::keeps_out(
        policy,
        node.record.as_ref().and_then(|record| record.operation.as_deref()),
    )?;
    open(policy)
}

/// Whether everything was seen and could be read.
pub(crate) fn seen_all(facts: &Facts) -> Result<(), WaitReason> {
    let snapshot = facts.snapshot;
    match snapshot.unlisted.iter().min().or(snapshot.view_gaps.iter().min()) {
        Some(what) => Err(WaitReason::ViewIncomplete(what.clone())),
        None => Ok(()),
    }
}

/// Whether the policy starts anything at all.
pub(crate) fn running(policy: &PolicyFacts) -> Result<(), WaitReason> {
    if policy.policy.suspend {
        return Err(WaitReason::Suspended {
            policy: policy.name.to_string(),
        });
    }
    Ok(())
}

/// What of the node itself keeps it from starting: a hold, an approval that is missing, its agent. `host` is the report
/// that is trusted.
pub(crate) fn own(node: &Node, host: Option<&Host>, policy: &PolicyFacts, now: Instant) -> Result<(), WaitReason> {
    if let Some(hold) = held(node, now) {
        return Err(WaitReason::Held {
            reason: hold.reason.clone(),
            until: hold.until,
        });
    }
    match policy.policy.approval {
        Approval::Manual if node.approved.is_none() => {
            return Err(WaitReason::AwaitingApproval {
                policy: policy.name.to_string(),
            });
        }
        Approval::Manual | Approval::Automatic => {}
    }
    agent(node, host)
}

/// Whether the schedule lets a node of this policy start.
pub(crate) fn open(policy: &PolicyFacts) -> Result<(), WaitReason> {
    match &policy.opening {
        Ok(Opening::Open { .. }) => policy.late.clone().map_or(Ok(()), Err),
        Ok(Opening::Closed { opens }) => Err(WaitReason::OutsideWindow {
            opens: *opens,
            invalid: None,
        }),
        Ok(Opening::Excluded { until, reason, .. }) => Err(WaitReason::Excluded {
            until: *until,
            reason: reason.clone(),
        }),
        Err(why) => Err(WaitReason::OutsideWindow {
            opens: None,
            invalid: Some((*why).to_owned()),
        }),
    }
}

/// The hold on a node, while it holds.
pub(crate) fn held(node: &Node, now: Instant) -> Option<&Hold> {
    node.hold.as_ref().filter(|hold| hold.holds(now))
}

fn agent(node: &Node, host: Option<&Host>) -> Result<(), WaitReason> {
    let Some(host) = host else {
        return Err(WaitReason::AgentMissing {
            since: agent_missing(node).unwrap_or(node.created),
        });
    };
    if let Some(cause) = &host.incapable {
        return Err(WaitReason::AgentIncapable { cause: cause.clone() });
    }
    if let Some((who, why)) = host.inhibitors.first() {
        return Err(WaitReason::Inhibited {
            who: who.clone(),
            why: why.clone(),
        });
    }
    Ok(())
}

/// What the node's own past says: released, rebooted in vain, put back.
pub fn past(node: &Node, record: &Record, now: Instant) -> Result<(), WaitReason> {
    past_of(node, trusted_host(node), record, now)
}

/// The same, with the report that is trusted.
pub(crate) fn past_of(node: &Node, host: Option<&Host>, record: &Record, now: Instant) -> Result<(), WaitReason> {
    let reasons = host.map(|host| host.reasons.as_slice()).unwrap_or_default();
    let asked = node.requested.is_some();
    if let Some(released) = record
        .released
        .as_ref()
        .filter(|released| !asked && same_cause(&released.reasons, reasons))
    {
        return Err(WaitReason::Released {
            failure: released.failure.clone(),
        });
    }
    if let Some(last) = record.last_reboot.as_ref().filter(|_| !asked) {
        let until = last.time + STILL_REQUIRED;
        // The causes are elsewhere in memory, and of most nodes' last reboots too old to be of interest.
        if now < until && same_cause(&last.reasons, reasons) {
            return Err(WaitReason::StillRequired {
                rebooted: last.time,
                until,
            });
        }
    }
    match &record.deferred {
        Some(deferred) if now < deferred.until => Err(WaitReason::BackingOff {
            count: deferred.count,
            cause: deferred.cause.clone(),
            message: deferred.message.clone(),
            until: deferred.until,
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether these are the same reasons; an agent may find them in another order.
fn same_cause(one: &[String], other: &[String]) -> bool {
    one == other || one.len() == other.len() && one.iter().all(|reason| other.contains(reason))
}

/// How long an answer about a node's pods is believed; a node that could not be drained is asked again after it.
pub(crate) const PREFLIGHT_FRESH: TimeDelta = TimeDelta::seconds(60);

/// Whether a node could be drained.
#[derive(Clone, Debug)]
pub(crate) enum Drainable {
    /// All its pods can leave.
    Yes,
    /// A pod can never leave, or nobody can say; asked `again` if the answer is old.
    No { waiting: Box<WaitReason>, again: bool },
    /// It must be asked.
    Unknown,
}

/// What the last preflight says of a node now.
pub(crate) fn drainable(node: &Node, now: Instant) -> Drainable {
    let fresh = |at: Instant| at >= now || now.signed_duration_since(at) < PREFLIGHT_FRESH;
    match &node.preflight {
        Preflight::Clear { at } if fresh(*at) => Drainable::Yes,
        Preflight::Clear { .. } | Preflight::Unknown => Drainable::Unknown,
        Preflight::Failed { why } => Drainable::No {
            waiting: Box::new(WaitReason::ViewIncomplete(ViewGap::PreflightFailed {
                error: why.clone(),
            })),
            again: true,
        },
        Preflight::Blocked { pod, why, at } => Drainable::No {
            waiting: Box::new(WaitReason::PreflightBlocked {
                pod: pod.clone(),
                why: why.clone(),
                until: *at + PREFLIGHT_FRESH,
            }),
            again: !fresh(*at),
        },
    }
}
