//! The volumes attached to the node, and the claims behind them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

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
    /// Its name in the node's status; `None` if it is not attached through CSI.
    pub(crate) handle: Option<String>,
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
}

impl SlimAttachment {
    /// The attachment's name and its volume, if it is attached to this node.
    pub(crate) fn on_node(self, node: &str) -> Option<(String, String)> {
        let name = self.metadata.name?;
        let volume = self.spec.source.persistent_volume_name;
        (self.spec.node_name == node).then(|| (name.clone(), volume.unwrap_or(name)))
    }
}
