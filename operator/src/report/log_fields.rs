//! What a log line is about: the fields that every line of a decision has, as far as they are known.

use lockkeeper_planner::{Action, Change, Node, Operation, Snapshot};

use crate::status::policy_name;

/// Node, policy, operation and cause of a decision; what is not known is left out of the line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LogFields {
    pub(super) node: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) operation: Option<String>,
    pub(super) reason: Option<String>,
}

impl LogFields {
    /// Of an action.
    pub(super) fn of(action: &Action, snapshot: &Snapshot) -> Self {
        let node = action.node().and_then(|name| snapshot.nodes.get(name));
        let known = Self {
            node: action.node().map(str::to_owned),
            ..node.map(Self::of_node).unwrap_or_default()
        };
        let Action::WriteRecord { change, .. } = action else {
            return known;
        };
        let finished = change.finished.as_ref().map(|finished| &finished.operation);
        let written = match &change.operation {
            Change::Set(Some(operation)) => Some(&**operation),
            Change::Set(None) | Change::Keep => None,
        };
        match finished.or(written) {
            Some(operation) => known.with(operation),
            None => known,
        }
    }

    /// Of something about a node.
    pub(super) fn of_node(node: &Node) -> Self {
        let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
        let policy = Some(policy_name(node)).filter(|policy| !policy.is_empty());
        let known = Self {
            policy,
            ..Self::default()
        };
        match operation {
            Some(operation) => known.with(operation),
            None => known,
        }
    }

    fn with(self, operation: &Operation) -> Self {
        let cause = operation
            .pending_outcome
            .as_ref()
            .map(|pending_outcome| pending_outcome.cause.clone());
        let causes = cause.unwrap_or_else(|| operation.reasons.join(", "));
        Self {
            policy: Some(operation.policy.to_string()),
            operation: Some(operation.id.clone()),
            reason: Some(causes).filter(|causes| !causes.is_empty()),
            ..self
        }
    }
}
