//! Why a pod is still there, with the numbers, in the words that people read.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::pod::PodName;

/// Why a pod is still there.
///
/// The order is the order in which they are shown: what needs a person first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    /// Nothing would create the pod again.
    Unmanaged {
        /// The pod.
        pod: PodName,
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
    /// The pod is shutting down within its grace.
    Terminating {
        /// The pod.
        pod: PodName,
        /// When its grace is over.
        until: DateTime<Utc>,
        /// Its grace in seconds.
        grace: i64,
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
    /// Whether the budget allows nothing even with every pod ready.
    pub fn never(self) -> bool {
        self.allowed < 1 && self.desired >= self.total && self.healthy >= self.total
    }
}

impl Blocker {
    /// The waiting reason, as status, Event and metric name it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unmanaged { .. }
            | Self::TwoBudgets { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::Webhook { .. }
            | Self::Budget { .. }
            | Self::NamespaceTerminating { .. }
            | Self::ApiUnavailable { .. } => "EvictionBlocked",
            Self::Stuck { .. } => "PodStuck",
            Self::Terminating { .. } => "PodTerminating",
        }
    }

    /// Until when it holds, if time alone ends it.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Terminating { until, .. } => Some(*until),
            Self::Unmanaged { .. }
            | Self::TwoBudgets { .. }
            | Self::Forbidden { .. }
            | Self::Stuck { .. }
            | Self::Refused { .. }
            | Self::Webhook { .. }
            | Self::Budget { .. }
            | Self::NamespaceTerminating { .. }
            | Self::ApiUnavailable { .. } => None,
        }
    }

    /// The pod it is about; none where it is about all of them.
    pub fn pod(&self) -> Option<&PodName> {
        match self {
            Self::Unmanaged { pod }
            | Self::TwoBudgets { pod, .. }
            | Self::Forbidden { pod, .. }
            | Self::Stuck { pod, .. }
            | Self::Refused { pod, .. }
            | Self::Webhook { pod, .. }
            | Self::Budget { pod, .. }
            | Self::NamespaceTerminating { pod }
            | Self::Terminating { pod, .. } => Some(pod),
            Self::ApiUnavailable { .. } => None,
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmanaged { pod } => {
                write!(
                    f,
                    "pod {pod}: no controller would create it again (the policy's drain.unmanagedPods is Block)"
                )
            }
            Self::TwoBudgets { pod, budgets } => {
                write!(
                    f,
                    "pod {pod}: more than one budget selects it{}, so it cannot be evicted",
                    list(budgets)
                )
            }
            Self::Forbidden { pod, message } => write!(f, "pod {pod}: not permitted: {message}"),
            Self::Stuck { pod, since, cause } => {
                write!(f, "pod {pod} is past its grace since {}: {cause}", instant(*since))
            }
            Self::Refused { pod, code, message } => {
                write!(f, "pod {pod}: the API server refuses the eviction ({code}): {message}")
            }
            Self::Webhook { pod, message } => write!(f, "pod {pod}: {message}"),
            Self::Budget {
                pod,
                budget,
                numbers,
                message,
            } => {
                write!(f, "pod {pod}: ")?;
                budget_words(f, budget.as_ref(), *numbers, message)
            }
            Self::NamespaceTerminating { pod } => write!(f, "pod {pod}: its namespace is being deleted"),
            Self::ApiUnavailable { message } => write!(f, "the API server cannot be asked: {message}"),
            Self::Terminating { pod, until, grace } => {
                write!(
                    f,
                    "pod {pod} is shutting down, its {grace} s grace ends {}",
                    instant(*until)
                )
            }
        }
    }
}

fn budget_words(
    f: &mut fmt::Formatter<'_>,
    budget: Option<&PodName>,
    numbers: Option<Numbers>,
    message: &str,
) -> fmt::Result {
    match (budget, numbers) {
        (Some(budget), Some(numbers)) => {
            let Numbers {
                allowed,
                healthy,
                desired,
                total,
            } = numbers;
            write!(
                f,
                "budget {budget} allows {allowed} disruptions ({healthy} of {total} ready, {desired} needed)"
            )?;
            match message {
                "" if numbers.never() => f.write_str(" and never will: run more replicas or relax the budget"),
                "" => Ok(()),
                message => write!(f, ": {message}"),
            }
        }
        (Some(budget), None) => write!(f, "budget {budget}: {message}"),
        (None, _) => f.write_str(message),
    }
}

/// Names in parentheses, or nothing.
fn list(names: &[PodName]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(
        " ({})",
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
