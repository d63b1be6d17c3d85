//! The parts of a node that a drain uses.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lockkeeper_kube_util::single_line;
use serde::Deserialize;

/// The parts of a node that a drain uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Its UID: another node of the same name must not be drained.
    pub(crate) uid: String,
    /// Whether it is cordoned.
    pub(crate) cordoned: bool,
    /// Why it is not Ready; `None` if it is.
    pub(crate) not_ready: Option<String>,
    /// Volumes that are attached or in use, by their names in the node's status.
    pub(crate) volumes: BTreeSet<String>,
}

/// The parts of a Node that are decoded.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Node)]
pub(crate) struct SlimNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimSpec {
    unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    conditions: Option<Vec<SlimCondition>>,
    volumes_attached: Option<Vec<SlimVolume>>,
    volumes_in_use: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimVolume {
    name: String,
}

impl From<SlimNode> for NodeView {
    fn from(node: SlimNode) -> Self {
        let SlimStatus {
            conditions,
            volumes_attached,
            volumes_in_use,
        } = node.status;
        let attached = volumes_attached
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name);
        Self {
            uid: node.metadata.uid.unwrap_or_default(),
            cordoned: node.spec.unschedulable,
            not_ready: not_ready(&conditions.unwrap_or_default()),
            volumes: attached.chain(volumes_in_use.unwrap_or_default()).collect(),
        }
    }
}

fn not_ready(conditions: &[SlimCondition]) -> Option<String> {
    match conditions.iter().find(|condition| condition.kind == "Ready") {
        Some(ready) if ready.status == "True" => None,
        Some(ready) if ready.message.is_empty() => Some(format!("Ready is {}", ready.status)),
        Some(ready) => Some(single_line(&ready.message)),
        None => Some("its kubelet has not reported a Ready condition".to_owned()),
    }
}
