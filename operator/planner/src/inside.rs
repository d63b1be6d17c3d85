//! The next step of a node that is inside the lock, phase by phase.

mod drain;
mod release;
mod verify;

use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::breaker;
use crate::capacity::Facts;
use crate::command::{end, obey};
use crate::gate;
use crate::operation::{Failure, Operation, Outcome, Phase};
use crate::room::{Asking, Room};
use crate::snapshot::{AnswerState, Drain, Node, Order, OrderAction, Record};
use crate::whole::Whole;
use lockkeeper_reasons::{WaitReason, format_duration, format_time};

/// What to do with a node that is inside, why it waits and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) action: Option<Action>,
    pub(crate) waiting: Option<WaitReason>,
    pub(crate) recheck: Option<Instant>,
    /// Its `DaemonSet`s are to be looked at.
    pub(crate) daemons: bool,
}

impl Step {
    fn act(action: Action) -> Self {
        Self {
            action: Some(action),
            ..Self::default()
        }
    }
    fn wait(waiting: WaitReason, until: Option<Instant>) -> Self {
        Self {
            waiting: Some(waiting),
            recheck: until,
            ..Self::default()
        }
    }
}

/// One node that is inside, with what its steps need.
pub(super) struct Inside<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) record: &'a Record,
    pub(super) operation: &'a Operation,
    pub(super) facts: &'a Facts<'a>,
}

/// The next step of a node that is inside. In `room` are those that went in before it, in `whole` are all.
pub(crate) fn step(name: &str, node: &Node, record: &Record, facts: &Facts, room: &mut Room, whole: &Whole) -> Step {
    let Some(operation) = &record.operation else {
        return Step::default();
    };
    let inside = Inside {
        name,
        node,
        record,
        operation,
        facts,
    };
    if let Some(pending_outcome) = &operation.pending_outcome {
        return Step::act(inside.release(pending_outcome));
    }
    if let Some(action) = obey(name, node, record, facts.now) {
        return Step::act(action);
    }
    match operation.phase {
        Phase::Preparing => inside.preparing(room, whole),
        Phase::Draining => inside.draining(),
        Phase::Rebooting => inside.rebooting(),
        Phase::Verifying => inside.verifying(),
        Phase::Failed => inside.failed(),
    }
}

