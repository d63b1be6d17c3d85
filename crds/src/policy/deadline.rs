//! Until when a required reboot must be done, and what is overridden for that.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Window;

/// Until when a required reboot must be done, and what is overridden for that. Limits, exclusions, holds, approvals, the rules
/// for the control plane, the breaker and the proof of the reboot are never overridden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// Seconds that a node may require a reboot, counted from the time that its agent reports. After that it is overdue.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub max_pending_seconds: i32,
    /// What is overridden for a node, and after how long. A rung that a node has reached applies to it until it has rebooted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ladder: Vec<Rung>,
}

/// One override, and after how long it applies to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.override == 'ExtraWindow') == has(self.window)").message("a rung has a window exactly if its override is ExtraWindow"))]
pub struct Rung {
    /// Seconds for which the node has required a reboot.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub after_seconds: i32,
    /// What is overridden.
    #[serde(rename = "override")]
    pub override_: Override,
    /// The further window, for `ExtraWindow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// What a deadline overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Override {
    /// The node may start in a further window too.
    ExtraWindow,
    /// The node may start outside of the windows. Exclusions still apply.
    IgnoreWindows,
    /// The node starts whatever the checks in `checks.before` find. Those in `checks.after` still apply.
    IgnoreChecks,
    /// The drain of the node goes on as with `drain.onTimeout: Delete` if the policy has `Defer`.
    DeletePods,
    /// A value of a newer version; it overrides nothing.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl Override {
    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExtraWindow => "ExtraWindow",
            Self::IgnoreWindows => "IgnoreWindows",
            Self::IgnoreChecks => "IgnoreChecks",
            Self::DeletePods => "DeletePods",
            Self::Unknown => "Unknown",
        }
    }
}

/// Overrides for all nodes of the policy at once, for a limited time. It ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from < self.until").message("from must be before until"))]
#[x_kube(validation = Rule::new("self.until - self.from <= duration('168h')").message("an urgent override lasts at most 7 days: until must not be later than 7 days after from"))]
#[x_kube(validation = Rule::new("self.overrides.all(o, o != 'ExtraWindow')").message("urgent overrides are IgnoreWindows, IgnoreChecks and DeletePods; add a further window to spec.windows"))]
pub struct Urgent {
    /// Why, shown wherever a node starts because of it.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.trim() != ''").message("give the reason of the urgent override"))]
    pub reason: String,
    /// From when on it applies.
    pub from: DateTime<Utc>,
    /// When it ends, at most 7 days later.
    pub until: DateTime<Utc>,
    /// The rollout for which it applies, from `status.rollout.id`; defaults to every rollout until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub rollout: Option<String>,
    /// What is overridden: `IgnoreWindows`, `IgnoreChecks` or `DeletePods`.
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub overrides: Vec<Override>,
}

/// What was overridden for an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overridden {
    /// The overrides that applied when the node was admitted.
    #[schemars(length(max = 4))]
    pub overrides: Vec<Override>,
    /// `afterSeconds` of the last rung that the node had reached; absent if it had reached none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub after_seconds: Option<i32>,
    /// The reason of the policy's urgent override, if one applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub urgent: Option<String>,
}
