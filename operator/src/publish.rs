//! What people see: status of nodes and policies, conditions, and the pictures behind the metrics.

pub mod node;
pub mod policy;

use std::collections::BTreeMap;

use lockkeeper_crds::NodeState;
use lockkeeper_planner::{Phase, Plan, Snapshot, gate};

/// The one word for where a node is.
pub fn state(node: &lockkeeper_planner::Node, phase: Option<Phase>, waits: bool) -> NodeState {
    match phase {
        Some(Phase::Preparing) => NodeState::Preparing,
        Some(Phase::Draining) => NodeState::Draining,
        Some(Phase::Rebooting) => NodeState::Rebooting,
        Some(Phase::Verifying) => NodeState::Verifying,
        Some(Phase::Failed) => NodeState::Failed,
        None if waits || gate::wants_reboot(node) => NodeState::Pending,
        None => NodeState::UpToDate,
    }
}

/// How many nodes of each policy are in each state; nodes of no policy or of several are under the empty name.
pub fn states(snapshot: &Snapshot, plan: &Plan) -> BTreeMap<(String, NodeState), u64> {
    let mut counts = BTreeMap::new();
    for (name, node) in &snapshot.nodes {
        let phase = phase(node);
        let state = state(node, phase, plan.waiting.contains_key(name));
        *counts.entry((policy_name(node), state)).or_default() += 1;
    }
    counts
}

/// How many nodes of each policy wait for each reason.
pub fn waiting(snapshot: &Snapshot, plan: &Plan) -> BTreeMap<(String, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for (name, why) in &plan.waiting {
        let policy = snapshot.nodes.get(name).map(policy_name).unwrap_or_default();
        *counts.entry((policy, why.reason())).or_default() += 1;
    }
    counts
}

/// The phase of the operation that holds a node.
pub fn phase(node: &lockkeeper_planner::Node) -> Option<Phase> {
    Some(node.record.as_ref()?.operation.as_ref()?.phase)
}

/// The policy of a node, or the empty name.
pub fn policy_name(node: &lockkeeper_planner::Node) -> String {
    match node.policies.as_slice() {
        [one] => one.clone(),
        _ => String::new(),
    }
}
