//! What one drain has to know: the node, and what the policy says about its pods.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::core::Selector;

use crate::rule::Rule;

/// One drain: its node, and the policy's choices as they were when the operation began.
///
/// Made by [`Settings::new`] with the defaults of a policy; the fields are set from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The node to empty.
    pub node: String,
    /// What happens to pods that nothing would create again.
    pub unmanaged: Unmanaged,
    /// What happens to pods that keep data in an `emptyDir`, which goes with them.
    pub empty_dir: EmptyDir,
    /// Whether a pod's own wish not to be moved counts.
    pub pod_opt_outs: PodOptOuts,
    /// What the policy says about some pods; the first rule that matches a pod counts.
    pub rules: Vec<Rule>,
    /// Whether pods of `DaemonSet`s leave too, after all others; the caller keeps them from coming back with a taint.
    pub daemon_sets_last: bool,
    /// Overrides each pod's own grace period; values below 1 count as 1.
    pub grace_period_seconds: Option<i64>,
    /// The pods of Lockkeeper itself, which stay.
    pub own_pods: OwnPods,
    /// When the node was cordoned: a drain that begins soon after has seen every pod that has to leave.
    ///
    /// How long the cordon stands before the end counts from when the drain saw it, as this may be another machine's time.
    pub cordoned_at: DateTime<Utc>,
    /// No pod is asked to leave before this: load balancers need their time. None = at once.
    pub evict_from: Option<DateTime<Utc>>,
    /// How long the volumes of pods that left are waited for once all have; zero = not at all.
    ///
    /// When it is over, the drain is done and says which are still attached.
    pub wait_for_volume_detach: Duration,
    /// How hard pods are pressed.
    pub stage: Stage,
}

impl Settings {
    /// A drain of `node`, cordoned at `cordoned_at`, with the defaults of a policy.
    pub fn new(node: impl Into<String>, own_pods: OwnPods, cordoned_at: DateTime<Utc>) -> Self {
        Self {
            node: node.into(),
            unmanaged: Unmanaged::default(),
            empty_dir: EmptyDir::default(),
            pod_opt_outs: PodOptOuts::default(),
            rules: Vec::new(),
            daemon_sets_last: false,
            grace_period_seconds: None,
            own_pods,
            cordoned_at,
            evict_from: None,
            wait_for_volume_detach: Duration::from_mins(5),
            stage: Stage::Evict,
        }
    }
}

/// What happens to pods without a controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmanaged {
    /// They block the drain, with their name.
    #[default]
    Block,
    /// They are evicted, and are gone for good.
    Evict,
}

/// What happens to pods that keep data in an `emptyDir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyDir {
    /// They are evicted, and counted; the data is gone.
    #[default]
    Evict,
    /// They block the drain, with their name.
    Block,
}

/// Whether `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"` and `karpenter.sh/do-not-disrupt: "true"` count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodOptOuts {
    /// A pod with one of them blocks the drain, with its name.
    #[default]
    Respect,
    /// They mean nothing.
    Ignore,
}

/// How hard pods are pressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// They are evicted, within their budgets.
    #[default]
    Evict,
    /// They are deleted, past their budgets.
    Delete(Deletion),
}

/// Deleting past budgets and webhooks for evictions, and no longer waiting for pods to complete.
///
/// What a rule, the policy or the pod itself bars stays barred, and pods of a `StatefulSet` are evicted still while the
/// node is not Ready: it may be alive, and the set would run the same pod twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When the stage began.
    pub since: DateTime<Utc>,
    /// When pods have to be gone: a longer grace is cut to what is left until then, at least 1 s. None = their own.
    pub until: Option<DateTime<Utc>>,
    /// Pods that are evicted still; none = no pod.
    pub exempt: Option<Selector>,
}

/// Which pods are Lockkeeper's own: those with the label in the namespace.
///
/// A drain that evicted its own operator or agent would stop half-way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPods {
    /// The namespace Lockkeeper runs in.
    pub namespace: String,
    /// The label's key.
    pub label: String,
    /// The label's value.
    pub value: String,
}

impl OwnPods {
    /// The pods that our manifests install into `namespace`.
    pub fn in_namespace(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            label: "app.kubernetes.io/part-of".to_owned(),
            value: "lockkeeper".to_owned(),
        }
    }
}
