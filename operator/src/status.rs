//! What the status and the conditions of nodes and policies should be; pure.

pub mod condition;
pub mod deadline;
pub mod node;
mod node_conditions;
mod node_counts;
pub mod policy;
mod policy_conditions;
pub mod samples;

pub use policy_conditions::invalid_policy;

use lockkeeper_crds::NodeState;
use lockkeeper_crds::host::Cause;
use lockkeeper_planner::{Node, Phase};

/// Where a node is. It is not up to date while its agent has not reported from its boot, while a detector fails, or while
/// the node is not Ready: whatever its agent last reported may be outdated.
pub fn node_state(node: &Node, phase: Option<Phase>, waits: bool, failing_detectors: &[Cause]) -> NodeState {
    match phase {
        Some(Phase::Preparing) => NodeState::Preparing,
        Some(Phase::Draining) => NodeState::Draining,
        Some(Phase::Rebooting) => NodeState::Rebooting,
        Some(Phase::Verifying) => NodeState::Verifying,
        Some(Phase::Failed) => NodeState::Failed,
        None if node.requires_reboot() => NodeState::Pending,
        None if node.trusted_host().is_none() || !failing_detectors.is_empty() || !node.ready.ready => {
            NodeState::Unknown
        }
        None if waits => NodeState::Pending,
        None => NodeState::UpToDate,
    }
}

/// The phase of the operation that holds a node.
pub fn phase_of(node: &Node) -> Option<Phase> {
    Some(node.record.as_ref()?.operation.as_ref()?.phase)
}

/// The policy of a node, or the empty name.
pub fn policy_name(node: &Node) -> String {
    match &*node.policies {
        [one] => one.to_string(),
        _ => String::new(),
    }
}
