//! How a node is rebooted, and how long that may take.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Defaults;

/// How a node is rebooted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reboot {
    /// Who reboots the node, and in which way.
    #[serde(default)]
    pub method: RebootMethod,
    /// Seconds from the reboot order until the node must have a new boot ID, or have soft-rebooted, and be Ready, with its
    /// DaemonSets; otherwise it is Failed.
    #[serde(default = "Defaults::timeout_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: i32,
    /// Seconds from the boot until the DaemonSets that were ready before must be ready again; otherwise the node is Failed
    /// until they are. By default, `timeoutSeconds` applies to them too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub daemon_sets_timeout_seconds: Option<i32>,
}

impl Default for Reboot {
    fn default() -> Self {
        Self {
            method: RebootMethod::Auto,
            timeout_seconds: Defaults::timeout_seconds(),
            daemon_sets_timeout_seconds: None,
        }
    }
}

/// How a node is rebooted. Each way is proven by a new boot ID, a soft-reboot also by systemd's count of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebootMethod {
    /// The fastest way that what is pending allows: `SoftReboot` if only updates of the userspace are, and the host can; else
    /// `Reboot`.
    #[default]
    Auto,
    /// The agent requests an ordinary reboot from logind.
    Reboot,
    /// The agent requests a reboot of the userspace from logind: systemd ends all processes and starts again, with the same
    /// kernel and the same boot ID. An update of the kernel stays pending.
    SoftReboot,
    /// The agent requests a reboot from logind that starts the kernel which the host has loaded with kexec, without the
    /// firmware; an ordinary reboot if none is loaded.
    Kexec,
    /// The agent does nothing: the node is drained, and waits until another system has rebooted it, such as a BMC, a
    /// hypervisor, a cloud API or a person.
    External,
    /// A value of a newer version; an agent refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
