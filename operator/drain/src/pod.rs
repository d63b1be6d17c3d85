//! The parts of a pod that a drain uses, and the slim type that they are decoded from.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A namespaced name, written `namespace/name`: of a pod, a budget, a claim or a `DaemonSet`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl PodName {
    /// Creates a name from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod's UID. Names are reused, UIDs are not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub String);

/// The parts of a pod that a drain uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: PodName,
    /// Its UID.
    pub uid: Uid,
    /// Its labels, by which budgets and rules select it.
    pub labels: BTreeMap<String, String>,
    /// What would recreate it.
    pub controller: Controller,
    /// Its phase.
    pub phase: Phase,
    /// Whether it is Ready.
    pub ready: bool,
    /// Its shutdown, if it is shutting down.
    pub shutdown: Option<Shutdown>,
    /// Finalizers that must be removed before it is gone.
    pub finalizers: Vec<String>,
    /// Its own grace period in seconds.
    pub grace: i64,
    /// Whether it has data in an `emptyDir`.
    pub empty_dir: bool,
    /// The annotation by which it opts out of eviction.
    pub opted_out: Option<&'static str>,
    /// The volume claims it uses.
    pub claims: Vec<String>,
    /// Whether the node or the cluster depends on it.
    pub criticality: Criticality,
    /// Whether it tolerates every taint, so that it would be scheduled to the node again at once.
    pub tolerates_all: bool,
}

/// What would recreate a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Nothing.
    None,
    /// The kubelet, from a file; the API object is a mirror.
    Kubelet,
    /// A `DaemonSet`, on the same node.
    DaemonSet,
    /// A `StatefulSet`, under the same name: never while the old pod may be running.
    StatefulSet,
    /// Another controller, on any node.
    Other,
}

/// Whether the node or the cluster depends on a pod, by its priority class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criticality {
    /// Neither does.
    No,
    /// The cluster does: `system-cluster-critical`.
    Cluster,
    /// Its node does: `system-node-critical`.
    Node,
}

/// The phase of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bound to the node and not running yet; budgets do not count it.
    Pending,
    /// Running, or in an unknown phase.
    Running,
    /// Succeeded or failed: nothing runs in it.
    Finished,
}

/// The shutdown of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// When the grace period ends.
    pub until: DateTime<Utc>,
    /// The grace period in seconds.
    pub grace: i64,
}

/// The parts of a pod that are decoded; the rest is not kept in memory.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub(crate) struct SlimPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    termination_grace_period_seconds: Option<i64>,
    priority_class_name: Option<String>,
    volumes: Option<Vec<SlimVolume>>,
    tolerations: Option<Vec<SlimToleration>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimVolume {
    name: String,
    empty_dir: Option<IgnoredAny>,
    persistent_volume_claim: Option<SlimClaim>,
    /// An ephemeral claim, named after pod and volume.
    ephemeral: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimClaim {
    claim_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimToleration {
    key: Option<String>,
    operator: Option<String>,
    effect: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimStatus {
    phase: Option<String>,
    conditions: Option<Vec<SlimCondition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// The annotation of the mirror of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The annotations of cluster-autoscaler and Karpenter by which pods opt out of eviction.
const OPT_OUTS: [(&str, &str); 2] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
];
/// The default grace period of Kubernetes.
const DEFAULT_GRACE: i64 = 30;

impl From<SlimPod> for PodView {
    fn from(pod: SlimPod) -> Self {
        let SlimPod {
            metadata: meta,
            spec,
            status,
        } = pod;
        let ready = |conditions: Vec<SlimCondition>| {
            conditions
                .iter()
                .any(|condition| condition.kind == "Ready" && condition.status == "True")
        };
        let name = PodName::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let volumes = spec.volumes.unwrap_or_default();
        Self {
            empty_dir: volumes.iter().any(|volume| volume.empty_dir.is_some()),
            opted_out: opted_out(&meta),
            claims: volumes.iter().filter_map(|volume| claim(&name.name, volume)).collect(),
            criticality: criticality(spec.priority_class_name.as_deref()),
            tolerates_all: spec.tolerations.iter().flatten().any(tolerates_all),
            grace: spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE),
            name,
            uid: Uid(meta.uid.clone().unwrap_or_default()),
            controller: controller_of(&meta).0,
            phase: phase(status.phase.as_deref()),
            ready: status.conditions.is_some_and(ready),
            shutdown: shutdown(&meta),
            labels: meta.labels.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
        }
    }
}

/// What would recreate a pod, with the controlling owner if there is one.
pub(crate) fn controller_of(meta: &ObjectMeta) -> (Controller, Option<&OwnerReference>) {
    if meta.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
        return (Controller::Kubelet, None);
    }
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true));
    let controller = match owner {
        None => Controller::None,
        Some(owner) if owner.api_version != "apps/v1" => Controller::Other,
        Some(owner) if owner.kind == "DaemonSet" => Controller::DaemonSet,
        Some(owner) if owner.kind == "StatefulSet" => Controller::StatefulSet,
        Some(_) => Controller::Other,
    };
    (controller, owner)
}

fn opted_out(meta: &ObjectMeta) -> Option<&'static str> {
    let annotations = meta.annotations.as_ref()?;
    let set = |(key, value): &&(&'static str, &str)| annotations.get(*key).is_some_and(|found| found == value);
    OPT_OUTS.iter().find(set).map(|(key, _)| *key)
}

fn claim(pod: &str, volume: &SlimVolume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{pod}-{}", volume.name)),
        (None, None) => None,
    }
}

fn criticality(class: Option<&str>) -> Criticality {
    match class {
        Some("system-node-critical") => Criticality::Node,
        Some("system-cluster-critical") => Criticality::Cluster,
        Some(_) | None => Criticality::No,
    }
}

fn tolerates_all(toleration: &SlimToleration) -> bool {
    let any_key = toleration.key.as_deref().unwrap_or_default().is_empty();
    let no_schedule = matches!(toleration.effect.as_deref(), None | Some("" | "NoSchedule"));
    any_key && no_schedule && toleration.operator.as_deref() == Some("Exists")
}

fn phase(phase: Option<&str>) -> Phase {
    match phase {
        Some("Succeeded" | "Failed") => Phase::Finished,
        Some("Pending") | None => Phase::Pending,
        Some(_) => Phase::Running,
    }
}

/// A timestamp outside chrono's range becomes the epoch: the pod is then shown as stuck, not ignored.
fn shutdown(meta: &ObjectMeta) -> Option<Shutdown> {
    let at = meta.deletion_timestamp.as_ref()?.0;
    let until = Utc
        .timestamp_opt(at.as_second(), at.subsec_nanosecond().unsigned_abs())
        .single()
        .unwrap_or_default();
    Some(Shutdown {
        until,
        grace: meta.deletion_grace_period_seconds.unwrap_or_default(),
    })
}
