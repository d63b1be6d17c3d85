//! A drain or a report that fails before it has looked at its nodes; with `-o json` it prints a document all the same.

use serde::Serialize;

use super::json::NodePreflight;
use super::messages;
use super::result::{NodeResult, Outcome};
use crate::failure::{Exit, Failure};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Document<T> {
    pub(crate) nodes: Vec<T>,
    /// Why the command ended before it looked at the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Why nothing was started, and the node that it is about; `None` if it is about all.
#[derive(Debug)]
pub(crate) struct EarlyFailure {
    pub(crate) node: Option<String>,
    pub(crate) failure: Failure,
}

impl<T> Document<T> {
    pub(crate) fn of(nodes: Vec<T>) -> Self {
        Self { nodes, error: None }
    }
}

impl From<Failure> for EarlyFailure {
    fn from(failure: Failure) -> Self {
        Self { node: None, failure }
    }
}

impl EarlyFailure {
    pub(crate) fn of_node(node: &str, failure: Failure) -> Self {
        Self {
            node: Some(node.to_owned()),
            failure,
        }
    }

    /// The document of a drain: no node was changed.
    pub(super) fn drain_document(&self, nodes: &[String]) -> Document<NodeResult> {
        let result = |node: &String| {
            let (outcome, message) = if self.concerns(node) {
                (Outcome::of_exit(self.failure.exit), self.failure.message.clone())
            } else {
                (Outcome::NotStarted, messages::unchanged(node))
            };
            NodeResult::unchanged(node, None, outcome, message)
        };
        self.document(nodes.iter().map(result).collect())
    }

    /// The document of a dry run or a report: no node was checked.
    pub(crate) fn preflight_document(&self, nodes: &[String]) -> Document<NodePreflight> {
        let result = |node: &String| {
            let message = if self.concerns(node) {
                self.failure.message.clone()
            } else {
                messages::not_checked(node)
            };
            NodePreflight::failed(node, None, message)
        };
        self.document(nodes.iter().map(result).collect())
    }

    fn document<T>(&self, nodes: Vec<T>) -> Document<T> {
        Document {
            nodes,
            error: Some(self.failure.message.clone()),
        }
    }

    fn concerns(&self, node: &str) -> bool {
        self.node.as_deref().is_none_or(|concerned| concerned == node)
    }
}

impl Outcome {
    /// The result of a node on which an error of this kind occurred before anything was changed.
    pub(super) fn of_exit(exit: Exit) -> Self {
        match exit {
            Exit::Refused => Self::Refused,
            Exit::Error | Exit::Usage | Exit::TimedOut | Exit::Blocked => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<String> {
        ["w-01", "w-02"].map(str::to_owned).to_vec()
    }

    fn summary(early: &EarlyFailure) -> (Vec<(Outcome, String)>, Option<String>) {
        let document = early.drain_document(&nodes());
        let nodes = document.nodes.into_iter().map(|node| (node.result, node.message));
        (nodes.collect(), document.error)
    }

    #[test]
    fn json_names_the_node_that_is_unknown_or_refused() {
        for (failure, outcome) in [
            (Failure::error("there is no node w-02"), Outcome::Failed),
            (
                Failure::refused("the operator is rebooting node w-02"),
                Outcome::Refused,
            ),
        ] {
            let message = failure.message.clone();
            let (nodes, error) = summary(&EarlyFailure::of_node("w-02", failure));
            assert_eq!(
                nodes,
                [
                    (Outcome::NotStarted, "w-01 was not changed either".to_owned()),
                    (outcome, message.clone())
                ]
            );
            assert_eq!(error, Some(message));
        }
    }

    #[test]
    fn json_has_the_error_of_a_bad_policy_file_at_every_node() {
        let early = EarlyFailure::from(Failure::error("p.yaml: it contains no RebootPolicy"));
        let (nodes, _) = summary(&early);
        assert!(
            nodes
                .iter()
                .all(|(outcome, message)| *outcome == Outcome::Failed
                    && message == "p.yaml: it contains no RebootPolicy")
        );
        let json = serde_json::to_value(early.preflight_document(&nodes_without_any())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"nodes": [], "error": "p.yaml: it contains no RebootPolicy"})
        );
    }

    #[test]
    fn json_of_a_dry_run_has_an_error_for_each_node() {
        let early = EarlyFailure::of_node("w-02", Failure::error("there is no node w-02"));
        let document = early.preflight_document(&nodes());
        let errors = document.nodes.into_iter().map(|node| node.error.unwrap());
        assert_eq!(
            errors.collect::<Vec<_>>(),
            ["w-01 was not checked", "there is no node w-02"]
        );
    }

    /// A report of all nodes that could not list them.
    fn nodes_without_any() -> Vec<String> {
        Vec::new()
    }
}
