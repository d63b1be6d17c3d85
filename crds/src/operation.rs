//! The operation: the state of a node in progress that must survive a crash of the operator.
//!
//! What the Node and its Pods show (cordoned, drained, booted, Ready) is read from them in each pass and not stored
//! here.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::Cause;
use crate::policy::{Defaults, Drain, Hooks, Notice, Overridden, Reboot};

/// One attempt to reboot one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The ID, as in the lock, in the order and in the annotation on the Node.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Number of times that `retry` repeated the order; the ID of the order is `<id>-<attempt>`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempt: i32,
    /// The present phase.
    pub phase: Phase,
    /// The policy under which the node was admitted.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// The boot ID before the reboot; a different one shows that the node has rebooted.
    #[serde(rename = "bootIDBefore")]
    #[schemars(length(max = 64))]
    pub boot_id_before: String,
    /// Present if a soft-reboot is enough: the number of soft-reboots of that boot before the reboot. A larger one shows that
    /// the node has soft-rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub soft_reboots_before: Option<i32>,
    /// The kernel before the reboot, for the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub kernel_before: String,
    /// Why the reboot is required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 33))]
    pub reasons: Vec<Cause>,
    /// The value of the annotation `reboot-requested` when the operation started; the annotation is removed only if it
    /// still has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub requested: Option<String>,
    /// The value of the annotation `approved` when the operation started; the annotation is removed only if it still
    /// has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub approved: Option<String>,
    /// When the reboot became required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_time: Option<DateTime<Utc>>,
    /// When the node was admitted.
    pub started_time: DateTime<Utc>,
    /// When the agent was last asked; `requireAgentSeconds` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_time: Option<DateTime<Utc>>,
    /// When the cordon was observed on the Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned_time: Option<DateTime<Utc>>,
    /// What follows the time-out of the drain, written before it takes effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<DrainStage>,
    /// Until when the drain goes on longer than `drain.timeoutSeconds`: it was interrupted, or waits for pods within their own
    /// grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_until_time: Option<DateTime<Utc>>,
    /// When the reboot was ordered; `reboot.timeoutSeconds` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_ordered_time: Option<DateTime<Utc>>,
    /// When the operator observed that the agent refused to reboot the host. The node stays cordoned until its kubelet has
    /// confirmed that the host stays up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_refused_time: Option<DateTime<Utc>>,
    /// When the new boot ID, or the soft-reboot, was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebooted_time: Option<DateTime<Utc>>,
    /// When the operator observed that the node is uncordoned after its verification. Present only if something is waited for
    /// since: `drain.waitForWorkloadsSeconds` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncordoned_time: Option<DateTime<Utc>>,
    /// When the present phase times out; absent if nothing follows from time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_time: Option<DateTime<Utc>>,
    /// What the operator does at `deadlineTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<OnDeadline>,
    /// Number of pods that were evicted.
    #[serde(default)]
    pub pods_moved: i32,
    /// Owners whose pods are no longer evicted, because they return to the node in spite of its cordon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub returning_owners: Vec<OwnerName>,
    /// The DaemonSets that were ready on the node when it was cordoned. They must be ready again before it is
    /// uncordoned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub daemon_sets: Vec<CountedWorkload>,
    /// The static pods that were ready on the node when it was cordoned, such as etcd and kube-apiserver. They must be
    /// ready again before it is uncordoned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub static_pods: Vec<CountedWorkload>,
    /// The controlling owners of the pods that were to leave the node, as far as they had all their replicas ready when it
    /// was cordoned. They must be ready again before the operation ends, or `drain.waitForWorkloadsSeconds` must be over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub workloads: Vec<EvictedWorkload>,
    /// What the checks in `checks.after` found before the operation started; it does not count after the reboot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub checks_baseline: Vec<FindingId>,
    /// Since when the node and its checks have been healthy after the uncordon; a failure starts the time anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_since_time: Option<DateTime<Utc>>,
    /// The hook in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<CurrentHook>,
    /// The hooks that have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    pub ended_hooks: Vec<EndedHook>,
    /// When notice was given, by the condition `MaintenancePlanned` of the Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noticed_time: Option<DateTime<Utc>>,
    /// What the policy's `deadline` or `urgent` had overridden when the node was admitted; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// The policy's settings when the operation started; it finishes with them.
    pub settings: OperationSettings,
    /// The failure, in phase Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The outcome, written before the slot is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_outcome: Option<PendingOutcome>,
}

