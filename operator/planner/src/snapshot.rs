//! What the operator has observed, as plain values: a plan depends on these and on the time, and on nothing else.

mod boot_before;
mod checks;
mod hooks;
mod node;
mod notice;
mod operation;
mod overrides;
mod policy;
mod record;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use lockkeeper_reasons::ViewGap;

use crate::Instant;
use crate::names::{BootId, PolicyName};

pub use boot_before::BootBefore;
pub(crate) use checks::MAX_BASELINE;
pub use checks::{CHECKS_FRESH, CheckJobs, CheckResult, CheckRound, CheckStage, CheckVerdict, Checks, Finding};
pub use hooks::{
    CurrentHook, EndedHook, Handshake, HandshakeKeys, Hook, HookJob, HookKind, HookPoint, Hooks, JobReport, JobState,
};
pub use node::{
    DaemonSetReadiness, Deletion, Drain, DrainDetails, Hold, Node, Preflight, Ready, Taint, Taints, WorkloadReadiness,
};
pub(crate) use node::{PREFLIGHT_FRESH, UnavailableCause, is_fresh};
pub use notice::{GivenNotice, NoticeCondition};
pub use operation::{
    CountedWorkload, EvictedWorkload, Failure, MAX_GRACE_WAIT, MAX_RETURNING_OWNERS, Operation, Outcome,
    PendingOutcome, Phase, Stage, StageKind,
};
pub use overrides::{Overridden, Override, PendingDeadline, Rung, Urgent};
pub use policy::{
    Approval, Breaker, BreakerRule, BreakerState, Canary, DurationEstimate, Limit, OnTimeout, Policy, PolicyState,
    QueueOrder, RebootMethod, Rollout, Settings, Topology,
};
pub use record::{
    AnswerState, Command, Confinement, Deferred, Host, HostAnswer, LastReboot, Order, OrderAction, RebootSeries,
    Record, Released, SoftReboots,
};

/// The cluster as it was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Kinds whose first list has not arrived. While there are any, the plan does nothing at all.
    pub unlisted: Vec<ViewGap>,
    /// What else is not known for certain: failing watches, invalid policies. While there are any, no node starts.
    pub view_gaps: Vec<ViewGap>,
    /// Why the static pods are not known, if they are not. No control-plane node starts then. Any other node may be one
    /// without a label, so that they start one at a time.
    pub control_plane_gap: Option<ViewGap>,
    /// How long the watches have shown the cluster without a break, at most [`OBSERVATION_GRACE`].
    pub watched_for: TimeDelta,
    /// The policies by name.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// The Linux Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Records of Nodes that Lockkeeper does not manage, and that are not needed any more, by name.
    pub unmanaged_records: BTreeSet<String>,
    /// The lock; `None` until it is created.
    pub lock: Option<Lock>,
    /// What refuses the last writes of the lock, if they are refused again and again.
    pub refused_lock_write: Option<String>,
    /// The node on which this operator runs, if it runs in the cluster.
    pub own_node: Option<String>,
    /// Whether nodes start although agents are not confined to their own nodes.
    pub accepts_unconfined_agents: bool,
}

/// A time-out is judged only once the watches have shown the cluster for this long without a break. After an outage of the
/// API server, kubelets and agents need a moment to report what has happened meanwhile: a kubelet reports every 10 s.
pub const OBSERVATION_GRACE: TimeDelta = TimeDelta::seconds(60);

/// A reboot is ordered only once the watches have shown the cluster for this long without a break. A scheduler whose watch
/// broke in the same outage knows the cordon only a moment after it, and binds pods to the node until then.
pub const SCHEDULER_GRACE: TimeDelta = TimeDelta::seconds(10);

impl Snapshot {
    /// When schedulers have had time to learn of the cordons after a break of the watches; `None` if they have by now.
    pub(crate) fn schedulers_know_at(&self, now: Instant) -> Option<Instant> {
        let missing = SCHEDULER_GRACE - self.watched_for;
        (missing > TimeDelta::zero()).then(|| now + missing)
    }

    /// When a time-out is judged: not before what happened until then can have been observed.
    pub(crate) fn judged_at(&self, deadline: Instant, now: Instant) -> Instant {
        let missing = OBSERVATION_GRACE - self.watched_for;
        if missing > TimeDelta::zero() {
            deadline.max(now + missing)
        } else {
            deadline
        }
    }
}

/// The `RebootLock`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The limit over all policies; `None` for the largest limit of any policy.
    pub max_in_progress: Option<Limit>,
    /// The holders of its slots.
    pub holders: Vec<Holder>,
    /// A person's last command for a holder whose Node was deleted; it stays, and means no later holder.
    pub command: Option<Command>,
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
    /// Its reboot, from right before the order on.
    pub reboot: Option<OrderedReboot>,
}

impl Holder {
    /// Whether its Node was deleted, and the operation has not gone on with another one of that name.
    pub(crate) fn is_deleted(&self, snapshot: &Snapshot) -> bool {
        let node = snapshot.nodes.get(&self.node);
        node.is_none_or(|node| {
            let record = node.record.as_ref();
            let finished = record.and_then(|record| record.finished.as_ref());
            node.uid != self.node_uid && node.operation().is_none() && finished != Some(&self.operation_id)
        })
    }
}

/// The reboot that is ordered for the holder of a slot. The slot stays with the node's name, also if its Node is deleted:
/// cloud controllers delete the Node of a machine that is off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderedReboot {
    /// When it was ordered, or was about to be.
    pub time: Instant,
    /// The boot before it.
    pub boot_id_before: BootId,
    /// The soft-reboots of that boot before it, if one more is enough.
    pub soft_reboots_before: Option<i32>,
    /// When it times out.
    pub deadline: Instant,
}

impl OrderedReboot {
    /// The reboot of this operation, if it is ordered now or was ordered before.
    pub(crate) fn of(operation: &Operation, now: Instant) -> Self {
        let time = operation.reboot_ordered.unwrap_or(now);
        Self {
            time,
            boot_id_before: operation.boot_id_before.clone(),
            soft_reboots_before: operation.soft_reboots_before,
            deadline: time + operation.settings.reboot_timeout,
        }
    }

    /// Whether it is the one of the present attempt of this operation.
    pub(crate) fn belongs_to(&self, operation: &Operation) -> bool {
        let before = (&self.boot_id_before, self.soft_reboots_before);
        before == (&operation.boot_id_before, operation.soft_reboots_before) && self.time >= operation.asked
    }
}
