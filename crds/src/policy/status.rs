//! The state of the nodes of a policy.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Override;
use crate::condition::Condition;

/// The state of the nodes of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootPolicyStatus {
    /// The most recent generation observed by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of selected nodes.
    #[serde(default)]
    pub nodes: i32,
    /// Nodes that require no reboot.
    #[serde(default)]
    pub up_to_date: i32,
    /// Nodes of which it is unknown whether they require a reboot.
    #[serde(default)]
    pub unknown: i32,
    /// Nodes that require a reboot and wait.
    #[serde(default)]
    pub pending: i32,
    /// Nodes in progress that are not Failed.
    #[serde(default)]
    pub in_progress: i32,
    /// Nodes whose operation failed.
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
    /// When the last node is expected to finish if nothing blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<DateTime<Utc>>,
    /// The present rollout: from the first node that waits until none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// How the nodes stand against `deadline`; absent if the policy has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DeadlineStatus>,
    /// The breaker; absent while it is closed and no node failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerStatus>,
    /// `Ready`, `UpToDate`, `Progressing`, `Degraded`, `Stalled`, `ScheduleTooTight`,
    /// `AgentsIncapable`, `ChecksFailing`, `AcknowledgementInvalid`, `DeadlineEscalating`, `DeadlineAtRisk`, `DeadlineMissed`,
    /// `Urgent`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many nodes wait for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyWaiting {
    /// The wait reason, one of a closed list.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// Number of nodes.
    pub count: i32,
    /// The names of the first ten.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(max = 253)))]
    pub nodes: Vec<String>,
}

/// Whether nodes may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowState {
    /// Nodes may start.
    Open,
    /// No node starts.
    Closed,
    /// A value of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
/// The present rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Its ID.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When the first node began to wait.
    pub started_time: DateTime<Utc>,
    /// When the canary nodes had stayed healthy for `soakSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_passed_time: Option<DateTime<Utc>>,
}

/// How the nodes of a policy stand against its deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadlineStatus {
    /// Nodes that have required a reboot for longer than `maxPendingSeconds`.
    #[serde(default)]
    pub overdue: i32,
    /// Nodes that will be overdue before they are rebooted, by the forecast.
    #[serde(default)]
    pub late: i32,
    /// When the first of the other nodes that wait is overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_overdue_time: Option<DateTime<Utc>>,
    /// The rungs that a node has reached, or will within a day, in the order of `afterSeconds`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub rungs: Vec<RungStatus>,
}

/// A rung that nodes have reached, or will within a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RungStatus {
    /// Its `afterSeconds`.
    pub after_seconds: i32,
    /// Its override.
    #[serde(rename = "override")]
    pub override_: Override,
    /// Number of nodes that have reached it.
    #[serde(default)]
    pub nodes: i32,
    /// The next node that will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub next_node: Option<String>,
    /// When that node will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_time: Option<DateTime<Utc>>,
}

/// The breaker of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakerStatus {
    /// Whether nodes may start.
    pub state: BreakerState,
    /// When it opened; the annotation `lockkeeper.dev/breaker-acknowledged` takes this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_time: Option<DateTime<Utc>>,
    /// The nodes that failed, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 253)))]
    pub failed_nodes: Vec<String>,
}

/// Whether the breaker lets nodes start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BreakerState {
    /// Nodes may start.
    Closed,
    /// No node starts.
    Open,
    /// One node may start, as a probe.
    Probing,
    /// A value of a newer version; treated as `Open`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
