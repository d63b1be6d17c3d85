//! One node in progress, and the steps that are common to its phases.

use lockkeeper_reasons::WaitReason;

use super::deadline::{prepare_expires, reboot_expires};
use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::assessment::Assessment;
use crate::commands::end;
use crate::eligibility::breaker_admits;
use crate::names::PolicyName;
use crate::policy_checks::{jobs_after, jobs_before};
use crate::recovery::Entry;
use crate::snapshot::{
    AnswerState, CheckJobs, Checks, Drain, Failure, Holder, HookJob, HostAnswer, Node, Operation, Order, OrderAction,
    OrderedReboot, Outcome, Phase, RebootMethod, Record, Taint,
};
use crate::soft_reboot::is_enough;

/// What to do with a node in progress, why it waits, and when time alone changes that.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) action: Option<Action>,
    pub(super) wait_reason: Option<WaitReason>,
    pub(super) recheck_at: Option<Instant>,
    /// Its `DaemonSet`s are to be checked.
    pub(super) probe_daemon_sets: bool,
    /// The workloads that it evicted are to be checked.
    pub(super) probe_workloads: bool,
    /// The Job of the hook in progress.
    pub(super) hook_job: Option<HookJob>,
    /// The reboot that its entry must have before the order.
    pub(super) reboot: Option<OrderedReboot>,
}

impl Step {
    pub(super) fn act(action: Action) -> Self {
        Self {
            action: Some(action),
            ..Self::default()
        }
    }

    pub(super) fn wait(wait_reason: WaitReason, until: Option<Instant>) -> Self {
        Self {
            wait_reason: Some(wait_reason),
            recheck_at: until,
            ..Self::default()
        }
    }
}

/// A node whose operation has its entry in the lock.
#[derive(Debug)]
pub(super) struct ActiveOperation<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) record: &'a Record,
    pub(super) operation: &'a Operation,
    pub(super) holder: &'a Holder,
    pub(super) assessment: &'a Assessment<'a>,
}

