//! How far a drain is: numbers, what it waits on, and a line for each pod.

use crate::blocker::Blocker;
use crate::cause::Cause;
use crate::pod::PodName;
use crate::select::{Stays, Tier};

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The node's pods have not been seen yet.
    Starting,
    /// Pods are being moved.
    Running {
        /// Pods that have to leave, those that have left included.
        to_move: usize,
        /// Pods that have left.
        moved: usize,
        /// Pods still there.
        left: usize,
        /// Pods of `to_move` that keep data in an `emptyDir`, which goes with them.
        with_empty_dir: usize,
        /// Pods whose turn has not come, by tier.
        later: Vec<Later>,
        /// Why pods are still there: the worst first, at most [`crate::MAX_CAUSES`].
        waiting_on: Vec<Cause>,
        /// Each pod of the node, those that have left included, by tier and name.
        pods: Vec<PodLine>,
    },
    /// The node is empty but for what stays.
    Done {
        /// Pods that have left.
        moved: usize,
        /// Running pods that stay: of `DaemonSet`s, of the kubelet, of Lockkeeper, by a rule.
        stayed: usize,
        /// Pods of `moved` that kept data in an `emptyDir`.
        with_empty_dir: usize,
        /// Volumes of pods that left, still attached when the time to wait for them was over.
        still_attached: Vec<String>,
    },
}

/// Pods whose turn has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later {
    /// Their tier.
    pub tier: Tier,
    /// How many.
    pub pods: usize,
}

/// Where one pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLine {
    /// The pod.
    pub pod: PodName,
    /// When it leaves.
    pub tier: Tier,
    /// Where it is.
    pub state: PodState,
    /// What it waits for, as far as that is known.
    pub why: Vec<Blocker>,
}

/// Where one pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It stays, and holds up nothing.
    Stays(Stays),
    /// Its tier's turn has not come.
    Later,
    /// It is to be asked, or was refused.
    Waiting,
    /// The API server is being asked.
    Asked,
    /// It is shutting down, or is about to.
    Leaving,
    /// It is gone from the node.
    Gone,
}
