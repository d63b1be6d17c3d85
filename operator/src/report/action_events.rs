//! What an action that was carried out means to people: a log line, Events, counters.

use lockkeeper_planner::{
    Action, Change, Finished, Instant, Operation, Outcome, Phase, RecordChange, StageKind, WaitReason,
};
use lockkeeper_reasons::format_duration;

use crate::metrics::Metrics;
use crate::report::event_recorder::Severity;

/// An action in words, for the log.
pub(super) fn describe(action: &Action) -> String {
    match action {
        Action::CreateLock => "made the lock".to_owned(),
        Action::CreateRecord { .. } => "made the NodeReboot".to_owned(),
        Action::SetHolders { holders, because } => {
            let inside: Vec<&str> = holders.iter().map(|holder| holder.node.as_str()).collect();
            format!("inside now: [{}]; {because}", inside.join(", "))
        }
        Action::WriteRecord { change, .. } => describe_change(change),
        Action::SetSpec { order, policy, .. } => match order {
            Some(order) => format!("order {} {:?}", order.id, order.action),
            None => format!("no order; policy {}", policy.as_deref().unwrap_or("none")),
        },
        Action::OrderReboot { order, .. } => format!("order {} Reboot, to leave boot {}", order.id, order.boot_id),
        Action::Cordon { operation_id, .. } => format!("cordoned for operation {operation_id}"),
        Action::Uncordon { keep_cordon: true, .. } => "our marks are lifted; held, so it stays cordoned".to_owned(),
        Action::Uncordon { .. } => "our marks are lifted".to_owned(),
        Action::AddTaint { taint, .. } => format!("tainted: {taint:?}"),
        Action::RemoveTaint { taint, .. } => format!("the taint is gone: {taint:?}"),
        Action::RemoveCommand { command, .. } => format!("{} was answered", command.verb),
        Action::RemoveRequest { value, .. } => format!("the request \"{value}\" is fulfilled"),
        Action::RemoveApproval { value, .. } => format!("the approval \"{value}\" was made use of"),
    }
}

fn describe_change(change: &RecordChange) -> String {
    if let Some(finished) = &change.finished {
        return format!(
            "operation {} ended: {:?} {}",
            finished.operation.id, finished.outcome, finished.message
        );
    }
    if let Some((command, said)) = &change.answered_command {
        let (Ok(answer) | Err(answer)) = said;
        return format!("{} by a person: {answer}", command.verb);
    }
    match &change.operation {
        Change::Set(Some(operation)) => match (&operation.pending_outcome, &operation.failure) {
            (Some(pending_outcome), _) => format!(
                "operation {} ends: {:?} {}",
                operation.id, pending_outcome.outcome, pending_outcome.message
            ),
            (None, Some(failure)) => format!("operation {} failed: {}", operation.id, failure.message),
            (None, None) => format!("operation {} is {:?}", operation.id, operation.phase),
        },
        Change::Set(None) | Change::Keep => "record changed".to_owned(),
    }
}

