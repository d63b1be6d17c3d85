//! The messages that people read about the causes of a slow or blocked drain.

use std::fmt::{self, Display};

use chrono::{DateTime, Utc};
use lockkeeper_reasons::{format_time, plural};

use crate::blocker::{Blocker, BudgetNumbers, BudgetOutlook};
use crate::pod::PodName;
use crate::responders::ActiveResponder;
use crate::returns::ReturningOwner;

/// The pods that a message is about.
#[derive(Debug)]
pub(crate) struct PodList {
    names: String,
    many: bool,
}

impl PodList {
    /// One pod, or none if the message concerns the whole drain.
    pub(crate) fn one(pod: Option<&PodName>) -> Self {
        let names = pod.map(|pod| format!("pod {pod}")).unwrap_or_default();
        Self { names, many: false }
    }

    /// The first of `count` pods.
    pub(crate) fn first_of(shown: &[PodName], count: usize) -> Self {
        if let ([pod], 1) = (shown, count) {
            return Self::one(Some(pod));
        }
        if shown.is_empty() {
            return Self::one(None);
        }
        Self {
            names: format!("pods {}", first_names(shown, count)),
            many: true,
        }
    }

    fn pick<'a>(&self, one: &'a str, many: &'a str) -> &'a str {
        if self.many { many } else { one }
    }
}

impl Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message(self, &PodList::one(self.pod())))
    }
}

/// The message about these pods, which names them.
pub(crate) fn message(blocker: &Blocker, pods: &PodList) -> String {
    let text = message_without_pods(blocker, pods);
    if pods.names.is_empty() {
        return text;
    }
    let separator = match blocker {
        Blocker::Undecodable { .. }
        | Blocker::OptedOut { .. }
        | Blocker::Stuck { .. }
        | Blocker::MayComplete { .. }
        | Blocker::Terminating { .. } => "",
        Blocker::Uncordoned { .. }
        | Blocker::Unmanaged { .. }
        | Blocker::EmptyDir { .. }
        | Blocker::Rule { .. }
        | Blocker::TwoBudgets { .. }
        | Blocker::Forbidden { .. }
        | Blocker::Refused { .. }
        | Blocker::Webhook { .. }
        | Blocker::Responder { .. }
        | Blocker::Budget { .. }
        | Blocker::NamespaceTerminating { .. }
        | Blocker::ApiUnavailable { .. }
        | Blocker::VolumesAttached { .. }
        | Blocker::LoadBalancerDelay { .. } => ":",
    };
    format!("{}{separator} {text}", pods.names)
}

/// The message without the names of the pods.
pub(crate) fn message_without_pods(blocker: &Blocker, pods: &PodList) -> String {
    match blocker {
        Blocker::Uncordoned { node } => {
            format!("node {node} is not cordoned: evicted pods could be scheduled to it again")
        }
        Blocker::Undecodable { cause, .. } => format!("cannot be decoded ({cause})"),
        Blocker::Unmanaged { .. } => format!(
            "no controller would recreate {} (the policy's drain.unmanagedPods is Block)",
            pods.pick("it", "them")
        ),
        Blocker::EmptyDir { .. } => {
            "data in an emptyDir would be lost (the policy's drain.emptyDirData is Block)".to_owned()
        }
        Blocker::OptedOut {
            annotation,
            until: Some(until),
            ..
        } => format!(
            "{} out of eviction until {} (annotation {annotation}; the policy's drain.podOptOuts is Respect)",
            pods.pick("opts", "opt"),
            format_time(*until)
        ),
        Blocker::OptedOut { annotation, .. } => format!(
            "{} out of eviction (annotation {annotation}; the policy's drain.podOptOuts is Respect)",
            pods.pick("opts", "opt")
        ),
        Blocker::Rule { rule, .. } => format!("the policy's drain.rules[{rule}] blocks the eviction"),
        Blocker::TwoBudgets { budgets, .. } => format!(
            "more than one budget selects {}{}, so {} cannot be evicted",
            pods.pick("it", "them"),
            in_parentheses(budgets),
            pods.pick("it", "they")
        ),
        Blocker::Forbidden { message, .. } => format!("not permitted: {message}{}", remedy(message)),
        Blocker::Stuck { since, cause, .. } => format!(
            "{} been past {} grace period since {}: {cause}",
            pods.pick("has", "have"),
            pods.pick("its", "their"),
            format_time(*since)
        ),
        Blocker::Refused { code, message, .. } => format!("the API server refuses the eviction ({code}): {message}"),
        Blocker::Webhook { message, .. } => message.clone(),
        Blocker::Budget {
            budget,
            numbers,
            outlook,
            message,
            ..
        } => budget_message(budget.as_ref(), *numbers, *outlook, message),
        Blocker::NamespaceTerminating { .. } => {
            format!("{} namespace is being deleted", pods.pick("its", "their"))
        }
        Blocker::Responder {
            active, asked, failure, ..
        } => responder_message(active.as_ref(), *asked, failure.as_deref()),
        Blocker::ApiUnavailable { message } => format!("the API server is unavailable: {message}"),
        Blocker::MayComplete { rule, .. } => format!("may complete first (the policy's drain.rules[{rule}])"),
        Blocker::VolumesAttached { names, count, .. } => {
            let (noun, are) = if *count == 1 {
                ("volume", "is")
            } else {
                ("volumes", "are")
            };
            format!("{noun} {} {are} still attached", first_names(names, *count))
        }
        Blocker::Terminating { until, grace, .. } => {
            let until = format_time(*until);
            if pods.many {
                format!("are shutting down; the last grace period ends at {until}")
            } else {
                format!("is shutting down; its grace period of {grace} s ends at {until}")
            }
        }
        Blocker::LoadBalancerDelay { from } => {
            format!("waiting for load balancers; evictions start at {}", format_time(*from))
        }
    }
}