/// The phase of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The agent is asked whether it can reboot the host.
    Preparing,
    /// The Node is cordoned; its pods are evicted.
    Draining,
    /// The reboot is ordered and can no longer be cancelled.
    Rebooting,
    /// The node has a new boot ID, or has soft-rebooted; its health is verified.
    Verifying,
    /// A person must run `retry` or `release`; the node keeps its slot.
    Failed,
    /// A value of a newer version; the operator does nothing with it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What the operator does when a phase times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDeadline {
    /// It defers the operation: the node is uncordoned and tried again later.
    Defer,
    /// It deletes the remaining pods regardless of their disruption budgets if a window is open, and defers otherwise.
    Delete,
    /// It reboots the node with the remaining pods if a window is open, and defers otherwise.
    Reboot,
    /// It marks the operation Failed; the node keeps its slot until a person acts.
    Fail,
    /// It ends the operation as succeeded, and its history says what is not ready.
    Finish,
    /// It continues without the hook in progress.
    Continue,
    /// A value of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// A DaemonSet that had a ready pod on the node, or a static pod that was ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedWorkload {
    /// `namespace/name`.
    #[schemars(length(max = 317))]
    pub name: String,
    /// Since when the pod was Ready. The same time after the reboot means that the pod has not reported Ready since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<DateTime<Utc>>,
}

/// The controlling owner of pods that were to leave the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvictedWorkload {
    /// A ReplicaSet, a StatefulSet or a ReplicationController.
    pub owner: OwnerName,
    /// The Deployment of the ReplicaSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub deployment: Option<String>,
    /// How many replicas it had, all of them ready. Absent if it could not be read: it is waited for all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
}

/// A point of an operation at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookPoint {
    /// After the cordon, before the first pod is evicted.
    BeforeDrain,
    /// Once the node is drained, before its reboot is ordered.
    BeforeReboot,
    /// Once the node is healthy after its reboot, before it is uncordoned.
    AfterReboot,
    /// A value of a newer version; the hook is ignored.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The hook in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentHook {
    /// When it runs.
    pub point: HookPoint,
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// When it began; its `timeoutSeconds` count from here.
    pub started_time: DateTime<Utc>,
}

/// A hook that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedHook {
    /// When it ran.
    pub point: HookPoint,
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// When it ended.
    pub ended_time: DateTime<Utc>,
    /// Why it failed, if `failurePolicy: Ignore` let the operation continue nevertheless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub failure: Option<String>,
}

/// A short ID of what failed a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FindingId(#[schemars(length(max = 32))] pub String);

/// The controlling owner of pods, as `kind[.group] namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OwnerName(#[schemars(length(max = 700))] pub String);

/// What follows the time-out of a drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStage {
    /// The kind.
    pub kind: StageKind,
    /// When it started.
    pub started_time: DateTime<Utc>,
}

/// What may follow the time-out of a drain, according to `drain.onTimeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StageKind {
    /// The remaining pods are deleted regardless of disruption budgets.
    Delete,
    /// The node reboots with the remaining pods.
    Reboot,
    /// A value of a newer version; it is ignored.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The policy's settings when an operation started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSettings {
    /// How the node is drained.
    #[serde(default)]
    pub drain: Drain,
    /// How the node is rebooted.
    #[serde(default)]
    pub reboot: Reboot,
    /// What is done before its drain, before its reboot and after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// The notice that its workloads get before its drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Seconds that the agent may take to answer.
    #[serde(default = "Defaults::require_agent_seconds")]
    pub require_agent_seconds: i32,
}

impl Default for OperationSettings {
    fn default() -> Self {
        Self {
            drain: Drain::default(),
            reboot: Reboot::default(),
            hooks: None,
            notice: None,
            require_agent_seconds: Defaults::require_agent_seconds(),
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When it failed.
    pub time: DateTime<Utc>,
    /// What did not happen within which time, and where to look.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// If true, only time ran out: the operation continues by itself once the node has a new boot ID and is healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// The outcome of an operation that is being ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingOutcome {
    /// The outcome.
    pub outcome: Outcome,
    /// When it was decided.
    pub time: DateTime<Utc>,
    /// The name of a wait reason, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub cause: String,
    /// The cause as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The node has rebooted and is healthy.
    Succeeded,
    /// It ended before the reboot was ordered; the next attempt follows after a backoff.
    Deferred,
    /// It may not continue now (window, limit, suspension); there is no backoff.
    Withdrawn,
    /// A person put the node on hold; it stays cordoned.
    Held,
    /// A person released the node; it does not reboot again for the same reasons.
    Released,
    /// A value of a newer version; treated as `Deferred`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
