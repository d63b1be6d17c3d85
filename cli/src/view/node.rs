//! One node: its state, the reason it waits for, and which action is required.

use chrono::{DateTime, Utc};
use lockkeeper_crds::condition::{self, Condition};
use lockkeeper_crds::{NodeReboot, NodeRebootStatus, NodeState, Operation};
use serde::Serialize;

use super::action_required::{ActionRequired, Reason};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) state: NodeState,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
    /// Since when it is in this phase, or waits for this reason.
    pub(crate) since_time: Option<DateTime<Utc>>,
    pub(crate) until_time: Option<DateTime<Utc>>,
    #[serde(rename = "operationID")]
    pub(crate) operation_id: Option<String>,
    pub(crate) action_required: ActionRequired,
}

impl NodeView {
    /// The operator uncordons a node before it removes the operation, so a node without one has no cordon of ours.
    pub(crate) fn is_done(&self) -> bool {
        self.state == NodeState::UpToDate && self.operation_id.is_none()
    }
}

/// Concludes what a `NodeReboot` means; a node without a state of the operator is `Unknown`.
pub(crate) fn node_view(name: &str, reboot: &NodeReboot) -> NodeView {
    let status = reboot.status.as_ref();
    let reported = status.and_then(|status| status.state);
    let state = reported.unwrap_or(NodeState::Unknown);
    let operation = status.and_then(|status| status.operation.as_ref());
    let waiting = status.and_then(|status| status.waiting.as_ref());
    let reason = waiting.map(|waiting| Reason::parse(&waiting.reason));
    let failure = operation.and_then(|operation| operation.failure.as_ref());
    let message = match (waiting, failure) {
        (Some(waiting), _) => waiting.message.clone(),
        (None, Some(failure)) => failure.message.clone(),
        (None, None) if reported.is_none() => NOT_REPORTED.to_owned(),
        (None, None) => status
            .and_then(unknown_cause)
            .unwrap_or_else(|| activity(state).to_owned()),
    };
    let entered = operation.and_then(|operation| entered(state, operation));
    NodeView {
        name: name.to_owned(),
        state,
        message,
        since_time: entered.or(waiting.map(|waiting| waiting.since_time)),
        until_time: waiting.and_then(|waiting| waiting.until_time),
        operation_id: operation.map(|operation| operation.id.clone()),
        action_required: action_required(state, reason.as_ref(), reported.is_some()),
        reason,
    }
}

fn action_required(state: NodeState, reason: Option<&Reason>, is_reported: bool) -> ActionRequired {
    match (state, reason) {
        (NodeState::UpToDate, _) => ActionRequired::None,
        (NodeState::Failed, _) => ActionRequired::Repair,
        (NodeState::Unknown, None) if is_reported => ActionRequired::Manual,
        (NodeState::Unknown, None) => ActionRequired::Wait,
        (
            NodeState::Pending
            | NodeState::Preparing
            | NodeState::Draining
            | NodeState::Rebooting
            | NodeState::Verifying
            | NodeState::Unknown,
            reason,
        ) => reason.map_or(ActionRequired::None, ActionRequired::from),
    }
}

/// The message of a node that the operator has no state for.
pub(crate) const NOT_REPORTED: &str = "the operator has not reported a state for this node yet";

/// When an operation entered the phase that `state` names.
fn entered(state: NodeState, operation: &Operation) -> Option<DateTime<Utc>> {
    match state {
        NodeState::UpToDate | NodeState::Pending | NodeState::Unknown => None,
        NodeState::Preparing => operation.asked_time.or(Some(operation.started_time)),
        NodeState::Draining => operation.cordoned_time.or(operation.asked_time),
        NodeState::Rebooting => operation.reboot_ordered_time,
        NodeState::Verifying => operation.rebooted_time,
        NodeState::Failed => operation.failure.as_ref().map(|failure| failure.time),
    }
}

/// Why it is not known whether a reboot is required, as far as the agent has reported it or the operator has observed it.
fn unknown_cause(status: &NodeRebootStatus) -> Option<String> {
    if status.state != Some(NodeState::Unknown) {
        return None;
    }
    if let Some(condition) = reboot_required(status).filter(|condition| condition.status == "Unknown") {
        return Some(format!("{}: {}", activity(NodeState::Unknown), condition.message));
    }
    let failing = &status.host.as_ref()?.reboot_required.failing;
    let failing: Vec<&str> = failing.iter().map(|cause| cause.0.as_str()).collect();
    (!failing.is_empty()).then(|| format!("{}: {}", activity(NodeState::Unknown), failing.join("; ")))
}

/// Whether nothing is known about a node because it is not Ready, rather than because of its agent.
pub(crate) fn is_lost(status: &NodeRebootStatus) -> bool {
    status.state == Some(NodeState::Unknown)
        && reboot_required(status).is_some_and(|condition| condition.reason == "NodeNotReady")
}

fn reboot_required(status: &NodeRebootStatus) -> Option<&Condition> {
    condition::find(&status.conditions, "RebootRequired")
}

/// The message of a state that comes without a reason of its own.
pub(crate) fn activity(state: NodeState) -> &'static str {
    match state {
        NodeState::UpToDate => "no reboot is required",
        NodeState::Pending => "a reboot is required",
        NodeState::Preparing => "waiting for the node agent to respond",
        NodeState::Draining => "its pods are being evicted",
        NodeState::Rebooting => "its reboot is ordered",
        NodeState::Verifying => "rebooted; its health is being verified",
        NodeState::Failed => "the operation failed; check the node",
        NodeState::Unknown => "it is not known whether a reboot is required",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::reboot;

    #[test]
    fn a_node_whose_detectors_fail_is_unknown_and_not_done() {
        let report = json!({"rebootCapable": true, "rebootRequired": {"required": false, "failing": ["apt: exit 3"]}});
        let view = node_view("w-01", &reboot("w-01", json!({"state": "Unknown", "host": report})));
        assert_eq!(
            view.message,
            "it is not known whether a reboot is required: apt: exit 3"
        );
        assert_eq!(view.action_required, ActionRequired::Manual);
        assert!(!view.is_done());
        assert_eq!(serde_json::to_value(&view).unwrap()["state"], "Unknown");
    }

    #[test]
    fn a_node_without_a_state_of_the_operator_is_unknown() {
        let view = node_view("w-01", &reboot("w-01", json!({})));
        assert_eq!((view.state, view.message.as_str()), (NodeState::Unknown, NOT_REPORTED));
        assert_eq!(view.action_required, ActionRequired::Wait);
        assert!(!view.is_done());
    }

    #[test]
    fn a_wait_reason_of_a_newer_version_is_shown_as_it_is() {
        let waiting = json!({"reason": "PhaseOfMoon", "message": "waiting for the new moon",
            "sinceTime": "2026-11-24T22:00:00Z"});
        let view = node_view("w-01", &reboot("w-01", json!({"state": "Pending", "waiting": waiting})));
        assert_eq!(view.action_required, ActionRequired::Wait);
        assert_eq!(serde_json::to_value(&view).unwrap()["reason"], "PhaseOfMoon");
    }
}
