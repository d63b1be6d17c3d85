//! An operation: one attempt to reboot one node, and what of it must survive a crash.

use chrono::TimeDelta;

use super::boot_before::BootBefore;
use super::hooks::{CurrentHook, EndedHook, Hook, HookPoint};
use super::overrides::{Overridden, Override};
use super::policy::{OnTimeout, RebootMethod, Settings};
use crate::Instant;
use crate::names::{BootId, PolicyName};

/// How many owners a record keeps whose pods return to the node; pods of others keep the drain from its end.
pub const MAX_RETURNING_OWNERS: usize = 100;

/// How much longer than its time-out a drain waits for pods within their own grace period.
pub const MAX_GRACE_WAIT: TimeDelta = TimeDelta::hours(2);

/// One attempt to reboot one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// How often a person's `retry` gave its order again; part of the order's id.
    pub attempt: i32,
    /// How far it is.
    pub phase: Phase,
    /// Its policy.
    pub policy: PolicyName,
    /// The boot before the reboot.
    pub boot_id_before: BootId,
    /// The soft-reboots of that boot before the reboot, if one more is enough. The host is soft-rebooted then.
    pub soft_reboots_before: Option<i32>,
    /// The kernel before the reboot.
    pub kernel_before: String,
    /// Why the reboot is required.
    pub reasons: Vec<String>,
    /// The value of the annotation `reboot-requested` that it fulfils.
    pub requested: Option<String>,
    /// The value of the annotation `approved` when it was admitted.
    pub approved: Option<String>,
    /// When the reboot became required.
    pub required: Option<Instant>,
    /// When it was admitted.
    pub started: Instant,
    /// When the agent was asked to prepare, the last time.
    pub asked: Instant,
    /// When the cordon was observed.
    pub cordoned: Option<Instant>,
    /// What followed the time-out of the drain.
    pub stage: Option<Stage>,
    /// Until when the drain goes on after its time-out: it was interrupted, or waits for pods within their own grace period.
    pub extended_until: Option<Instant>,
    /// When the reboot order was observed.
    pub reboot_ordered: Option<Instant>,
    /// When the agent's refusal of the reboot order was observed.
    pub refused: Option<Instant>,
    /// When the new boot was observed.
    pub rebooted: Option<Instant>,
    /// When it was observed that the node is uncordoned after its verification; only if something is waited for since.
    pub uncordoned: Option<Instant>,
    /// Pods evicted.
    pub pods_moved: i32,
    /// Owners whose pods are no longer evicted, because they return to the node: sorted, at most [`MAX_RETURNING_OWNERS`].
    pub returning_owners: Vec<String>,
    /// The `DaemonSet`s that were ready on the node at the cordon: they must be ready again before the uncordon.
    pub daemon_sets: Vec<CountedWorkload>,
    /// The static pods that were ready on the node at the cordon: they must be ready again before the uncordon.
    pub static_pods: Vec<CountedWorkload>,
    /// The workloads whose pods were to leave the node, and which were ready at the cordon: they must be ready again before
    /// the operation ends.
    pub workloads: Vec<EvictedWorkload>,
    /// The ids of what the checks after the reboot found before it started, sorted: it does not count.
    pub checks_baseline: Vec<String>,
    /// Since when the node and its checks have been healthy after the uncordon.
    pub healthy_since: Option<Instant>,
    /// The hook in progress.
    pub hook: Option<CurrentHook>,
    /// The hooks that have ended, in their order.
    pub ended_hooks: Vec<EndedHook>,
    /// When notice of the drain was given.
    pub noticed: Option<Instant>,
    /// What the policy's deadline or its urgent override had overridden when it was admitted.
    pub overridden: Option<Overridden>,
    /// The settings with which it finishes.
    pub settings: Settings,
    /// What failed.
    pub failure: Option<Failure>,
    /// How it is about to end.
    pub pending_outcome: Option<PendingOutcome>,
}

impl Operation {
    /// The id of the order of the present attempt.
    pub fn order_id(&self) -> String {
        format!("{}-{}", self.id, self.attempt)
    }

