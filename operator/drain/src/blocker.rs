//! Why a pod is still on the node, with the numbers.

use chrono::{DateTime, Utc};
use lockkeeper_reasons::ReasonName;

use crate::pod::PodName;
use crate::responders::ActiveResponder;

/// Why a pod is still on the node. `Display` is the message.
///
/// The order of the variants is the order in which they are shown: those that need a person come first, trouble with the
/// API server comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    /// The node is not cordoned, so that evicted pods could be scheduled to it again.
    Uncordoned {
        /// The node.
        node: String,
    },
    /// The pod cannot be decoded, so that it is unknown whether it may be evicted.
    Undecodable {
        /// The pod.
        pod: PodName,
        /// The field and what is wrong with it.
        cause: String,
    },
    /// No controller would recreate the pod.
    Unmanaged {
        /// The pod.
        pod: PodName,
    },
    /// The pod has data in an `emptyDir`, which the eviction would delete.
    EmptyDir {
        /// The pod.
        pod: PodName,
    },
    /// The pod opts out of eviction.
    OptedOut {
        /// The pod.
        pod: PodName,
        /// The annotation.
        annotation: String,
        /// When it ends by itself, if it does.
        until: Option<DateTime<Utc>>,
    },
    /// A rule of the policy blocks the eviction.
    Rule {
        /// The pod.
        pod: PodName,
        /// The index of the rule.
        rule: usize,
    },
    /// More than one budget selects the pod; the API server does not evict such pods.
    TwoBudgets {
        /// The pod.
        pod: PodName,
        /// The budgets, as far as they are known.
        budgets: Vec<PodName>,
    },
    /// Lockkeeper lacks a permission.
    Forbidden {
        /// The pod.
        pod: PodName,
        /// The API server's message: user, verb and resource.
        message: String,
    },
    /// The pod still exists after its grace period.
    Stuck {
        /// The pod.
        pod: PodName,
        /// When its grace period ended.
        since: DateTime<Utc>,
        /// What keeps it.
        cause: String,
    },
    /// The API server refuses the eviction for another reason.
    Refused {
        /// The pod.
        pod: PodName,
        /// The HTTP status.
        code: u16,
        /// The API server's message.
        message: String,
    },
    /// An admission webhook refuses the eviction.
    Webhook {
        /// The pod.
        pod: PodName,
        /// The webhook's message.
        message: String,
    },
    /// The budget allows no disruption.
    Budget {
        /// The pod.
        pod: PodName,
        /// The budget, if it is known.
        budget: Option<PodName>,
        /// Its numbers, if they are known.
        numbers: Option<BudgetNumbers>,
        /// Whether it may allow a disruption later.
        outlook: BudgetOutlook,
        /// The message of the API server or of the budget's condition; empty if the numbers explain it.
        message: String,
    },
    /// The pod's namespace is being deleted.
    NamespaceTerminating {
        /// The pod.
        pod: PodName,
    },
    /// The pod's responders were asked for its eviction.
    Responder {
        /// The pod.
        pod: PodName,
        /// The one that works on it, if one does.
        active: Option<ActiveResponder>,
        /// When they were asked.
        asked: DateTime<Utc>,
        /// Why their progress is not known, if it is not.
        failure: Option<String>,
    },
    /// The pod may complete first.
    MayComplete {
        /// The pod.
        pod: PodName,
        /// The index of the rule.
        rule: usize,
    },
    /// Volumes of evicted pods are still attached to the node.
    VolumesAttached {
        /// The first of their names.
        names: Vec<String>,
        /// How many there are.
        count: usize,
        /// When the drain stops waiting for them.
        until: DateTime<Utc>,
    },
    /// The pod is shutting down within its grace period.
    Terminating {
        /// The pod.
        pod: PodName,
        /// When its grace period ends.
        until: DateTime<Utc>,
        /// Its grace period in seconds.
        grace: i64,
    },
    /// Load balancers have time to stop sending traffic.
    LoadBalancerDelay {
        /// When evictions start.
        from: DateTime<Utc>,
    },
    /// The API server does not answer. It comes last: as long as a pod is known to hold the node, the pod is the cause.
    ApiUnavailable {
        /// The error.
        message: String,
    },
}

/// The numbers of a disruption budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetNumbers {
    /// Disruptions allowed now.
    pub allowed: i32,
    /// Pods that are healthy now.
    pub healthy: i32,
    /// Pods that must be healthy.
    pub desired: i32,
    /// Pods that the budget counts.
    pub total: i32,
}

impl BudgetNumbers {
    /// Whether the budget allows no disruption even once every pod is healthy. False for a budget that counts no pods
    /// yet.
    pub fn never_allow(self) -> bool {
        self.total > 0 && self.allowed < 1 && self.desired >= self.total
    }
}

