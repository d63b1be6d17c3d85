//! What the operator does next, and what a person can do about a node.

use lockkeeper_crds::reasons::{Installation, ReasonName};
use lockkeeper_crds::{NodeRebootStatus, NodeState, OnDeadline};

use crate::clock::DisplayClock;
use crate::view::NodeView;

/// The next step of the operator, with the deadline that it has published.
pub(crate) fn next_step(view: &NodeView, status: &NodeRebootStatus, clock: &DisplayClock) -> Option<String> {
    match view.state {
        NodeState::UpToDate | NodeState::Unknown => None,
        NodeState::Pending => view
            .until_time
            .map(|time| format!("checked again at {}", clock.time_and_remaining(time))),
        NodeState::Failed => Some("no automatic action; it keeps its slot until you run retry or release".to_owned()),
        NodeState::Preparing | NodeState::Draining | NodeState::Rebooting | NodeState::Verifying => {
            let operation = status.operation.as_ref();
            let deadline = operation.and_then(|operation| {
                let time = clock.time_and_remaining(operation.deadline_time?);
                let on_deadline = operation.on_deadline?;
                Some(match &operation.hook {
                    Some(hook) => at_hook_deadline(view.state, &hook.name, on_deadline, &time),
                    None => at_deadline(view.state, on_deadline, &time),
                })
            });
            let is_uncordoned = operation.is_some_and(|operation| operation.on_deadline == Some(OnDeadline::Finish));
            let goal = if is_uncordoned {
                Some(GOAL_AFTER_UNCORDON)
            } else {
                goal(view.state)
            };
            match (goal, deadline) {
                (Some(goal), Some(deadline)) => Some(format!("{goal}; {deadline}")),
                (goal, deadline) => goal.map(str::to_owned).or(deadline),
            }
        }
    }
}

/// What follows once a rebooted node is uncordoned.
pub(crate) const GOAL_AFTER_UNCORDON: &str = "its slot is freed once the workloads that it evicted are ready again";

/// What follows the present phase if nothing goes wrong.
pub(crate) fn goal(state: NodeState) -> Option<&'static str> {
    match state {
        NodeState::Preparing => Some("it is cordoned and drained once the node agent responds"),
        NodeState::Draining => Some("it reboots once it is drained"),
        NodeState::Rebooting => Some("it is verified once it has rebooted"),
        NodeState::Verifying => Some("it is uncordoned once it is healthy"),
        NodeState::UpToDate | NodeState::Pending | NodeState::Failed | NodeState::Unknown => None,
    }
}

/// What the operator does if the present phase is not over at `time`.
pub(crate) fn at_deadline(state: NodeState, on_deadline: OnDeadline, time: &str) -> String {
    let unfinished = match state {
        NodeState::Preparing => "if the agent has not responded by",
        NodeState::Draining => "if the drain has not finished by",
        NodeState::Verifying if on_deadline == OnDeadline::Finish => "if its evicted workloads are not ready by",
        NodeState::Rebooting | NodeState::Verifying => "if it is not back and healthy by",
        NodeState::UpToDate | NodeState::Pending | NodeState::Failed | NodeState::Unknown => "otherwise, at",
    };
    format!("{unfinished} {time}, {}", consequence(state, on_deadline))
}

/// What the operator does if a hook has not ended at `time`.
pub(crate) fn at_hook_deadline(state: NodeState, hook: &str, on_deadline: OnDeadline, time: &str) -> String {
    format!(
        "if hook {hook} has not ended by {time}, {}",
        consequence(state, on_deadline)
    )
}

fn consequence(state: NodeState, on_deadline: OnDeadline) -> &'static str {
    match on_deadline {
        OnDeadline::Defer if state == NodeState::Preparing => "the operation is deferred and retried later",
        OnDeadline::Defer => "the node is uncordoned and retried later",
        OnDeadline::Delete => {
            "the remaining pods are deleted regardless of disruption budgets if a window is open then"
        }
        OnDeadline::Reboot => "it reboots with the remaining pods if a window is open then",
        OnDeadline::Fail => "the operation fails and the node keeps its slot",
        OnDeadline::Finish => "the operation ends and its history names what is not ready",
        OnDeadline::Continue => "the operation continues without it",
        OnDeadline::Unknown => "the operator does something that only a newer version of this plugin knows",
    }
}

/// What a person can do about a node that is not Ready and whose last report may be outdated.
pub(crate) fn bring_back(node: &str) -> String {
    format!("bring {node} back, or, if it will not return, delete its Node: kubectl delete node {node}")
}

/// What a person can do in this state, whatever the wait reason is.
pub(crate) fn manual_step(state: NodeState, node: &str, installation: &Installation) -> Option<String> {
    match state {
        NodeState::UpToDate => Some(format!(
            "request a reboot: kubectl annotate node {node} lockkeeper.dev/reboot-requested='<reason>'"
        )),
        NodeState::Preparing | NodeState::Draining => {
            Some(format!("cancel the operation: kubectl lockkeeper cancel {node}"))
        }
        NodeState::Failed => ReasonName::Failed.advice(node, "", installation),
        NodeState::Unknown => Some(installation.check_agent(node)),
        NodeState::Pending | NodeState::Rebooting | NodeState::Verifying => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deadline_shows_what_the_operator_does_then() {
        let texts = [
            (NodeState::Preparing, OnDeadline::Defer),
            (NodeState::Draining, OnDeadline::Defer),
            (NodeState::Draining, OnDeadline::Delete),
            (NodeState::Draining, OnDeadline::Reboot),
            (NodeState::Verifying, OnDeadline::Fail),
            (NodeState::Verifying, OnDeadline::Finish),
        ]
        .map(|(state, on_deadline)| at_deadline(state, on_deadline, "22:19 (in 11 min)") + "\n");
        expect_test::expect![[r#"
            if the agent has not responded by 22:19 (in 11 min), the operation is deferred and retried later
            if the drain has not finished by 22:19 (in 11 min), the node is uncordoned and retried later
            if the drain has not finished by 22:19 (in 11 min), the remaining pods are deleted regardless of disruption budgets if a window is open then
            if the drain has not finished by 22:19 (in 11 min), it reboots with the remaining pods if a window is open then
            if it is not back and healthy by 22:19 (in 11 min), the operation fails and the node keeps its slot
            if its evicted workloads are not ready by 22:19 (in 11 min), the operation ends and its history names what is not ready
        "#]]
        .assert_eq(&texts.concat());
    }
}
