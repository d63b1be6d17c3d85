//! The mirror pod of a static pod of the control plane, as far as we look at it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use lockkeeper_kube_util::{Guarded, Rest};
use serde::Deserialize;
use serde_json::Value;

/// The label selector of the pods that may be static pods of the control plane: kubeadm, RKE2 and Talos set the label.
pub const SELECTOR: &str = "component in (etcd,kube-apiserver)";
/// The annotation of a mirror pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod that [`SELECTOR`] selects; it can stand for the real one in every `Api` and watch.
#[derive(Clone, Debug, Default, PartialEq, Resource, Deserialize)]
#[resource(inherit = "Pod")]
pub struct StaticPod {
    /// Its name and namespace, and whether it is a mirror pod.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
    /// Why the pod cannot be decoded, if it cannot be: then it counts as not ready.
    #[serde(skip)]
    pub undecodable: Option<String>,
}

/// Where a pod runs that cannot be decoded.
#[derive(Clone, Debug)]
pub struct PodRest {
    node_name: Option<String>,
}

impl Rest for PodRest {
    fn of(object: &Value) -> Self {
        let node_name = object.pointer("/spec/nodeName").and_then(Value::as_str);
        Self {
            node_name: node_name.map(str::to_owned),
        }
    }
}

impl From<Guarded<Self, PodRest>> for StaticPod {
    fn from(guarded: Guarded<Self, PodRest>) -> Self {
        guarded.0.unwrap_or_else(|undecodable| Self {
            metadata: undecodable.metadata,
            spec: Spec {
                node_name: undecodable.rest.node_name,
            },
            undecodable: Some(undecodable.cause),
            ..Self::default()
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl StaticPod {
    /// Drops what is never read.
    pub fn prune(&mut self) {
        self.metadata.managed_fields = None;
        self.metadata.labels = None;
        self.metadata.owner_references = None;
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|key, _| key == MIRROR);
        }
    }

    /// The node on which it runs; `None` if it is no mirror of a static pod.
    pub fn node(&self) -> Option<&str> {
        let is_mirror = self.annotations().contains_key(MIRROR);
        self.spec.node_name.as_deref().filter(|_| is_mirror)
    }

    /// Whether its Ready condition is `True`.
    pub fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|condition| condition.kind == "Ready" && condition.status == "True")
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace().unwrap_or_default(), self.name_any())
    }
}
