//! The settings of one drain: the node, and the policy's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::core::Selector;
use lockkeeper_crds::names;
use lockkeeper_kube_util::{Clock, label_value};

use crate::rule::Rule;

/// The settings of one drain: its node, and the policy's choices when the operation started.
///
/// [`Settings::new`] has the defaults of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The node to drain.
    pub node: String,
    /// What happens to pods that no controller would recreate.
    pub unmanaged: Unmanaged,
    /// What happens to pods with data in an `emptyDir`, which their eviction deletes.
    pub empty_dir: EmptyDir,
    /// Whether pods can opt out of eviction.
    pub pod_opt_outs: PodOptOuts,
    /// The policy's rules; the first that matches a pod applies.
    pub rules: Vec<Rule>,
    /// Whether `DaemonSet` pods are evicted too, after all others. The caller taints the node so that they do not
    /// return.
    pub daemon_sets_last: bool,
    /// Overrides the grace period of each pod; values below 1 count as 1.
    pub grace_period_seconds: Option<i64>,
    /// Lockkeeper's own pods, which stay.
    pub own_pods: OwnPods,
    /// Owners whose pods stay, as they return to the node; the drain adds those that it finds.
    pub returning: BTreeSet<String>,
    /// Whether pods with responders are left to these (`spec.evictionResponders`, an alpha API of Kubernetes 1.37).
    pub eviction_requests: bool,
    /// When the node was cordoned: a drain that starts soon afterwards has seen every pod that has to leave.
    ///
    /// The minimum age of the cordon at the end counts from when the drain saw it, as this time may be of another
    /// clock.
    pub cordoned_at: DateTime<Utc>,
    /// No pod is evicted before this, so that load balancers stop sending traffic; `None` means at once.
    pub evict_from: Option<DateTime<Utc>>,
    /// How long the drain waits for the volumes of evicted pods once all pods have left; zero means not at all.
    ///
    /// After that the drain is complete and names the volumes that are still attached.
    pub wait_for_volume_detach: Duration,
    /// The stage of the drain.
    pub stage: Stage,
    /// What the times of pods and of the policy are compared with.
    pub clock: Clock,
}

impl Settings {
    /// The settings for `node`, cordoned at `cordoned_at`, with the defaults of a policy.
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
            returning: BTreeSet::new(),
            eviction_requests: false,
            cordoned_at,
            evict_from: None,
            wait_for_volume_detach: Duration::from_mins(5),
            stage: Stage::Evict,
            clock: Clock::machine(),
        }
    }
}

/// What happens to pods without a controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmanaged {
    /// They block the drain, by name.
    #[default]
    Block,
    /// They are evicted, and not recreated.
    Evict,
}

/// What happens to pods with data in an `emptyDir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyDir {
    /// They are evicted and counted; the data is lost.
    #[default]
    Evict,
    /// They block the drain, by name.
    Block,
}

/// Whether pods with `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`, `karpenter.sh/do-not-disrupt: "true"` or
/// such a duration since their start are evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodOptOuts {
    /// A pod with one of these annotations blocks the drain, by name.
    #[default]
    Respect,
    /// The annotations are ignored.
    Ignore,
}

/// The stage of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Pods are evicted, within their budgets.
    #[default]
    Evict,
    /// Pods are deleted, regardless of their budgets.
    Delete(Deletion),
}

/// Deletes pods regardless of budgets and of webhooks for evictions, and does not wait for pods to complete.
///
/// Pods that a rule, the policy or the pod itself protects are not deleted. Pods of a `StatefulSet` are still evicted
/// while the node is not Ready: the node may be alive, and the set would run the same pod twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When the stage started.
    pub since: DateTime<Utc>,
    /// When the stage ends: a longer grace period is cut to the rest, at least 1 s. `None` keeps the grace periods.
    pub until: Option<DateTime<Utc>>,
    /// Pods that are still evicted; `None` means no pod.
    pub exempt: Option<Selector>,
}

/// Lockkeeper's own pods: those with its label in this namespace. In other namespaces anyone may set that label.
///
/// A drain that evicted the operator or the agent would not finish, and one that evicted the pod of a Job that runs for the
/// node would end what the Job does there. A Job that runs for another node is not the drain's own: it may be started
/// elsewhere, but would not survive the reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPods {
    /// The namespace of Lockkeeper.
    namespace: String,
}

impl OwnPods {
    /// The pods that Lockkeeper installs and runs in `namespace`.
    pub fn in_namespace(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
        }
    }

    /// Whether a pod with these labels stays on `node`.
    pub(crate) fn contain(&self, namespace: &str, labels: &BTreeMap<String, String>, node: &str) -> bool {
        let is = |label: &str, value: &str| labels.get(label).is_some_and(|set| set == value);
        let is_for_another_node =
            || is(names::COMPONENT_LABEL, names::JOB_COMPONENT) && !is(names::JOB_NODE, &label_value(node));
        namespace == self.namespace && is(names::PART_OF_LABEL, names::PART_OF) && !is_for_another_node()
    }
}
