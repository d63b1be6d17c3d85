//! A Node as far as we look at it: a tenth of the real one, so that thousands fit into a few MiB.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Node as CoreNode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use lockkeeper_crds::names;
use lockkeeper_kube_util::Guarded;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::handshake_annotation::answer_key;

/// A Node; it can stand for the real one in every `Api` and watch.
#[derive(Clone, Debug, Default, PartialEq, Resource, Deserialize)]
#[resource(inherit = "CoreNode")]
pub struct Node {
    /// Name, uid, resourceVersion, labels, and after [`Node::prune`] only the annotations that mean something to us.
    pub metadata: ObjectMeta,
    /// Its spec.
    #[serde(default)]
    pub spec: NodeSpec,
    /// What its kubelet says.
    #[serde(default)]
    pub status: NodeStatus,
    /// Why the Node cannot be decoded, if it cannot be: then only its metadata are known.
    #[serde(skip)]
    pub undecodable: Option<String>,
}

impl From<Guarded<Self>> for Node {
    fn from(guarded: Guarded<Self>) -> Self {
        guarded.0.unwrap_or_else(|undecodable| Self {
            metadata: undecodable.metadata,
            undecodable: Some(undecodable.cause),
            ..Self::default()
        })
    }
}

/// The fields of the spec of a Node that the operator reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NodeSpec {
    /// Cordoned, by whomever.
    #[serde(default)]
    pub unschedulable: bool,
    /// Its taints.
    #[serde(default)]
    pub taints: Vec<Taint>,
}

/// A taint, whole: taints can be written only all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// The taint's key.
    pub key: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// Its value and whatever else it has.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What the kubelet says, with the Ready condition picked out of all conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "WireStatus")]
pub struct NodeStatus {
    /// The Ready condition; absent until the kubelet has reported once.
    pub ready: Option<NodeCondition>,
    /// The condition `MaintenancePlanned`, without its heartbeat.
    pub maintenance_planned: Option<Box<NodeCondition>>,
    /// The boot and what runs in it.
    pub node_info: NodeInfo,
    /// Whether a volume is attached to it or in use.
    pub has_volumes: bool,
}

/// A condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCondition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word, such as `KubeletNotReady`.
    #[serde(default)]
    pub reason: String,
    /// The cause in words.
    #[serde(default)]
    pub message: String,
    /// When the kubelet last said so.
    #[serde(default)]
    pub last_heartbeat_time: Option<DateTime<Utc>>,
    /// When the status last changed.
    #[serde(default)]
    pub last_transition_time: Option<DateTime<Utc>>,
}

/// The boot of a node and what runs in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// Changes with each boot, and proves it.
    #[serde(default, rename = "bootID")]
    pub boot_id: String,
    /// Such as `6.1.0-28-amd64`.
    #[serde(default)]
    pub kernel_version: String,
    /// `linux` or `windows`.
    #[serde(default)]
    pub operating_system: String,
}

impl Node {
    /// Drops what the API server sent along and we never read; managed fields alone outweigh all the rest.
    pub fn prune(&mut self) {
        self.metadata.managed_fields = None;
        self.metadata.generate_name = None;
        self.metadata.finalizers = None;
        if let Some(annotations) = &mut self.metadata.annotations {
            let answer = answer_key(annotations);
            annotations.retain(|key, _| is_ours(key) || Some(key) == answer.as_ref());
        }
        // A Node whose first annotation is another's has not changed.
        self.metadata.annotations = self
            .metadata
            .annotations
            .take()
            .filter(|annotations| !annotations.is_empty());
    }

    /// Whether the two differ in nothing that is planned with, such as a heartbeat, and we do not hold the node.
    ///
    /// A kubelet says every few minutes that nothing has changed; that is no reason to plan again, unless we wait for
    /// the first sign of life after a reboot.
    pub fn is_only_alive(&self, newer: &Self) -> bool {
        let held = |node: &Self| annotation(node, names::OPERATION).is_some();
        if held(self) || held(newer) {
            return false;
        }
        let mut older = self.clone();
        older
            .metadata
            .resource_version
            .clone_from(&newer.metadata.resource_version);
        // Read when a drain begins.
        older.status.has_volumes = newer.status.has_volumes;
        if let (Some(ready), Some(new)) = (&mut older.status.ready, &newer.status.ready) {
            ready.last_heartbeat_time = new.last_heartbeat_time;
        }
        older == *newer
    }
}

