//! Why a pod is still there, with the numbers.

use std::fmt;

use chrono::{DateTime, Utc};
use lockkeeper_reasons::ReasonName;

use crate::pod::PodName;
use crate::words::Who;

/// Why a pod is still there.
///
/// The order is the order in which they are shown: what needs a person first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    /// Somebody made the node schedulable again: pods would come back as fast as they leave.
    Uncordoned {
        /// The node.
        node: String,
    },
    /// Nothing would create the pod again.
    Unmanaged {
        /// The pod.
        pod: PodName,
    },
    /// The pod keeps data that would be lost.
    EmptyDir {
        /// The pod.
        pod: PodName,
    },
    /// The pod asks not to be moved.
    OptedOut {
        /// The pod.
        pod: PodName,
        /// By which annotation.
        annotation: String,
    },
    /// A rule of the policy says that the pod is not to be moved.
    Rule {
        /// The pod.
        pod: PodName,
        /// Which rule, counted from 0.
        rule: usize,
    },
    /// More than one budget selects the pod, which the API server cannot evict then.
    TwoBudgets {
        /// The pod.
        pod: PodName,
        /// The budgets, as far as they are known.
        budgets: Vec<PodName>,
    },
    /// We may not evict.
    Forbidden {
        /// The pod.
        pod: PodName,
        /// What the API server said: user, verb and resource.
        message: String,
    },
    /// The pod is past its grace and does not go.
    Stuck {
        /// The pod.
        pod: PodName,
        /// When its grace was over.
        since: DateTime<Utc>,
        /// What holds it.
        cause: String,
    },
    /// The API server does not take the eviction, for a reason of its own.
    Refused {
        /// The pod.
        pod: PodName,
        /// The HTTP status.
        code: u16,
        /// What the API server said.
        message: String,
    },
    /// An admission webhook says no.
    Webhook {
        /// The pod.
        pod: PodName,
        /// The webhook's words.
        message: String,
    },
    /// The budget has nothing left.
    Budget {
        /// The pod.
        pod: PodName,
        /// The budget, if it could be found.
        budget: Option<PodName>,
        /// Its numbers, if it could be found.
        numbers: Option<Numbers>,
        /// What the API server or the budget's own condition says; empty if the numbers say it all.
        message: String,
    },
    /// The pod's namespace is being deleted, and the pod with it.
    NamespaceTerminating {
        /// The pod.
        pod: PodName,
    },
    /// The API server cannot be asked.
    ApiUnavailable {
        /// What went wrong.
        message: String,
    },
    /// The pod may complete its work.
    Running {
        /// The pod.
        pod: PodName,
        /// The rule that says so, counted from 0.
        rule: usize,
    },
    /// Volumes of pods that left are still attached to the node.
    Volumes {
        /// The first of their names.
        names: Vec<String>,
        /// How many there are.
        count: usize,
        /// When they are waited for no longer.
        until: DateTime<Utc>,
    },
    /// The pod is shutting down within its grace.
    Terminating {
        /// The pod.
        pod: PodName,
        /// When its grace is over.
        until: DateTime<Utc>,
        /// Its grace in seconds.
        grace: i64,
    },
    /// Load balancers are given their time.
    Delayed {
        /// When the first pod is asked.
        from: DateTime<Utc>,
    },
}

/// A budget's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numbers {
    /// Disruptions allowed now.
    pub allowed: i32,
    /// Pods ready now.
    pub healthy: i32,
    /// Pods that have to be ready.
    pub desired: i32,
    /// Pods the budget counts.
    pub total: i32,
}

impl Numbers {
    /// Whether the budget allows nothing even with every pod ready; one that nobody has counted yet may.
    pub fn never(self) -> bool {
        self.total > 0 && self.allowed < 1 && self.desired >= self.total && self.healthy >= self.total
    }
}

impl Blocker {
    /// The reason that status, Events and metrics name.
    pub fn reason(&self) -> ReasonName {
        match self {
            Self::Uncordoned { .. } => ReasonName::Uncordoned,
            Self::Unmanaged { .. }
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
            Self::Running { .. } => ReasonName::PodRunning,
            Self::Volumes { .. } => ReasonName::VolumesAttached,
            Self::Terminating { .. } => ReasonName::PodTerminating,
            Self::Delayed { .. } => ReasonName::LoadBalancerDelay,
        }
    }

    /// Until when it holds, if time alone ends it.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Terminating { until, .. } | Self::Volumes { until, .. } | Self::Delayed { from: until } => {
                Some(*until)
            }
            Self::Uncordoned { .. }
            | Self::Unmanaged { .. }
            | Self::EmptyDir { .. }
            | Self::OptedOut { .. }
            | Self::Rule { .. }
            | Self::TwoBudgets { .. }
            | Self::Forbidden { .. }
            | Self::Stuck { .. }
            | Self::Refused { .. }
            | Self::Webhook { .. }
            | Self::Budget { .. }
            | Self::NamespaceTerminating { .. }
            | Self::Running { .. }
            | Self::ApiUnavailable { .. } => None,
        }
    }

    /// The pod it is about; none where it is about all of them.
    pub fn pod(&self) -> Option<&PodName> {
        match self {
            Self::Unmanaged { pod }
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
            | Self::Running { pod, .. }
            | Self::Terminating { pod, .. } => Some(pod),
            Self::Uncordoned { .. } | Self::ApiUnavailable { .. } | Self::Volumes { .. } | Self::Delayed { .. } => None,
        }
    }

    /// Whether two pods are held by the same thing, so that one line is enough for both.
    pub fn same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Terminating { .. }, Self::Terminating { .. }) => true,
            (Self::Stuck { cause, .. }, Self::Stuck { cause: theirs, .. }) => cause == theirs,
            _ => self.about_any() == other.about_any(),
        }
    }

    /// The same without the pod.
    fn about_any(&self) -> Self {
        let mut any = self.clone();
        match &mut any {
            Self::Unmanaged { pod }
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
            | Self::Running { pod, .. }
            | Self::Terminating { pod, .. } => *pod = PodName::new("", ""),
            Self::Uncordoned { .. } | Self::ApiUnavailable { .. } | Self::Volumes { .. } | Self::Delayed { .. } => {}
        }
        any
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = Who::one(self.pod());
        crate::words::write(f, self, &who)
    }
}
