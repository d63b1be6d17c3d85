//! The status of one policy, from what was seen and decided.

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{NodeState, PolicyWaiting, RebootPolicy, RebootPolicyStatus, WindowState, names};
use lockkeeper_planner::{Opening, Phase, Plan, Policy, Snapshot};
use lockkeeper_snapshot::ObservedObjects;
use lockkeeper_snapshot::convert::policy_state_to_api;

use super::deadline::PendingNodes;
use super::node::failing_detectors;
use super::node_counts::{MAX_LISTED_NODES, NodeCounts};
use super::{deadline, node_state, phase_of, policy_conditions};
use crate::tasks::forecasts::Outlook;

/// The status of a policy as it should be; `None` if the snapshot does not have the policy.
pub fn status(
    name: &str,
    object: &RebootPolicy,
    snapshot: &Snapshot,
    observed: &ObservedObjects,
    plan: &Plan,
    outlook: &Outlook,
    now: DateTime<Utc>,
) -> Option<RebootPolicyStatus> {
    let policy = snapshot.policies.get(name)?;
    let pending = PendingNodes::of(name, snapshot, now);
    let late = deadline::still_to_come(outlook.late.get(name).map_or(&[], Vec::as_slice), now);
    let deadline = policy.deadline.as_ref();
    let deadline = deadline.map(|deadline| deadline::status(deadline, &pending, late, now));
    let count = count(name, snapshot, observed, plan);
    let in_progress = [
        NodeState::Preparing,
        NodeState::Draining,
        NodeState::Rebooting,
        NodeState::Verifying,
    ];
    let window = window(policy, now);
    let waiting = count.waiting.iter().map(|(reason, nodes)| PolicyWaiting {
        reason: reason.as_str().to_owned(),
        count: i32::try_from(nodes.len()).unwrap_or(i32::MAX),
        nodes: nodes.iter().take(MAX_LISTED_NODES).cloned().collect(),
    });
    let mut waiting: Vec<PolicyWaiting> = waiting.collect();
    waiting.sort_by(|one, other| one.reason.cmp(&other.reason));
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    // While not everything was listed, nothing is known about the rollout and the breaker.
    let (rollout, breaker) = match plan.policies.get(name) {
        Some(state) => policy_state_to_api(state),
        None => (before.rollout.clone(), before.breaker.clone()),
    };
    let drafts = policy_conditions::drafts(
        &count,
        policy.schedule.as_ref().err().map(String::as_str),
        policy,
        breaker.as_ref(),
        plan.insufficient_window_time.get(name),
        policy_conditions::acknowledgement(
            object.annotations().get(names::BREAKER_ACKNOWLEDGED),
            breaker.as_ref(),
            now,
        ),
        deadline::drafts(name, policy, deadline.as_ref(), &pending, late, now),
    );
    let conditions = drafts
        .into_iter()
        .map(|draft| draft.into_condition(&before.conditions, generation, now));
    Some(RebootPolicyStatus {
        observed_generation: generation,
        nodes: count.nodes,
        up_to_date: count.of(NodeState::UpToDate),
        unknown: count.of(NodeState::Unknown),
        pending: count.of(NodeState::Pending),
        in_progress: in_progress.into_iter().map(|state| count.of(state)).sum(),
        failed: count.of(NodeState::Failed),
        waiting,
        window: Some(window.state),
        window_closes_time: window.closes.map(whole_seconds),
        next_window_time: window.next.map(whole_seconds),
        last_missed_window_time: missed_window(&before, policy, count.of(NodeState::Pending), now)
            .map(whole_seconds)
            .or(before.last_missed_window_time),
        estimated_completion_time: outlook.ends.get(name).copied().map(whole_seconds),
        rollout,
        deadline,
        breaker,
        conditions: conditions.collect(),
    })
}

/// When a window closed while nodes waited, if one did since the status was written, by whichever operator: what was
/// true then is in the status, so it is noticed although the leader has changed and even if the next one is open.
fn missed_window(
    before: &RebootPolicyStatus,
    policy: &Policy,
    pending: i32,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let waited = before.window == Some(WindowState::Open) && before.pending > 0 && pending > 0;
    // A schedule that cannot be read has a condition of its own.
    if !waited || policy.schedule.is_err() {
        return None;
    }
    // The schedule may have changed since: what was to close need not have.
    let closed = |at: &DateTime<Utc>| window(policy, *at).state == WindowState::Closed;
    let due = before.window_closes_time.filter(|due| *due <= now);
    due.filter(closed).or_else(|| Some(now).filter(closed))
}

/// The windows of a policy, as people see them.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Whether nodes may start.
    pub state: WindowState,
    /// When the open one closes, if it does.
    pub closes: Option<DateTime<Utc>>,
    /// When the next one opens, if one does.
    pub next: Option<DateTime<Utc>>,
}

/// Whether nodes of the policy may start now, and when that changes.
pub fn window(policy: &Policy, now: DateTime<Utc>) -> Window {
    let (state, closes, next) = match policy.schedule.as_ref().map(|schedule| schedule.opening(now)) {
        Ok(Opening::Open { closes }) => (WindowState::Open, closes, closes.and_then(|at| opens_after(policy, at))),
        Ok(Opening::Closed { opens } | Opening::Excluded { opens, .. }) => (WindowState::Closed, None, opens),
        Err(_) => (WindowState::Closed, None, None),
    };
    Window { state, closes, next }
}

fn opens_after(policy: &Policy, close: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match policy.schedule.as_ref().ok()?.opening(close) {
        Opening::Closed { opens } | Opening::Excluded { opens, .. } => opens,
        Opening::Open { .. } => None,
    }
}

fn count(policy: &str, snapshot: &Snapshot, observed: &ObservedObjects, plan: &Plan) -> NodeCounts {
    let mut count = NodeCounts::default();
    let settings = snapshot.policies.get(policy).map(|policy| &policy.settings);
    let method = settings.map(|settings| settings.method).unwrap_or_default();
    for (name, node) in snapshot
        .nodes
        .iter()
        .filter(|(_, node)| node.policies.iter().any(|other| other == policy))
    {
        count.nodes += 1;
        let waiting = plan.wait_reasons.get(name);
        let phase = phase_of(node);
        let failing = observed
            .reboots
            .get(name)
            .map_or(&[][..], |reboot| failing_detectors(reboot));
        let state = node_state(node, phase, waiting.is_some(), failing);
        *count.by_state.entry(state).or_default() += 1;
        match phase {
            Some(Phase::Failed) => count.failed.push(name.clone()),
            Some(Phase::Preparing | Phase::Draining | Phase::Rebooting | Phase::Verifying) => {
                count.in_progress.push(name.clone());
            }
            // With another system that reboots the node, its agent need not be able to.
            None if !method.needs_agent() => {}
            None => {
                let incapable = node.incapable_of(method).map(str::to_owned);
                count.incapable.extend(incapable.map(|cause| (name.clone(), cause)));
            }
        }
        // Such a node is in progress, and counted so.
        if let Some(waiting) = waiting.filter(|waiting| !waiting.name().is_part_of_each_reboot()) {
            count.waiting.entry(waiting.name()).or_default().push(name.clone());
        }
    }
    count
}

#[cfg(test)]
mod tests;
