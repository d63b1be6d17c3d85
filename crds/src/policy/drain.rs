//! How a node is drained.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;
use crate::selector::LabelSelector;

/// How a node is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds that a drain may take before it times out; `onTimeout` sets what follows.
    #[serde(default = "Defaults::timeout_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: i32,
    /// If true, a drain that waits only for pods within their own grace period does not time out before that has ended,
    /// but at most 2 hours later than without.
    #[serde(default = "Defaults::wait_for_grace_period")]
    pub wait_for_grace_period: bool,
    /// Grace period of evicted pods in seconds, at least 1; defaults to the grace period of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub grace_period_seconds: Option<i32>,
    /// What happens to pods that no controller would create again.
    #[serde(default)]
    pub unmanaged_pods: UnmanagedPods,
    /// What happens to pods with emptyDir volumes, whose data is lost when they leave.
    #[serde(default)]
    pub empty_dir_data: EmptyDirData,
    /// Whether pods may opt out of eviction (`cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`,
    /// `karpenter.sh/do-not-disrupt: "true"` or, for that long since its start, `"4h"`).
    #[serde(default)]
    pub pod_opt_outs: PodOptOuts,
    /// Exceptions and their order. The first rule that matches a pod applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<DrainRule>,
    /// What follows when the drain times out.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Pods that `onTimeout: Delete` does not delete; they are still evicted within their disruption budgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_exempt: Option<DeleteExempt>,
    /// Seconds to wait for the volumes of the evicted pods to be detached.
    #[serde(default = "Defaults::wait_for_volume_detach_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub wait_for_volume_detach_seconds: i32,
    /// Seconds after the uncordon that the operation waits, and the node keeps its slot, until the workloads whose pods were
    /// evicted have their replicas ready again, if they had before. It ends as a success all the same when they are over.
    /// 0 does not wait.
    #[serde(default = "Defaults::wait_for_workloads_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub wait_for_workloads_seconds: i32,
    /// Seconds between excluding the node from load balancers and the first eviction.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub exclude_from_load_balancers_seconds: i32,
    /// If true, the pods of DaemonSets are evicted too, after all others. A taint keeps them off the node until it has
    /// rebooted.
    #[serde(default)]
    pub daemon_sets_last: bool,
    /// If true, evicted pods prefer nodes that have rebooted: a `PreferNoSchedule` taint is set on the nodes that still
    /// have to.
    #[serde(default)]
    pub prefer_updated_nodes: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout_seconds: Defaults::timeout_seconds(),
            wait_for_grace_period: Defaults::wait_for_grace_period(),
            grace_period_seconds: None,
            unmanaged_pods: UnmanagedPods::default(),
            empty_dir_data: EmptyDirData::default(),
            pod_opt_outs: PodOptOuts::default(),
            rules: Vec::new(),
            on_timeout: OnTimeout::default(),
            delete_exempt: None,
            wait_for_volume_detach_seconds: Defaults::wait_for_volume_detach_seconds(),
            wait_for_workloads_seconds: Defaults::wait_for_workloads_seconds(),
            exclude_from_load_balancers_seconds: 0,
            daemon_sets_last: false,
            prefer_updated_nodes: false,
        }
    }
}

/// What happens to pods that no controller would create again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnmanagedPods {
    /// They block the drain, because they would be lost.
    #[default]
    Block,
    /// They are evicted and lost.
    Evict,
    /// A value of a newer version; treated as `Block`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What happens to pods with emptyDir volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EmptyDirData {
    /// They are evicted and their data is lost. The Event of the drain counts them.
    #[default]
    Evict,
    /// They block the drain.
    Block,
    /// A value of a newer version; treated as `Block`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Whether pods may opt out of eviction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodOptOuts {
    /// A pod that opted out blocks the drain.
    #[default]
    Respect,
    /// It is evicted like any other pod.
    Ignore,
    /// A value of a newer version; treated as `Respect`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What follows when a drain times out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnTimeout {
    /// The node is deferred and the next one starts.
    #[default]
    Defer,
    /// Within a window, the remaining pods are deleted regardless of disruption budgets, with the rest of their grace
    /// period and at least 1 s. If pods remain after another `timeoutSeconds`, the node is deferred.
    Delete,
    /// Within a window, the node reboots with the remaining pods.
    Reboot,
    /// A value of a newer version; treated as `Defer`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How the pods that the rule matches are drained, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainRule {
    /// Selects the pods; defaults to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Selects their namespaces; defaults to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// What is done with them.
    #[serde(default)]
    pub behavior: DrainBehavior,
    /// Pods with a lower order leave first; those with the next order wait until they are gone. Pods that no rule
    /// matches have order 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub order: i32,
}

/// How a pod is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrainBehavior {
    /// It is evicted, with or without a controller.
    #[default]
    Evict,
    /// It stays, and the drain does not wait for it.
    Skip,
    /// It is not evicted; the drain waits until it has completed.
    WaitCompleted,
    /// It blocks the drain.
    Block,
    /// It is evicted. A disruption budget that never allows that does not keep the node from being cordoned: its controller
    /// may open it then.
    Try,
    /// A value of a newer version; treated as `Block`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Pods that are never deleted regardless of their disruption budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteExempt {
    /// Selects the pods; defaults to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}
