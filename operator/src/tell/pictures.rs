//! The pictures behind the metrics: what a pass saw, counted.

use std::collections::BTreeMap;

use lockkeeper_crds::NodeState;
use lockkeeper_planner::{BreakerState, Phase, Plan, PolicyState, Snapshot};

use crate::metrics::Metrics;
use crate::publish::{phase, policy_name, state};

/// Sets every gauge about the cluster.
pub(super) fn paint(metrics: &Metrics, snapshot: &Snapshot, plan: &Plan) {
    metrics.set_leader(true);
    let holders = snapshot.lock.as_ref().map_or(0, |lock| lock.holders.len());
    metrics.set_lock(holders, plan.cluster_limit);
    let mut nodes: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut waiting: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut states = BTreeMap::new();
    let mut failed: BTreeMap<String, u64> = snapshot.policies.keys().map(|policy| (policy.clone(), 0)).collect();
    for (name, node) in &snapshot.nodes {
        let (policy, phase, why) = (policy_name(node), phase(node), plan.waiting.get(name));
        let state = state(node, phase, why.is_some());
        *nodes.entry((policy.clone(), state.as_str().to_owned())).or_default() += 1;
        if let Some(why) = why {
            *waiting.entry((policy.clone(), why.reason().to_owned())).or_default() += 1;
        }
        if phase == Some(Phase::Failed) {
            *failed.entry(policy.clone()).or_default() += 1;
        }
        if state != NodeState::UpToDate {
            states.insert(name.clone(), (policy, state.as_str().to_owned()));
        }
    }
    metrics.set_nodes(&nodes);
    metrics.set_waiting(&waiting);
    metrics.set_node_states(&states);
    metrics.set_failed(&failed);
    metrics.set_windows(&plan.windows);
    let open = |state: &PolicyState| state.breaker.state != BreakerState::Closed;
    let breakers = plan.policies.iter().map(|(name, state)| (name.clone(), open(state)));
    metrics.set_breakers(&breakers.collect());
}
