//! The hooks of a policy: what runs, or who is asked, before the drain, before the reboot and after it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;

/// What is done about each node at fixed points of its reboot. The hooks of a point run one after another, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Hooks after the cordon, before the first pod is evicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub before_drain: Vec<Hook>,
    /// Hooks once the node is drained, before its reboot is ordered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub before_reboot: Vec<Hook>,
    /// Hooks once the node is healthy after its reboot, before it is uncordoned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub after_reboot: Vec<Hook>,
}

/// One hook. Exactly one of `job` and `annotation` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.job) != has(self.annotation)").message("a hook needs exactly one of job and annotation"))]
pub struct Hook {
    /// The name, which messages show and Jobs carry.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Seconds within which the hook must have ended.
    #[serde(default = "Defaults::hook_timeout_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: i32,
    /// What follows if the hook fails or times out.
    #[serde(default)]
    pub failure_policy: HookFailurePolicy,
    /// A Job that must succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<HookJob>,
    /// An annotation that another client must set on the Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<HookAnnotation>,
}

/// What follows if a hook fails or times out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookFailurePolicy {
    /// Before the reboot the node is deferred, which means uncordoned and tried again later. After the reboot it is Failed.
    #[default]
    Fail,
    /// The operation continues; the history names the hook.
    Ignore,
    /// A value of a newer version; treated as `Fail`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// A Job that is created for the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookJob {
    /// The CronJob in the operator's namespace whose `jobTemplate` the Job is made from. It should have `suspend: true`.
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub cron_job: String,
    /// If true, the Job's pods run on the node itself, in spite of its cordon; if false, on any other node.
    #[serde(default)]
    pub on_node: bool,
}

/// An annotation that another client sets to `true` on the Node once the operation may continue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookAnnotation {
    /// The annotation's key. The operator removes it before the hook begins and after it has ended.
    #[schemars(
        length(min = 1, max = 316),
        regex(pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
    )]
    pub key: String,
    /// A label that has the value `true` on the Node while the hook waits, so that a DaemonSet can select it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 316),
        regex(pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
    )]
    pub label: Option<String>,
}
