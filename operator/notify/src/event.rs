//! What a notification tells: one Event of the operator.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Whether a person should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Severity {
    /// All is well.
    Normal,
    /// A person should look at it.
    Warning,
}

/// One Event, as `kubectl describe` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Event {
    /// When it was sent.
    pub time: DateTime<Utc>,
    /// Whether a person should look at it.
    pub severity: Severity,
    /// Its reason, such as `Failed`.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
    /// The policy that it concerns; all of them if there is none.
    pub policy: Option<String>,
    /// The node that it is about; without one it is about the policy.
    pub node: Option<String>,
    /// The ID of the node's operation.
    pub operation: Option<String>,
}
