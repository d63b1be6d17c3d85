//! `RebootLock`: the only object of this kind lists the nodes in progress.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::limit::IntOrPercent;

/// The cluster-wide limit. There is one lock, named `cluster`, and the operator creates it.
///
/// The operator writes `status` by compare-and-swap only: a PUT with uid and resourceVersion.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "RebootLock",
    plural = "rebootlocks",
    shortname = "rlock",
    category = "lockkeeper",
    doc = "Lists the nodes in progress over all policies. The operator creates and updates the only object, `cluster`; an administrator may limit it.",
    status = "RebootLockStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name == 'cluster'").message("there is one lock, named cluster"),
    printcolumn(name = "Max", type_ = "string", json_path = ".spec.maxInProgress"),
    printcolumn(name = "Holders", type_ = "string", json_path = ".status.holders[*].node"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RebootLockSpec {
    /// Nodes that may be in progress at the same time over all policies: a count, or a percentage of all Linux nodes.
    ///
    /// Defaults to the largest limit of any policy, so two policies with a limit of 1 still reboot one node at a time.
    /// With 0 no node starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_progress: Option<IntOrPercent>,
}

/// The nodes in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootLockStatus {
    /// One entry for each node that has a slot.
    #[serde(default)]
    #[schemars(length(max = 5000))]
    pub holders: Vec<Holder>,
}

/// A node that has a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The Node's name.
    #[schemars(length(max = 253))]
    pub node: String,
    /// The Node's UID: a Node created again under the same name is another Node.
    #[serde(rename = "nodeUID")]
    #[schemars(length(max = 64))]
    pub node_uid: String,
    /// The policy under which it was admitted.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// The operation ID, as in the status of the NodeReboot and in the annotation on the Node.
    #[serde(rename = "operationID")]
    #[schemars(length(max = 64))]
    pub operation_id: String,
    /// When it was admitted.
    pub acquired_time: DateTime<Utc>,
    /// Its reboot, written right before the order. From then on the slot stays with the node's name, also if its Node is
    /// deleted, until the node is back and the operation ends, or a person releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<OrderedReboot>,
}

/// The reboot that is ordered for the holder of a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderedReboot {
    /// When it was ordered.
    pub ordered_time: DateTime<Utc>,
    /// The boot ID before it.
    #[serde(rename = "bootIDBefore")]
    #[schemars(length(max = 64))]
    pub boot_id_before: String,
    /// Present if a soft-reboot is enough: the number of soft-reboots of that boot before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub soft_reboots_before: Option<i32>,
    /// When it times out. If the Node does not exist then, the node counts as failed.
    pub deadline_time: DateTime<Utc>,
}
