//! Where the nodes of a policy are.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// Where the nodes of a policy are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootPolicyStatus {
    /// The generation that the rest speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Nodes selected.
    #[serde(default)]
    pub nodes: i32,
    /// Nodes that need no reboot.
    #[serde(default)]
    pub up_to_date: i32,
    /// Nodes that need one and wait.
    #[serde(default)]
    pub pending: i32,
    /// Nodes inside the lock that are not Failed.
    #[serde(default)]
    pub in_progress: i32,
    /// Nodes that a person must look at.
    #[serde(default)]
    pub failed: i32,
    /// Why nodes wait, by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub waiting: Vec<PolicyWaiting>,
    /// Whether nodes may start now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowState>,
    /// When the open window closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_closes_time: Option<DateTime<Utc>>,
    /// When the next window opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_window_time: Option<DateTime<Utc>>,
    /// When a window last closed while nodes waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_window_time: Option<DateTime<Utc>>,
    /// When the last node will be done if nothing blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<DateTime<Utc>>,
    /// The rollout under way: from the first node that waits until none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The breaker; absent while it is closed and nothing failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerStatus>,
    /// `Ready`, `UpToDate`, `Progressing`, `Degraded`, `Stalled`, `ScheduleTooTight`,
    /// `AcknowledgementInvalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many nodes wait for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyWaiting {
    /// One of the closed list of waiting reasons.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// How many nodes.
    pub count: i32,
    /// The first ten of them.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(max = 253)))]
    pub nodes: Vec<String>,
}

/// Whether nodes may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowState {
    /// They may.
    Open,
    /// They may not.
    Closed,
    /// A word of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Its id.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When the first node began to wait.
    pub started_time: DateTime<Utc>,
    /// When the canary had stayed healthy for as long as asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_passed_time: Option<DateTime<Utc>>,
}

/// The breaker of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakerStatus {
    /// Whether nodes may start.
    pub state: BreakerState,
    /// When it opened; the value that `lockkeeper.dev/breaker-acknowledged` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_time: Option<DateTime<Utc>>,
    /// The nodes that failed, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 253)))]
    pub failed_nodes: Vec<String>,
}

/// Whether nodes may start, by the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BreakerState {
    /// They may.
    Closed,
    /// They may not.
    Open,
    /// One may, to probe.
    Probing,
    /// A word of a newer version; as `Open`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
