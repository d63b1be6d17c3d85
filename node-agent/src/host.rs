//! The interface between the agent and its host; with it a test can run hundreds of agents in one process.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_crds::RebootRequired;

use lockkeeper_channel::{HostAnswer, HostFacts, HostOrder};

/// The host of an agent.
pub trait Host: Send {
    /// Observes the host.
    fn observe(&mut self) -> impl Future<Output = anyhow::Result<HostView>> + Send;

    /// Returns once something may have changed; may be dropped and called again at any time.
    fn changed(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Requests facts that carry this order's id, so that they prove that the actuator runs.
    fn request_facts(&mut self, order_id: &str) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Passes an order to the actuator; repeating that changes nothing. After an error it was not passed.
    fn set_order(&mut self, order: &HostOrder) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Withdraws the order from the actuator; returns whether there was one.
    fn withdraw_order(&mut self) -> impl Future<Output = anyhow::Result<bool>> + Send;
}

/// The observed state of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostView {
    /// The kernel's id of the present boot.
    pub boot_id: String,
    /// When it booted.
    pub boot_time: Option<DateTime<Utc>>,
    /// When its userspace started after the last soft-reboot of this boot, if there was one.
    pub soft_rebooted: Option<DateTime<Utc>>,
    /// For how long it has been up, since its boot or its last soft-reboot.
    pub uptime: Duration,
    /// The operating system's name for itself.
    pub os: String,
    /// The running kernel's release.
    pub kernel: String,
    /// Whether the host requires a reboot. Its `since` is the time of the oldest file; the report keeps the first sight.
    pub reboot_required: RebootRequired,
    /// What the actuator published; it may be of an earlier boot.
    pub facts: Option<HostFacts>,
    /// What the actuator answered last; it may be to an earlier order.
    pub answer: Option<HostAnswer>,
}

impl HostView {
    /// The facts of the present boot.
    pub fn present_facts(&self) -> Option<&HostFacts> {
        self.facts.as_ref().filter(|facts| facts.boot_id == self.boot_id)
    }

    /// For how long the actuator still refuses to reboot the host because it has just booted; `None` if it does not.
    pub fn reboot_refused_for(&self) -> Option<Duration> {
        let min_uptime = Duration::from_secs(self.present_facts()?.min_uptime_seconds);
        let remaining = min_uptime.saturating_sub(self.uptime);
        (!remaining.is_zero()).then_some(remaining)
    }
}
