//! The status of one node, from what was seen and decided.

use chrono::{DateTime, Utc};
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{Condition, NodeReboot, NodeRebootStatus, WaitingStatus, condition};
use lockkeeper_planner::{Drain, Node, Operation, Phase, StageKind, WaitReason};
use lockkeeper_snapshot::convert::bounded;

use super::node_state;

/// Puts on what follows from the rest: state, waiting and conditions. What has not changed keeps its times.
pub fn apply_derived_status(
    status: &mut NodeRebootStatus,
    seen: &NodeReboot,
    node: &Node,
    operation: Option<&Operation>,
    waiting: Option<&WaitReason>,
    now: DateTime<Utc>,
) {
    status.state = Some(node_state(
        node,
        operation.map(|operation| operation.phase),
        waiting.is_some(),
    ));
    status.waiting = waiting.map(|waiting| waiting_status(waiting, status.waiting.as_ref(), now));
    let facts = [
        reboot_required(node, failing_detectors(seen)),
        cordoned(node),
        drained(node, operation),
        rebooted(status, operation),
        healthy(node),
        capable(node),
    ];
    let before = std::mem::take(&mut status.conditions);
    let facts = facts
        .into_iter()
        .map(|fact| fact.into_condition(&before, seen.metadata.generation, now));
    status.conditions = facts.collect();
}

/// The words of a reason to wait, as long as a status takes them.
pub fn wait_message(waiting: &WaitReason) -> String {
    bounded(&waiting.to_string(), 2048)
}

fn waiting_status(waiting: &WaitReason, before: Option<&WaitingStatus>, now: DateTime<Utc>) -> WaitingStatus {
    let reason = waiting.name().as_str();
    let since = before
        .filter(|before| before.reason == reason)
        .map(|before| before.since_time);
    WaitingStatus {
        reason: reason.to_owned(),
        message: wait_message(waiting),
        since_time: since.unwrap_or_else(|| whole_seconds(now)),
        until_time: waiting.until().map(whole_seconds),
    }
}

/// A condition without its times.
#[derive(Debug)]
pub struct ConditionDraft {
    /// The condition's type.
    pub type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word.
    pub reason: &'static str,
    /// The reason in words.
    pub message: String,
}

impl ConditionDraft {
    /// With times: the transition is kept while the status is the same.
    pub fn into_condition(self, before: &[Condition], generation: Option<i64>, now: DateTime<Utc>) -> Condition {
        let same = condition::find(before, self.type_).filter(|condition| condition.status == self.status);
        Condition {
            type_: self.type_.to_owned(),
            status: self.status.to_owned(),
            observed_generation: generation,
            last_transition_time: same.map_or_else(|| whole_seconds(now), |same| same.last_transition_time),
            reason: self.reason.to_owned(),
            message: bounded(&self.message, 4096),
        }
    }
}

fn condition_status(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

/// The detectors that the agent of a node cannot read, in its words.
pub fn failing_detectors(reboot: &NodeReboot) -> &[Cause] {
    let host = reboot.status.as_ref().and_then(|status| status.host.as_ref());
    host.map_or(&[], |host| &host.reboot_required.failing)
}

/// Whether the node must be rebooted, and why.
pub fn reboot_required(node: &Node, failing_detectors: &[Cause]) -> ConditionDraft {
    let fact = |status, reason, message: String| ConditionDraft {
        type_: "RebootRequired",
        status,
        reason,
        message,
    };
    if let Some(reason) = &node.requested {
        return fact("True", "Requested", format!("a person asks for a reboot: {reason}"));
    }
    match node.trusted_host() {
        None => fact("Unknown", "AgentMissing", "no agent reports from this boot".to_owned()),
        Some(host) if host.required && host.reasons.is_empty() => {
            fact("True", "RequiredByHost", "the host asks for a reboot".to_owned())
        }
        Some(host) if host.required => fact("True", "RequiredByHost", host.reasons.join(", ")),
        Some(_) if !failing_detectors.is_empty() => {
            let what: Vec<&str> = failing_detectors.iter().map(|cause| cause.0.as_str()).collect();
            fact("Unknown", "DetectorFailing", what.join("; "))
        }
        Some(_) => fact("False", "NothingPending", "no reboot is required".to_owned()),
    }
}

fn cordoned(node: &Node) -> ConditionDraft {
    let (reason, message) = match (node.unschedulable, &node.cordoned_for) {
        (true, Some(operation)) => ("ByLockkeeper", format!("cordoned for operation {operation}")),
        (true, None) => ("ByOther", "cordoned, and not by Lockkeeper".to_owned()),
        (false, _) => ("Schedulable", String::new()),
    };
    ConditionDraft {
        type_: "Cordoned",
        status: condition_status(node.unschedulable),
        reason,
        message,
    }
}

fn drained(node: &Node, operation: Option<&Operation>) -> ConditionDraft {
    let (yes, reason) = match operation.map(|operation| operation.phase) {
        Some(Phase::Draining) if matches!(node.drain, Drain::Done { .. }) => (true, "Empty"),
        Some(Phase::Draining) => (false, "Draining"),
        Some(Phase::Rebooting) if operation.is_some_and(|operation| operation.is_in(StageKind::Reboot)) => {
            (false, "PodsRemaining")
        }
        Some(Phase::Rebooting) => (true, "Empty"),
        Some(Phase::Preparing | Phase::Verifying | Phase::Failed) | None => (false, "NotDraining"),
    };
    ConditionDraft {
        type_: "Drained",
        status: condition_status(yes),
        reason,
        message: String::new(),
    }
}

fn rebooted(status: &NodeRebootStatus, operation: Option<&Operation>) -> ConditionDraft {
    let fact = |status, reason, message: String| ConditionDraft {
        type_: "Rebooted",
        status,
        reason,
        message,
    };
    if let Some(operation) = operation {
        return match operation.rebooted {
            Some(_) => fact(
                "True",
                "BootIDChanged",
                format!("boot {} is over", operation.boot_id_before),
            ),
            None => fact(
                "False",
                "SameBoot",
                format!("still in boot {}", operation.boot_id_before),
            ),
        };
    }
    match &status.last_reboot {
        Some(last) => fact(
            "True",
            "BootIDChanged",
            format!("{} -> {}", last.boot_id_before, last.boot_id_after),
        ),
        None => fact(
            "False",
            "NeverRebooted",
            "Lockkeeper has not rebooted this node".to_owned(),
        ),
    }
}

fn healthy(node: &Node) -> ConditionDraft {
    let reason = if node.ready.ready { "NodeReady" } else { "NodeNotReady" };
    ConditionDraft {
        type_: "Healthy",
        status: condition_status(node.ready.ready),
        reason,
        message: node.ready.message.clone(),
    }
}

fn capable(node: &Node) -> ConditionDraft {
    let fact = |status, reason, message: &str| ConditionDraft {
        type_: "RebootCapable",
        status,
        reason,
        message: message.to_owned(),
    };
    match node.trusted_host() {
        None => fact("Unknown", "AgentMissing", "no agent reports from this boot"),
        Some(host) => match (&host.incapable, host.inhibitors.first()) {
            (Some(cause), _) => fact("False", "AgentIncapable", cause),
            (None, Some((who, why))) => fact("False", "Inhibited", &format!("shutdown inhibited by {who}: {why}")),
            (None, None) => fact("True", "AgentReady", ""),
        },
    }
}