/// Whether a budget that allows no disruption now may allow one later. How many pods are healthy now does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetOutlook {
    /// It may: more pods may become healthy.
    #[default]
    MayAllow,
    /// Never: it needs as many pods as there are.
    NeedsAllPods,
    /// Never: its spec has `maxUnavailable: 0`.
    MaxUnavailableZero,
    /// Never: its spec has `minAvailable: 100%`.
    MinAvailableAll,
    /// Never as it is, but its controller may open it once the node is cordoned.
    AfterCordon,
}

impl BudgetOutlook {
    /// Whether waiting does not help.
    pub fn is_never(self) -> bool {
        match self {
            Self::MayAllow | Self::AfterCordon => false,
            Self::NeedsAllPods | Self::MaxUnavailableZero | Self::MinAvailableAll => true,
        }
    }
}

impl Blocker {
    /// The reason that status, Events and metrics name.
    pub fn reason(&self) -> ReasonName {
        match self {
            Self::Uncordoned { .. } => ReasonName::Uncordoned,
            Self::Undecodable { .. }
            | Self::Unmanaged { .. }
            | Self::EmptyDir { .. }
            | Self::OptedOut { .. }
            | Self::Rule { .. }
            | Self::TwoBudgets { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::Webhook { .. }
            | Self::Budget { .. }
            | Self::NamespaceTerminating { .. }
            | Self::ApiUnavailable { .. } => ReasonName::EvictionBlocked,
            Self::Stuck { .. } => ReasonName::PodStuck,
            Self::Responder { .. } => ReasonName::ResponderActive,
            Self::MayComplete { .. } => ReasonName::PodRunning,
            Self::VolumesAttached { .. } => ReasonName::VolumesAttached,
            Self::Terminating { .. } => ReasonName::PodTerminating,
            Self::LoadBalancerDelay { .. } => ReasonName::LoadBalancerDelay,
        }
    }

    /// When time alone ends it, if that is known.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Terminating { until, .. }
            | Self::VolumesAttached { until, .. }
            | Self::LoadBalancerDelay { from: until } => Some(*until),
            Self::OptedOut { until, .. } => *until,
            Self::Responder { active, .. } => active.as_ref()?.expected_end,
            Self::Uncordoned { .. }
            | Self::Undecodable { .. }
            | Self::Unmanaged { .. }
            | Self::EmptyDir { .. }
            | Self::Rule { .. }
            | Self::TwoBudgets { .. }
            | Self::Forbidden { .. }
            | Self::Stuck { .. }
            | Self::Refused { .. }
            | Self::Webhook { .. }
            | Self::Budget { .. }
            | Self::NamespaceTerminating { .. }
            | Self::MayComplete { .. }
            | Self::ApiUnavailable { .. } => None,
        }
    }

    /// The pod that it concerns; `None` if it concerns the whole drain.
    pub fn pod(&self) -> Option<&PodName> {
        match self {
            Self::Undecodable { pod, .. }
            | Self::Unmanaged { pod }
            | Self::EmptyDir { pod }
            | Self::OptedOut { pod, .. }
            | Self::Rule { pod, .. }
            | Self::TwoBudgets { pod, .. }
            | Self::Forbidden { pod, .. }
            | Self::Stuck { pod, .. }
            | Self::Refused { pod, .. }
            | Self::Webhook { pod, .. }
            | Self::Budget { pod, .. }
            | Self::NamespaceTerminating { pod }
            | Self::Responder { pod, .. }
            | Self::MayComplete { pod, .. }
            | Self::Terminating { pod, .. } => Some(pod),
            Self::Uncordoned { .. }
            | Self::ApiUnavailable { .. }
            | Self::VolumesAttached { .. }
            | Self::LoadBalancerDelay { .. } => None,
        }
    }

    /// Whether both have the same cause, so that one line is enough for both pods.
    pub fn same_cause(&self, other: &Self) -> bool {
        self.cause_key() == other.cause_key()
    }

    /// The same without what differs from pod to pod: the pod itself, and the times of its shutdown.
    fn cause_key(&self) -> Self {
        let mut key = self.clone();
        match &mut key {
            Self::Terminating { pod, until, grace } => {
                (*pod, *until, *grace) = (PodName::default(), DateTime::default(), 0);
            }
            Self::Stuck { pod, since, .. } => (*pod, *since) = (PodName::default(), DateTime::default()),
            Self::OptedOut { pod, until, .. } => {
                *pod = PodName::default();
                *until = until.map(|_| DateTime::default());
            }
            Self::Undecodable { pod, .. }
            | Self::Unmanaged { pod }
            | Self::EmptyDir { pod }
            | Self::Responder { pod, .. }
            | Self::Rule { pod, .. }
            | Self::TwoBudgets { pod, .. }
            | Self::Forbidden { pod, .. }
            | Self::Refused { pod, .. }
            | Self::Webhook { pod, .. }
            | Self::Budget { pod, .. }
            | Self::NamespaceTerminating { pod }
            | Self::MayComplete { pod, .. } => *pod = PodName::default(),
            Self::Uncordoned { .. }
            | Self::ApiUnavailable { .. }
            | Self::VolumesAttached { .. }
            | Self::LoadBalancerDelay { .. } => {}
        }
        key
    }
}
