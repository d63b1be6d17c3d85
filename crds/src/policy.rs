//! `RebootPolicy`: how a set of nodes reboots.

mod checks;
mod deadline;
mod disruption;
mod drain;
mod hooks;
mod notice;
mod reboot;
mod schedule;
mod status;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use checks::{
    AlertName, AlertStates, AlertsCheck, Check, Checks, ConditionStatus, HttpCheck, JobCheck, Matcher,
    NodeConditionCheck, ObjectCheck, OnCheckError, PodsCheck, PodsExpected, PrometheusCheck, QueryCheck, QueryResult,
    SecretKey, Server,
};
pub use deadline::{Deadline, Overridden, Override, Rung, Urgent};
pub use disruption::{Approval, Breaker, Canary, Disruption, QueueOrder, Topology};
pub use drain::{DeleteExempt, Drain, DrainBehavior, DrainRule, EmptyDirData, OnTimeout, PodOptOuts, UnmanagedPods};
pub use hooks::{Hook, HookAnnotation, HookFailurePolicy, HookJob, Hooks};
pub use notice::Notice;
pub use reboot::{Reboot, RebootMethod};
pub use schedule::{Exclusion, Window};
pub use status::{
    BreakerState, BreakerStatus, DeadlineStatus, PolicyWaiting, RebootPolicyStatus, RolloutStatus, RungStatus,
    WindowState,
};

use crate::limit::IntOrPercent;
use crate::selector::LabelSelector;

/// When a set of nodes reboots, how many at a time, and how they are drained.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "RebootPolicy",
    plural = "rebootpolicies",
    shortname = "rbp",
    category = "lockkeeper",
    doc = "When a set of nodes reboots after OS updates, how many at a time, and how they are drained.",
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
    /// Selects the nodes; defaults to all Linux nodes. A node that two policies select does not reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// If true, no node starts; nodes in progress finish.
    #[serde(default)]
    pub suspend: bool,
    /// When nodes may start: in any of these windows, or at any time if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<Window>,
    /// When no node starts, even in a window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub exclusions: Vec<Exclusion>,
    /// How many nodes at a time.
    #[serde(default)]
    pub disruption: Disruption,
    /// Which of the eligible nodes starts next.
    #[serde(default)]
    pub order: QueueOrder,
    /// The first nodes of a rollout, which must stay healthy before others follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Whether a person must approve each node.
    #[serde(default)]
    pub approval: Approval,
    /// What must hold before a node starts, and after it has rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// What is done about each node before its drain, before its reboot and after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Advance notice to the workloads of a node before it is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Until when a required reboot must be done, and what is overridden for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Overrides for all nodes at once, with a reason and an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgent: Option<Urgent>,
    /// How many failed nodes stop the rollout.
    #[serde(default)]
    pub breaker: Breaker,
    /// How a node is drained.
    #[serde(default)]
    pub drain: Drain,
    /// How a node is rebooted.
    #[serde(default)]
    pub reboot: Reboot,
    /// Seconds that an agent may take to answer before the node is deferred.
    #[serde(default = "Defaults::require_agent_seconds")]
    #[schemars(range(min = 5, max = 3600))]
    pub require_agent_seconds: i32,
}

/// The default values of the policy's fields.
#[derive(Debug)]
pub struct Defaults;

impl Defaults {
    pub(crate) const fn require_agent_seconds() -> i32 {
        60
    }
    const fn wait_for_grace_period() -> bool {
        true
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
    const fn wait_for_volume_detach_seconds() -> i32 {
        300
    }
    const fn wait_for_workloads_seconds() -> i32 {
        300
    }
    const fn check_timeout_seconds() -> i32 {
        1800
    }
    const fn hook_timeout_seconds() -> i32 {
        600
    }
    const fn job_timeout_seconds() -> i32 {
        600
    }
    const fn max_failed_nodes() -> i32 {
        1
    }
}
