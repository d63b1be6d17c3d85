//! From our marks to the reboot order: taint, load balancers, pods, and what follows a time-out.

use super::{Inside, Step};
use crate::Instant;
use crate::action::Action;
use crate::gate;
use crate::operation::{Operation, Phase, Stage, StageKind};
use crate::snapshot::{Drain, OnTimeout, OrderAction, Taint};
use crate::windows::Opening;
use lockkeeper_reasons::{WaitReason, format_duration};

impl Inside<'_> {
    pub(super) fn draining(&self) -> Step {
        if self.record.order.as_ref() == Some(&self.order(OrderAction::Reboot)) {
            let next = Operation {
                phase: Phase::Rebooting,
                reboot_ordered: Some(self.facts.now),
                pods_moved: self.pods_moved(),
                ..self.operation.clone()
            };
            return self.advance(next);
        }
        if let Some(step) = self.rebooted() {
            return step;
        }
        if let Some(step) = self.may_not_stay() {
            return step;
        }
        if !self.marked() || !self.node.unschedulable {
            return self.put_back(&WaitReason::Uncordoned);
        }
        if self.operation.settings.daemon_sets_last && !self.node.taints.rebooting {
            return Step::act(Action::AddTaint {
                node: self.name.to_owned(),
                taint: Taint::Rebooting,
            });
        }
        let from = self.operation.evict_from();
        if self.facts.now < from {
            return Step::wait(WaitReason::LoadBalancerDelay { from }, Some(from));
        }
        match &self.node.drain {
            Drain::Done { .. } => self.order_reboot(),
            Drain::Running { waiting, .. } => self.not_empty(from, waiting.clone()),
            Drain::NotStarted => self.not_empty(from, None),
        }
    }

    fn order_reboot(&self) -> Step {
        Step::act(Action::OrderReboot {
            node: self.name.to_owned(),
            order: self.order(OrderAction::Reboot),
        })
    }

    /// Pods are left: wait, or what the policy says once it took too long.
    fn not_empty(&self, from: Instant, waiting: Option<WaitReason>) -> Step {
        let since = match self.operation.stage {
            None => from,
            Some(Stage {
                kind: StageKind::Delete,
                since,
            }) => since,
            Some(Stage {
                kind: StageKind::Reboot,
                ..
            }) => return self.order_reboot(),
        };
        let deadline = since + self.operation.settings.drain_timeout;
        if self.facts.now < deadline {
            return Step {
                waiting,
                recheck: Some(deadline),
                ..Step::default()
            };
        }
        if let Some(kind) = self.next_stage() {
            let since = self.facts.now;
            return self.advance(Operation {
                stage: Some(Stage { kind, since }),
                pods_moved: self.pods_moved(),
                ..self.operation.clone()
            });
        }
        let took = format_duration(self.operation.settings.drain_timeout);
        let blocked = waiting.unwrap_or_else(|| WaitReason::EvictionBlocked {
            message: format!("the drain did not end within {took}"),
        });
        self.put_back(&blocked)
    }

    /// What begins now that the drain took too long: it begins only inside a window, and only once.
    fn next_stage(&self) -> Option<StageKind> {
        let policy = gate::policy_of(self.node, self.facts).ok()?;
        let open = matches!(policy.opening, Ok(Opening::Open { .. }));
        match self.operation.settings.on_timeout {
            OnTimeout::Delete if open && self.operation.stage.is_none() => Some(StageKind::Delete),
            OnTimeout::Reboot if open && self.operation.stage.is_none() => Some(StageKind::Reboot),
            OnTimeout::Defer | OnTimeout::Delete | OnTimeout::Reboot => None,
        }
    }

    /// Takes the taint off under which the pods of `DaemonSets` left, if it is there.
    pub(super) fn without_taint(&self) -> Option<Action> {
        self.node.taints.rebooting.then(|| Action::RemoveTaint {
            node: self.name.to_owned(),
            taint: Taint::Rebooting,
        })
    }
}
