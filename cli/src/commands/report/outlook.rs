//! What does not block a drain, but is good to know before it: webhooks that refuse for now, budgets that are exhausted now,
//! pods that may come back to their node, pods that may take long to shut down.

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper_drain::{BudgetNumbers, Cause, Decision, PodName, PodPreflight, group_by_cause};
use lockkeeper_planner::MAX_GRACE_WAIT;

use super::NodeReport;
use crate::render::{Line, counted};
use crate::view::ActionRequired;

/// How many pods a line names at most.
const MAX_PODS: usize = 3;

/// All lines of this kind.
pub(super) fn lines(reports: &[NodeReport]) -> Vec<Line> {
    let mut lines = doubts(reports);
    lines.extend(exhausted_budgets(reports));
    lines.extend(returning_pods(reports));
    lines.extend(long_grace_periods(reports));
    lines
}

/// The pods that would be evicted, each with the report of its node.
fn evicted(reports: &[NodeReport]) -> impl Iterator<Item = (&NodeReport, &PodPreflight)> {
    let all = reports.iter().flat_map(|report| {
        let pods = report.found.iter().flat_map(|found| &found.pods);
        pods.map(move |pod| (report, pod))
    });
    all.filter(|(_, pod)| pod.blockers.is_empty() && pod.decision == Decision::Evict)
}

/// Budgets that are tried once the node is cordoned, and webhooks that refuse for now.
fn doubts(reports: &[NodeReport]) -> Vec<Line> {
    let doubts = evicted(reports).filter_map(|(_, pod)| pod.doubt.clone());
    let causes = group_by_cause(doubts.collect());
    let line = |cause: Cause| Line::new(cause.to_string(), ActionRequired::Wait);
    causes.into_iter().map(line).collect()
}

/// Budgets that allow no disruption now: these block only for a time.
fn exhausted_budgets(reports: &[NodeReport]) -> Vec<Line> {
    let mut budgets: BTreeMap<&PodName, (BudgetNumbers, usize)> = BTreeMap::new();
    for (_, pod) in evicted(reports) {
        let exhausted = pod.budget.as_ref().filter(|(_, numbers)| numbers.allowed < 1);
        if let Some((name, numbers)) = exhausted.filter(|_| pod.doubt.is_none()) {
            budgets.entry(name).or_insert((*numbers, 0)).1 += 1;
        }
    }
    let line = |(name, (numbers, pods)): (&PodName, (BudgetNumbers, usize))| {
        let wait = if pods == 1 { "waits" } else { "wait" };
        let text = format!(
            "{} {wait} for budget {name}, which allows no disruption now ({} of {} ready, {} needed)",
            counted(pods, "pod"),
            numbers.healthy,
            numbers.total,
            numbers.desired
        );
        Line::new(text, ActionRequired::Wait)
    };
    budgets.into_iter().map(line).collect()
}

/// Pods that tolerate the cordon of their node.
fn returning_pods(reports: &[NodeReport]) -> Vec<Line> {
    let mut owners: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (_, pod) in evicted(reports) {
        if let Some(owner) = &pod.may_return {
            owners.entry(owner).or_default().push(pod.pod.to_string());
        }
    }
    let line = |(owner, pods): (&String, Vec<String>)| Line::new(may_return(owner, &pods), ActionRequired::Wait);
    owners.into_iter().map(line).collect()
}

/// Pods whose grace period is longer than the drain may take.
fn long_grace_periods(reports: &[NodeReport]) -> Vec<Line> {
    let mut pods: BTreeMap<(String, u64, bool), (u64, Vec<String>)> = BTreeMap::new();
    for (report, pod) in evicted(reports) {
        let (limit, grace) = (report.policy.timeout(), u64::try_from(pod.grace).unwrap_or_default());
        if grace <= limit.as_secs() {
            continue;
        }
        let longest = MAX_GRACE_WAIT.to_std().unwrap_or_default() + limit;
        let waits = report.policy.drain.wait_for_grace_period && Duration::from_secs(grace) <= longest;
        let key = (report.policy.source(), limit.as_secs(), waits);
        let (most, names) = pods.entry(key).or_default();
        *most = grace.max(*most);
        names.push(pod.pod.to_string());
    }
    let line = |((source, limit, waits), (grace, pods)): ((String, u64, bool), (u64, Vec<String>))| {
        Line::new(long_grace(&source, limit, waits, grace, &pods), ActionRequired::Wait)
    };
    pods.into_iter().map(line).collect()
}

/// `pod shop/web-0`, or `pods shop/web-0, shop/web-1, shop/web-2 and 4 more`.
fn named(pods: &[String]) -> String {
    let noun = if pods.len() == 1 { "pod" } else { "pods" };
    let first = &pods[..pods.len().min(MAX_PODS)];
    match pods.len().saturating_sub(MAX_PODS) {
        0 => format!("{noun} {}", first.join(", ")),
        more => format!("{noun} {} and {more} more", first.join(", ")),
    }
}

/// Pods of this owner tolerate the cordon.
pub(crate) fn may_return(owner: &str, pods: &[String]) -> String {
    let (tolerates, it, stays) = if pods.len() == 1 {
        ("tolerates", "its node", "it stays and goes")
    } else {
        ("tolerate", "their nodes", "they stay and go")
    };
    format!(
        "{} of {owner} {tolerates} the cordon and may return to {it}; after two returns {stays} down with the node, unless \
         a drain rule says Block",
        named(pods)
    )
}

/// Pods may take longer to shut down than a drain may take.
pub(crate) fn long_grace(source: &str, limit: u64, waits: bool, grace: u64, pods: &[String]) -> String {
    let what = if waits {
        "the drain waits for that"
    } else {
        "the drain times out before that"
    };
    format!(
        "{} may take {grace} s to shut down, longer than drain.timeoutSeconds ({limit}, {source}): {what}",
        named(pods)
    )
}
