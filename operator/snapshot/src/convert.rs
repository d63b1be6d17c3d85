//! API types to the planner's values and back; nothing is decided here.

mod hooks;
mod operation;
mod overrides;
mod policy;

use chrono::TimeDelta;
use kube::ResourceExt;
use lockkeeper_crds as api;
use lockkeeper_crds::host::Cause;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_planner as planner;

pub use lockkeeper_kube_util::bounded;
pub use operation::{operation, operation_to_api, outcome_to_api, settings_of, workloads};
pub use overrides::{overridden_to_api, override_to_api};
use planner::Instant;
pub use policy::{limit, policy, policy_state, policy_state_to_api, schedule};

/// The longest verb of a command that a record keeps.
const MAX_VERB: usize = 32;

/// The longest operation ID that a record keeps.
const MAX_ID: usize = 64;

/// The agent's report, with its texts cleaned: a host that is compromised chooses them.
pub fn host(from: &api::HostReport) -> planner::Host {
    let incapable = (!from.reboot_capable).then(|| match from.reboot_capable_message.as_str() {
        "" => "it does not say why; look at its log".to_owned(),
        why => bounded(why, 1024),
    });
    planner::Host {
        boot_id: from.boot_id.clone().into(),
        boot_time: from.boot_time,
        soft_reboots: from.soft_reboots.map(|soft_reboots| planner::SoftReboots {
            count: soft_reboots.count,
            last: soft_reboots.last_time,
        }),
        kernel: bounded(&from.kernel, 256),
        required: from.reboot_required.required,
        userspace_only: from.reboot_required.userspace_only && from.reboot_required.failing.is_empty(),
        required_since: from.reboot_required.since,
        reasons: words(&from.reboot_required.reasons),
        incapable,
        reboot_allowed: from.reboot_allowed_time,
        confinement: confinement(from),
        inhibitors: from
            .inhibitors
            .iter()
            .map(|lock| (bounded(&lock.who, 256), bounded(&lock.why, 256)))
            .collect(),
        answer: from.order.as_ref().map(|answer| planner::HostAnswer {
            id: answer.id.clone(),
            state: match answer.state {
                api::OrderState::Ready => planner::AnswerState::Ready,
                api::OrderState::Refused => planner::AnswerState::Refused,
                api::OrderState::Rebooting => planner::AnswerState::Rebooting,
                api::OrderState::Failed => planner::AnswerState::Failed,
                api::OrderState::Withdrawn | api::OrderState::Unknown => planner::AnswerState::Withdrawn,
            },
            message: bounded(&answer.message, 1024),
        }),
    }
}

fn confinement(from: &api::HostReport) -> planner::Confinement {
    let message = |missing: &str| match from.confined_message.as_str() {
        "" => missing.to_owned(),
        message => message.to_owned(),
    };
    match from.confined {
        Some(true) => planner::Confinement::Confined,
        Some(false) => planner::Confinement::NotConfined(message("it does not say why; look at its log")),
        None => planner::Confinement::Unreported(message("upgrade the agent to the version of the operator")),
    }
}

/// The order in a spec; a word of a newer version is no order of ours.
pub fn order(from: &api::Order) -> Option<planner::Order> {
    let action = match from.action {
        api::OrderAction::Prepare => planner::OrderAction::Prepare,
        api::OrderAction::Reboot => planner::OrderAction::Reboot,
        api::OrderAction::Unknown => return None,
    };
    Some(planner::Order {
        id: from.id.clone(),
        action,
        boot_id: from.boot_id.clone().into(),
        method: method(from.method),
        soft_reboots: from.soft_reboots,
        not_after: from.not_after_time,
    })
}

/// The order as the agent reads it.
pub fn order_to_api(from: &planner::Order) -> api::Order {
    api::Order {
        id: from.id.clone(),
        action: match from.action {
            planner::OrderAction::Prepare => api::OrderAction::Prepare,
            planner::OrderAction::Reboot => api::OrderAction::Reboot,
        },
        boot_id: from.boot_id.to_string(),
        method: match from.method {
            planner::RebootMethod::Auto => api::RebootMethod::Auto,
            planner::RebootMethod::Reboot => api::RebootMethod::Reboot,
            planner::RebootMethod::SoftReboot => api::RebootMethod::SoftReboot,
            planner::RebootMethod::Kexec => api::RebootMethod::Kexec,
            planner::RebootMethod::External => api::RebootMethod::External,
        },
        soft_reboots: from.soft_reboots,
        not_after_time: from.not_after.map(whole_seconds),
    }
}

/// The lock.
pub fn lock(from: &api::RebootLock) -> planner::Lock {
    let holders = from.status.iter().flat_map(|status| &status.holders);
    planner::Lock {
        max_in_progress: from.spec.max_in_progress.as_ref().map(limit),
        holders: holders.map(holder).collect(),
        command: from.annotations().get(api::names::COMMAND).map(|text| command(text)),
    }
}

