//! The status of one node: what follows from what was observed and decided.

use chrono::{DateTime, Utc};
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{DeletionTaint, NodeReboot, NodeRebootStatus, WaitingStatus};
use lockkeeper_planner::{Deletion, Drain, Node, Operation, Phase, StageKind, WaitReason, is_ahead};
use lockkeeper_snapshot::convert::bounded;

use super::condition::ConditionDraft;
use super::node_conditions::{
    agent_confined, cordoned, drained, healthy, hold_invalid, reboot_capable, reboot_required, rebooted,
};
use super::node_state;

/// Sets what follows from the rest of the status: state, wait reason and conditions. What is the same keeps its times.
pub fn apply_derived_status(
    status: &mut NodeRebootStatus,
    seen: &NodeReboot,
    node: &Node,
    operation: Option<&Operation>,
    waiting: Option<&WaitReason>,
    now: DateTime<Utc>,
) {
    let phase = operation.map(|operation| operation.phase);
    status.state = Some(node_state(node, phase, waiting.is_some(), failing_detectors(seen)));
    status.waiting = waiting.map(|waiting| waiting_status(waiting, status.waiting.as_ref(), now));
    status.deletion_taint = deletion_taint(node, status.deletion_taint.as_ref(), now);
    let last = status.last_reboot.as_ref();
    let always = [
        required(node, seen),
        cordoned(node.unschedulable, node.cordoned_for.as_deref()),
        drained(
            phase,
            matches!(node.drain, Drain::Done { .. }),
            operation.is_some_and(|operation| operation.is_in(StageKind::Reboot)),
        ),
        rebooted(
            operation.map(|operation| {
                let after = operation.rebooted.map(|_| node.boot_id.as_str());
                (operation.boot_id_before.as_str(), after)
            }),
            last.map(|last| (last.boot_id_before.as_str(), last.boot_id_after.as_str())),
        ),
        healthy(&node.ready, operation.is_some_and(reboots)),
        reboot_capable(node.trusted_host()),
        agent_confined(node.trusted_host()),
    ];
    let hold = node.hold.as_ref().and_then(|hold| hold.invalid_until.as_deref());
    let before = std::mem::take(&mut status.conditions);
    let drafts = always.into_iter().chain(hold.map(hold_invalid));
    status.conditions = drafts
        .map(|draft| draft.into_condition(&before, seen.metadata.generation, now))
        .collect();
}

/// Whether the host goes down for the order that it has: another system may take its time.
fn reboots(operation: &Operation) -> bool {
    let by_agent = operation.settings.method.needs_agent();
    operation.phase == Phase::Rebooting && operation.refused.is_none() && by_agent
}

/// The message of a wait reason, cut to the length that the API allows.
pub fn wait_message(waiting: &WaitReason) -> String {
    bounded(&waiting.to_string(), 2048)
}

/// The wait reason as a status has it; the same reason keeps its time.
pub fn waiting_status(waiting: &WaitReason, before: Option<&WaitingStatus>, now: DateTime<Utc>) -> WaitingStatus {
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

/// The taint that marks the node for deletion, with the time at which it was first observed.
fn deletion_taint(node: &Node, before: Option<&DeletionTaint>, now: DateTime<Utc>) -> Option<DeletionTaint> {
    match &node.deletion {
        Some(Deletion::Tainted { taint, .. }) => {
            let known = before.filter(|before| before.key == *taint && !is_ahead(before.first_seen_time, now));
            Some(DeletionTaint {
                key: taint.clone(),
                first_seen_time: known.map_or_else(|| whole_seconds(now), |known| known.first_seen_time),
            })
        }
        Some(Deletion::InProgress { .. }) | None => None,
    }
}

/// The detectors that the agent of a node cannot read, each with the error.
pub fn failing_detectors(reboot: &NodeReboot) -> &[Cause] {
    let host = reboot.status.as_ref().and_then(|status| status.host.as_ref());
    host.map_or(&[], |host| &host.reboot_required.failing)
}

/// Whether the node requires a reboot, and why.
pub fn required(node: &Node, seen: &NodeReboot) -> ConditionDraft {
    reboot_required(
        node.requested.as_deref(),
        node.trusted_host(),
        failing_detectors(seen),
        &node.ready,
    )
}
