//! How a node is emptied.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;
use crate::selector::LabelSelector;

/// How a node is emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds a drain may take; then `onTimeout` says what follows.
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
    /// What happens to pods with emptyDir volumes, whose data is lost with them.
    #[serde(default)]
    pub empty_dir_data: EmptyDirData,
    /// Whether pods may opt out of being moved (`cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`,
    /// `karpenter.sh/do-not-disrupt: "true"`).
    #[serde(default)]
    pub pod_opt_outs: PodOptOuts,
    /// Exceptions and order; the first rule that matches a pod counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<DrainRule>,
    /// What follows when `timeoutSeconds` are over.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Pods that `onTimeout: Delete` does not delete past their budget; they go on being evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_exempt: Option<DeleteExempt>,
    /// Seconds to wait, once the pods are gone, until their volumes are detached.
    #[serde(default = "Defaults::wait_for_volume_detach_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub wait_for_volume_detach_seconds: i32,
    /// Seconds from taking the node out of load balancers to the first eviction.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub exclude_from_load_balancers_seconds: i32,
    /// Evict the pods of DaemonSets too, after all others; a taint keeps them away until the node is back.
    #[serde(default)]
    pub daemon_sets_last: bool,
    /// Keep moved pods off the nodes that are still to come, where others have room (a `PreferNoSchedule` taint).
    #[serde(default)]
    pub prefer_updated_nodes: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout_seconds: Defaults::timeout_seconds(),
            grace_period_seconds: None,
            unmanaged_pods: UnmanagedPods::default(),
            empty_dir_data: EmptyDirData::default(),
            pod_opt_outs: PodOptOuts::default(),
            rules: Vec::new(),
            on_timeout: OnTimeout::default(),
            delete_exempt: None,
            wait_for_volume_detach_seconds: Defaults::wait_for_volume_detach_seconds(),
            exclude_from_load_balancers_seconds: 0,
            daemon_sets_last: false,
            prefer_updated_nodes: false,
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

/// What happens to pods with emptyDir volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EmptyDirData {
    /// They are evicted, counted in the Event; the data is lost, as with any other end of the pod.
    #[default]
    Evict,
    /// They keep the node from being drained.
    Block,
    /// A word of a newer version; blocks.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Whether pods may opt out of being moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodOptOuts {
    /// A pod that opted out keeps the node from being drained, with its name.
    #[default]
    Respect,
    /// It is evicted like any other.
    Ignore,
    /// A word of a newer version; as `Respect`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What follows when a drain has taken too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnTimeout {
    /// The node is put back and the next one goes on.
    #[default]
    Defer,
    /// Inside a window, what is left is deleted past its budgets, with the grace that it has left and at least 1 s;
    /// what still stands `timeoutSeconds` later is put back.
    Delete,
    /// Inside a window, the node is rebooted with the pods that are left.
    Reboot,
    /// A word of a newer version; as `Defer`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What is done with the pods that a rule matches, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainRule {
    /// The pods; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// The namespaces of the pods; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// What is done with them.
    #[serde(default)]
    pub behavior: DrainBehavior,
    /// Pods of a lower order leave first; the next order waits until they are gone. Pods that no rule matches have 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub order: i32,
}

/// What is done with a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrainBehavior {
    /// It is evicted, whether managed or not.
    #[default]
    Evict,
    /// It stays and is not waited for.
    Skip,
    /// It is not evicted; the drain waits until it has completed.
    WaitCompleted,
    /// It keeps the node from being drained.
    Block,
    /// A word of a newer version; blocks.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Pods that are never deleted past their budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteExempt {
    /// The pods; absent or empty = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}