/// An entry of the lock.
pub fn holder(from: &api::Holder) -> planner::Holder {
    planner::Holder {
        node: from.node.clone(),
        node_uid: from.node_uid.clone(),
        policy: from.policy.clone().into(),
        operation_id: from.operation_id.clone(),
        acquired: from.acquired_time,
        reboot: from.reboot.as_ref().map(|reboot| planner::OrderedReboot {
            time: reboot.ordered_time,
            boot_id_before: reboot.boot_id_before.clone().into(),
            soft_reboots_before: reboot.soft_reboots_before,
            deadline: reboot.deadline_time,
        }),
    }
}

/// An entry of the lock as it is written.
pub fn holder_to_api(from: &planner::Holder) -> api::Holder {
    api::Holder {
        node: from.node.clone(),
        node_uid: from.node_uid.clone(),
        policy: from.policy.to_string(),
        operation_id: from.operation_id.clone(),
        acquired_time: whole_seconds(from.acquired),
        reboot: from.reboot.as_ref().map(|reboot| api::OrderedReboot {
            ordered_time: whole_seconds(reboot.time),
            boot_id_before: reboot.boot_id_before.to_string(),
            soft_reboots_before: reboot.soft_reboots_before,
            deadline_time: whole_seconds(reboot.deadline),
        }),
    }
}

/// A value of a newer version must not reboot a host in a way that is not meant: such a node waits.
fn method(from: api::RebootMethod) -> planner::RebootMethod {
    match from {
        api::RebootMethod::Auto => planner::RebootMethod::Auto,
        api::RebootMethod::Reboot => planner::RebootMethod::Reboot,
        api::RebootMethod::SoftReboot => planner::RebootMethod::SoftReboot,
        api::RebootMethod::Kexec => planner::RebootMethod::Kexec,
        api::RebootMethod::External | api::RebootMethod::Unknown => planner::RebootMethod::External,
    }
}

/// A command annotation: `<verb> <operation id>`, each as long as a record keeps it, so that a command and its answer
/// compare equal however long the annotation is.
pub fn command(text: &str) -> planner::Command {
    let (verb, operation_id) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    planner::Command {
        verb: bounded(verb, MAX_VERB),
        operation_id: bounded(operation_id, MAX_ID),
    }
}

/// The answer to a command as a record keeps it.
pub fn answered_command(command: &planner::Command, result: &str, message: &str, time: Instant) -> api::LastCommand {
    api::LastCommand {
        verb: bounded(&command.verb, MAX_VERB),
        operation_id: bounded(&command.operation_id, MAX_ID),
        time: whole_seconds(time),
        result: result.to_owned(),
        message: bounded(message, 1024),
    }
}

/// Texts as the API bounds them.
pub fn causes(from: &[String]) -> Vec<Cause> {
    from.iter().take(33).map(|text| Cause(bounded(text, 256))).collect()
}

/// The words of a person or of a kubelet, cleaned and as long as a record keeps them, so that those recorded and those on
/// the Node compare equal.
pub(crate) fn word(text: &str) -> String {
    bounded(text, 1024)
}

/// Causes as plain texts, cleaned.
pub fn words(from: &[Cause]) -> Vec<String> {
    from.iter().map(|cause| bounded(&cause.0, 256)).collect()
}

fn seconds(count: i32) -> TimeDelta {
    TimeDelta::seconds(count.into())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lockkeeper_planner::Confinement;

    use super::*;

    fn reported(confined: Option<bool>, message: &str) -> Confinement {
        let report = api::HostReport {
            confined,
            confined_message: message.to_owned(),
            ..api::HostReport::default()
        };
        host(&report).confinement
    }

    #[test]
    fn an_agent_that_does_not_say_whether_it_is_confined_is_not_taken_for_one_that_is() {
        let older = "upgrade the agent to the version of the operator".to_owned();
        assert_eq!(reported(None, ""), Confinement::Unreported(older));
        assert_eq!(
            reported(None, "no answer"),
            Confinement::Unreported("no answer".to_owned())
        );
        assert_eq!(
            reported(Some(false), "no binding"),
            Confinement::NotConfined("no binding".to_owned())
        );
        assert_eq!(reported(Some(true), ""), Confinement::Confined);
    }

    #[test]
    fn an_order_is_the_same_after_it_was_written_and_read() {
        let ordered = planner::Order {
            id: "7f3c-0".to_owned(),
            action: planner::OrderAction::Reboot,
            boot_id: "b-1".into(),
            method: planner::RebootMethod::SoftReboot,
            soft_reboots: Some(1),
            not_after: DateTime::from_timestamp(1_800_000_000, 0),
        };
        assert_eq!(order(&order_to_api(&ordered)), Some(ordered));
    }
}
