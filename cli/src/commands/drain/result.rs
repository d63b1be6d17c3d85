//! The result of the drain of one node.

use serde::Serialize;

use super::json::{CauseJson, PodProgress};
use crate::failure::Exit;

/// How the drain of one node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    /// No pod remains that has to leave; the node stays cordoned.
    Drained,
    /// The time limit was reached.
    TimedOut,
    /// Nothing was changed, as the node cannot be drained.
    Blocked,
    /// The operator or another field manager holds the node.
    Refused,
    /// Ctrl-C or SIGTERM.
    Stopped,
    /// An error occurred.
    Failed,
    /// The result of another node prevented the start.
    NotStarted,
}

impl Outcome {
    /// The exit code of a node that is not drained.
    pub(crate) fn exit(self) -> Option<Exit> {
        match self {
            Self::Drained => None,
            Self::TimedOut => Some(Exit::TimedOut),
            Self::Blocked => Some(Exit::Blocked),
            Self::Refused => Some(Exit::Refused),
            Self::Stopped | Self::Failed | Self::NotStarted => Some(Exit::Error),
        }
    }
}

/// One node of `drain -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeResult {
    pub(crate) node: String,
    /// `None` if the default settings apply.
    pub(crate) policy: Option<String>,
    pub(crate) result: Outcome,
    pub(crate) message: String,
    pub(crate) seconds: f64,
    /// Pods that have left.
    pub(crate) moved: usize,
    /// Pods that stay and run.
    pub(crate) stayed: usize,
    /// Pods of `moved` that kept data in an `emptyDir`.
    pub(crate) with_empty_dir: usize,
    /// Volumes that were still attached when the time limit for them was reached.
    pub(crate) still_attached: Vec<String>,
    pub(crate) pods: Vec<PodProgress>,
    pub(crate) blockers: Vec<CauseJson>,
}

impl NodeResult {
    /// The result of a node on which nothing was evicted.
    pub(crate) fn unchanged(node: &str, policy: Option<String>, result: Outcome, message: String) -> Self {
        Self {
            node: node.to_owned(),
            policy,
            result,
            message,
            seconds: 0.0,
            moved: 0,
            stayed: 0,
            with_empty_dir: 0,
            still_attached: Vec::new(),
            pods: Vec::new(),
            blockers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_exit_code() {
        let exits = [
            Outcome::Drained,
            Outcome::TimedOut,
            Outcome::Blocked,
            Outcome::Refused,
            Outcome::Stopped,
        ];
        let exits = exits.map(Outcome::exit);
        let expected = [
            None,
            Some(Exit::TimedOut),
            Some(Exit::Blocked),
            Some(Exit::Refused),
            Some(Exit::Error),
        ];
        assert_eq!(exits, expected);
    }
}
