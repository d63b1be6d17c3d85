//! The operation: one node's way through the lock, and what of it must survive a crash.

use chrono::TimeDelta;

use crate::Instant;
use crate::names::{BootId, PolicyName};
use crate::snapshot::Settings;

/// What must survive a crash while a node is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// How often its order was given anew by a person's `retry`; the order's id names it.
    pub attempt: i32,
    /// How far it is.
    pub phase: Phase,
    /// Its policy.
    pub policy: PolicyName,
    /// The boot to leave.
    pub boot_id_before: BootId,
    /// The kernel before.
    pub kernel_before: String,
    /// Why.
    pub reasons: Vec<String>,
    /// The reboot-requested annotation's value that it answers.
    pub requested: Option<String>,
    /// The approved annotation's value that it had when it went in.
    pub approved: Option<String>,
    /// When the reboot became required.
    pub required: Option<Instant>,
    /// When it went in.
    pub started: Instant,
    /// When the agent was asked, last.
    pub asked: Instant,
    /// When our marks were seen.
    pub cordoned: Option<Instant>,
    /// What followed the drain's time-out.
    pub stage: Option<Stage>,
    /// When the reboot order was seen.
    pub reboot_ordered: Option<Instant>,
    /// When the new boot was seen.
    pub rebooted: Option<Instant>,
    /// Pods evicted.
    pub pods_moved: i32,
    /// The `DaemonSet`s that were ready on the node at the cordon: they must be again before it is given back.
    pub daemon_sets: Vec<CountedDaemonSet>,
    /// The settings it finishes with.
    pub settings: Settings,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// How it ends.
    pub pending_outcome: Option<PendingOutcome>,
}

impl Operation {
    /// The id of the order that belongs to the present attempt.
    pub fn order_id(&self) -> String {
        [&self.id, "-", &self.attempt.to_string()].concat()
    }

    /// Whether it was made up for marks whose record is lost: it failed, and never was seen cordoned or back.
    pub fn is_reconstructed(&self) -> bool {
        self.phase == Phase::Failed && self.cordoned.is_none() && self.rebooted.is_none()
    }

    /// From when pods may be evicted: load balancers have had their time since our marks.
    pub fn evict_from(&self) -> Instant {
        /// The record has whole seconds only: the marks may be so much younger.
        const WHOLE: TimeDelta = TimeDelta::seconds(1);
        let cordoned = self.cordoned.unwrap_or(self.asked);
        let delay = self.settings.load_balancer_delay;
        if delay > TimeDelta::zero() {
            cordoned + delay + WHOLE
        } else {
            cordoned
        }
    }

    /// Whether the drain is in this stage.
    pub fn is_in(&self, kind: StageKind) -> bool {
        self.stage.is_some_and(|stage| stage.kind == kind)
    }
}

/// A `DaemonSet` whose pod was ready on the node before we touched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedDaemonSet {
    /// `namespace/name`.
    pub name: String,
    /// Since when its pod was: a pod that says the same after the reboot has not been heard of since.
    pub since: Option<Instant>,
}

/// What followed a drain's time-out; written before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What.
    pub kind: StageKind,
    /// Since when.
    pub since: Instant,
}

/// What may follow a drain's time-out, if the policy says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// What is left is deleted past its budgets.
    Delete,
    /// The node is rebooted with the pods that are left.
    Reboot,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The agent is asked.
    Preparing,
    /// Our marks are on the Node.
    Draining,
    /// The reboot is ordered.
    Rebooting,
    /// A new boot was seen.
    Verifying,
    /// A person must look.
    Failed,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub time: Instant,
    /// What did not happen, and where to look.
    pub message: String,
}

/// How an operation ends; written before the first step of its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOutcome {
    /// Which way.
    pub outcome: Outcome,
    /// When that was decided.
    pub time: Instant,
    /// A waiting reason's name, `Cancelled`, or empty.
    pub cause: String,
    /// The cause in words.
    pub message: String,
}

/// Which way an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Rebooted, proven, verified.
    Succeeded,
    /// It could not go on; tried again after a back-off.
    Deferred,
    /// It may not go on now; no back-off.
    Withdrawn,
    /// Held by a person while cordoned; stays cordoned.
    Held,
    /// A person released it.
    Released,
}
