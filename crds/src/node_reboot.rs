//! `NodeReboot`: one for each Node, with the same name and owned by it.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::host::{Cause, HostReport};
use crate::operation::{Operation, Outcome};
use crate::policy::{Overridden, RebootMethod};

/// The policy of a node and the order to its agent.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "NodeReboot",
    plural = "nodereboots",
    shortname = "nrb",
    category = "lockkeeper",
    doc = "The reboot state of one Node. The operator creates one for each Linux Node.",
    status = "NodeRebootStatus",
    derive = "PartialEq",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Required",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="RebootRequired")].status"#
    ),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waiting.reason"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.waiting.sinceTime"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy"),
    printcolumn(name = "Kernel", type_ = "string", json_path = ".status.host.kernel", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.waiting.message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NodeRebootSpec {
    /// The policy that selects this node; absent if none or more than one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub policy: Option<String>,
    /// The order to the agent. Removing it withdraws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// An order to the agent, for exactly one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The ID of the order.
    #[schemars(length(max = 64))]
    pub id: String,
    /// What the agent is to do.
    pub action: OrderAction,
    /// The boot ID that the order is for; an agent in another boot ignores it.
    #[serde(rename = "bootID")]
    #[schemars(length(max = 64))]
    pub boot_id: String,
    /// How to reboot.
    #[serde(default)]
    pub method: RebootMethod,
    /// The number of soft-reboots that an order of method `SoftReboot` is for; an agent ignores it once there were more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub soft_reboots: Option<i32>,
    /// After this time an agent does not begin to execute the order, so that one that was suspended does no harm. Absent in an
    /// order of an older operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_time: Option<DateTime<Utc>>,
}

/// What an agent is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderAction {
    /// Report whether the host could reboot now, without changing anything.
    Prepare,
    /// Reboot the host.
    Reboot,
    /// A value of a newer version; an agent refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The state of a node. The operator writes all fields except `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRebootStatus {
    /// The host report, written only by the agent of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
    /// Summary for `kubectl get`, derived from the other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// Why the node waits, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingStatus>,
    /// The operation in progress, as far as it must survive a crash of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Box<Operation>>,
    /// How often the node was deferred since its last success, and when the next attempt may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Deferred>,
    /// Set when a person released the node: it does not reboot again for the same reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    /// The last reboot by Lockkeeper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reboot: Option<Box<HistoryEntry>>,
    /// The last ten operations that ended, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryEntry>,
    /// The taint of a program that is about to delete the node. A node that is still Ready 30 minutes after it got the taint
    /// no longer counts as unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_taint: Option<DeletionTaint>,
    /// The last command of a person and its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_command: Option<LastCommand>,
    /// `RebootRequired`, `Cordoned`, `Drained`, `Rebooted`, `Healthy`, `RebootCapable`, `AgentConfined`, `HoldInvalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The taint of a program that is about to delete the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionTaint {
    /// The taint's key.
    #[schemars(length(max = 317))]
    pub key: String,
    /// When the operator first observed it.
    pub first_seen_time: DateTime<Utc>,
}

/// Summary of the state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// No reboot is required.
    UpToDate,
    /// A reboot is required, or the node waits for something else before it is up to date.
    Pending,
    /// The node has a slot; its agent is asked whether it is ready.
    Preparing,
    /// The node is cordoned; its pods are evicted.
    Draining,
    /// The reboot is ordered.
    Rebooting,
    /// The node has rebooted; its health is verified.
    Verifying,
    /// The operation failed; a person must run `retry` or `release`.
    Failed,
    /// It is unknown whether a reboot is required: the node agent has not reported from this boot, or a detector fails. A
    /// value of a newer version is read as this one.
    #[serde(other)]
    Unknown,
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::UpToDate,
        Self::Pending,
        Self::Preparing,
        Self::Draining,
        Self::Rebooting,
        Self::Verifying,
        Self::Failed,
        Self::Unknown,
    ];

    /// The name of the state, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::Pending => "Pending",
            Self::Preparing => "Preparing",
            Self::Draining => "Draining",
            Self::Rebooting => "Rebooting",
            Self::Verifying => "Verifying",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why a node waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingStatus {
    /// The wait reason, one of a closed list.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// The reason as a sentence, with names and numbers.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// Since when this reason applies.
    pub since_time: DateTime<Utc>,
    /// Until when it applies, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_time: Option<DateTime<Utc>>,
}

/// How often a node was deferred since its last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deferred {
    /// Number of times.
    pub count: i32,
    /// The wait reason of the last deferral.
    #[schemars(length(max = 64))]
    pub cause: String,
    /// That reason as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the next attempt may start.
    pub until_time: DateTime<Utc>,
}

/// A person released the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// When it was released.
    pub time: DateTime<Utc>,
    /// What had failed before.
    #[schemars(length(max = 1024))]
    pub failure: String,
    /// The reasons for which it does not reboot again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 33))]
    pub reasons: Vec<Cause>,
}

/// One operation that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The operation ID.
    #[serde(rename = "operationID")]
    #[schemars(length(max = 64))]
    pub operation_id: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Why it had this outcome; empty if it succeeded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Why the reboot was required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 33))]
    pub reasons: Vec<Cause>,
    /// When it was admitted.
    pub started_time: DateTime<Utc>,
    /// When it ended.
    pub ended_time: DateTime<Utc>,
    /// Seconds from when the reboot became required until the node got a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<i64>,
    /// Seconds from the cordon to the reboot order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_seconds: Option<i64>,
    /// Seconds of `drainedSeconds` that were notice, until the first eviction or until all pods had left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noticed_seconds: Option<i64>,
    /// Seconds from the reboot order to the new boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_seconds: Option<i64>,
    /// Seconds from the new boot to the uncordon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_seconds: Option<i64>,
    /// Number of pods that were evicted.
    #[serde(default)]
    pub pods_moved: i32,
    /// The boot ID before the reboot.
    #[serde(rename = "bootIDBefore", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub boot_id_before: String,
    /// The boot ID after the reboot; after a soft-reboot it is the same one.
    #[serde(rename = "bootIDAfter", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub boot_id_after: String,
    /// The kernel before the reboot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub kernel_before: String,
    /// The kernel after the reboot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub kernel_after: String,
    /// What the policy's `deadline` or `urgent` had overridden; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// Number of reboots in a row right before this one that were for the same reasons and did not clear them. The pause
    /// before the next attempt doubles with each.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub repeats: i32,
    /// The series of reboots without a person's request that this one belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<RebootSeries>,
}

/// Reboots without a person's request that followed each other closely, for whatever reasons. After three within 24 hours
/// the node is left alone for a day, and twice as long after each further one, up to 28 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootSeries {
    /// When the first of them was admitted.
    pub since_time: DateTime<Utc>,
    /// Number of reboots.
    #[schemars(range(min = 1))]
    pub reboots: i32,
}

/// The last command of a person and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCommand {
    /// `retry`, `release` or `cancel`.
    #[schemars(length(max = 32))]
    pub verb: String,
    /// The operation ID that it was given for.
    #[serde(rename = "operationID")]
    #[schemars(length(max = 64))]
    pub operation_id: String,
    /// When the operator read it.
    pub time: DateTime<Utc>,
    /// `Accepted` or `Refused`.
    #[schemars(length(max = 32))]
    pub result: String,
    /// What the operator did, or why it refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}
