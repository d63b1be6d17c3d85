//! A policy: what an administrator asks for, what its status remembers, and how long its operations take.

use chrono::TimeDelta;

use super::hooks::Hooks;
use crate::Instant;
use crate::recorded::is_ahead;
use crate::snapshot::{Checks, PendingDeadline, Urgent};
use crate::windows::Schedule;

/// A policy, parsed. `Policy::default()` is `spec: {}`: any time, one at a time, stop at the first failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No node starts.
    pub suspend: bool,
    /// When nodes may start; while it is invalid, none starts.
    pub schedule: Result<Schedule, String>,
    /// How many nodes may be in progress under this policy.
    pub max_in_progress: Limit,
    /// How many nodes may be unavailable for any reason, including the one that starts.
    pub max_unavailable: Limit,
    /// Limits by label; all of them apply.
    pub topology: Vec<Topology>,
    /// The least time between two starts; zero for none.
    pub pace: TimeDelta,
    /// Which eligible node starts first.
    pub order: QueueOrder,
    /// The first nodes of a rollout, which must stay healthy before others start.
    pub canary: Option<Canary>,
    /// Whether a person must approve each node.
    pub approval: Approval,
    /// What it checks before a node starts, and after its reboot; `None` if nothing.
    pub checks: Option<Checks>,
    /// Until when its reboots must be done, and what is overridden for that.
    pub deadline: Option<PendingDeadline>,
    /// What is overridden for all its nodes, for a limited time.
    pub urgent: Option<Urgent>,
    /// When failures open the breaker.
    pub breaker: BreakerRule,
    /// The time in the annotation `breaker-acknowledged`: a person knows the failures up to it.
    pub acknowledged: Option<Instant>,
    /// The settings that an operation copies when it begins.
    pub settings: Settings,
    /// How long operations take under this policy.
    pub duration_estimate: DurationEstimate,
    /// What its status remembers; [`crate::Plan::policies`] has what it must become.
    pub state: PolicyState,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            suspend: false,
            schedule: Ok(Schedule::default()),
            max_in_progress: Limit::Count(1),
            max_unavailable: Limit::Count(1),
            topology: Vec::new(),
            pace: TimeDelta::zero(),
            order: QueueOrder::Oldest,
            canary: None,
            approval: Approval::Automatic,
            checks: None,
            deadline: None,
            urgent: None,
            breaker: BreakerRule::default(),
            acknowledged: None,
            settings: Settings::default(),
            duration_estimate: DurationEstimate::default(),
            state: PolicyState::default(),
        }
    }
}

/// A limit, parsed; an invalid one allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// That many nodes.
    Count(usize),
    /// A percentage of the nodes, rounded down, but at least 1 unless it is 0%.
    Percent(usize),
    /// It cannot be parsed.
    Unreadable,
}

impl Limit {
    /// How many of `total` nodes this allows.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) | Self::Unreadable => 0,
            Self::Percent(percent) => (total * percent / 100).max(1),
        }
    }
}

/// Limits over the nodes in progress under one policy, by the value of a label. Nodes without the label form a domain
/// of their own, named "".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The label, such as `topology.kubernetes.io/zone`.
    pub key: String,
    /// In how many domains nodes may be in progress at once.
    pub max_domains: Option<usize>,
    /// How many nodes of one domain may be in progress at once.
    pub max_in_progress_per_domain: Option<usize>,
}

/// Which eligible node starts first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOrder {
    /// The one that has required a reboot longest.
    #[default]
    Oldest,
    /// The first by name.
    Name,
}

/// The first nodes of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// How many.
    pub nodes: usize,
    /// How long all of them must have been Ready after their reboots before others start.
    pub soak: TimeDelta,
}

/// Whether a person must approve each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// No approval is needed.
    #[default]
    Automatic,
    /// A node starts only with an approval of its own.
    Manual,
}

/// When failures stop a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// How many failed nodes open the breaker; 0 counts as 1.
    pub max_failed: usize,
    /// After this time a probe may start; `None` if only a person closes the breaker.
    pub cooldown: Option<TimeDelta>,
}

impl Default for BreakerRule {
    fn default() -> Self {
        Self {
            max_failed: 1,
            cooldown: None,
        }
    }
}

/// How long operations take, by the policy's last successes; the defaults until there are enough of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationEstimate {
    /// From cordon to uncordon without the notice, the 90th percentile: what must fit into a window beside the notice.
    pub cordoned: TimeDelta,
    /// A whole operation without its notice, as long as it has its slot, the median: what a forecast counts with.
    pub total: TimeDelta,
}

impl Default for DurationEstimate {
    fn default() -> Self {
        Self {
            cordoned: TimeDelta::seconds(900),
            total: TimeDelta::seconds(900),
        }
    }
}

