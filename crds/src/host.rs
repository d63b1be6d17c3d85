//! The host report of an agent: `NodeReboot.status.host`.

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The host report; only the agent writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The kernel's ID of the present boot, from `/proc/sys/kernel/random/boot_id`.
    #[serde(rename = "bootID", default)]
    #[schemars(length(max = 64))]
    pub boot_id: String,
    /// When the host booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<DateTime<Utc>>,
    /// The soft-reboots of this boot; absent if they cannot be counted. Then the host is not soft-rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_reboots: Option<SoftReboots>,
    /// The name of the operating system.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub os: String,
    /// The release of the running kernel.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub kernel: String,
    /// Whether the host requires a reboot, since when and why.
    #[serde(default)]
    pub reboot_required: RebootRequired,
    /// Whether the agent could reboot the host now.
    #[serde(default)]
    pub reboot_capable: bool,
    /// Why it could not, and what to do; empty if it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reboot_capable_message: String,
    /// Until then the agent refuses to reboot the host, because it has just booted; absent otherwise. So a program that
    /// controls the agent cannot keep the host rebooting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_allowed_time: Option<DateTime<Utc>>,
    /// Whether the API server confines the agent to the report of its own node, by the agent's own test; absent if the test
    /// has given no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confined: Option<bool>,
    /// Why it is not confined or the test has given no result, and what to do; empty if it is confined.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub confined_message: String,
    /// Programs that inhibit a shutdown with a block lock. Delay locks are not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub inhibitors: Vec<Inhibitor>,
    /// The answer to the last order that the agent read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderAnswer>,
    /// The version of the agent.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub agent_version: String,
}

/// The soft-reboots of a boot: systemd has ended all processes and started again, with the same kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoftReboots {
    /// Number of soft-reboots since the boot, as systemd counts them.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub count: i32,
    /// When the userspace started after the last one; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_time: Option<DateTime<Utc>>,
}

/// Whether the host requires a reboot, as its detectors report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootRequired {
    /// Whether a reboot is required.
    #[serde(default)]
    pub required: bool,
    /// When the agent first saw in this boot that a reboot is required. It stays while a reboot is required without a break,
    /// also if more reasons follow. Absent if none is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Whether a soft-reboot is enough: every reason is known to concern the userspace only, and no detector fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub userspace_only: bool,
    /// Why, such as the names of packages, in a stable order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub reasons: Vec<Cause>,
    /// The detector that reports it, such as `Debian sentinel`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub source: String,
    /// Detectors that fail, and why. Whether they require a reboot is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub failing: Vec<Cause>,
    /// What each detector saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub detectors: Vec<DetectorReport>,
}

/// What one detector saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DetectorReport {
    /// The name of the detector, such as `Debian sentinel`.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Whether it requires a reboot.
    pub state: DetectorState,
    /// Its reasons, or why it fails; empty if it requires no reboot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
}

impl DetectorReport {
    /// The longest name that the definition accepts.
    pub const MAX_NAME: usize = 64;
}

/// Whether a detector requires a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DetectorState {
    /// It requires no reboot.
    NotRequired,
    /// It requires a reboot.
    Required,
    /// It cannot read what it needs.
    Failing,
    /// A value of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl DetectorState {
    /// Its name in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRequired => "NotRequired",
            Self::Required => "Required",
            Self::Failing => "Failing",
            Self::Unknown => "Unknown",
        }
    }
}

/// One cause, such as the name of a package that requires a reboot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cause(#[schemars(length(max = 256))] pub String);

/// A program that inhibits a shutdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inhibitor {
    /// The name that the program gave.
    #[schemars(length(max = 256))]
    pub who: String,
    /// The reason that it gave.
    #[schemars(length(max = 256))]
    pub why: String,
}

/// The agent's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderAnswer {
    /// The ID of the order.
    #[schemars(length(max = 64))]
    pub id: String,
    /// The result.
    pub state: OrderState,
    /// The cause and the remedy as a sentence; empty if there is no problem.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// The result of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderState {
    /// The agent can reboot the host and waits for the order.
    Ready,
    /// The agent refuses; it requested nothing from the host.
    Refused,
    /// The host accepted the reboot.
    Rebooting,
    /// The host refused the reboot or did not carry it out.
    Failed,
    /// The order was removed before it was executed.
    Withdrawn,
    /// A value of a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