impl<'a> ActiveOperation<'a> {
    /// The operation that this entry names, if the node has it. Without its entry an operation takes no step: recovery
    /// restores the entry first.
    pub(super) fn of(entry: &Entry<'a>, assessment: &'a Assessment<'a>) -> Option<Self> {
        let node = entry.node?;
        let record = node.record.as_ref()?;
        let operation = record.operation.as_deref()?;
        (operation.id == entry.holder.operation_id).then_some(Self {
            name: &entry.holder.node,
            node,
            record,
            operation,
            holder: entry.holder,
            assessment,
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.assessment.context.now
    }

    /// When a time-out is judged: never on a view that may be older than it.
    pub(super) fn judged_at(&self, deadline: Instant) -> Instant {
        self.assessment.context.snapshot.judged_at(deadline, self.now())
    }

    /// Whether the node is cordoned for this operation.
    pub(super) fn is_cordoned(&self) -> bool {
        self.node.cordoned_for.as_ref() == Some(&self.operation.id)
    }

    /// Since when the node is uncordoned after its verification, if something is waited for since.
    pub(super) fn uncordoned(&self) -> Option<Instant> {
        self.operation.uncordoned.filter(|_| !self.is_cordoned())
    }

    /// Ends an operation whose next write is refused again and again, before its reboot is ordered. The lock is written
    /// right before that.
    pub(super) fn defer_refused(&self) -> Option<Step> {
        let of_lock = || {
            let refusal = self.assessment.context.snapshot.refused_lock_write.as_ref();
            refusal.filter(|_| self.missing_reboot().is_some())
        };
        let message = self.node.refused_write.as_ref().or_else(of_lock)?.clone();
        Some(self.defer(&WaitReason::WriteRefused { message }))
    }

    /// The wait reason of a hold that is in force.
    pub(super) fn held(&self) -> Option<WaitReason> {
        let hold = self.node.hold_at(self.now())?;
        Some(WaitReason::Held {
            reason: hold.reason.clone(),
            until: hold.until,
        })
    }

    /// The pods evicted so far.
    pub(super) fn pods_moved(&self) -> i32 {
        let observed = match self.node.drain {
            Drain::Done { moved } | Drain::Running { moved, .. } => i32::try_from(moved).unwrap_or(i32::MAX),
            Drain::NotStarted => 0,
        };
        self.operation.pods_moved.max(observed)
    }

    /// Whether the agent may no longer begin to execute the order.
    pub(super) fn order_has_expired(&self) -> bool {
        let not_after = self.record.order.as_ref().and_then(|order| order.not_after);
        not_after.is_some_and(|not_after| not_after < self.now())
    }

    /// The order of the present attempt.
    pub(super) fn order(&self, action: OrderAction) -> Order {
        let not_after = match action {
            OrderAction::Prepare => prepare_expires(self.operation),
            OrderAction::Reboot => reboot_expires(self.operation, self.now()),
        };
        Order {
            id: self.operation.order_id(),
            action,
            boot_id: self.operation.boot_id_before.clone(),
            method: self.operation.method(),
            soft_reboots: self.operation.soft_reboots_before,
            not_after: Some(not_after),
        }
    }

    /// Whether the agent has this order of the present attempt.
    pub(super) fn has_order(&self, action: OrderAction) -> bool {
        let order = self.record.order.as_ref();
        order.is_some_and(|order| order.is_same(&self.order(action)))
    }

    /// The agent's answer to the order of the present attempt, from the boot for which it is valid.
    pub(super) fn answer(&self) -> Option<&HostAnswer> {
        let host = self.record.host.as_ref()?;
        let answer = host.answer.as_ref()?;
        let current = host.boot_id == self.operation.boot_id_before && answer.id == self.operation.order_id();
        current.then_some(answer)
    }

    /// Why the agent refused an order.
    pub(super) fn refusal(&self, message: &str) -> WaitReason {
        let host = self.record.host.as_ref();
        let inhibitor = host.and_then(|host| host.inhibitors.first());
        let until = host
            .and_then(|host| host.reboot_allowed)
            .filter(|until| self.now() < *until);
        if let Some(until) = until {
            return WaitReason::JustBooted { until };
        }
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

    /// A new boot is what the operation wants. One without an order, of a node that went down by itself, is verified like
    /// any other.
    pub(super) fn verify_new_boot(&self) -> Option<Step> {
        self.has_new_boot().then(|| {
            self.advance(Operation {
                phase: Phase::Verifying,
                rebooted: Some(self.now()),
                ..self.operation.clone()
            })
        })
    }

    /// Whether the node is in another boot than before the reboot, or was soft-rebooted if that is enough.
    pub(super) fn has_new_boot(&self) -> bool {
        self.node.has_left(self.operation.boot_before())
    }

    /// More than a soft-reboot is needed by now, although `Auto` has chosen one: recorded before the order.
    pub(super) fn reboot_fully(&self) -> Option<Step> {
        let chosen =
            self.operation.settings.method == RebootMethod::Auto && self.operation.soft_reboots_before.is_some();
        (chosen && !is_enough(self.node)).then(|| {
            self.advance(Operation {
                soft_reboots_before: None,
                ..self.operation.clone()
            })
        })
    }

    /// What ends an operation before its reboot order, whatever its phase: a hold, a policy that is gone, the breaker.
    pub(super) fn abort(&self) -> Option<Step> {
        if let Some(why) = self.held() {
            let outcome = if self.is_cordoned() {
                Outcome::Held
            } else {
                Outcome::Withdrawn
            };
            return Some(self.end(outcome, &why));
        }
        match self.assessment.policy_of(self.node) {
            Ok(policy) if *policy.context.name == self.operation.policy => breaker_admits(policy, Some(self.operation))
                .err()
                .map(|why| self.end(Outcome::Withdrawn, &why)),
            Ok(_) => Some(self.defer(&WaitReason::NoPolicy)),
            // A policy that cannot be decoded is not gone.
            Err(_) if !self.assessment.context.snapshot.view_gaps.is_empty() => None,
            Err(why) => Some(self.defer(&why)),
        }
    }

    /// The checks of the policy of the operation, as they are now.
    pub(super) fn checks(&self) -> Option<&'a Checks> {
        let policies = &self.assessment.context.snapshot.policies;
        policies.get(&self.operation.policy)?.checks.as_ref()
    }

    /// The policy whose checks are to be evaluated for this node: before its cordon, and after its uncordon.
    pub(super) fn evaluates_checks(&self) -> Option<PolicyName> {
        let (checks, operation) = (self.checks()?, self.operation);
        let asks = match operation.phase {
            Phase::Preparing => checks.evaluates && operation.pending_outcome.is_none(),
            Phase::Verifying => checks.after && operation.pending_outcome.is_none(),
            Phase::Draining | Phase::Rebooting | Phase::Failed => false,
        };
        asks.then(|| operation.policy.clone())
    }

    /// For what the Jobs of these checks are to run now: once the agent is ready and before the cordon, and after the
    /// uncordon.
    pub(super) fn check_jobs(&self) -> Option<CheckJobs> {
        let (checks, operation) = (self.checks()?, self.operation);
        let is_ready = || self.answer().is_some_and(|answer| answer.state == AnswerState::Ready);
        match operation.phase {
            Phase::Preparing => {
                let runs = checks.before_jobs.is_some() && self.has_order(OrderAction::Prepare) && is_ready();
                runs.then(|| jobs_before(operation))
            }
            Phase::Verifying => {
                let runs = checks.after_jobs && operation.uncordoned.is_some();
                runs.then(|| jobs_after(operation))
            }
            Phase::Draining | Phase::Rebooting | Phase::Failed => None,
        }
    }

    /// Removes the taint under which the pods of `DaemonSets` were evicted, if it is there.
    pub(super) fn remove_drain_taint(&self) -> Option<Action> {
        self.node.taints.rebooting.then(|| Action::RemoveTaint {
            node: self.name.to_owned(),
            taint: Taint::Rebooting,
        })
    }

    pub(super) fn uncordon(&self) -> Action {
        Action::Uncordon {
            node: self.name.to_owned(),
            keep_cordon: self.held().is_some(),
        }
    }

    /// Orders the reboot. The entry of the lock says so first: from then on the slot stays with the node's name.
    pub(super) fn order_reboot(&self) -> Step {
        let order = Action::OrderReboot {
            node: self.name.to_owned(),
            order: self.order(OrderAction::Reboot),
        };
        Step {
            reboot: self.missing_reboot(),
            ..Step::act(order)
        }
    }

    /// The reboot that the entry should have and does not.
    pub(super) fn missing_reboot(&self) -> Option<OrderedReboot> {
        let known = self.holder.reboot.as_ref();
        let known = known.is_some_and(|reboot| reboot.belongs_to(self.operation));
        (!known).then(|| OrderedReboot::of(self.operation, self.now()))
    }

    pub(super) fn set_order(&self, order: Option<Order>) -> Action {
        Action::SetSpec {
            node: self.name.to_owned(),
            policy: self.record.policy.clone(),
            order,
        }
    }

    /// Records the operation as it is from now on.
    pub(super) fn advance(&self, operation: Operation) -> Step {
        Step::act(Action::WriteRecord {
            node: self.name.to_owned(),
            change: Box::new(RecordChange::operation(operation)),
        })
    }

    pub(super) fn defer(&self, why: &WaitReason) -> Step {
        self.end(Outcome::Deferred, why)
    }

    pub(super) fn end(&self, outcome: Outcome, why: &WaitReason) -> Step {
        let cause = why.name();
        let mut operation = end(self.operation, outcome, cause.as_str(), &why.to_string(), self.now());
        operation.pods_moved = self.pods_moved();
        self.advance(operation)
    }

    /// Marks the operation Failed: a person must act.
    pub(super) fn fail(&self, message: String) -> Step {
        self.fail_with(message, false)
    }

    /// Marks the operation Failed because time ran out: it continues once the node has a new boot and is healthy.
    pub(super) fn time_out(&self, message: String) -> Step {
        self.fail_with(message, true)
    }

    fn fail_with(&self, message: String, timed_out: bool) -> Step {
        self.advance(Operation {
            phase: Phase::Failed,
            failure: Some(Failure {
                time: self.now(),
                message,
                timed_out,
            }),
            ..self.operation.clone()
        })
    }
}
