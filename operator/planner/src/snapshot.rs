//! What the operator has seen, as plain values; everything that a plan depends on is in here or is `now`.

mod policy;

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::Instant;
use crate::names::{BootId, PolicyName};
use crate::operation::Operation;
use lockkeeper_reasons::{ViewGap, WaitReason};

pub use policy::{
    Approval, Breaker, BreakerRule, BreakerState, Canary, DurationEstimate, Limit, OnTimeout, Policy, PolicyState,
    QueueOrder, Rollout, Settings, Topology,
};

/// One look at the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Kinds that are not listed completely; not empty means that nothing at all is done.
    pub unlisted: Vec<ViewGap>,
    /// What else is not known for certain: failing watches, invalid policies. Not empty means that nothing starts.
    pub view_gaps: Vec<ViewGap>,
    /// Policies by name.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Linux Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The lock; absent until it is made.
    pub lock: Option<Lock>,
    /// The node that this operator runs on, if it runs in the cluster.
    pub own_node: Option<String>,
}

/// The lock and who is inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The cap over all policies; absent = the largest limit of any policy.
    pub max_in_progress: Option<Limit>,
    /// Who is inside.
    pub holders: Vec<Holder>,
}

/// A node that is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The Node's name.
    pub node: String,
    /// The Node's uid.
    pub node_uid: String,
    /// The policy under which it went in.
    pub policy: PolicyName,
    /// The operation.
    pub operation_id: String,
    /// When it went in.
    pub acquired: Instant,
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its uid.
    pub uid: String,
    /// When it was made.
    pub created: Instant,
    /// The policies that select it.
    pub policies: Vec<PolicyName>,
    /// The boot that the kubelet reports.
    pub boot_id: BootId,
    /// Whether it is Ready.
    pub ready: Ready,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// The operation that our mark names.
    pub cordoned_for: Option<String>,
    /// A taint of a program that is about to delete it.
    pub deletion_taint: Option<String>,
    /// Which of our own taints it has.
    pub taints: Taints,
    /// Whether it is part of the control plane.
    pub control_plane: bool,
    /// A person's hold.
    pub hold: Option<Hold>,
    /// A person's request for a reboot: the annotation's value.
    pub requested: Option<String>,
    /// A person's approval of a reboot: the annotation's value.
    pub approved: Option<String>,
    /// The values of the labels that its policy's `topology` names; a label that it does not have is absent.
    pub domains: BTreeMap<String, String>,
    /// Its `NodeReboot`, if there is one that this very Node owns.
    pub record: Option<Record>,
    /// Whether it could be drained, asked before it takes a slot.
    pub preflight: Preflight,
    /// How far its drain is.
    pub drain: Drain,
    /// Whether the `DaemonSet`s that its operation counts are ready, as they were last looked at.
    pub daemon_sets: DaemonSetReadiness,
}

/// How long an agent may take to report from a new boot before it counts as missing.
const AGENT_GRACE: TimeDelta = TimeDelta::seconds(120);

impl Node {
    /// The operation in progress, if there is one.
    pub fn operation(&self) -> Option<&Operation> {
        self.record.as_ref()?.operation.as_deref()
    }

    /// The report of the agent, if it comes from the boot that the kubelet reports; another one is out of date.
    pub fn trusted_host(&self) -> Option<&Host> {
        let host = self.record.as_ref()?.host.as_ref()?;
        (host.boot_id == self.boot_id).then_some(host)
    }

    /// Whether the host requires a reboot, or a person requested one.
    pub fn requires_reboot(&self) -> bool {
        self.requested.is_some() || self.trusted_host().is_some_and(|host| host.required)
    }

    /// Since when the agent is missing, or from when on it will be if it does not report; `None` if it has reported from
    /// the present boot.
    pub fn agent_missing_since(&self) -> Option<Instant> {
        match self.record.as_ref().and_then(|record| record.host.as_ref()) {
            None => Some(self.created),
            Some(host) if host.boot_id != self.boot_id => Some(self.ready.since + AGENT_GRACE),
            Some(_) => None,
        }
    }

    /// The hold that is in force at this time.
    pub fn hold_at(&self, now: Instant) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.holds(now))
    }
}

/// Which of our taints a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taints {
    /// [`Taint::Rebooting`].
    pub rebooting: bool,
    /// [`Taint::RebootPending`].
    pub reboot_pending: bool,
}

impl Taints {
    /// Whether this one is there.
    pub fn has(self, taint: Taint) -> bool {
        match taint {
            Taint::Rebooting => self.rebooting,
            Taint::RebootPending => self.reboot_pending,
        }
    }

    /// With this one there, or not.
    pub fn set(&mut self, taint: Taint, there: bool) {
        match taint {
            Taint::Rebooting => self.rebooting = there,
            Taint::RebootPending => self.reboot_pending = there,
        }
    }
}

/// A taint of ours, set only where a policy asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taint {
    /// `NoSchedule` while a node is emptied under `daemonSetsLast`: the pods of `DaemonSets` do not come back.
    Rebooting,
    /// `PreferNoSchedule` on a node that is still to come under `preferUpdatedNodes`: pods do not move twice.
    RebootPending,
}

