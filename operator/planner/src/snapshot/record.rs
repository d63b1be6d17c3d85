//! The `NodeReboot` of a node: the order to its agent, the agent's report, and what the operator remembers.

use super::operation::Operation;
use super::policy::RebootMethod;
use crate::Instant;
use crate::names::{BootId, PolicyName};

/// A `NodeReboot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `spec.policy`.
    pub policy: Option<PolicyName>,
    /// `spec.order`.
    pub order: Option<Order>,
    /// The agent's report.
    pub host: Option<Host>,
    /// The operation in progress.
    pub operation: Option<Box<Operation>>,
    /// Since when the operator has observed that the host requires a reboot.
    pub required_observed: Option<Instant>,
    /// The back-off after a deferred operation.
    pub deferred: Option<Deferred>,
    /// The release by a person.
    pub released: Option<Released>,
    /// The last reboot that was proven.
    pub last_reboot: Option<LastReboot>,
    /// The id of the operation that ended last.
    pub finished: Option<String>,
    /// A person's command.
    pub command: Option<Command>,
    /// The last command that was answered.
    pub answered_command: Option<Command>,
}

/// An order to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Operation and attempt.
    pub id: String,
    /// What to do.
    pub action: OrderAction,
    /// The boot for which it is valid.
    pub boot_id: BootId,
    /// Who reboots the node, and in which way.
    pub method: RebootMethod,
    /// The soft-reboots of that boot for which it is valid, if it is one for a soft-reboot.
    pub soft_reboots: Option<i32>,
    /// After this time the agent does not begin to execute it.
    pub not_after: Option<Instant>,
}

impl Order {
    /// How the host is to be rebooted: what `Auto` has come to is in the order.
    pub fn ordered_method(&self) -> RebootMethod {
        match self.method {
            _ if self.soft_reboots.is_some() => RebootMethod::SoftReboot,
            RebootMethod::Auto | RebootMethod::Reboot | RebootMethod::SoftReboot => RebootMethod::Reboot,
            RebootMethod::Kexec => RebootMethod::Kexec,
            RebootMethod::External => RebootMethod::External,
        }
    }

    /// Whether both are the same order; the time when it expires is no part of its identity.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.id, self.action, &self.boot_id) == (&other.id, other.action, &other.boot_id)
    }
}

/// What an agent is ordered to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAction {
    /// Answer whether it could reboot the host.
    Prepare,
    /// Reboot the host.
    Reboot,
}

/// The agent's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The boot in which the agent runs.
    pub boot_id: BootId,
    /// When that boot began, by the host's clock.
    pub boot_time: Option<Instant>,
    /// The soft-reboots of that boot; `None` if they cannot be counted.
    pub soft_reboots: Option<SoftReboots>,
    /// The running kernel.
    pub kernel: String,
    /// Whether a reboot is required.
    pub required: bool,
    /// Whether a soft-reboot is enough for it.
    pub userspace_only: bool,
    /// Since when.
    pub required_since: Option<Instant>,
    /// Why.
    pub reasons: Vec<String>,
    /// Why the agent could not reboot the host; `None` if it could.
    pub incapable: Option<String>,
    /// Until when the agent refuses to reboot the host because it has just booted.
    pub reboot_allowed: Option<Instant>,
    /// Whether the agent is confined to the report of its own node.
    pub confinement: Confinement,
    /// Programs that inhibit the shutdown: name and reason.
    pub inhibitors: Vec<(String, String)>,
    /// The answer to the last order.
    pub answer: Option<HostAnswer>,
}

impl Host {
    /// When the processes of the host started: at its boot, or at the last soft-reboot.
    pub fn userspace_started(&self) -> Option<Instant> {
        let soft_reboot = self.soft_reboots.and_then(|soft_reboots| soft_reboots.last);
        self.boot_time.max(soft_reboot)
    }
}

/// The soft-reboots of a boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftReboots {
    /// How many there were.
    pub count: i32,
    /// When the userspace started after the last one.
    pub last: Option<Instant>,
}

/// Whether the API server confines an agent to the report of its own node, by the agent's own test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// It does.
    Confined,
    /// It does not: what is wrong, and the remedy.
    NotConfined(String),
    /// The agent does not say: why, and the remedy.
    Unreported(String),
}

impl Default for Confinement {
    fn default() -> Self {
        Self::Unreported(String::new())
    }
}

/// The agent's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAnswer {
    /// The order.
    pub id: String,
    /// The result.
    pub state: AnswerState,
    /// The cause, for people.
    pub message: String,
}

/// The result of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerState {
    /// The agent could reboot the host now.
    Ready,
    /// The agent refuses.
    Refused,
    /// The host accepted the reboot.
    Rebooting,
    /// The host was told to reboot and did not.
    Failed,
    /// The order is gone, or the answer is of a newer version.
    Withdrawn,
}

/// The back-off after a deferred operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// How often the node was deferred since its last success.
    pub count: i32,
    /// Why, the last time: the name of a wait reason, or `Cancelled`.
    pub cause: String,
    /// The message of the last time.
    pub message: String,
    /// When it may be tried again.
    pub until: Instant,
}

/// A person released the node after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// When.
    pub time: Instant,
    /// The failure.
    pub failure: String,
    /// The causes for which it is not rebooted again.
    pub reasons: Vec<String>,
}

/// The last reboot that was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReboot {
    /// When its operation began.
    pub started: Instant,
    /// When it ended.
    pub time: Instant,
    /// Its causes.
    pub reasons: Vec<String>,
    /// How many reboots in a row right before it were for the same cause and did not clear it.
    pub repeats: i32,
    /// The series of reboots that it belongs to; `None` if a person requested it.
    pub series: Option<RebootSeries>,
}

/// Reboots without a person's request that followed each other closely, whatever they were for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebootSeries {
    /// When the first of them began.
    pub since: Instant,
    /// How many there were.
    pub reboots: i32,
}

/// A person's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The verb as the annotation has it.
    pub verb: String,
    /// The operation for which it is meant.
    pub operation_id: String,
}
