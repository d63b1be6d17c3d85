//! `NodeReboot`: one per Node, same name, owned by it.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::host::{Cause, HostReport};
use crate::operation::{Operation, Outcome};

/// What the operator wants of one node's agent.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "NodeReboot",
    plural = "nodereboots",
    shortname = "nrb",
    category = "lockkeeper",
    doc = "Where one node is on its way through the reboot lock. The operator makes one for each Linux Node.",
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
    /// What the agent shall do; removing it withdraws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// An order to the agent, for exactly one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The operation's id.
    #[schemars(length(max = 64))]
    pub id: String,
    /// What to do.
    pub action: OrderAction,
    /// The boot to leave; an agent in another boot does nothing.
    #[serde(rename = "bootID")]
    #[schemars(length(max = 64))]
    pub boot_id: String,
    /// How to reboot.
    #[serde(default)]
    pub method: RebootMethod,
}

/// What an agent shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderAction {
    /// Say whether you could reboot now; change nothing.
    Prepare,
    /// Reboot.
    Reboot,
    /// A word of a newer version; an agent refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How to reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebootMethod {
    /// What the host offers: logind.
    #[default]
    Auto,
    /// A word of a newer version; an agent refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Where a node is; all but `host` is the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRebootStatus {
    /// The agent's report, written by that node's agent alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
    /// One word for `kubectl get`; informative, derived from the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// Why it waits, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingStatus>,
    /// What must survive a crash while the node is inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// How often it was put back since the last success, and until when it is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Deferred>,
    /// A person released it: not again for this cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    /// The last reboot that we made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reboot: Option<HistoryEntry>,
    /// The last operations that ended, newest first, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryEntry>,
    /// The last command of a person and what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_command: Option<LastCommand>,
    /// `RebootRequired`, `Cordoned`, `Drained`, `Rebooted`, `Healthy`, `RebootCapable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One word for where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// No reboot is required.
    UpToDate,
    /// A reboot is required, or it is not known whether one is.
    Pending,
    /// It has a slot; its agent is being asked.
    Preparing,
    /// Cordoned; its pods are being moved.
    Draining,
    /// The reboot is ordered.
    Rebooting,
    /// Back with a new boot; being looked at.
    Verifying,
    /// A person must look at it.
    Failed,
    /// A word of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl NodeState {
    /// The word as it is written everywhere.
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
    /// One of the closed list of waiting reasons.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// The reason in words, with names and numbers.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// Since when this reason holds.
    pub since_time: DateTime<Utc>,
    /// Until when, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_time: Option<DateTime<Utc>>,
}

/// How often a node was put back since the last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deferred {
    /// How often.
    pub count: i32,
    /// The waiting reason that it was put back for, last.
    #[schemars(length(max = 64))]
    pub cause: String,
    /// That reason in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Not before.
    pub until_time: DateTime<Utc>,
}

/// A person released the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// When.
    pub time: DateTime<Utc>,
    /// What had failed.
    #[schemars(length(max = 1024))]
    pub failure: String,
    /// The cause that it is not rebooted for again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 33))]
    pub reasons: Vec<Cause>,
}

/// The evidence of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The operation.
    #[serde(rename = "operationID")]
    #[schemars(length(max = 64))]
    pub operation_id: String,
    /// Which way it ended.
    pub outcome: Outcome,
    /// Why it ended so; empty for a success.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Why the node was to be rebooted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 33))]
    pub reasons: Vec<Cause>,
    /// When it went in.
    pub started_time: DateTime<Utc>,
    /// When it ended.
    pub ended_time: DateTime<Utc>,
    /// Seconds from the required reboot to the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<i64>,
    /// Seconds from our marks to the reboot order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_seconds: Option<i64>,
    /// Seconds from the reboot order to the new boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_seconds: Option<i64>,
    /// Seconds from the new boot to the uncordon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_seconds: Option<i64>,
    /// Pods evicted.
    #[serde(default)]
    pub pods_moved: i32,
    /// The boot before.
    #[serde(rename = "bootIDBefore", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub boot_id_before: String,
    /// The boot after.
    #[serde(rename = "bootIDAfter", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub boot_id_after: String,
    /// The kernel before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub kernel_before: String,
    /// The kernel after.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub kernel_after: String,
}

/// A person's last command and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCommand {
    /// `retry`, `release` or `cancel`.
    #[schemars(length(max = 32))]
    pub verb: String,
    /// The operation that it was meant for.
    #[serde(rename = "operationID")]
    #[schemars(length(max = 64))]
    pub operation_id: String,
    /// When it was read.
    pub time: DateTime<Utc>,
    /// `Accepted` or `Refused`.
    #[schemars(length(max = 32))]
    pub result: String,
    /// What was done, or why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}
