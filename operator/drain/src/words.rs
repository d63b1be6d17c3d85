//! The words that people read about what holds up a drain.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::blocker::{Blocker, Numbers};
use crate::pod::PodName;

/// The pods that a line is about.
#[derive(Debug)]
pub(crate) struct Who {
    names: String,
    many: bool,
}

impl Who {
    /// One pod, or none where the line is about no pod.
    pub(crate) fn one(pod: Option<&PodName>) -> Self {
        let names = pod.map(|pod| format!("pod {pod}")).unwrap_or_default();
        Self { names, many: false }
    }

    /// The first of `count` pods.
    pub(crate) fn first_of(shown: &[PodName], count: usize) -> Self {
        if let ([pod], 1) = (shown, count) {
            return Self::one(Some(pod));
        }
        Self {
            names: format!("pods {}", some_of(shown, count)),
            many: true,
        }
    }

    fn pick<'a>(&self, one: &'a str, many: &'a str) -> &'a str {
        if self.many { many } else { one }
    }
}

/// Writes one line.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, blocker: &Blocker, who: &Who) -> fmt::Result {
    let pods = &who.names;
    let are = who.pick("is", "are");
    match blocker {
        Blocker::Uncordoned { node } => write!(f, "node {node} is not cordoned: pods would come back to it"),
        Blocker::Unmanaged { .. } => write!(
            f,
            "{pods}: no controller would create {} again (the policy's drain.unmanagedPods is Block)",
            who.pick("it", "them")
        ),
        Blocker::EmptyDir { .. } => write!(
            f,
            "{pods}: data in an emptyDir would be lost (the policy's drain.emptyDirData is Block)"
        ),
        Blocker::OptedOut { annotation, .. } => write!(
            f,
            "{pods} {} not to be moved (annotation {annotation}; the policy's drain.podOptOuts is Respect)",
            who.pick("asks", "ask")
        ),
        Blocker::Rule { rule, .. } => write!(f, "{pods}: the policy's drain.rules[{rule}] says Block"),
        Blocker::TwoBudgets { budgets, .. } => write!(
            f,
            "{pods}: more than one budget selects {}{}, so {} cannot be evicted",
            who.pick("it", "them"),
            list(budgets),
            who.pick("it", "they")
        ),
        Blocker::Forbidden { message, .. } => write!(f, "{pods}: not permitted: {message}"),
        Blocker::Stuck { since, cause, .. } => {
            write!(
                f,
                "{pods} {are} past {} grace since {}: {cause}",
                who.pick("its", "their"),
                instant(*since)
            )
        }
        Blocker::Refused { code, message, .. } => {
            write!(f, "{pods}: the API server refuses the eviction ({code}): {message}")
        }
        Blocker::Webhook { message, .. } => write!(f, "{pods}: {message}"),
        Blocker::Budget {
            budget,
            numbers,
            message,
            ..
        } => {
            write!(f, "{pods}: ")?;
            budget_words(f, budget.as_ref(), *numbers, message)
        }
        Blocker::NamespaceTerminating { .. } => {
            write!(f, "{pods}: {} namespace is being deleted", who.pick("its", "their"))
        }
        Blocker::ApiUnavailable { message } => write!(f, "the API server cannot be asked: {message}"),
        Blocker::Running { rule, .. } => write!(f, "{pods} may complete (the policy's drain.rules[{rule}])"),
        Blocker::Volumes { names, count, .. } => {
            let (volumes, are) = if *count == 1 {
                ("volume", "is")
            } else {
                ("volumes", "are")
            };
            write!(f, "{volumes} {} {are} still attached", some_of(names, *count))
        }
        Blocker::Terminating { until, grace, .. } => {
            let until = instant(*until);
            if who.many {
                write!(f, "{pods} are shutting down, the last grace ends {until}")
            } else {
                write!(f, "{pods} is shutting down, its {grace} s grace ends {until}")
            }
        }
        Blocker::Delayed { from } => write!(f, "taken out of load balancers, evicting from {}", instant(*from)),
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

/// The first names of so many.
pub(crate) fn some_of<T: fmt::Display>(shown: &[T], count: usize) -> String {
    let names: Vec<String> = shown.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    match count.saturating_sub(shown.len()) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// Names in parentheses, or nothing.
fn list(names: &[PodName]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(" ({})", some_of(names, names.len()))
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
