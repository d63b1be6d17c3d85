//! Lockkeeper's API, group `lockkeeper.dev`, version `v1alpha1`: types, names and nothing that talks.
//!
//! Three kinds, all cluster-scoped: [`RebootPolicy`] is what an admin wants for a set of nodes, [`NodeReboot`] is one
//! per Node and says where it is on its way through the lock, [`RebootLock`] is one object that lists who is inside.
//! Each field has one writer; the table is in `ARCHITECTURE.md`.

#![warn(missing_docs)]
// The schema derive makes private twins of each type, with our visibility on them.
#![allow(unreachable_pub)]
// Printer columns repeat attribute names; clippy takes that for a slip.
#![allow(clippy::duplicated_attributes)]

pub mod condition;
pub mod generate;
pub mod host;
pub mod limit;
pub mod lock;
pub mod names;
pub mod node_reboot;
pub mod operation;
pub mod policy;
/// The reason table, a crate of its own so that the planner can use it without kube.
pub use lockkeeper_reasons as reasons;
pub mod selector;
pub mod time;

pub use condition::Condition;
pub use host::{HostReport, OrderAnswer, OrderState, RebootRequired};
pub use limit::IntOrPercent;
pub use lock::{Holder, RebootLock, RebootLockSpec, RebootLockStatus};
pub use node_reboot::{
    Deferred, HistoryEntry, LastCommand, NodeReboot, NodeRebootSpec, NodeRebootStatus, NodeState, Order, OrderAction,
    RebootMethod, Released, WaitingStatus,
};
pub use operation::{
    CountedDaemonSet, DrainStage, Failure, Operation, OperationSettings, Outcome, PendingOutcome, Phase, StageKind,
};
pub use policy::{
    Approval, Breaker, BreakerState, BreakerStatus, Canary, DeleteExempt, Disruption, Drain, DrainBehavior, DrainRule,
    EmptyDirData, Exclusion, OnTimeout, PodOptOuts, PolicyWaiting, QueueOrder, Reboot, RebootPolicy, RebootPolicySpec,
    RebootPolicyStatus, RolloutStatus, Topology, UnmanagedPods, Window, WindowState,
};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};
