//! The conditions of a `NodeReboot`.

use lockkeeper_crds::host::Cause;
use lockkeeper_crds::names;
use lockkeeper_planner::{Confinement, Host, Phase, Ready};
use lockkeeper_snapshot::convert::bounded;

use super::condition::{ConditionDraft, ConditionReason as Reason, ConditionStatus as Status, ConditionType as Type};

const NO_REPORT: &str = "no node agent has reported from this boot";

/// Whether the node requires a reboot: because a person `requested` it, or by the report of its agent.
///
/// The report of a node that is not Ready may be outdated, so that it shows only that a reboot was required.
pub(super) fn reboot_required(
    requested: Option<&str>,
    host: Option<&Host>,
    failing: &[Cause],
    ready: &Ready,
) -> ConditionDraft {
    let draft = |status, reason, message: String| ConditionDraft::new(Type::RebootRequired, status, reason, message);
    if let Some(value) = requested {
        return draft(Status::True, Reason::Requested, format!("requested manually: {value}"));
    }
    match host {
        None => draft(Status::Unknown, Reason::AgentMissing, NO_REPORT.to_owned()),
        Some(host) if host.required && host.reasons.is_empty() => {
            let message = "the host requires a reboot".to_owned();
            draft(Status::True, Reason::RequiredByHost, message)
        }
        Some(host) if host.required => draft(Status::True, Reason::RequiredByHost, host.reasons.join(", ")),
        Some(_) if !failing.is_empty() => {
            let failing: Vec<&str> = failing.iter().map(|cause| cause.0.as_str()).collect();
            draft(Status::Unknown, Reason::DetectorFailing, failing.join("; "))
        }
        Some(_) if !ready.ready => {
            let message = format!(
                "the node is not Ready, so the last report of its agent may be outdated ({})",
                ready.message
            );
            draft(Status::Unknown, Reason::NodeNotReady, message)
        }
        Some(_) => {
            let message = "no reboot is required".to_owned();
            draft(Status::False, Reason::NothingPending, message)
        }
    }
}

/// Whether the node is cordoned, and by whom.
pub(super) fn cordoned(unschedulable: bool, operation: Option<&str>) -> ConditionDraft {
    let (reason, message) = match (unschedulable, operation) {
        (true, Some(operation)) => (Reason::ByLockkeeper, format!("cordoned for operation {operation}")),
        (true, None) => (Reason::ByOther, "not cordoned by Lockkeeper".to_owned()),
        (false, _) => (Reason::Schedulable, String::new()),
    };
    ConditionDraft::new(Type::Cordoned, unschedulable, reason, message)
}

/// Whether the node is drained.
pub(super) fn drained(phase: Option<Phase>, is_done: bool, reboots_with_pods: bool) -> ConditionDraft {
    let (status, reason) = match phase {
        Some(Phase::Draining) if is_done => (true, Reason::Drained),
        Some(Phase::Draining) => (false, Reason::Draining),
        Some(Phase::Rebooting) if reboots_with_pods => (false, Reason::PodsRemaining),
        Some(Phase::Rebooting) => (true, Reason::Drained),
        Some(Phase::Preparing | Phase::Verifying | Phase::Failed) | None => (false, Reason::NotDraining),
    };
    ConditionDraft::new(Type::Drained, status, reason, "")
}

/// Whether the operation in progress (its boot ID before, and the one after if it rebooted), or else the last reboot (the boot
/// IDs before and after), rebooted the node. After a soft-reboot they are the same.
pub(super) fn rebooted(operation: Option<(&str, Option<&str>)>, last: Option<(&str, &str)>) -> ConditionDraft {
    let draft = |status: bool, reason, message: String| ConditionDraft::new(Type::Rebooted, status, reason, message);
    match (operation, last) {
        (Some((before, Some(after))), _) | (None, Some((before, after))) if before == after => draft(
            true,
            Reason::SoftRebooted,
            format!("soft-rebooted; the boot ID is still {before}"),
        ),
        (Some((before, Some(_))), _) => draft(true, Reason::BootIDChanged, format!("boot ID changed (was {before})")),
        (Some((before, None)), _) => draft(false, Reason::SameBoot, format!("the boot ID is still {before}")),
        (None, Some((before, after))) => {
            let message = format!("boot ID changed from {before} to {after}");
            draft(true, Reason::BootIDChanged, message)
        }
        (None, None) => {
            let message = "Lockkeeper has not rebooted this node".to_owned();
            draft(false, Reason::NeverRebooted, message)
        }
    }
}

/// Whether the Node is Ready. One whose reboot is ordered is not, from the order on: it is not worth a write when that shows.
pub(super) fn healthy(ready: &Ready, reboots: bool) -> ConditionDraft {
    if reboots {
        return ConditionDraft::new(Type::Healthy, false, Reason::Rebooting, "the host reboots");
    }
    let reason = if ready.ready {
        Reason::NodeReady
    } else {
        Reason::NodeNotReady
    };
    ConditionDraft::new(Type::Healthy, ready.ready, reason, ready.message.as_str())
}

/// Whether the agent could reboot the host now.
pub(super) fn reboot_capable(host: Option<&Host>) -> ConditionDraft {
    let draft = |status, reason, message: String| ConditionDraft::new(Type::RebootCapable, status, reason, message);
    let Some(host) = host else {
        return draft(Status::Unknown, Reason::AgentMissing, NO_REPORT.to_owned());
    };
    match (&host.incapable, host.inhibitors.first()) {
        (Some(cause), _) => draft(Status::False, Reason::AgentIncapable, cause.clone()),
        (None, Some((who, why))) => {
            let message = format!("shutdown inhibited by {who}: {why}");
            draft(Status::False, Reason::Inhibited, message)
        }
        (None, None) => draft(Status::True, Reason::AgentReady, String::new()),
    }
}

/// Whether the agent can write the report of its own node only.
pub(super) fn agent_confined(host: Option<&Host>) -> ConditionDraft {
    let draft = |status, reason, message: &str| ConditionDraft::new(Type::AgentConfined, status, reason, message);
    match host.map(|host| &host.confinement) {
        None => draft(Status::Unknown, Reason::AgentMissing, NO_REPORT),
        Some(Confinement::Confined) => draft(Status::True, Reason::Confined, ""),
        Some(Confinement::NotConfined(cause)) => draft(Status::False, Reason::NotConfined, cause),
        Some(Confinement::Unreported(cause)) => draft(Status::Unknown, Reason::NotReported, cause),
    }
}

/// The end of a hold cannot be read; the node stays held.
pub(super) fn hold_invalid(until: &str) -> ConditionDraft {
    let message = format!(
        "annotation {}=\"{}\" is not an RFC 3339 time; the node stays on hold until the annotation is fixed or {} is removed",
        names::HOLD_UNTIL,
        bounded(until, 64),
        names::HOLD,
    );
    ConditionDraft::new(Type::HoldInvalid, Status::True, Reason::InvalidTime, message)
}
