//! `RebootLock`: the one object that says who is inside.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::limit::IntOrPercent;

/// The lock all nodes pass through; there is one, named `cluster`, and the operator makes it.
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
    doc = "Who is inside the reboot lock. One object, `cluster`; the operator makes and fills it, an admin may cap it.",
    status = "RebootLockStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name == 'cluster'").message("there is one lock, named cluster"),
    printcolumn(name = "Max", type_ = "string", json_path = ".spec.maxInProgress"),
    printcolumn(name = "Holders", type_ = "string", json_path = ".status.holders[*].node"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RebootLockSpec {
    /// How many nodes may be inside over all policies: a count, or a percentage of all Linux nodes.
    ///
    /// Absent: the largest limit of any policy, so that two policies at 1 are still one at a time. 0 starts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_progress: Option<IntOrPercent>,
}

/// Who is inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootLockStatus {
    /// One entry for each node that may be touched.
    #[serde(default)]
    #[schemars(length(max = 5000))]
    pub holders: Vec<Holder>,
}

/// A node that is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The Node's name.
    #[schemars(length(max = 253))]
    pub node: String,
    /// The Node's uid: a node made again under the same name is another one.
    #[serde(rename = "nodeUID")]
    #[schemars(length(max = 64))]
    pub node_uid: String,
    /// The policy under which it went in.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// The operation, also in the status of the node's record and in our mark on the Node.
    #[serde(rename = "operationID")]
    #[schemars(length(max = 64))]
    pub operation_id: String,
    /// When it went in.
    pub acquired_time: DateTime<Utc>,
}
