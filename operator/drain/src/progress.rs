//! The progress of a drain: counts, causes of delay, and a line for each pod.

use chrono::{DateTime, Utc};

use crate::blocker::Blocker;
use crate::cause::Cause;
use crate::pod::PodName;
use crate::returns::ReturningOwner;
use crate::select::{StayReason, Tier};

/// The progress of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The node's pods are not listed yet.
    Starting,
    /// Pods are being evicted.
    Running {
        /// Pods that have to leave, including those that have left.
        to_move: usize,
        /// Pods that have left.
        moved: usize,
        /// Pods that still have to leave.
        remaining: usize,
        /// Pods of `to_move` with data in an `emptyDir`, which their eviction deletes.
        with_empty_dir: usize,
        /// Pods that wait for an earlier tier, by tier.
        waiting_tiers: Vec<WaitingTier>,
        /// Whether evictions are asked for as soon as budgets and tiers allow them, on a view of the node that is up to date.
        evicting: bool,
        /// When the last of the remaining pods ends its own grace period; `None` if the drain waits for anything else.
        grace_ends: Option<DateTime<Utc>>,
        /// Owners whose pods are no longer evicted, as they return to the node.
        returning: Vec<ReturningOwner>,
        /// Why pods are still there: those that need a person first, at most [`crate::MAX_CAUSES`].
        waiting_on: Vec<Cause>,
        /// Each pod of the node, including those that have left, by tier and name.
        pods: Vec<PodLine>,
    },
    /// No pod that has to leave is left on the node.
    Done {
        /// Pods that have left.
        moved: usize,
        /// Running pods that stay: of `DaemonSet`s, static pods, Lockkeeper's own, those that a rule skips, and those that
        /// return.
        stayed: usize,
        /// Pods of `moved` that had data in an `emptyDir`.
        with_empty_dir: usize,
        /// Volumes of evicted pods that were still attached when the drain stopped waiting for them.
        still_attached: Vec<String>,
        /// Owners whose pods stay, as they return to the node.
        returning: Vec<ReturningOwner>,
    },
}

/// The pods of a tier that waits for an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingTier {
    /// The tier.
    pub tier: Tier,
    /// How many pods it has.
    pub pods: usize,
}

/// The progress of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLine {
    /// The pod.
    pub pod: PodName,
    /// When it leaves.
    pub tier: Tier,
    /// Its state.
    pub state: PodState,
    /// What blocks or delays it, as far as that is known.
    pub blockers: Vec<Blocker>,
}

/// The state of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It stays on the node and does not delay the drain.
    Stays(StayReason),
    /// It waits for an earlier tier.
    Later,
    /// Its eviction will be requested, or was refused.
    Waiting,
    /// Its eviction is being requested.
    Asked,
    /// It is shutting down, or is about to.
    Leaving,
    /// It has left the node.
    Gone,
}
