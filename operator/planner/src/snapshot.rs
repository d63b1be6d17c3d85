//! What the operator has observed, as plain values: a plan depends on these and on the time, and on nothing else.

mod node;
mod operation;
mod policy;
mod record;

use std::collections::BTreeMap;

use lockkeeper_reasons::ViewGap;

use crate::Instant;
use crate::names::PolicyName;

pub(crate) use node::PREFLIGHT_FRESH;
pub use node::{DaemonSetReadiness, Drain, DrainDetails, Hold, Node, Preflight, Ready, Taint, Taints};
pub use operation::{
    CountedDaemonSet, Failure, MAX_RETURNING_OWNERS, Operation, Outcome, PendingOutcome, Phase, Stage, StageKind,
};
pub use policy::{
    Approval, Breaker, BreakerRule, BreakerState, Canary, DurationEstimate, Limit, OnTimeout, Policy, PolicyState,
    QueueOrder, Rollout, Settings, Topology,
};
pub use record::{AnswerState, Command, Deferred, Host, HostAnswer, LastReboot, Order, OrderAction, Record, Released};

/// The cluster as it was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Kinds whose first list has not arrived. While there are any, the plan does nothing at all.
    pub unlisted: Vec<ViewGap>,
    /// What else is not known for certain: failing watches, invalid policies. While there are any, no node starts.
    pub view_gaps: Vec<ViewGap>,
    /// The policies by name.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// The Linux Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The lock; `None` until it is created.
    pub lock: Option<Lock>,
    /// The node on which this operator runs, if it runs in the cluster.
    pub own_node: Option<String>,
}

/// The `RebootLock`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The limit over all policies; `None` for the largest limit of any policy.
    pub max_in_progress: Option<Limit>,
    /// The holders of its slots.
    pub holders: Vec<Holder>,
}

/// The entry of a node that has a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The Node's name.
    pub node: String,
    /// The Node's uid.
    pub node_uid: String,
    /// The policy under which it was admitted.
    pub policy: PolicyName,
    /// The operation.
    pub operation_id: String,
    /// When it was admitted.
    pub acquired: Instant,
}
