//! The volumes attached to the node, and the claims behind them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lockkeeper_kube_util::{Guarded, Rest};
use serde::Deserialize;
use serde_json::Value;

use crate::in_tree::{InTreeSource, StatusName};
use crate::pod::PodName;

/// What is known of the node's volumes.
#[derive(Debug, Default)]
pub(crate) struct VolumeState {
    /// The node's `VolumeAttachment`s by name, each with its volume, as the watch shows them; `None` before the first
    /// list.
    pub(crate) attached: Option<BTreeMap<String, String>>,
    /// The volumes bound to the claims of pods that stay, as far as they have been read.
    pub(crate) claims: BTreeMap<PodName, ClaimedVolume>,
    /// When the last pod left; `None` while a pod holds the node.
    pub(crate) last_pod_left_at: Option<DateTime<Utc>>,
}

/// The volume that is bound to a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimedVolume {
    /// The volume; `None` if the claim is not bound.
    pub(crate) volume: Option<String>,
    /// Its possible names in the node's status; none if it is not attached there, or by a driver that is not known.
    pub(crate) status_names: Vec<StatusName>,
}

/// The parts of a `PersistentVolume` that are decoded.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::PersistentVolume)]
pub(crate) struct SlimVolume {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimVolumeSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimVolumeSpec {
    csi: Option<SlimCsi>,
    #[serde(flatten)]
    in_tree: InTreeSource,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimCsi {
    driver: String,
    volume_handle: String,
}

impl SlimVolume {
    /// The volume's possible names in the status of a node.
    pub(crate) fn status_names(&self) -> Vec<StatusName> {
        let mut names = self.spec.in_tree.status_names();
        let csi = self.spec.csi.as_ref();
        names.extend(csi.map(|csi| StatusName::csi(&csi.driver, &csi.volume_handle)));
        names
    }
}

/// The parts of a `VolumeAttachment` that are decoded.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::storage::v1::VolumeAttachment)]
pub(crate) struct SlimAttachment {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    node_name: String,
    source: SlimSource,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSource {
    persistent_volume_name: Option<String>,
    /// A volume that a pod names without a claim, migrated to CSI.
    inline_volume_spec: Option<SlimVolumeSpec>,
}

/// Where an attachment is that cannot be decoded.
#[derive(Clone, Debug)]
pub(crate) struct AttachmentRest {
    node: Option<String>,
}

impl Rest for AttachmentRest {
    fn of(object: &Value) -> Self {
        let node = object.pointer("/spec/nodeName").and_then(Value::as_str);
        Self {
            node: node.map(str::to_owned),
        }
    }
}

/// As [`SlimAttachment::on_node`]. One that cannot be decoded is on this node unless it names another one.
pub(crate) fn on_node(attachment: Guarded<SlimAttachment, AttachmentRest>, node: &str) -> Option<(String, String)> {
    match attachment.0 {
        Ok(attachment) => attachment.on_node(node),
        Err(undecodable) => {
            let name = undecodable.metadata.name?;
            let here = undecodable.rest.node.is_none_or(|other| other == node);
            here.then(|| (name.clone(), name))
        }
    }
}

impl SlimAttachment {
    /// The attachment's name and its volume, if it is attached to this node. A volume without a name of its own has that
    /// in the status of the node.
    fn on_node(self, node: &str) -> Option<(String, String)> {
        let name = self.metadata.name?;
        let source = self.spec.source;
        let csi = source.inline_volume_spec.and_then(|spec| spec.csi);
        let inline = csi.map(|csi| format!("kubernetes.io/csi/{}^{}", csi.driver, csi.volume_handle));
        let volume = source.persistent_volume_name.or(inline);
        (self.spec.node_name == node).then(|| (name.clone(), volume.unwrap_or(name)))
    }
}
