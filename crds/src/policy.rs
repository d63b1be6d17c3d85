//! `RebootPolicy`: what an admin wants for a set of nodes.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::limit::IntOrPercent;
use crate::selector::LabelSelector;

/// When, how many at once and how gently a set of nodes is rebooted.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "RebootPolicy",
    plural = "rebootpolicies",
    shortname = "rbp",
    category = "lockkeeper",
    doc = "When, how many at once and how gently a set of nodes is rebooted after OS updates.",
    status = "RebootPolicyStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(name = "UpToDate", type_ = "integer", json_path = ".status.upToDate"),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.pending"),
    printcolumn(name = "InProgress", type_ = "integer", json_path = ".status.inProgress"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "Window", type_ = "string", json_path = ".status.window"),
    printcolumn(name = "NextWindow", type_ = "string", json_path = ".status.nextWindowTime"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RebootPolicySpec {
    /// The nodes; absent = all Linux nodes. A node matched by two policies is rebooted under none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Start nothing; what is running finishes.
    #[serde(default)]
    pub suspend: bool,
    /// When nodes may start; the union of all; none = always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<Window>,
    /// How many at once.
    #[serde(default)]
    pub disruption: Disruption,
    /// How a node is emptied.
    #[serde(default)]
    pub drain: Drain,
    /// How a node is rebooted.
    #[serde(default)]
    pub reboot: Reboot,
    /// Seconds an agent may take to answer before the node is put back.
    #[serde(default = "Defaults::require_agent_seconds")]
    #[schemars(range(min = 5, max = 3600))]
    pub require_agent_seconds: i32,
}

/// The defaults of the policy's fields, in one place.
#[derive(Debug)]
pub struct Defaults;

impl Defaults {
    const fn require_agent_seconds() -> i32 {
        60
    }
    const fn timeout_seconds() -> i32 {
        900
    }
    fn time_zone() -> String {
        "UTC".to_owned()
    }
    const fn max_in_progress() -> IntOrPercent {
        IntOrPercent::Int(1)
    }
}

/// A recurring span of time in which nodes may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens: minute, hour, day of month, month, day of week, as in cron; names, ranges, lists and steps.
    #[schemars(length(max = 256), regex(pattern = include_str!("cron-pattern.txt").trim_ascii_end()))]
    pub schedule: String,
    /// How long it stays open, in elapsed seconds.
    #[schemars(range(min = 60, max = 604_800))]
    pub duration_seconds: i32,
    /// The IANA time zone of `schedule`.
    #[serde(default = "Defaults::time_zone")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^([A-Za-z_]+[A-Za-z0-9_+-]*)(/[A-Za-z0-9_+-]+){0,2}$")
    )]
    #[x_kube(validation = Rule::new("self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0").message("not an IANA time zone such as Europe/Berlin"))]
    pub time_zone: String,
}

/// How many nodes at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Nodes that we hold under this policy: a count, or a percentage of the nodes selected (rounded down, at least 1).
    ///
    /// 0 or 0% starts nothing.
    #[serde(default = "Defaults::max_in_progress")]
    pub max_in_progress: IntOrPercent,
    /// Nodes of this policy that may be down for any reason while one more starts; absent = `maxInProgress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
}

impl Default for Disruption {
    fn default() -> Self {
        Self {
            max_in_progress: Defaults::max_in_progress(),
            max_unavailable: None,
        }
    }
}

/// How a node is emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds a drain may take; then the node is put back and the next one goes on.
    #[serde(default = "Defaults::timeout_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: i32,
    /// Grace period of evicted pods, if it is not to be their own; never less than 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub grace_period_seconds: Option<i32>,
    /// What happens to pods that no controller would make again.
    #[serde(default)]
    pub unmanaged_pods: UnmanagedPods,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout_seconds: Defaults::timeout_seconds(),
            grace_period_seconds: None,
            unmanaged_pods: UnmanagedPods::default(),
        }
    }
}

/// What happens to pods that no controller would make again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnmanagedPods {
    /// They keep the node from being drained; the default, as they would be lost.
    #[default]
    Block,
    /// They are evicted and are lost.
    Evict,
    /// A word of a newer version; blocks.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How a node is rebooted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reboot {
    /// Seconds from the order until the node must be back with a new boot id and Ready; then it is Failed.
    #[serde(default = "Defaults::timeout_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: i32,
}

impl Default for Reboot {
    fn default() -> Self {
        Self {
            timeout_seconds: Defaults::timeout_seconds(),
        }
    }
}

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
    /// `Ready`, `UpToDate`, `Progressing`, `Degraded`, `Stalled`.
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