    /// The boot that it must leave.
    pub fn boot_before(&self) -> BootBefore<'_> {
        BootBefore {
            boot_id: &self.boot_id_before,
            soft_reboots: self.soft_reboots_before,
        }
    }

    /// How the node is rebooted: `Auto` has chosen.
    pub fn method(&self) -> RebootMethod {
        match self.soft_reboots_before {
            Some(_) => RebootMethod::SoftReboot,
            None => self.settings.method,
        }
    }

    /// What follows when its drain times out: a deadline may have put the deletion in the place of the deferral.
    pub fn on_timeout(&self) -> OnTimeout {
        let deletes = self
            .overridden
            .as_ref()
            .is_some_and(|one| one.has(Override::DeletePods));
        match self.settings.on_timeout {
            OnTimeout::Defer if deletes => OnTimeout::Delete,
            OnTimeout::Defer | OnTimeout::Delete | OnTimeout::Reboot => self.settings.on_timeout,
        }
    }

    /// Whether it was reconstructed from a cordon whose record is lost: it failed, and neither its cordon nor a new boot
    /// was ever observed.
    pub fn is_reconstructed(&self) -> bool {
        self.phase == Phase::Failed && self.cordoned.is_none() && self.rebooted.is_none()
    }

    /// Whether the node may be cordoned for it next. A cordon that an uncordon removes until then is an earlier one.
    pub fn awaits_cordon(&self) -> bool {
        self.phase == Phase::Preparing && self.pending_outcome.is_none()
    }

    /// The first hook of this point that has not ended.
    pub fn next_hook(&self, point: HookPoint) -> Option<&Hook> {
        let has_ended = |hook: &Hook| {
            let mut ended = self.ended_hooks.iter();
            ended.any(|ended| ended.point == point && ended.name == hook.name)
        };
        self.settings.hooks.at(point).iter().find(|hook| !has_ended(hook))
    }

    /// The id of the run of a hook: another one for each attempt.
    pub fn hook_id(&self, hook: &CurrentHook) -> String {
        format!("{}/{}/{}", self.order_id(), hook.point.as_str(), hook.name)
    }

    /// The hook in progress, with what the policy says of it.
    pub fn current_hook(&self) -> Option<(&CurrentHook, &Hook)> {
        let current = self.hook.as_ref()?;
        let mut hooks = self.settings.hooks.at(current.point).iter();
        Some((current, hooks.find(|hook| hook.name == current.name)?))
    }

    /// Whether the workloads of the node are still to be given notice.
    pub fn awaits_notice(&self) -> bool {
        self.settings.notice.is_some() && self.noticed.is_none()
    }

    /// When the notice ends, once it is given.
    pub fn notice_ends(&self) -> Option<Instant> {
        Some(self.noticed? + self.settings.notice?)
    }

    /// When evictions may start: the hooks before the drain have ended, the notice is over, and load balancers have had their
    /// time since the cordon.
    pub fn evict_from(&self) -> Instant {
        let hooks = self.ended_hooks.iter();
        let hooks = hooks.filter(|hook| hook.point == HookPoint::BeforeDrain);
        let hooks = hooks.map(|hook| hook.ended);
        let from = self.load_balancers_ready();
        hooks.chain(self.notice_ends()).fold(from, Instant::max)
    }

    /// When load balancers have had their time since the cordon.
    pub(crate) fn load_balancers_ready(&self) -> Instant {
        /// Times are recorded in whole seconds: the cordon may be that much younger.
        const ROUNDING: TimeDelta = TimeDelta::seconds(1);
        let cordoned = self.cordoned.unwrap_or(self.asked);
        let delay = self.settings.load_balancer_delay;
        if delay > TimeDelta::zero() {
            cordoned + delay + ROUNDING
        } else {
            cordoned
        }
    }

    /// Whether the drain has reached this stage.
    pub fn is_in(&self, kind: StageKind) -> bool {
        self.stage.is_some_and(|stage| stage.kind == kind)
    }
}

/// A `DaemonSet` whose pod was ready on the node before the cordon, or a static pod that was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedWorkload {
    /// Its `namespace/name`.
    pub name: String,
    /// Since when its pod was ready: an unchanged time after the reboot means a status from before it.
    pub since: Option<Instant>,
}

/// The controlling owner of pods that were to leave the node. It had all its replicas ready at the cordon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvictedWorkload {
    /// The owner, as `kind namespace/name`.
    pub owner: String,
    /// The `Deployment` that it belongs to: the name that people know.
    pub deployment: Option<String>,
    /// How many replicas it had; `None` if it could not be read.
    pub replicas: Option<i32>,
}

/// What followed the time-out of a drain; recorded before it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Which stage.
    pub kind: StageKind,
    /// Since when.
    pub since: Instant,
}

/// What may follow the time-out of a drain, if the policy says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// The remaining pods are deleted regardless of their disruption budgets.
    Delete,
    /// The node is rebooted with the remaining pods.
    Reboot,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The agent is asked whether it could reboot the host.
    Preparing,
    /// The node is cordoned, and its pods are evicted.
    Draining,
    /// The reboot is ordered.
    Rebooting,
    /// A new boot was observed.
    Verifying,
    /// A person must act.
    Failed,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub time: Instant,
    /// What did not happen, and what to check.
    pub message: String,
    /// Only time ran out: the operation continues by itself once the node has a new boot and is healthy.
    pub timed_out: bool,
}

/// How an operation is about to end; recorded before the first step of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOutcome {
    /// The outcome.
    pub outcome: Outcome,
    /// When that was decided.
    pub time: Instant,
    /// The name of a wait reason, `Cancelled`, or empty.
    pub cause: String,
    /// The cause, for people.
    pub message: String,
}

/// How an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reboot was proven and the node verified.
    Succeeded,
    /// It could not continue; the operator tries again after a back-off.
    Deferred,
    /// It may not continue now; no back-off.
    Withdrawn,
    /// A person holds the node since it was cordoned; it stays cordoned.
    Held,
    /// A person released it.
    Released,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Succeeded,
        Self::Deferred,
        Self::Withdrawn,
        Self::Held,
        Self::Released,
    ];

    /// The name, as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Deferred => "Deferred",
            Self::Withdrawn => "Withdrawn",
            Self::Held => "Held",
            Self::Released => "Released",
        }
    }
}
