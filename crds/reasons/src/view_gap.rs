//! What the operator does not know yet, or cannot know: unknown means no.

use std::fmt;

use crate::{Instant, format_time};

/// Why the operator's view is incomplete, for the whole cluster or for one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViewGap {
    /// The first list of a kind has not arrived.
    NotListed {
        /// The kind in the plural, such as `Nodes`.
        kind: String,
    },
    /// The watch on a kind fails, so that the cache may be out of date.
    WatchFailing {
        /// The kind in the plural, such as `Nodes`.
        kind: String,
        /// The error and its remedy.
        error: String,
    },
    /// A policy cannot be decoded, so that it is unknown which nodes it selects.
    PolicyInvalid {
        /// The policy's name.
        policy: String,
        /// The field and what is wrong with it.
        cause: String,
    },
    /// The Node cannot be decoded.
    NodeInvalid {
        /// The Node's name.
        node: String,
        /// The field and what is wrong with it.
        cause: String,
    },
    /// The `NodeReboot` of the node cannot be decoded.
    RecordInvalid {
        /// Its name.
        node: String,
        /// The field and what is wrong with it.
        cause: String,
    },
    /// The lock cannot be decoded, so that it is unknown which nodes are in progress.
    LockInvalid {
        /// The field and what is wrong with it.
        cause: String,
    },
    /// The static pods cannot be watched, so that it is unknown which nodes without a label are control-plane nodes, and
    /// whether etcd and kube-apiserver are ready.
    ControlPlaneUnknown {
        /// The kind in the plural.
        kind: String,
        /// The error and its remedy.
        error: String,
    },
    /// The cordon of the node's last reboot is still there and the node is not Ready.
    AwaitingReady,
    /// The record of a reboot was lost, and the agent has not confirmed that the host stays up.
    RecordLost,
    /// The watches have just started or come back, and schedulers may not know the cordon yet.
    SchedulersUnaware {
        /// Until when the reboot order waits.
        until: Instant,
    },
    /// The preflight has not answered yet.
    PreflightPending,
    /// The preflight could not be carried out.
    PreflightFailed {
        /// The error, and the remedy if there is one.
        error: String,
    },
}

impl fmt::Display for ViewGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed { kind } => write!(f, "the operator has just started and is still listing {kind}"),
            Self::WatchFailing { kind, error } => write!(f, "the watch on {kind} is failing: {error}"),
            Self::PolicyInvalid { policy, cause } => {
                write!(
                    f,
                    "policy {policy} cannot be decoded ({cause}); no node starts until it is fixed"
                )
            }
            Self::NodeInvalid { node, cause } => {
                write!(
                    f,
                    "Node {node} cannot be decoded ({cause}); it counts as unavailable and keeps its slot until it is fixed"
                )
            }
            Self::RecordInvalid { node, cause } => {
                write!(
                    f,
                    "NodeReboot {node} cannot be decoded ({cause}); this node does not start and keeps its slot until it is \
                     fixed"
                )
            }
            Self::LockInvalid { cause } => {
                write!(
                    f,
                    "RebootLock cluster cannot be decoded ({cause}); the operator does nothing until it is fixed"
                )
            }
            Self::ControlPlaneUnknown { kind, error } => {
                write!(
                    f,
                    "the watch on {kind} is failing: {error}; control-plane nodes do not start, and all others one at a time"
                )
            }
            Self::AwaitingReady => {
                f.write_str("waiting for the node to become Ready before the cordon of its last reboot is removed")
            }
            Self::RecordLost => f.write_str(
                "the record of a reboot was lost; waiting for the node agent to confirm that no reboot is in progress",
            ),
            Self::SchedulersUnaware { until } => write!(
                f,
                "the operator's watches have only just started, and a scheduler may still bind pods to this node; the reboot is \
                 ordered at {} at the earliest",
                format_time(*until)
            ),
            Self::PreflightPending => f.write_str("checking whether its pods can be evicted"),
            Self::PreflightFailed { error } => {
                write!(
                    f,
                    "the check whether its pods can be evicted failed: {error}; it is repeated"
                )
            }
        }
    }
}
