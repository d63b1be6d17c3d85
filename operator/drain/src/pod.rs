//! A pod as the drain sees it, and the slim type it is decoded from.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A namespaced name, written `namespace/name`: of a pod or of a budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl PodName {
    /// Puts the two together.
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

/// A pod's uid: a name can come back, a uid cannot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub String);

/// What a drain has to know about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: PodName,
    /// Its identity.
    pub uid: Uid,
    /// Its labels, which budgets select by.
    pub labels: BTreeMap<String, String>,
    /// Who would create it again.
    pub controller: Controller,
    /// How far it is.
    pub phase: Phase,
    /// Whether it has the Ready condition.
    pub ready: bool,
    /// Its shutdown, once it has begun.
    pub shutdown: Option<Shutdown>,
    /// What else must agree before it goes.
    pub finalizers: Vec<String>,
    /// Its own grace in seconds; zero would remove it without the kubelet having stopped it.
    pub grace: i64,
    /// Whether it keeps data in an `emptyDir`.
    pub empty_dir: bool,
    /// The annotation by which it asks not to be moved.
    pub opted_out: Option<&'static str>,
    /// The volume claims it uses.
    pub claims: Vec<String>,
    /// How much the cluster depends on it.
    pub critical: Critical,
    /// Whether no taint keeps it from being scheduled, so that it would come back at once.
    pub tolerates_all: bool,
}

/// Who would create a pod again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Nobody.
    None,
    /// The kubelet, from a file; the API object is only a mirror.
    Kubelet,
    /// A `DaemonSet`, on the same node.
    DaemonSet,
    /// A `StatefulSet`, under the same name: never while the old one may be alive.
    StatefulSet,
    /// Something else, on another node.
    Other,
}

/// How much the cluster depends on a pod, by its priority class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Critical {
    /// No more than on any other.
    No,
    /// The cluster: `system-cluster-critical`.
    Cluster,
    /// Its node: `system-node-critical`.
    Node,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bound to the node, not running yet; budgets do not count it.
    Pending,
    /// Running, or in a phase that we do not know: it holds the node.
    Running,
    /// Over, well or badly: it holds nothing.
    Finished,
}

/// A shutdown that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// When the grace is over.
    pub until: DateTime<Utc>,
    /// The grace in seconds.
    pub grace: i64,
}

/// The parts of a Pod that are decoded; the rest never reaches memory.
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
    /// A claim of its own, named after pod and volume.
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

/// The kubelet's mark on the mirror of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// How pods ask not to be moved, by the words of cluster-autoscaler and Karpenter.
const OPT_OUTS: [(&str, &str); 2] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
];
/// What Kubernetes gives a pod that does not say how long it needs.
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
            critical: critical(spec.priority_class_name.as_deref()),
            tolerates_all: spec.tolerations.iter().flatten().any(tolerates_all),
            grace: spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE),
            name,
            uid: Uid(meta.uid.clone().unwrap_or_default()),
            controller: controlled(&meta).0,
            phase: phase(status.phase.as_deref()),
            ready: status.conditions.is_some_and(ready),
            shutdown: shutdown(&meta),
            labels: meta.labels.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
        }
    }
}

/// Who would create a pod again, with its owner if it has one.
pub(crate) fn controlled(meta: &ObjectMeta) -> (Controller, Option<&OwnerReference>) {
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

fn critical(class: Option<&str>) -> Critical {
    match class {
        Some("system-node-critical") => Critical::Node,
        Some("system-cluster-critical") => Critical::Cluster,
        Some(_) | None => Critical::No,
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

/// A timestamp that chrono cannot hold becomes the epoch, which is long over: the pod is shown as stuck, never forgotten.
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
