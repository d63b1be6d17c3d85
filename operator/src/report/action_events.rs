//! What an action that was carried out is worth: a log line, an Event, counters.

use lockkeeper_planner::{Action, Change, HookPoint, Instant, Operation, Phase, RecordChange};
use lockkeeper_reasons::format_duration;

use super::event::Event;
use crate::metrics::Metrics;

/// The log line of an action.
pub(super) fn describe(action: &Action) -> String {
    match action {
        Action::CreateLock => "created the RebootLock".to_owned(),
        Action::CreateRecord { .. } => "created the NodeReboot".to_owned(),
        Action::DeleteRecord { .. } => "deleted the NodeReboot: Lockkeeper does not manage this node".to_owned(),
        Action::SetHolders { holders, because } => {
            let nodes: Vec<&str> = holders.iter().map(|holder| holder.node.as_str()).collect();
            format!("in progress: [{}]; {because}", nodes.join(", "))
        }
        Action::WriteRecord { change, .. } => describe_change(change),
        Action::SetSpec { order, policy, .. } => match order {
            Some(order) => format!("order {}: {:?}", order.id, order.action),
            None => format!("no order; policy {}", policy.as_deref().unwrap_or("none")),
        },
        Action::OrderReboot { order, .. } => match order.soft_reboots {
            Some(count) => {
                let (id, boot) = (&order.id, &order.boot_id);
                format!("order {id}: SoftReboot, from boot {boot} with {count} soft-reboots")
            }
            None => format!("order {}: Reboot, from boot {}", order.id, order.boot_id),
        },
        Action::Cordon { operation_id, .. } => format!("cordoned for operation {operation_id}"),
        Action::Uncordon { keep_cordon, .. } => Event::uncordoned(*keep_cordon).message,
        Action::AddTaint { taint, .. } => format!("taint added: {taint:?}"),
        Action::RemoveTaint { taint, .. } => format!("taint removed: {taint:?}"),
        Action::BeginHandshake { id, keys, .. } => format!("hook {id} waits for the annotation {}", keys.annotation),
        Action::EndHandshake { keys, .. } => {
            format!("the hook that waited for the annotation {} has ended", keys.annotation)
        }
        Action::GiveNotice { id, lasts, .. } => format!("notice {id} given for {}", format_duration(*lasts)),
        Action::EndNotice { id, .. } => format!("notice {id} removed"),
        Action::RemoveCommand { command, .. } => format!("command {} removed after its answer", command.verb),
        Action::RemoveRequest { value, .. } => format!("request \"{value}\" removed: it is fulfilled"),
        Action::RemoveApproval { value, .. } => format!("approval \"{value}\" removed: it was used"),
    }
}

fn describe_change(change: &RecordChange) -> String {
    if let Some(finished) = &change.finished {
        let (id, outcome) = (&finished.operation.id, finished.outcome);
        return format!("operation {id} ended: {outcome:?} {}", finished.message);
    }
    if let Some((command, answer)) = &change.answered_command {
        let (Ok(answer) | Err(answer)) = answer;
        return format!("command {}: {answer}", command.verb);
    }
    match &change.operation {
        Change::Set(Some(operation)) => match (&operation.pending_outcome, &operation.failure) {
            (Some(pending), _) => {
                let (id, outcome) = (&operation.id, pending.outcome);
                format!("operation {id} is ending: {outcome:?} {}", pending.message)
            }
            (None, Some(failure)) => format!("operation {} failed: {}", operation.id, failure.message),
            (None, None) => format!("operation {} is {:?}", operation.id, operation.phase),
        },
        Change::Set(None) | Change::Keep => "record changed".to_owned(),
    }
}

/// The Event about the node, if the action is worth one.
pub(super) fn event(action: &Action) -> Option<Event> {
    match action {
        Action::WriteRecord { change, .. } => change_event(change),
        Action::Uncordon { keep_cordon, .. } => Some(Event::uncordoned(*keep_cordon)),
        Action::CreateLock
        | Action::CreateRecord { .. }
        | Action::DeleteRecord { .. }
        | Action::SetHolders { .. }
        | Action::SetSpec { .. }
        | Action::OrderReboot { .. }
        | Action::Cordon { .. }
        | Action::AddTaint { .. }
        | Action::RemoveTaint { .. }
        | Action::BeginHandshake { .. }
        | Action::EndHandshake { .. }
        | Action::GiveNotice { .. }
        | Action::EndNotice { .. }
        | Action::RemoveCommand { .. }
        | Action::RemoveRequest { .. }
        | Action::RemoveApproval { .. } => None,
    }
}

fn change_event(change: &RecordChange) -> Option<Event> {
    if let Some(finished) = &change.finished {
        return Some(Event::finished(finished));
    }
    if let Some((command, answer)) = &change.answered_command {
        return Some(Event::command_answered(command, answer));
    }
    match &change.operation {
        // The outcome has its Event once the operation has ended.
        Change::Set(Some(operation)) if operation.pending_outcome.is_none() => phase_event(operation),
        Change::Set(_) | Change::Keep => None,
    }
}

fn phase_event(operation: &Operation) -> Option<Event> {
    Some(match operation.phase {
        Phase::Preparing => Event::lock_acquired(operation),
        // A notice and a hook in progress are waits, which have Events of their own; and the cordon is told once.
        Phase::Draining if operation.hook.is_some() || is_cordon_told(operation) => return None,
        Phase::Draining => Event::draining(operation),
        Phase::Rebooting => Event::reboot_ordered(operation),
        // What it waits for after the uncordon is an Event of its own.
        Phase::Verifying if operation.uncordoned.is_some() || runs_hooks_after(operation) => return None,
        Phase::Verifying => Event::node_rebooted(operation),
        Phase::Failed => Event::failed(operation),
    })
}

/// Whether more than the cordon was recorded in this phase.
fn is_cordon_told(operation: &Operation) -> bool {
    let goes_on = !operation.ended_hooks.is_empty() || !operation.returning_owners.is_empty();
    operation.stage.is_none() && (goes_on || operation.noticed.is_some())
}

/// Whether a hook after the reboot is in progress or has ended.
fn runs_hooks_after(operation: &Operation) -> bool {
    let ended = operation.ended_hooks.iter();
    operation.hook.is_some() || ended.into_iter().any(|hook| hook.point == HookPoint::AfterReboot)
}

/// Counts a reboot that was ordered.
pub(super) fn count_order(metrics: &Metrics, action: &Action, operation: Option<&Operation>) {
    if let (Action::OrderReboot { order, .. }, Some(operation)) = (action, operation) {
        metrics.count_order(&operation.policy, order.ordered_method());
    }
}

/// Counts an operation that ended.
pub(super) fn count(metrics: &Metrics, action: &Action) {
    let Action::WriteRecord { change, .. } = action else {
        return;
    };
    let Some(finished) = &change.finished else { return };
    let operation = &finished.operation;
    metrics.count_reboot(&operation.policy, finished.outcome);
    let seconds = |from: Option<Instant>, to: Option<Instant>| Some((to? - from?).as_seconds_f64());
    if let Some(drained) = seconds(operation.cordoned, operation.reboot_ordered) {
        metrics.observe_drain(&operation.policy, drained);
    }
    if let Some(down) = seconds(operation.reboot_ordered, operation.rebooted) {
        metrics.observe_down(&operation.policy, down);
    }
}
