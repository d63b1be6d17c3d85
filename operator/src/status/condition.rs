//! The names that conditions may have, and a condition before it has its times.

use chrono::{DateTime, Utc};
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{Condition, condition};
use lockkeeper_snapshot::convert::bounded;

/// An enum whose variants are spelled the same in the API.
macro_rules! names {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$doc])* $name,)*
        }

        impl $type {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as it is written in the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Reads a name from the API; `None` for a name of another version.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }
    };
}

names! {
    /// The type of a condition.
    ConditionType {
        /// `NodeReboot`: the node requires a reboot.
        RebootRequired,
        /// `NodeReboot`: the Node is unschedulable.
        Cordoned,
        /// `NodeReboot`: no pod is left that has to be evicted.
        Drained,
        /// `NodeReboot`: the operation in progress, or the last one, rebooted the node.
        Rebooted,
        /// `NodeReboot`: the Node is Ready.
        Healthy,
        /// `NodeReboot`: the agent could reboot the host now.
        RebootCapable,
        /// `NodeReboot`: the agent can write the report of its own node only.
        AgentConfined,
        /// `NodeReboot`: the annotation `lockkeeper.dev/hold-until` cannot be read; only while it is true.
        HoldInvalid,
        /// `RebootPolicy`: the policy works.
        Ready,
        /// `RebootPolicy`: no node requires a reboot.
        UpToDate,
        /// `RebootPolicy`: a node is in progress.
        Progressing,
        /// `RebootPolicy`: a node failed, or still requires a reboot after one.
        Degraded,
        /// `RebootPolicy`: a person must act before it continues; only while it is true, as kstatus wants it.
        Stalled,
        /// `RebootPolicy`: the windows are too short for the pending nodes; only while it is true.
        ScheduleTooTight,
        /// `RebootPolicy`: agents report that they cannot reboot their nodes; only while it is true.
        AgentsIncapable,
        /// `RebootPolicy`: a check keeps nodes from starting; only while it is true.
        ChecksFailing,
        /// `RebootPolicy`: a rung of the deadline applies to nodes, or will within a day; only while it is true.
        DeadlineEscalating,
        /// `RebootPolicy`: nodes will be overdue before they are rebooted, by the forecast; only while it is true.
        DeadlineAtRisk,
        /// `RebootPolicy`: nodes are overdue; only while it is true.
        DeadlineMissed,
        /// `RebootPolicy`: the urgent override applies; only while it is true.
        Urgent,
        /// `RebootPolicy`: the acknowledgement of the breaker cannot be used; only while it is true.
        AcknowledgementInvalid,
    }
}

names! {
    /// The status of a condition.
    ConditionStatus {
        /// It holds.
        True,
        /// It does not hold.
        False,
        /// It is unknown whether it holds.
        Unknown,
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

names! {
    /// The reason of a condition.
    ConditionReason {
        /// A person requested the reboot.
        Requested,
        /// No agent has reported from the present boot.
        AgentMissing,
        /// The host requires the reboot.
        RequiredByHost,
        /// A detector fails, so that it is unknown whether a reboot is required.
        DetectorFailing,
        /// No reboot is required.
        NothingPending,
        /// Lockkeeper cordoned the node.
        ByLockkeeper,
        /// Another client cordoned the node.
        ByOther,
        /// The node is not cordoned.
        Schedulable,
        /// The pods are evicted.
        Drained,
        /// Pods are being evicted.
        Draining,
        /// The node reboots with pods on it.
        PodsRemaining,
        /// No drain is in progress.
        NotDraining,
        /// The boot ID changed.
        BootIDChanged,
        /// The userspace was rebooted; the boot ID is the same.
        SoftRebooted,
        /// The boot ID is the same.
        SameBoot,
        /// Lockkeeper has not rebooted the node.
        NeverRebooted,
        /// The node is Ready.
        NodeReady,
        /// The node is not Ready.
        NodeNotReady,
        /// The host reboots.
        Rebooting,
        /// The agent cannot reboot the host.
        AgentIncapable,
        /// A program inhibits the shutdown.
        Inhibited,
        /// The agent can reboot the host.
        AgentReady,
        /// The agent can write the report of its own node only.
        Confined,
        /// The agent can write the report of any node.
        NotConfined,
        /// The agent does not report whether it is confined.
        NotReported,
        /// A time is not RFC 3339.
        InvalidTime,
        /// A time is in the future.
        InTheFuture,
        /// The policy cannot be decoded, or its schedule is invalid.
        InvalidSpec,
        /// The policy is suspended.
        Suspended,
        /// Every node is up to date.
        UpToDate,
        /// A rollout is in progress.
        RollingOut,
        /// Nodes failed.
        NodesFailed,
        /// Nodes require a reboot.
        NodesPending,
        /// It is unknown whether nodes require a reboot.
        NodesUnknown,
        /// No node is in progress.
        NoneInProgress,
        /// Nodes are in progress.
        NodesInProgress,
        /// No node failed.
        NoFailure,
        /// A node still requires a reboot after one.
        StillRequired,
        /// A check found what must not be.
        CheckFailing,
        /// A check could not be evaluated.
        CheckUnavailable,
        /// Within a day, a rung applies to a node.
        RungDue,
        /// A rung applies to nodes.
        RungReached,
        /// By the forecast, nodes are not rebooted in time.
        ForecastLate,
        /// Nodes have required a reboot for longer than the deadline allows.
        NodesOverdue,
        /// The policy has an urgent override.
        UrgentOverride,
        /// The windows are hardly ever open.
        InsufficientWindowTime,
        /// The windows are too short for all pending nodes.
        TooManyNodes,
    }
}

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionDraft {
    /// The condition's type.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one name.
    pub reason: ConditionReason,
    /// Why, as a sentence.
    pub message: String,
}

impl ConditionDraft {
    pub(super) fn new(
        type_: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: ConditionReason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status: status.into(),
            reason,
            message: message.into(),
        }
    }

    /// With times: the transition time is kept while the status is the same.
    pub fn into_condition(self, before: &[Condition], generation: Option<i64>, now: DateTime<Utc>) -> Condition {
        let (type_, status) = (self.type_.as_str(), self.status.as_str());
        let same = condition::find(before, type_).filter(|condition| condition.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            observed_generation: generation,
            last_transition_time: same.map_or_else(|| whole_seconds(now), |same| same.last_transition_time),
            reason: self.reason.as_str().to_owned(),
            message: bounded(&self.message, 4096),
        }
    }
}
