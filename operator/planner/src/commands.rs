//! A person's `retry`, `release` or `cancel`: carried out only for the current operation, and answered.

mod answer;

use crate::Instant;
use crate::action::{Action, Change, RecordChange};
use crate::snapshot::{
    AnswerState, Command, Node, Operation, OrderAction, Outcome, PendingOutcome, Phase, RebootMethod, Record,
};

use self::answer::CommandAnswer;

pub use self::answer::command_answer_samples;

/// The next action for the command on this node, if there is one.
pub(crate) fn handle_command(name: &str, node: &Node, record: &Record, now: Instant) -> Option<Action> {
    let command = record.command.as_ref()?;
    match decide(command, node, record, now) {
        Ok((operation, answer)) => {
            let operation = Change::Set(Some(Box::new(operation)));
            Some(write(name, command, operation, Ok(answer.to_string())))
        }
        // Answered already: this very command made it inapplicable, or it was refused. Only remove it.
        Err(_) if record.answered_command.as_ref() == Some(command) => Some(Action::RemoveCommand {
            node: name.to_owned(),
            command: command.clone(),
        }),
        Err(why) => Some(write(name, command, Change::Keep, Err(why.to_string()))),
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

fn decide(
    command: &Command,
    node: &Node,
    record: &Record,
    now: Instant,
) -> Result<(Operation, CommandAnswer), CommandAnswer> {
    let operation = record.operation.as_ref().ok_or(CommandAnswer::NoOperation)?;
    if operation.id != command.operation_id {
        return Err(CommandAnswer::OtherOperation {
            current: operation.id.clone(),
            named: command.operation_id.clone(),
        });
    }
    if let Some(pending_outcome) = &operation.pending_outcome {
        let message = pending_outcome.message.clone();
        return Err(CommandAnswer::AlreadyEnding { message });
    }
    let failed = operation.phase == Phase::Failed;
    match command.verb.as_str() {
        "retry" if failed => match reboot_in_progress(operation, node, now) {
            Some(why) => Err(why),
            None => Ok(retry(operation, node, now)),
        },
        "release" if failed => Ok((
            end(operation, Outcome::Released, "", &failure_of(operation), now),
            CommandAnswer::Released,
        )),
        "retry" | "release" => Err(CommandAnswer::NotFailed { phase: operation.phase }),
        "cancel" if may_cancel(operation, record) => Ok((
            end(operation, Outcome::Deferred, "Cancelled", "cancelled by a person", now),
            CommandAnswer::Aborted,
        )),
        "cancel" if failed => Err(CommandAnswer::AlreadyFailed),
        "cancel" => Err(CommandAnswer::RebootOrdered),
        other => Err(CommandAnswer::UnknownVerb { verb: other.to_owned() }),
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
fn reboot_in_progress(operation: &Operation, node: &Node, now: Instant) -> Option<CommandAnswer> {
    let until = operation.asked + operation.settings.reboot_timeout;
    if !operation.is_reconstructed() || node.has_left(operation.boot_before()) || now >= until {
        return None;
    }
    let Some(host) = node.trusted_host() else {
        return Some(CommandAnswer::AgentUnconfirmed { until });
    };
    let answer = host.answer.as_ref()?;
    (answer.state == AnswerState::Rebooting).then(|| CommandAnswer::RebootInProgress {
        order: answer.id.clone(),
        until,
    })
}

fn retry(operation: &Operation, node: &Node, now: Instant) -> (Operation, CommandAnswer) {
    // A soft-reboot that was observed stays one, also if it cannot be counted now.
    let rebooted = operation.rebooted.is_some() || node.has_left(operation.boot_before());
    // The way that `Auto` chose has not worked.
    let chosen = operation.settings.method == RebootMethod::Auto && !rebooted;
    let next = Operation {
        attempt: operation.attempt + 1,
        phase: if rebooted { Phase::Verifying } else { Phase::Preparing },
        asked: now,
        soft_reboots_before: operation.soft_reboots_before.filter(|_| !chosen),
        cordoned: None,
        stage: None,
        reboot_ordered: if rebooted { operation.reboot_ordered } else { None },
        refused: None,
        rebooted: if rebooted {
            operation.rebooted.or(Some(now))
        } else {
            None
        },
        uncordoned: None,
        healthy_since: None,
        // Hooks after the reboot that have ended are not repeated; those before it belong to the attempt.
        hook: None,
        ended_hooks: if rebooted {
            operation.ended_hooks.clone()
        } else {
            Vec::new()
        },
        noticed: operation.noticed.filter(|_| rebooted),
        failure: None,
        ..operation.clone()
    };
    let answer = if rebooted {
        CommandAnswer::VerifiedAgain
    } else {
        CommandAnswer::PreparedAgain
    };
    (next, answer)
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