impl Inside<'_> {
    fn preparing(&self, room: &mut Room, whole: &Whole) -> Step {
        let now = self.facts.now;
        if let Some(step) = self.rebooted() {
            return step;
        }
        if let Some(step) = self.may_not_stay() {
            return step;
        }
        let order = self.order(OrderAction::Prepare);
        if self.record.order.as_ref() != Some(&order) {
            return self.set_order(Some(order));
        }
        let deadline = self.operation.asked + self.operation.settings.agent_timeout;
        let Some(answer) = self.answer() else {
            if now >= deadline {
                let seconds = self.operation.settings.agent_timeout.num_seconds();
                return self.put_back(&WaitReason::AgentNotAnswering {
                    order: order.id,
                    seconds,
                });
            }
            let asked = self.operation.asked;
            return Step::wait(WaitReason::Preparing { asked, until: deadline }, Some(deadline));
        };
        match answer.state {
            AnswerState::Ready => {}
            AnswerState::Refused | AnswerState::Failed | AnswerState::Rebooting | AnswerState::Withdrawn => {
                return self.put_back(&self.refusal(&answer.message));
            }
        }
        if self.marked() {
            // Ours, and set once for each operation: a cordon that is gone was taken away by somebody.
            return if self.node.unschedulable {
                self.advance(Operation {
                    phase: Phase::Draining,
                    cordoned: Some(now),
                    ..self.operation.clone()
                })
            } else {
                self.put_back(&WaitReason::Uncordoned)
            };
        }
        let may_start =
            gate::standing(self.node, self.facts).and_then(|()| room.ask(&Asking::again(self.name, self.node, now), 0));
        if may_start.is_ok()
            && let Err(waiting) = whole.fits(self.name, self.node, &self.operation.policy)
        {
            // Those behind it give up their places first.
            return Step::wait(waiting, None);
        }
        match may_start {
            // Marks of an operation whose record was lost: they would be taken for a second cordon.
            Ok(()) if self.node.cordoned_for.is_some() => Step::act(Action::Uncordon {
                node: self.name.to_owned(),
                keep_cordon: false,
            }),
            Ok(()) => Step::act(Action::Cordon {
                node: self.name.to_owned(),
                operation_id: self.operation.id.clone(),
            }),
            Err(waiting) => self.end(Outcome::Withdrawn, &waiting),
        }
    }

    fn rebooting(&self) -> Step {
        let now = self.facts.now;
        if let Some(step) = self.rebooted() {
            return step;
        }
        let order = self.order(OrderAction::Reboot);
        if self.record.order.as_ref() != Some(&order) {
            return Step::act(Action::OrderReboot {
                node: self.name.to_owned(),
                order,
            });
        }
        if let Some(answer) = self.answer() {
            match answer.state {
                // Nothing was asked of the host.
                AnswerState::Refused => return self.put_back(&self.refusal(&answer.message)),
                AnswerState::Failed => {
                    return self.fail(format!(
                        "the host did not reboot: {}; look at systemd-logind on {}, then retry or release",
                        answer.message, self.name
                    ));
                }
                AnswerState::Ready | AnswerState::Rebooting | AnswerState::Withdrawn => {}
            }
        }
        let since = self.operation.reboot_ordered.unwrap_or(self.operation.asked);
        let until = since + self.operation.settings.reboot_timeout;
        if now >= until {
            return self.fail(format!(
                "no new boot of {} within {} of the order at {}; look at its console or power, then retry or release",
                self.name,
                format_duration(self.operation.settings.reboot_timeout),
                format_time(since)
            ));
        }
        Step::wait(WaitReason::Rebooting { since, until }, Some(until))
    }

    /// A new boot is what was wanted; one without an order (it went down by itself) is looked at like any other.
    fn rebooted(&self) -> Option<Step> {
        let rebooted = self.node.boot_id != self.operation.boot_id_before;
        rebooted.then(|| {
            self.advance(Operation {
                phase: Phase::Verifying,
                rebooted: Some(self.facts.now),
                ..self.operation.clone()
            })
        })
    }

    fn failed(&self) -> Step {
        // A late agent must not reboot a node that nobody is waiting for.
        if self.record.order.is_some() {
            return self.set_order(None);
        }
        // Whoever looks at it needs what runs on every node, and so does a host that comes back late.
        if let Some(action) = self.without_taint() {
            return Step::act(action);
        }
        let message = self
            .operation
            .failure
            .as_ref()
            .map(|failure| failure.message.clone())
            .unwrap_or_default();
        Step::wait(WaitReason::Failed { message }, None)
    }

    /// What ends an operation before the reboot order whatever its phase: a hold, a policy that is gone, the breaker.
    fn may_not_stay(&self) -> Option<Step> {
        if let Some(waiting) = self.held() {
            let outcome = if self.marked() {
                Outcome::Held
            } else {
                Outcome::Withdrawn
            };
            return Some(self.end(outcome, &waiting));
        }
        match gate::policy_of(self.node, self.facts) {
            Ok(policy) if *policy.name == self.operation.policy => breaker::keeps_out(policy, Some(self.operation))
                .err()
                .map(|waiting| self.end(Outcome::Withdrawn, &waiting)),
            Ok(_) => Some(self.put_back(&WaitReason::NoPolicy)),
            // A policy that cannot be decoded is not gone.
            Err(_) if !self.facts.snapshot.view_gaps.is_empty() => None,
            Err(waiting) => Some(self.put_back(&waiting)),
        }
    }

    pub(super) fn held(&self) -> Option<WaitReason> {
        let hold = gate::held(self.node, self.facts.now)?;
        Some(WaitReason::Held {
            reason: hold.reason.clone(),
            until: hold.until,
        })
    }

    pub(super) fn marked(&self) -> bool {
        self.node.cordoned_for.as_ref() == Some(&self.operation.id)
    }

    pub(super) fn pods_moved(&self) -> i32 {
        let seen = match self.node.drain {
            Drain::Done { moved } | Drain::Running { moved, .. } => i32::try_from(moved).unwrap_or(i32::MAX),
            Drain::NotStarted => 0,
        };
        self.operation.pods_moved.max(seen)
    }

    fn order(&self, action: OrderAction) -> Order {
        Order {
            id: self.operation.order_id(),
            action,
            boot_id: self.operation.boot_id_before.clone(),
        }
    }

    /// The agent's answer to the order of this attempt, from the boot that it was given to.
    fn answer(&self) -> Option<&crate::snapshot::HostAnswer> {
        let host = self
            .record
            .host
            .as_ref()
            .filter(|host| host.boot_id == self.operation.boot_id_before)?;
        host.answer
            .as_ref()
            .filter(|answer| answer.id == self.operation.order_id())
    }

    fn refusal(&self, message: &str) -> WaitReason {
        let inhibitor = self.record.host.as_ref().and_then(|host| host.inhibitors.first());
        match inhibitor {
            Some((who, why)) => WaitReason::Inhibited {
                who: who.clone(),
                why: why.clone(),
            },
            None => WaitReason::AgentIncapable {
                cause: message.to_owned(),
            },
        }
    }

    fn set_order(&self, order: Option<Order>) -> Step {
        let policy = self.record.policy.clone();
        Step::act(Action::SetSpec {
            node: self.name.to_owned(),
            policy,
            order,
        })
    }

    fn advance(&self, operation: Operation) -> Step {
        let change = Box::new(RecordChange::operation(operation));
        Step::act(Action::WriteRecord {
            node: self.name.to_owned(),
            change,
        })
    }

    fn put_back(&self, waiting: &WaitReason) -> Step {
        self.end(Outcome::Deferred, waiting)
    }

    fn end(&self, outcome: Outcome, waiting: &WaitReason) -> Step {
        let mut operation = end(
            self.operation,
            outcome,
            waiting.name().as_str(),
            &waiting.to_string(),
            self.facts.now,
        );
        operation.pods_moved = self.pods_moved();
        self.advance(operation)
    }

    fn fail(&self, message: String) -> Step {
        let failure = Some(Failure {
            time: self.facts.now,
            message,
        });
        self.advance(Operation {
            phase: Phase::Failed,
            failure,
            ..self.operation.clone()
        })
    }
}