fn responder_message(active: Option<&ActiveResponder>, asked: DateTime<Utc>, failure: Option<&str>) -> String {
    let mut text = match active {
        None => format!("waiting for an eviction responder (asked at {})", format_time(asked)),
        Some(active) => {
            let heartbeat = active.heartbeat.map_or_else(
                || "no heartbeat yet".to_owned(),
                |at| format!("last heartbeat at {}", format_time(at)),
            );
            format!("eviction responder {} is active ({heartbeat})", active.name)
        }
    };
    let message = active.map(|active| active.message.as_str()).unwrap_or_default();
    if !message.is_empty() {
        text = format!("{text}: {message}");
    }
    match failure {
        Some(failure) => format!("{text}; this may be out of date: {failure}"),
        None => text,
    }
}

fn budget_message(
    budget: Option<&PodName>,
    numbers: Option<BudgetNumbers>,
    outlook: BudgetOutlook,
    message: &str,
) -> String {
    let (Some(budget), Some(numbers)) = (budget, numbers) else {
        return budget.map_or_else(|| message.to_owned(), |budget| format!("budget {budget}: {message}"));
    };
    let BudgetNumbers {
        allowed,
        healthy,
        desired,
        total,
    } = numbers;
    let allowed = plural(usize::try_from(allowed).unwrap_or_default(), "disruption");
    let text = format!("budget {budget} allows {allowed} ({healthy} of {total} ready, {desired} needed)");
    if !message.is_empty() {
        return format!("{text}: {message}");
    }
    match outlook {
        BudgetOutlook::MayAllow => text,
        BudgetOutlook::AfterCordon => {
            format!("budget {budget} allows none now; its controller may open it once the node is cordoned")
        }
        BudgetOutlook::NeedsAllPods => format!("{text} and never will: run more replicas or relax the budget"),
        BudgetOutlook::MaxUnavailableZero => {
            format!("{text} and never will, as its maxUnavailable is 0: relax the budget")
        }
        BudgetOutlook::MinAvailableAll => {
            format!("{text} and never will, as its minAvailable is 100%: relax the budget")
        }
    }
}

impl Display for ReturningOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = if self.tolerates_cordon {
            "they tolerate its cordon"
        } else {
            "they are placed on it in spite of its cordon"
        };
        let owner = &self.owner;
        write!(
            f,
            "pods of {owner} return to this node: {cause}; they are no longer evicted and go down with it"
        )
    }
}

/// The first names of `count`, and how many more there are.
fn first_names<T: Display>(shown: &[T], count: usize) -> String {
    let names: Vec<String> = shown.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    match count.saturating_sub(shown.len()) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// Names in parentheses, or nothing.
fn in_parentheses(names: &[PodName]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(" ({})", first_names(names, names.len()))
}

/// The only permission that an installation may lack on purpose: it is off by default.
fn remedy(message: &str) -> &'static str {
    if message.contains("cannot delete resource \"pods\"") {
        "; drain.onTimeout: Delete needs the permission to delete pods (chart value rbac.deletePods)"
    } else {
        ""
    }
}
