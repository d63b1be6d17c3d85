//! What people see: status and conditions of nodes and policies.

pub mod node;
pub mod policy;
mod policy_conditions;

pub use policy_conditions::undecodable;

use lockkeeper_crds::NodeState;
use lockkeeper_planner::Phase;

/// The one word for where a node is.
pub fn node_state(node: &lockkeeper_planner::Node, phase_of: Option<Phase>, waits: bool) -> NodeState {
    match phase_of {
        Some(Phase::Preparing) => NodeState::Preparing,
        Some(Phase::Draining) => NodeState::Draining,
        Some(Phase::Rebooting) => NodeState::Rebooting,
        Some(Phase::Verifying) => NodeState::Verifying,
        Some(Phase::Failed) => NodeState::Failed,
        None if waits || node.requires_reboot() => NodeState::Pending,
        None => NodeState::UpToDate,
    }
}

/// The phase of the operation that holds a node.
pub fn phase_of(node: &lockkeeper_planner::Node) -> Option<Phase> {
    Some(node.record.as_ref()?.operation.as_ref()?.phase)
}

/// The policy of a node, or the empty name.
pub fn policy_name(node: &lockkeeper_planner::Node) -> String {
    match &*node.policies {
        [one] => one.to_string(),
        _ => String::new(),
    }
}
