//! What became of the actions of one pass.

use std::collections::BTreeSet;

use lockkeeper_planner::Action;

use super::Error;

/// What the writes of the lock are counted under, beside the names of Nodes: no Node can have this one.
pub const LOCK: &str = "RebootLock/cluster";

/// What became of the actions of one pass.
#[derive(Debug, Default)]
pub struct Executed {
    /// The failure of a write of the lock that may succeed in the next pass; it ended this one.
    pub shared: Option<Error>,
    /// The failures about nodes, by node; under the name of the lock, that its write is refused.
    pub failed: Vec<(String, Error)>,
    /// The nodes about which a write was made.
    pub written: BTreeSet<String>,
    /// The policies could not be verified, so that no node got the name of its policy.
    pub policies_unread: bool,
    /// The nodes whose actions need a change of the lock that was not made.
    pub(super) awaiting_lock: BTreeSet<String>,
}

impl Executed {
    /// Whether the action is left out, because an earlier one that it follows was not carried out.
    pub(super) fn leaves_out(&self, action: &Action) -> bool {
        let failed = |node: &str| self.failed.iter().any(|(failed, _)| failed == node);
        action
            .node()
            .is_some_and(|node| failed(node) || self.awaiting_lock.contains(node))
    }

    /// Adds how a write about a node ended.
    pub(super) fn add_node(&mut self, node: &str, result: Result<(), Error>) {
        match result {
            Ok(()) => drop(self.written.insert(node.to_owned())),
            Err(error) => self.failed.push((node.to_owned(), error)),
        }
    }

    /// Adds how an action ended.
    pub(super) fn add(&mut self, action: &Action, result: Result<(), Error>) {
        match (action.node(), result) {
            (Some(node), result) => self.add_node(node, result),
            (None, Ok(())) => drop(self.written.insert(LOCK.to_owned())),
            // Without it no node starts. What is in progress goes on: each write has its own preconditions.
            (None, Err(error)) if error.refusal().is_some() => self.failed.push((LOCK.to_owned(), error)),
            (None, Err(error)) => self.shared = Some(error),
        }
    }
}
