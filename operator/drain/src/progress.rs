//! How far a drain is, in numbers, and what it waits on.

use crate::blocker::Blocker;

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
        /// Why they are still there: the worst first, at most [`MAX_SHOWN`].
        waiting_on: Vec<Blocker>,
    },
    /// The node is empty but for what stays.
    Done {
        /// Pods that have left.
        moved: usize,
        /// Running pods that stay: of `DaemonSets`, of the kubelet, of Lockkeeper.
        stayed: usize,
    },
}

/// How many blockers are shown: more would be read by nobody and bloat the status.
pub const MAX_SHOWN: usize = 10;
