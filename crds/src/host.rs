//! What the agent says of its host: `NodeReboot.status.host`.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The agent's report; written by nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The kernel's id of the present boot, `/proc/sys/kernel/random/boot_id`.
    #[serde(rename = "bootID", default)]
    #[schemars(length(max = 64))]
    pub boot_id: String,
    /// When the host booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<DateTime<Utc>>,
    /// The operating system's own name for itself.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub os: String,
    /// The running kernel's release.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub kernel: String,
    /// Whether the host asks for a reboot, since when and why.
    #[serde(default)]
    pub reboot_required: RebootRequired,
    /// Whether the agent could reboot the host now.
    #[serde(default)]
    pub reboot_capable: bool,
    /// Why it could not, and what to do about it; empty if it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reboot_capable_message: String,
    /// Programs that ask not to shut down and may not be overruled (delay locks are not among them).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub inhibitors: Vec<Inhibitor>,
    /// The answer to the last order that this agent saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderAnswer>,
    /// The agent's version.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub agent_version: String,
}

/// Whether the host asks for a reboot; detectors say so, they never decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootRequired {
    /// Whether a reboot is required.
    #[serde(default)]
    pub required: bool,
    /// Since when; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Why, such as the names of the packages; bounded, in a stable order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub reasons: Vec<Cause>,
    /// Which detector says so, such as `Debian sentinel`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub source: String,
    /// Detectors that cannot be read, and why: what they would say is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub failing: Vec<Cause>,
}

/// One cause, such as the name of a package that needs a reboot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cause(#[schemars(length(max = 256))] pub String);

/// A program that asks not to shut down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inhibitor {
    /// The program's name for itself.
    #[schemars(length(max = 256))]
    pub who: String,
    /// Its reason.
    #[schemars(length(max = 256))]
    pub why: String,
}

/// The agent's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderAnswer {
    /// The order's id.
    #[schemars(length(max = 64))]
    pub id: String,
    /// What became of it.
    pub state: OrderState,
    /// The cause and the remedy in words; empty if all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderState {
    /// The agent lives, can reboot, and waits for the word.
    Ready,
    /// The agent will not do it; nothing was asked of the host.
    Refused,
    /// The host accepted the reboot.
    Rebooting,
    /// The host was asked and said no, or did not do it.
    Failed,
    /// The order is gone; nothing will be done for it.
    Withdrawn,
    /// A word of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
