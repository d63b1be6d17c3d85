//! Lockkeeper's API, group `lockkeeper.dev`, version `v1alpha1`: types and names, without I/O.
//!
//! Three kinds, all cluster-scoped: a [`RebootPolicy`] configures the reboots of a set of nodes, a [`NodeReboot`] holds
//! the state of one Node, and the only [`RebootLock`] lists the nodes in progress. Each field has one writer; the table
//! is in `ARCHITECTURE.md`.

#![warn(missing_docs)]
// The schema derive generates private copies of each type with the visibility of the original.
#![allow(unreachable_pub)]
// Printer columns repeat attribute names, which clippy reports as a mistake.
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
pub use lock::{Holder, OrderedReboot, RebootLock, RebootLockSpec, RebootLockStatus};
pub use node_reboot::{
    Deferred, DeletionTaint, HistoryEntry, LastCommand, NodeReboot, NodeRebootSpec, NodeRebootStatus, NodeState, Order,
    OrderAction, RebootSeries, Released, WaitingStatus,
};
pub use operation::{
    CountedWorkload, CurrentHook, DrainStage, EndedHook, EvictedWorkload, Failure, FindingId, HookPoint, OnDeadline,
    Operation, OperationSettings, Outcome, OwnerName, PendingOutcome, Phase, StageKind,
};
pub use policy::{
    AlertName, AlertStates, AlertsCheck, Approval, Breaker, BreakerState, BreakerStatus, Canary, Check, Checks,
    ConditionStatus, Deadline, DeadlineStatus, DeleteExempt, Disruption, Drain, DrainBehavior, DrainRule, EmptyDirData,
    Exclusion, Hook, HookAnnotation, HookFailurePolicy, HookJob, Hooks, HttpCheck, JobCheck, Matcher,
    NodeConditionCheck, Notice, ObjectCheck, OnCheckError, OnTimeout, Overridden, Override, PodOptOuts, PodsCheck,
    PodsExpected, PolicyWaiting, PrometheusCheck, QueryCheck, QueryResult, QueueOrder, Reboot, RebootMethod,
    RebootPolicy, RebootPolicySpec, RebootPolicyStatus, RolloutStatus, Rung, RungStatus, SecretKey, Server, Topology,
    UnmanagedPods, Urgent, Window, WindowState,
};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};
