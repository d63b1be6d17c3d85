//! The way out of the lock, step by step, and what is remembered of it.

use super::Inside;
use crate::action::{Action, Change, Finished, RecordChange};
use crate::command::back_off;
use crate::gate;
use crate::operation::{Operation, Outcome, PendingOutcome};
use crate::snapshot::{Deferred, LastReboot, Released};

impl Inside<'_> {
    /// The next step of a release, in this order: taint, marks, order, request and approval, operation; the holder goes last, by `repair`.
    pub(super) fn release(&self, pending_outcome: &PendingOutcome) -> Action {
        let node = self.name.to_owned();
        if let Some(action) = self.without_taint() {
            return action;
        }
        if self.marked() {
            return Action::Uncordon {
                node,
                keep_cordon: self.held().is_some(),
            };
        }
        if self.record.order.is_some() {
            return Action::SetSpec {
                node,
                policy: self.record.policy.clone(),
                order: None,
            };
        }
        let fulfilled = match pending_outcome.outcome {
            Outcome::Succeeded | Outcome::Released => true,
            Outcome::Deferred | Outcome::Withdrawn | Outcome::Held => false,
        };
        if let Some(value) = self.operation.requested.as_ref().filter(|_| fulfilled)
            && self.node.requested.as_ref() == Some(value)
        {
            return Action::RemoveRequest {
                node,
                value: value.clone(),
            };
        }
        if let Some(value) = self.operation.approved.as_ref().filter(|_| fulfilled)
            && self.node.approved.as_ref() == Some(value)
        {
            return Action::RemoveApproval {
                node,
                value: value.clone(),
            };
        }
        Action::WriteRecord {
            node,
            change: Box::new(self.finish(pending_outcome)),
        }
    }

    fn finish(&self, pending_outcome: &PendingOutcome) -> RecordChange {
        let operation = self.operation;
        let (mut deferred, mut released, mut last_reboot) = (Change::Keep, Change::Keep, None);
        match pending_outcome.outcome {
            Outcome::Succeeded => {
                deferred = Change::Set(None);
                last_reboot = Some(LastReboot {
                    started: operation.started,
                    time: self.facts.now,
                    reasons: operation.reasons.clone(),
                });
            }
            Outcome::Deferred => {
                let count = self.record.deferred.as_ref().map_or(0, |deferred| deferred.count) + 1;
                deferred = Change::Set(Some(Deferred {
                    count,
                    cause: pending_outcome.cause.clone(),
                    message: pending_outcome.message.clone(),
                    until: pending_outcome.time + back_off(count),
                }));
            }
            Outcome::Released => {
                released = Change::Set(Some(Released {
                    time: pending_outcome.time,
                    failure: pending_outcome.message.clone(),
                    reasons: operation.reasons.clone(),
                }));
            }
            Outcome::Withdrawn | Outcome::Held => {}
        }
        let host = gate::trusted_host(self.node);
        let finished = Finished {
            operation: Operation {
                pods_moved: self.pods_moved(),
                ..operation.clone()
            },
            outcome: pending_outcome.outcome,
            message: pending_outcome.message.clone(),
            time: self.facts.now,
            boot_id_after: self.node.boot_id.clone(),
            kernel_after: host.map(|host| host.kernel.clone()).unwrap_or_default(),
            last_reboot,
        };
        RecordChange {
            operation: Change::Set(None),
            deferred,
            released,
            finished: Some(finished),
            answered_command: None,
        }
    }
}
