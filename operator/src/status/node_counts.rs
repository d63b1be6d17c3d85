//! The nodes of a policy by state, for its status and its conditions.

use std::collections::BTreeMap;

use lockkeeper_crds::NodeState;
use lockkeeper_reasons::ReasonName;

/// How many nodes a list in a status names.
pub(super) const MAX_LISTED_NODES: usize = 10;

/// The nodes of a policy, counted.
#[derive(Debug, Default)]
pub(super) struct NodeCounts {
    /// All of them.
    pub(super) nodes: i32,
    pub(super) by_state: BTreeMap<NodeState, i32>,
    pub(super) failed: Vec<String>,
    pub(super) in_progress: Vec<String>,
    /// Those not in progress whose agent cannot reboot them, with the cause.
    pub(super) incapable: Vec<(String, String)>,
    /// Those that wait, by reason.
    pub(super) waiting: BTreeMap<ReasonName, Vec<String>>,
}

impl NodeCounts {
    /// How many are in this state.
    pub(super) fn of(&self, state: NodeState) -> i32 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }

    /// How many are not known to be up to date.
    pub(super) fn outdated(&self) -> i32 {
        self.nodes - self.of(NodeState::UpToDate)
    }
}
