//! The parts of a pod that a drain uses, and the slim type that they are decoded from.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use lockkeeper_crds::names;
use lockkeeper_kube_util::{Guarded, Undecodable};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::in_tree::{InTreeSource, StatusName};
use crate::opt_out::OptOut;

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
    /// The controlling owner, as `kind[.group] namespace/name`.
    pub owner: Option<String>,
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
    /// How it opts out of eviction.
    pub opt_out: Option<OptOut>,
    /// Whether it names responders for its eviction.
    pub has_responders: bool,
    /// The volume claims it uses.
    pub claims: Vec<String>,
    /// Names in the node's status of volumes that it uses without a claim.
    pub(crate) inline_volumes: Vec<StatusName>,
    /// Whether the node or the cluster depends on it.
    pub criticality: Criticality,
    /// Whether it tolerates the cordon, so that it may be scheduled to the node again.
    pub tolerance: Tolerance,
    /// Why it cannot be decoded, if it cannot be: then only its metadata are known.
    pub undecodable: Option<String>,
}

/// Which taints of a cordoned node a pod tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tolerance {
    /// Not that of the cordon.
    None,
    /// That of the cordon.
    Cordon,
    /// Every taint.
    All,
}

/// What would recreate a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Nothing.
    None,
    /// The kubelet, from a file; the API object is a mirror.
    Kubelet,
    /// A `DaemonSet`, of any API group, on the same node.
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
    eviction_responders: Option<Vec<IgnoredAny>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimVolume {
    name: String,
    empty_dir: Option<IgnoredAny>,
    persistent_volume_claim: Option<SlimClaim>,
    /// An ephemeral claim, named after pod and volume.
    ephemeral: Option<IgnoredAny>,
    #[serde(flatten)]
    in_tree: InTreeSource,
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
    value: Option<String>,
    effect: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    phase: Option<String>,
    start_time: Option<DateTime<Utc>>,
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
        let (controller, owner) = controller_of(&meta);
        Self {
            controller,
            owner: owner.map(|owner| owner_name(owner, &name.namespace)),
            empty_dir: volumes.iter().any(|volume| volume.empty_dir.is_some()),
            opt_out: meta
                .annotations
                .as_ref()
                .and_then(|annotations| OptOut::read(annotations, status.start_time)),
            claims: volumes.iter().filter_map(|volume| claim(&name.name, volume)).collect(),
            inline_volumes: volumes
                .iter()
                .flat_map(|volume| volume.in_tree.status_names())
                .collect(),
            criticality: criticality(spec.priority_class_name.as_deref()),
            tolerance: tolerance(spec.tolerations.as_deref().unwrap_or_default()),
            has_responders: spec.eviction_responders.is_some_and(|all| !all.is_empty()),
            grace: spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE),
            name,
            uid: Uid(meta.uid.clone().unwrap_or_default()),
            phase: phase(status.phase.as_deref()),
            ready: status.conditions.is_some_and(ready),
            shutdown: shutdown(&meta),
            labels: meta.labels.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            undecodable: None,
        }
    }
}

impl From<Guarded<SlimPod>> for PodView {
    fn from(pod: Guarded<SlimPod>) -> Self {
        match pod.0 {
            Ok(pod) => pod.into(),
            Err(Undecodable { metadata, cause, .. }) => Self {
                undecodable: Some(cause),
                ..Self::from(SlimPod {
                    metadata,
                    spec: SlimSpec::default(),
                    status: SlimStatus::default(),
                })
            },
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
        // Other API groups have DaemonSets too, and all of them place a pod on each node.
        Some(owner) if owner.kind == "DaemonSet" => Controller::DaemonSet,
        Some(owner) if owner.api_version != "apps/v1" => Controller::Other,
        Some(owner) if owner.kind == "StatefulSet" => Controller::StatefulSet,
        Some(_) => Controller::Other,
    };
    (controller, owner)
}

/// The owner for messages and comparisons; the groups of Kubernetes' own workloads go without saying.
fn owner_name(owner: &OwnerReference, namespace: &str) -> String {
    let kind = &owner.kind;
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = match group {
        "" | "apps" | "batch" => kind.clone(),
        group => format!("{kind}.{group}"),
    };
    format!("{kind} {namespace}/{}", owner.name)
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

fn tolerance(tolerations: &[SlimToleration]) -> Tolerance {
    if tolerations.iter().any(tolerates_all) {
        Tolerance::All
    } else if tolerations.iter().any(tolerates_cordon) {
        Tolerance::Cordon
    } else {
        Tolerance::None
    }
}

fn tolerates_all(toleration: &SlimToleration) -> bool {
    let any_key = toleration.key.as_deref().unwrap_or_default().is_empty();
    let no_schedule = matches!(toleration.effect.as_deref(), None | Some("" | "NoSchedule"));
    any_key && no_schedule && toleration.operator.as_deref() == Some("Exists")
}

/// The taint of a cordoned node has no value.
fn tolerates_cordon(toleration: &SlimToleration) -> bool {
    let key = toleration.key.as_deref() == Some(names::TAINT_UNSCHEDULABLE);
    let no_schedule = matches!(toleration.effect.as_deref(), None | Some("" | "NoSchedule"));
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => toleration.value.as_deref().unwrap_or_default().is_empty(),
        Some(_) => false,
    };
    key && no_schedule && value
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