/// The value of an annotation of a Node.
pub fn annotation<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| prefix == names::GROUP)
        || key == names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED
        || key == names::KARPENTER_DO_NOT_DISRUPT
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireStatus {
    #[serde(default)]
    conditions: Vec<WireCondition>,
    #[serde(default)]
    node_info: NodeInfo,
    #[serde(default)]
    volumes_attached: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    volumes_in_use: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: String,
    #[serde(flatten)]
    condition: NodeCondition,
}

impl From<WireStatus> for NodeStatus {
    fn from(wire: WireStatus) -> Self {
        let (mut ready, mut maintenance_planned) = (None, None);
        for WireCondition { type_, condition } in wire.conditions {
            if type_ == "Ready" {
                ready = Some(condition);
            } else if type_ == names::MAINTENANCE_PLANNED {
                maintenance_planned = Some(Box::new(NodeCondition {
                    last_heartbeat_time: None,
                    ..condition
                }));
            }
        }
        Self {
            ready,
            maintenance_planned,
            node_info: wire.node_info,
            has_volumes: [wire.volumes_attached, wire.volumes_in_use]
                .into_iter()
                .flatten()
                .any(|volumes| !volumes.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(resource_version: &str, heartbeat: &str) -> Node {
        let value = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "w-01", "uid": "u-1", "resourceVersion": resource_version,
                "labels": {"kubernetes.io/os": "linux"},
                "annotations": {
                    "node.alpha.kubernetes.io/ttl": "0",
                    "lockkeeper.dev/hold": "disk",
                    "karpenter.sh/do-not-disrupt": "true",
                },
                "managedFields": [{"manager": "kubelet", "operation": "Update"}],
            },
            "spec": {"podCIDR": "10.0.0.0/24", "unschedulable": true, "taints": [{"key": "k", "effect": "NoSchedule", "value": "v"}]},
            "status": {
                "images": [{"names": ["a"], "sizeBytes": 1}],
                "conditions": [
                    {"type": "DiskPressure", "status": "False"},
                    {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok",
                     "lastHeartbeatTime": heartbeat, "lastTransitionTime": "2026-11-01T00:00:00Z"},
                ],
                "nodeInfo": {"bootID": "b-1", "kernelVersion": "6.1", "operatingSystem": "linux", "machineID": "m"},
            },
        });
        let mut node: Node = serde_json::from_value(value).unwrap();
        node.prune();
        node
    }

    #[test]
    fn a_node_keeps_what_a_plan_depends_on_and_no_more() {
        let node = node("7", "2026-11-21T10:00:00Z");
        let annotations: Vec<_> = node.metadata.annotations.as_ref().unwrap().keys().collect();
        assert_eq!(annotations, ["karpenter.sh/do-not-disrupt", "lockkeeper.dev/hold"]);
        assert_eq!(node.metadata.managed_fields, None);
        assert!(node.spec.unschedulable);
        assert_eq!(
            serde_json::to_value(&node.spec.taints).unwrap(),
            json!([{"key": "k", "effect": "NoSchedule", "value": "v"}])
        );
        let ready = node.status.ready.unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "KubeletReady"));
        assert_eq!(
            ready.last_heartbeat_time.unwrap().to_rfc3339(),
            "2026-11-21T10:00:00+00:00"
        );
        assert_eq!(node.status.node_info.boot_id, "b-1");
    }

    #[test]
    fn a_node_that_has_not_reported_yet_has_no_ready_condition() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "new"}})).unwrap();
        assert_eq!(node.status, NodeStatus::default());
    }

    #[test]
    fn a_heartbeat_alone_is_no_change_unless_we_hold_the_node() {
        let older = node("7", "2026-11-21T10:00:00Z");
        let mut newer = node("8", "2026-11-21T10:05:00Z");
        assert!(older.is_only_alive(&newer));
        newer.status.has_volumes = true;
        assert!(older.is_only_alive(&newer), "it is read when a drain begins");
        newer.status.node_info.boot_id = "b-2".into();
        assert!(!older.is_only_alive(&newer));

        let mut held = node("9", "2026-11-21T10:10:00Z");
        let operation = (names::OPERATION.to_owned(), "op".to_owned());
        held.metadata.annotations.get_or_insert_default().extend([operation]);
        let mut beats = held.clone();
        beats.metadata.resource_version = Some("10".into());
        assert!(!held.is_only_alive(&beats));
    }
}