/// Whether a node is Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Ready is `True`; unknown is not.
    pub ready: bool,
    /// When it last changed.
    pub since: Instant,
    /// When the kubelet last said so.
    pub heartbeat: Instant,
    /// What the condition says, such as `KubeletNotReady: container runtime is down`.
    pub message: String,
}

/// A person's hold on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The person's reason.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Instant>,
    /// The end as the annotation has it, if that is not a time; the node then stays held.
    pub invalid_until: Option<String>,
}

impl Hold {
    /// Whether it still holds.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Whether a node could be drained, as it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preflight {
    /// Not asked, or not answered yet.
    #[default]
    Unknown,
    /// Nobody could say; it is asked again, and keeps no place meanwhile.
    Failed {
        /// What went wrong, and the remedy if there is one.
        why: String,
    },
    /// All its pods can leave, at once or by waiting. `Instant::MAX_UTC` never grows old: nobody asks.
    Clear {
        /// When that was found.
        at: Instant,
    },
    /// A pod can never leave by waiting.
    Blocked {
        /// The pod, `namespace/name`.
        pod: String,
        /// Why it cannot.
        why: String,
        /// When that was found.
        at: Instant,
    },
}

/// How far a drain is, as its task last said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// No task runs.
    #[default]
    NotStarted,
    /// Pods are being moved; what the first of them waits for, if anything.
    Running {
        /// Pods evicted so far.
        moved: usize,
        /// The first blocker.
        waiting: Option<WaitReason>,
    },
    /// Nothing is left that would have to leave.
    Done {
        /// Pods evicted.
        moved: usize,
    },
}

/// Whether the `DaemonSet`s of a node are ready again after its reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DaemonSetReadiness {
    /// Not looked at in this boot yet, or too long ago.
    #[default]
    Unknown,
    /// All that count are.
    Ready,
    /// One is not, or nobody could say.
    NotReady {
        /// Which, its pod and what that says; or what went wrong.
        what: String,
    },
}

/// A `NodeReboot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `spec.policy`.
    pub policy: Option<PolicyName>,
    /// `spec.order`.
    pub order: Option<Order>,
    /// The agent's report.
    pub host: Option<Host>,
    /// The operation.
    pub operation: Option<Box<Operation>>,
    /// Back-off.
    pub deferred: Option<Deferred>,
    /// Released by a person.
    pub released: Option<Released>,
    /// The last reboot that was proven.
    pub last_reboot: Option<LastReboot>,
    /// The id of the operation that ended last.
    pub finished: Option<String>,
    /// A person's command.
    pub command: Option<Command>,
    /// The last command that was answered.
    pub answered_command: Option<Command>,
}

/// An order to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Operation and attempt.
    pub id: String,
    /// What to do.
    pub action: OrderAction,
    /// For which boot.
    pub boot_id: BootId,
}

/// What an agent shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAction {
    /// Answer whether it could.
    Prepare,
    /// Reboot.
    Reboot,
}

/// The agent's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The boot that the agent is in.
    pub boot_id: BootId,
    /// When that boot began, by the host's clock.
    pub boot_time: Option<Instant>,
    /// The running kernel.
    pub kernel: String,
    /// Whether a reboot is required.
    pub required: bool,
    /// Since when.
    pub required_since: Option<Instant>,
    /// Why.
    pub reasons: Vec<String>,
    /// Why the agent could not reboot the host; absent if it could.
    pub incapable: Option<String>,
    /// Programs that ask not to shut down: who, why.
    pub inhibitors: Vec<(String, String)>,
    /// The answer to the last order.
    pub answer: Option<HostAnswer>,
}

/// The agent's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAnswer {
    /// The order.
    pub id: String,
    /// What became of it.
    pub state: AnswerState,
    /// The cause in words.
    pub message: String,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerState {
    /// It could reboot now.
    Ready,
    /// It will not.
    Refused,
    /// The host accepted.
    Rebooting,
    /// The host was asked and did not do it.
    Failed,
    /// The order is gone, or the word is of a newer version.
    Withdrawn,
}

/// How often a node was put back since the last success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// How often.
    pub count: i32,
    /// Why, the last time: a waiting reason's name, or `Cancelled`.
    pub cause: String,
    /// Why, in words.
    pub message: String,
    /// Not before.
    pub until: Instant,
}

/// A person released the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// When.
    pub time: Instant,
    /// What had failed.
    pub failure: String,
    /// The cause it is not rebooted for again.
    pub reasons: Vec<String>,
}

/// The last reboot that was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReboot {
    /// When its operation began.
    pub started: Instant,
    /// When it ended.
    pub time: Instant,
    /// Why it was made.
    pub reasons: Vec<String>,
}

/// A person's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The annotation as it stands, and what is removed after the answer.
    pub verb: String,
    /// The operation that it is meant for.
    pub operation_id: String,
}