type Event = (Severity, &'static str, String);

/// The Events about the node that an action is worth.
pub(super) fn events(action: &Action) -> Vec<Event> {
    match action {
        Action::WriteRecord { change, .. } => record_events(change).into_iter().collect(),
        Action::Uncordon { keep_cordon, .. } => {
            let note = if *keep_cordon {
                "our marks are lifted; held, so it stays cordoned"
            } else {
                "our marks are lifted"
            };
            vec![(Severity::Normal, "Uncordoned", note.to_owned())]
        }
        Action::CreateLock
        | Action::CreateRecord { .. }
        | Action::SetHolders { .. }
        | Action::SetSpec { .. }
        | Action::OrderReboot { .. }
        | Action::Cordon { .. }
        | Action::AddTaint { .. }
        | Action::RemoveTaint { .. }
        | Action::RemoveCommand { .. }
        | Action::RemoveRequest { .. }
        | Action::RemoveApproval { .. } => vec![],
    }
}

fn record_events(change: &RecordChange) -> Option<Event> {
    if let Some(finished) = &change.finished {
        return Some(finished_event(finished));
    }
    if let Some((command, said)) = &change.answered_command {
        return Some(match said {
            Ok(answer) => (
                Severity::Normal,
                "CommandAccepted",
                format!("{}: {answer}", command.verb),
            ),
            Err(answer) => (
                Severity::Warning,
                "CommandRefused",
                format!("{}: {answer}", command.verb),
            ),
        });
    }
    let Change::Set(Some(operation)) = &change.operation else {
        return None;
    };
    // How it ends is said once it has ended.
    if operation.pending_outcome.is_some() {
        return None;
    }
    Some(phase_event(operation))
}

fn phase_event(operation: &Operation) -> Event {
    let seconds =
        |from: Option<Instant>, to: Option<Instant>| from.zip(to).map_or(0, |(from, to)| (to - from).num_seconds());
    match operation.phase {
        Phase::Preparing => {
            let why = operation.reasons.join(", ");
            let note = format!(
                "slot taken under policy {} (operation {}): {why}",
                operation.policy, operation.id
            );
            (Severity::Normal, "LockAcquired", note)
        }
        Phase::Draining => drain_event(operation),
        Phase::Rebooting => {
            let took = seconds(operation.cordoned, operation.reboot_ordered);
            let note = format!(
                "drained in {took} s, {} pods moved; the reboot is ordered",
                operation.pods_moved
            );
            (Severity::Normal, "RebootOrdered", note)
        }
        Phase::Verifying => {
            let took = seconds(operation.reboot_ordered, operation.rebooted);
            (
                Severity::Normal,
                "NodeRebooted",
                format!("a new boot was seen {took} s after the order"),
            )
        }
        Phase::Failed => {
            let note = operation
                .failure
                .as_ref()
                .map(|failure| failure.message.clone())
                .unwrap_or_default();
            (Severity::Warning, "Failed", note)
        }
    }
}

/// The drain begins, or goes over to what the policy wants after its time-out: said before it acts.
fn drain_event(operation: &Operation) -> Event {
    let timeout = format_duration(operation.settings.drain_timeout);
    match operation.stage.map(|stage| stage.kind) {
        None => (
            Severity::Normal,
            "Cordoned",
            format!("cordoned for operation {}", operation.id),
        ),
        Some(StageKind::Delete) => (
            Severity::Warning,
            "DrainTimedOut",
            format!("not empty after {timeout}: what is left is deleted past its budgets (drain.onTimeout is Delete)"),
        ),
        Some(StageKind::Reboot) => (
            Severity::Warning,
            "DrainTimedOut",
            format!("not empty after {timeout}: rebooted with the pods that are left (drain.onTimeout is Reboot)"),
        ),
    }
}

fn finished_event(finished: &Finished) -> Event {
    let note = finished.message.clone();
    match finished.outcome {
        Outcome::Succeeded => {
            let took = (finished.time - finished.operation.started).num_seconds();
            let (before, after) = (&finished.operation.kernel_before, &finished.kernel_after);
            let kernel = if before == after {
                format!("kernel {after}")
            } else {
                format!("kernel {before} -> {after}")
            };
            (
                Severity::Normal,
                "RebootSucceeded",
                format!("rebooted and back in {took} s; {kernel}"),
            )
        }
        Outcome::Deferred => (Severity::Warning, "Deferred", note),
        Outcome::Withdrawn => (Severity::Normal, "Withdrawn", note),
        Outcome::Held => (Severity::Normal, "Held", note),
        Outcome::Released => (Severity::Warning, "Released", note),
    }
}

/// Counts what ended.
pub(super) fn count(metrics: &Metrics, action: &Action) {
    let Action::WriteRecord { change, .. } = action else {
        return;
    };
    let Some(finished) = &change.finished else { return };
    let operation = &finished.operation;
    metrics.count_reboot(&operation.policy, outcome(finished.outcome));
    let seconds = |from: Option<Instant>, to: Option<Instant>| Some((to? - from?).as_seconds_f64());
    if let Some(drained) = seconds(operation.cordoned, operation.reboot_ordered) {
        metrics.observe_drain(&operation.policy, drained);
    }
    if let Some(down) = seconds(operation.reboot_ordered, operation.rebooted) {
        metrics.observe_down(&operation.policy, down);
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "Succeeded",
        Outcome::Deferred => "Deferred",
        Outcome::Withdrawn => "Withdrawn",
        Outcome::Held => "Held",
        Outcome::Released => "Released",
    }
}

/// Whether a person should look at a waiting reason, by the table of the design.
pub(super) fn severity(waiting: &WaitReason) -> Severity {
    match waiting {
        WaitReason::PolicyConflict { .. }
        | WaitReason::AgentMissing { .. }
        | WaitReason::AgentIncapable { .. }
        | WaitReason::AgentNotAnswering { .. }
        | WaitReason::Inhibited { .. }
        | WaitReason::BreakerOpen { .. }
        | WaitReason::TooManyUnavailable { .. }
        | WaitReason::Uncordoned
        | WaitReason::StillRequired { .. }
        | WaitReason::BackingOff { .. }
        | WaitReason::PreflightBlocked { .. }
        | WaitReason::EvictionBlocked { .. }
        | WaitReason::PodStuck { .. }
        | WaitReason::Failed { .. } => Severity::Warning,
        WaitReason::ViewIncomplete { .. }
        | WaitReason::NoPolicy
        | WaitReason::Suspended { .. }
        | WaitReason::AwaitingApproval { .. }
        | WaitReason::Excluded { .. }
        | WaitReason::DoesNotFitWindow { .. }
        | WaitReason::CanarySoaking { .. }
        | WaitReason::TopologyFull { .. }
        | WaitReason::Pacing { .. }
        | WaitReason::LoadBalancerDelay { .. }
        | WaitReason::PodRunning { .. }
        | WaitReason::VolumesAttached { .. }
        | WaitReason::Held { .. }
        | WaitReason::OutsideWindow { .. }
        | WaitReason::NoFreeSlot { .. }
        | WaitReason::Preparing { .. }
        | WaitReason::ControlPlaneBusy { .. }
        | WaitReason::Released { .. }
        | WaitReason::PodTerminating { .. }
        | WaitReason::Rebooting { .. }
        | WaitReason::NodeNotReady { .. } => Severity::Normal,
    }
}
