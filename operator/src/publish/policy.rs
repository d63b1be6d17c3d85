//! The status of one policy, from what was seen and decided.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{NodeState, PolicyWaiting, RebootPolicy, RebootPolicyStatus, WindowState};
use lockkeeper_planner::{Opening, Phase, Plan, Policy, Snapshot, gate};

use super::node::Fact;
use super::{phase, state};

/// How many nodes a list in a status names.
const SHOWN: usize = 10;

/// Nodes of a policy by state.
#[derive(Debug, Default)]
struct Count {
    nodes: i32,
    unknown: i32,
    by_state: BTreeMap<NodeState, i32>,
    failed: Vec<String>,
    inside: Vec<String>,
    waiting: BTreeMap<&'static str, Vec<String>>,
}

/// The status of a policy as it should be.
pub fn status(
    name: &str,
    object: &RebootPolicy,
    policy: &Policy,
    snapshot: &Snapshot,
    plan: &Plan,
    now: DateTime<Utc>,
) -> RebootPolicyStatus {
    let count = count(name, snapshot, plan);
    let of = |state| count.by_state.get(&state).copied().unwrap_or(0);
    let inside = [
        NodeState::Preparing,
        NodeState::Draining,
        NodeState::Rebooting,
        NodeState::Verifying,
    ];
    let opening = policy.schedule.as_ref().map(|schedule| schedule.opening(now));
    let (window, closes, next) = match &opening {
        Ok(Opening::Open { closes }) => (
            WindowState::Open,
            *closes,
            closes.and_then(|at| opens_after(policy, at)),
        ),
        Ok(Opening::Closed { opens } | Opening::Excluded { opens, .. }) => (WindowState::Closed, None, *opens),
        Err(_) => (WindowState::Closed, None, None),
    };
    let waiting = count.waiting.iter().map(|(reason, nodes)| PolicyWaiting {
        reason: (*reason).to_owned(),
        count: i32::try_from(nodes.len()).unwrap_or(i32::MAX),
        nodes: nodes.iter().take(SHOWN).cloned().collect(),
    });
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let facts = conditions(&count, opening.err().map(String::as_str), policy);
    let conditions = facts
        .into_iter()
        .map(|fact| fact.into_condition(&before.conditions, generation, now));
    RebootPolicyStatus {
        observed_generation: generation,
        nodes: count.nodes,
        up_to_date: of(NodeState::UpToDate),
        pending: of(NodeState::Pending),
        in_progress: inside.into_iter().map(of).sum(),
        failed: of(NodeState::Failed),
        waiting: waiting.collect(),
        window: Some(window),
        window_closes_time: closes.map(whole_seconds),
        next_window_time: next.map(whole_seconds),
        estimated_completion_time: before.estimated_completion_time,
        rollout: before.rollout,
        breaker: before.breaker,
        conditions: conditions.collect(),
    }
}

fn opens_after(policy: &Policy, close: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match policy.schedule.as_ref().ok()?.opening(close) {
        Opening::Closed { opens } | Opening::Excluded { opens, .. } => opens,
        Opening::Open { .. } => None,
    }
}

fn count(policy: &str, snapshot: &Snapshot, plan: &Plan) -> Count {
    let mut count = Count::default();
    for (name, node) in snapshot
        .nodes
        .iter()
        .filter(|(_, node)| node.policies.iter().any(|other| other == policy))
    {
        count.nodes += 1;
        let waiting = plan.waiting.get(name);
        let phase = phase(node);
        *count.by_state.entry(state(node, phase, waiting.is_some())).or_default() += 1;
        if gate::trusted_host(node).is_none() && phase.is_none() {
            count.unknown += 1;
        }
        match phase {
            Some(Phase::Failed) => count.failed.push(name.clone()),
            Some(Phase::Preparing | Phase::Draining | Phase::Rebooting | Phase::Verifying) => {
                count.inside.push(name.clone());
            }
            None => {}
        }
        if let Some(waiting) = waiting {
            count.waiting.entry(waiting.reason()).or_default().push(name.clone());
        }
    }
    count
}

/// `Ready`, `UpToDate`, `Progressing`, `Degraded` always; `Stalled` only while it is true, as kstatus wants it.
fn conditions(count: &Count, unreadable: Option<&str>, policy: &Policy) -> Vec<Fact> {
    let fact = |type_, status, reason, message: String| Fact {
        type_,
        status,
        reason,
        message,
    };
    let list = |nodes: &[String]| nodes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let pending = count.nodes - count.by_state.get(&NodeState::UpToDate).copied().unwrap_or(0);
    let mut facts = Vec::new();
    facts.push(match (unreadable, count.failed.as_slice()) {
        (Some(why), _) => fact(
            "Ready",
            "False",
            "InvalidSpec",
            format!("{why}; no node starts until it is corrected"),
        ),
        (None, []) if policy.suspend => fact("Ready", "True", "Suspended", "suspended: no node starts".to_owned()),
        (None, []) if pending == 0 => fact("Ready", "True", "UpToDate", "no node needs a reboot".to_owned()),
        (None, []) => fact(
            "Ready",
            "True",
            "RollingOut",
            format!("{pending} of {} nodes are not done", count.nodes),
        ),
        (None, failed) => {
            let message = format!("{} failed; look at it, then retry or release it", list(failed));
            fact("Ready", "False", "NodesFailed", message)
        }
    });
    facts.push(match (pending, count.unknown) {
        (0, _) => fact(
            "UpToDate",
            "True",
            "NothingPending",
            "no node needs a reboot".to_owned(),
        ),
        (left, unknown) if left == unknown => fact(
            "UpToDate",
            "Unknown",
            "AgentMissing",
            format!("no agent has reported from {unknown} nodes"),
        ),
        (left, _) => fact(
            "UpToDate",
            "False",
            "NodesPending",
            format!("{left} of {} nodes are not done", count.nodes),
        ),
    });
    facts.push(match count.inside.as_slice() {
        [] => fact("Progressing", "False", "NobodyInside", String::new()),
        inside => fact("Progressing", "True", "NodesInside", format!("{} inside", list(inside))),
    });
    let still = count.waiting.get("StillRequired").map(|nodes| list(nodes));
    facts.push(match (count.failed.as_slice(), still) {
        ([], None) => fact("Degraded", "False", "NoFailure", String::new()),
        ([], Some(nodes)) => {
            let message = format!("{nodes} still asks for a reboot after one; look at what asks there");
            fact("Degraded", "True", "StillRequired", message)
        }
        (failed, _) => fact("Degraded", "True", "NodesFailed", format!("{} failed", list(failed))),
    });
    if let Some(why) = unreadable {
        facts.push(fact("Stalled", "True", "InvalidSpec", why.to_owned()));
    } else if !count.failed.is_empty() {
        facts.push(fact(
            "Stalled",
            "True",
            "NodesFailed",
            format!("{} must be looked at", list(&count.failed)),
        ));
    }
    facts
}
