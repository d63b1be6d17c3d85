//! The operation record: what must survive a crash while a node is inside the lock.
//!
//! What can be seen again (cordoned, drained, booted, ready) is read from Node and Pods in each pass and is not here.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::Cause;
use crate::policy::{Defaults, Drain, Reboot};

/// One node's way through the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The same id as in the lock, in the order and in our mark on the Node.
    #[schemars(length(max = 64))]
    pub id: String,
    /// How often a person's `retry` gave the order anew; the order's id is `<id>-<attempt>`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempt: i32,
    /// How far it is.
    pub phase: Phase,
    /// The policy under which it went in.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// The boot to leave; another one proves the reboot.
    #[serde(rename = "bootIDBefore")]
    #[schemars(length(max = 64))]
    pub boot_id_before: String,
    /// The kernel before the reboot, for the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub kernel_before: String,
    /// Why the node is rebooted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 33))]
    pub reasons: Vec<Cause>,
    /// The value of the reboot-requested annotation that this operation answers; that value alone is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub requested: Option<String>,
    /// The value of the approved annotation that it went in with; that value alone is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub approved: Option<String>,
    /// When the reboot became required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_time: Option<DateTime<Utc>>,
    /// When it went in.
    pub started_time: DateTime<Utc>,
    /// When the agent was asked, last; the answer's time limit runs from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_time: Option<DateTime<Utc>>,
    /// When our marks were seen on the Node; the drain's time limit runs from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned_time: Option<DateTime<Utc>>,
    /// What followed the drain's time-out, written before it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<DrainStage>,
    /// When the reboot was ordered; the reboot's time limit runs from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_ordered_time: Option<DateTime<Utc>>,
    /// When the new boot id was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebooted_time: Option<DateTime<Utc>>,
    /// Pods evicted for it.
    #[serde(default)]
    pub pods_moved: i32,
    /// The DaemonSets that were ready on the node at the cordon: they must be again before it is given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub daemon_sets: Vec<CountedDaemonSet>,
    /// The policy's settings as they were; the operation finishes with those.
    pub settings: OperationSettings,
    /// What went wrong, once it is Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How it ends, written before the first step of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_outcome: Option<PendingOutcome>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The agent is asked whether it is alive and able.
    Preparing,
    /// Our marks are on the Node; its pods are being moved.
    Draining,
    /// The reboot is ordered: the point of no return.
    Rebooting,
    /// A new boot was seen.
    Verifying,
    /// Something that a person must look at; the slot is kept.
    Failed,
    /// A word of a newer version; nothing is done with it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// One of the DaemonSets that had a ready pod on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedDaemonSet {
    /// `namespace/name`.
    #[schemars(length(max = 317))]
    pub name: String,
    /// Since when its pod was ready: the same time after the reboot is a word from before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<DateTime<Utc>>,
}

/// What followed a drain's time-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStage {
    /// What.
    pub kind: StageKind,
    /// Since when.
    pub started_time: DateTime<Utc>,
}

/// What may follow a drain's time-out, if `drain.onTimeout` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StageKind {
    /// What is left is deleted past its budgets.
    Delete,
    /// The node is rebooted with the pods that are left.
    Reboot,
    /// A word of a newer version; it is none.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The policy's settings that an operation finishes with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSettings {
    /// How its node is emptied.
    #[serde(default)]
    pub drain: Drain,
    /// How its node is rebooted.
    #[serde(default)]
    pub reboot: Reboot,
    /// Seconds the agent may take to answer.
    #[serde(default = "Defaults::require_agent_seconds")]
    pub require_agent_seconds: i32,
}

impl Default for OperationSettings {
    fn default() -> Self {
        Self {
            drain: Drain::default(),
            reboot: Reboot::default(),
            require_agent_seconds: Defaults::require_agent_seconds(),
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When.
    pub time: DateTime<Utc>,
    /// What did not happen, within what time, and where to look.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingOutcome {
    /// Which way it ends.
    pub outcome: Outcome,
    /// When that was decided.
    pub time: DateTime<Utc>,
    /// A waiting reason's name, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub cause: String,
    /// The cause in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Which way an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Rebooted, proven and verified.
    Succeeded,
    /// It could not go on; tried again after a back-off.
    Deferred,
    /// It may not go on now (window, hold, suspension); no back-off.
    Withdrawn,
    /// A person held the node; it stays cordoned.
    Held,
    /// A person released it; not again for the same cause.
    Released,
    /// A word of a newer version; treated as `Deferred`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
