//! The way out of the lock, step by step, and what is remembered of it.

use super::Inside;
use crate::action::{Action, Change, Finished, RecordChange};
use crate::command::back_off;
use crate::gate;
use crate::operation::{Ending, Operation, Outcome};
use crate::snapshot::{Deferred, LastReboot, Released};

impl Inside<'_> {
    /// The next step of a release, in this order: taint, marks, order, request and approval, operation; the holder goes last, by `repair`.
    pub(super) fn release(&self, ending: &Ending) -> Action {
        let node = self.name.to_owned();
        if let Some(action) = self.without_taint() {
            return action;
        }
        if self.marked() {
            return Action::LiftMarks {
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
        let fulfilled = match ending.outcome {
            Outcome::Succeeded | Outcome::Released => true,
            Outcome::PutBack | Outcome::Withdrawn | Outcome::Held => false,
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
            change: Box::new(self.finish(ending)),
        }
    }

    fn finish(&self, ending: &Ending) -> RecordChange {
        let operation = self.operation;
        let (mut deferred, mut released, mut last_reboot) = (Change::Keep, Change::Keep, None);
        match ending.outcome {
            Outcome::Succeeded => {
                deferred = Change::Set(None);
                last_reboot = Some(LastReboot {
                    started: operation.started,
                    time: self.facts.now,
                    reasons: operation.reasons.clone(),
                });
            }
            Outcome::PutBack => {
                let count = self.record.deferred.as_ref().map_or(0, |deferred| deferred.count) + 1;
                deferred = Change::Set(Some(Box::new(Deferred {
                    count,
                    cause: ending.cause.clone(),
                    message: ending.message.clone(),
                    until: ending.time + back_off(count),
                })));
            }
            Outcome::Released => {
                released = Change::Set(Some(Box::new(Released {
                    time: ending.time,
                    failure: ending.message.clone(),
                    reasons: operation.reasons.clone(),
                })));
            }
            Outcome::Withdrawn | Outcome::Held => {}
        }
        let host = gate::trusted_host(self.node);
        let finished = Finished {
            operation: Operation {
                pods_moved: self.pods_moved(),
                ..operation.clone()
            },
            outcome: ending.outcome,
            message: ending.message.clone(),
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
            answered: None,
        }
    }
}