/// What a policy's status remembers from pass to pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyState {
    /// The present rollout: from the first node that requires a reboot until none does.
    pub rollout: Option<Rollout>,
    /// The breaker, for people: each pass evaluates it anew.
    pub breaker: Breaker,
}

/// A rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started: Instant,
    /// When its canary had stayed healthy long enough.
    pub canary_passed: Option<Instant>,
}

impl Rollout {
    /// Whether its canary has passed; a time that a wrong clock has recorded does not count.
    pub(crate) fn has_passed_canary(&self, now: Instant) -> bool {
        self.canary_passed.is_some_and(|passed| !is_ahead(passed, now))
    }
}

/// The breaker of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Whether nodes may start.
    pub state: BreakerState,
    /// When the last of the failures happened that opened it; an acknowledgement must name this time or a later one.
    pub opened: Option<Instant>,
    /// The nodes that are Failed.
    pub failed: Vec<String>,
}

/// Whether a breaker lets nodes start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Nodes may start.
    #[default]
    Closed,
    /// No node may start.
    Open,
    /// One node may start as a probe.
    Probing,
}

/// The settings with which an operation finishes, as they were when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a drain may take, from the time at which evictions may start.
    pub drain_timeout: TimeDelta,
    /// A drain that waits only for pods within their own grace period does not time out before that has ended.
    pub wait_for_grace_period: bool,
    /// What follows when the drain times out.
    pub on_timeout: OnTimeout,
    /// The time from the cordon to the first eviction, for load balancers to stop sending traffic.
    pub load_balancer_delay: TimeDelta,
    /// The pods of `DaemonSets` are evicted too, last, under a taint that keeps them away.
    pub daemon_sets_last: bool,
    /// Nodes whose reboot is still to come get a taint that pods avoid.
    pub prefer_updated_nodes: bool,
    /// What is done before its drain, before its reboot and after it.
    pub hooks: Hooks,
    /// How long before its first eviction the workloads of the node are given notice; `None` if they are not.
    pub notice: Option<TimeDelta>,
    /// Who reboots the node, and in which way.
    pub method: RebootMethod,
    /// The time from the reboot order until the node must be Ready again.
    pub reboot_timeout: TimeDelta,
    /// The time from the boot until the `DaemonSet`s must be ready again; `None` if `reboot_timeout` applies to them.
    pub daemon_sets_timeout: Option<TimeDelta>,
    /// How long after the uncordon an operation waits for the workloads that it evicted; zero if it does not.
    pub workloads_timeout: TimeDelta,
    /// How long the agent may take to answer.
    pub agent_timeout: TimeDelta,
}

impl Default for Settings {
    /// The defaults of a policy, for an operation whose policy does not exist any more.
    fn default() -> Self {
        Self {
            drain_timeout: TimeDelta::seconds(900),
            wait_for_grace_period: true,
            on_timeout: OnTimeout::Defer,
            load_balancer_delay: TimeDelta::zero(),
            daemon_sets_last: false,
            prefer_updated_nodes: false,
            hooks: Hooks::default(),
            notice: None,
            method: RebootMethod::Auto,
            reboot_timeout: TimeDelta::seconds(900),
            daemon_sets_timeout: None,
            workloads_timeout: TimeDelta::seconds(300),
            agent_timeout: TimeDelta::seconds(60),
        }
    }
}

/// Who reboots a node, and in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RebootMethod {
    /// A soft-reboot if it is enough for what is pending, or else an ordinary reboot.
    #[default]
    Auto,
    /// The agent requests an ordinary reboot.
    Reboot,
    /// The agent requests a reboot of the userspace.
    SoftReboot,
    /// The agent requests a reboot into the kernel that is loaded.
    Kexec,
    /// Another system reboots the node once it is drained.
    External,
}

impl RebootMethod {
    /// The methods that a reboot may be ordered with: `Auto` has chosen one then.
    pub const ORDERED: [Self; 4] = [Self::Reboot, Self::SoftReboot, Self::Kexec, Self::External];

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Reboot => "Reboot",
            Self::SoftReboot => "SoftReboot",
            Self::Kexec => "Kexec",
            Self::External => "External",
        }
    }

    /// Whether the host reboots itself, so that its agent must be able to.
    pub fn needs_agent(self) -> bool {
        match self {
            Self::Auto | Self::Reboot | Self::SoftReboot | Self::Kexec => true,
            Self::External => false,
        }
    }
}

/// What follows when a drain times out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The operation is deferred.
    #[default]
    Defer,
    /// If a window is open, the remaining pods are deleted regardless of their disruption budgets.
    Delete,
    /// If a window is open, the node is rebooted with the remaining pods.
    Reboot,
}
