//! The end of an operation, step by step, and what is remembered of it.

use super::active::ActiveOperation;
use crate::action::{Action, Change, Finished, RecordChange};
use crate::history::{back_off, repeats, series};
use crate::snapshot::{Deferred, LastReboot, Operation, Outcome, PendingOutcome, Released};

/// The next action, in this order: taint, cordon, order, request, approval, operation. The entry goes last, by recovery.
pub(super) fn next_action(active: &ActiveOperation, pending: &PendingOutcome) -> Action {
    if let Some(action) = active.remove_drain_taint() {
        return action;
    }
    if active.is_cordoned() {
        return active.uncordon();
    }
    if active.record.order.is_some() {
        return active.set_order(None);
    }
    let node = active.name.to_owned();
    let fulfilled = match pending.outcome {
        Outcome::Succeeded | Outcome::Released => true,
        Outcome::Deferred | Outcome::Withdrawn | Outcome::Held => false,
    };
    // Only the value that the operation fulfils is removed: a newer one is a request or an approval of its own.
    let same = |ours: &Option<String>, theirs: &Option<String>| ours.clone().filter(|_| fulfilled && ours == theirs);
    if let Some(value) = same(&active.operation.requested, &active.node.requested) {
        return Action::RemoveRequest { node, value };
    }
    if let Some(value) = same(&active.operation.approved, &active.node.approved) {
        return Action::RemoveApproval { node, value };
    }
    Action::WriteRecord {
        node,
        change: Box::new(finished(active, pending)),
    }
}

fn finished(active: &ActiveOperation, pending: &PendingOutcome) -> RecordChange {
    let (operation, now) = (active.operation, active.now());
    let (mut deferred, mut released, mut last_reboot) = (Change::Keep, Change::Keep, None);
    match pending.outcome {
        Outcome::Succeeded => {
            deferred = Change::Set(None);
            last_reboot = Some(LastReboot {
                started: operation.started,
                time: now,
                reasons: operation.reasons.clone(),
                repeats: repeats(active.record.last_reboot.as_ref(), operation, now),
                series: series(active.record.last_reboot.as_ref(), operation, now),
            });
        }
        Outcome::Deferred => {
            let before = active.record.deferred.as_ref();
            let count = before.map_or(0, |deferred| deferred.count) + 1;
            deferred = Change::Set(Some(Deferred {
                count,
                cause: pending.cause.clone(),
                message: pending.message.clone(),
                until: pending.time + back_off(count),
            }));
        }
        Outcome::Released => {
            released = Change::Set(Some(Released {
                time: pending.time,
                failure: pending.message.clone(),
                reasons: operation.reasons.clone(),
            }));
        }
        Outcome::Withdrawn | Outcome::Held => {}
    }
    let host = active.node.trusted_host();
    RecordChange {
        operation: Change::Set(None),
        deferred,
        released,
        finished: Some(Finished {
            operation: Operation {
                pods_moved: active.pods_moved(),
                ..operation.clone()
            },
            outcome: pending.outcome,
            message: pending.message.clone(),
            time: now,
            boot_id_after: active.node.boot_id.clone(),
            kernel_after: host.map(|host| host.kernel.clone()).unwrap_or_default(),
            last_reboot,
        }),
        answered_command: None,
    }
}
