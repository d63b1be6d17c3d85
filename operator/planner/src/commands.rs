//! A person's `retry`, `release` or `cancel`: carried out only for the current operation, and answered.

use crate::Instant;
use crate::action::{Action, Change, RecordChange};
use crate::snapshot::{AnswerState, Command, Node, Operation, OrderAction, Outcome, PendingOutcome, Phase, Record};
use lockkeeper_reasons::format_time;

/// The next action for the command on this node, if there is one.
pub(crate) fn handle_command(name: &str, node: &Node, record: &Record, now: Instant) -> Option<Action> {
    let command = record.command.as_ref()?;
    match decide(command, node, record, now) {
        Ok((operation, answer)) => {
            let operation = Change::Set(Some(Box::new(operation)));
            Some(write(name, command, operation, Ok(answer)))
        }
        // Answered already: this very command made it inapplicable, or it was refused. Only remove it.
        Err(_) if record.answered_command.as_ref() == Some(command) => Some(Action::RemoveCommand {
            node: name.to_owned(),
            command: command.clone(),
        }),
        Err(why) => Some(write(name, command, Change::Keep, Err(why))),
    }
}

fn write(name: &str, command: &Command, operation: Change<Box<Operation>>, answer: Result<String, String>) -> Action {
    let change = RecordChange {
        operation,
        answered_command: Some((command.clone(), answer)),
        ..RecordChange::default()
    };
    Action::WriteRecord {
        node: name.to_owned(),
        change: Box::new(change),
    }
}

fn decide(command: &Command, node: &Node, record: &Record, now: Instant) -> Result<(Operation, String), String> {
    let Some(operation) = &record.operation else {
        return Err("no operation holds this node; there is nothing to do".to_owned());
    };
    if operation.id != command.operation_id {
        return Err(format!(
            "the current operation is {}, not {}",
            operation.id, command.operation_id
        ));
    }
    if let Some(pending_outcome) = &operation.pending_outcome {
        return Err(format!("the operation is ending already: {}", pending_outcome.message));
    }
    let failed = operation.phase == Phase::Failed;
    match command.verb.as_str() {
        "retry" if failed => match reboot_in_progress(operation, node, now) {
            Some(why) => Err(why),
            None => Ok(retry(operation, node, now)),
        },
        "release" if failed => Ok((
            end(operation, Outcome::Released, "", &failure_of(operation), now),
            "the slot is released and the node is uncordoned".to_owned(),
        )),
        "retry" | "release" => Err(format!(
            "the node is {:?}, not Failed; before the reboot order use cancel",
            operation.phase
        )),
        "cancel" if may_cancel(operation, record) => Ok((
            end(operation, Outcome::Deferred, "Cancelled", "cancelled by a person", now),
            "the node is deferred".to_owned(),
        )),
        "cancel" if failed => Err("the node is Failed; retry or release it".to_owned()),
        "cancel" => Err("the reboot is ordered; it cannot be called back".to_owned()),
        other => Err(format!("\"{other}\" is none of retry, release, cancel")),
    }
}

fn may_cancel(operation: &Operation, record: &Record) -> bool {
    let ordered = record
        .order
        .as_ref()
        .is_some_and(|order| order.action == OrderAction::Reboot);
    match operation.phase {
        Phase::Preparing | Phase::Draining => !ordered,
        Phase::Rebooting | Phase::Verifying | Phase::Failed => false,
    }
}

fn failure_of(operation: &Operation) -> String {
    operation
        .failure
        .as_ref()
        .map_or_else(|| "it failed".to_owned(), |failure| failure.message.clone())
}

/// Why a reconstructed operation cannot be retried yet: the host may still carry out the order that was lost with its
/// record, and a node that is prepared once more may be deferred and uncordoned at any time.
///
/// The agent's report to the new record shows it; without one, the time that a reboot may take must pass.
fn reboot_in_progress(operation: &Operation, node: &Node, now: Instant) -> Option<String> {
    let until = operation.asked + operation.settings.reboot_timeout;
    if !operation.is_reconstructed() || node.boot_id != operation.boot_id_before || now >= until {
        return None;
    }
    let until = format_time(until);
    let Some(host) = node.trusted_host() else {
        return Some(format!(
            "the agent has not said since the record was lost whether the host goes down; \
             retry once it has, or after {until}, or release"
        ));
    };
    let answer = host.answer.as_ref()?;
    (answer.state == AnswerState::Rebooting).then(|| {
        format!(
            "the host accepted order {} and goes down; retry once it is back, or after {until}, or release",
            answer.id
        )
    })
}

fn retry(operation: &Operation, node: &Node, now: Instant) -> (Operation, String) {
    let rebooted = node.boot_id != operation.boot_id_before;
    let next = Operation {
        attempt: operation.attempt + 1,
        phase: if rebooted { Phase::Verifying } else { Phase::Preparing },
        asked: now,
        cordoned: None,
        stage: None,
        reboot_ordered: if rebooted { operation.reboot_ordered } else { None },
        rebooted: if rebooted {
            operation.rebooted.or(Some(now))
        } else {
            None
        },
        failure: None,
        ..operation.clone()
    };
    let answer = if rebooted {
        "the node has a new boot: verified again"
    } else {
        "the node is prepared again"
    };
    (next, answer.to_owned())
}

/// The operation with its outcome decided; its end follows from there, whichever operator carries it out.
pub(crate) fn end(operation: &Operation, outcome: Outcome, cause: &str, message: &str, now: Instant) -> Operation {
    let pending_outcome = PendingOutcome {
        outcome,
        time: now,
        cause: cause.to_owned(),
        message: message.to_owned(),
    };
    Operation {
        pending_outcome: Some(pending_outcome),
        ..operation.clone()
    }
}
