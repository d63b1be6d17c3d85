//! A pod as the drain sees it, and the slim type it is decoded from.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

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
    /// Whether the kubelet runs it from a file; the API object is only a mirror.
    pub mirror: bool,
    /// How far it is.
    pub phase: Phase,
    /// Whether it has the Ready condition.
    pub ready: bool,
    /// Its shutdown, once it has begun.
    pub shutdown: Option<Shutdown>,
    /// What else must agree before it goes.
    pub finalizers: Vec<String>,
    /// Whether its own grace is zero, which would remove it without the kubelet having stopped it.
    pub no_grace: bool,
}

/// Who would create a pod again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Nobody.
    None,
    /// A `DaemonSet`, on the same node.
    DaemonSet,
    /// Something else, on another node.
    Other,
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
        Self {
            name: PodName::new(
                meta.namespace.clone().unwrap_or_default(),
                meta.name.clone().unwrap_or_default(),
            ),
            uid: Uid(meta.uid.clone().unwrap_or_default()),
            controller: controller(&meta),
            mirror: meta.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)),
            phase: phase(status.phase.as_deref()),
            ready: status.conditions.is_some_and(ready),
            shutdown: shutdown(&meta),
            no_grace: spec.termination_grace_period_seconds == Some(0),
            labels: meta.labels.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
        }
    }
}

fn controller(meta: &ObjectMeta) -> Controller {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        None => Controller::None,
        Some(owner) if owner.kind == "DaemonSet" && owner.api_version == "apps/v1" => Controller::DaemonSet,
        Some(_) => Controller::Other,
    }
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
