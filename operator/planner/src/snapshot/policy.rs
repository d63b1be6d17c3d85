//! A policy as the planner reads it: what an admin asks for, what is remembered for it, what was learned.

use chrono::TimeDelta;

use super::Node;
use crate::Instant;
use crate::windows::Schedule;

/// A policy, parsed. `Policy::default()` is `spec: {}`: any time, one at a time, stop at the first failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Start nothing.
    pub suspend: bool,
    /// When nodes may start; an error closes the policy.
    pub schedule: Result<Schedule, String>,
    /// Nodes that we may hold under this policy.
    pub max_in_progress: Limit,
    /// Nodes that may be down for any reason while one more starts.
    pub max_unavailable: Limit,
    /// Limits by label; all hold.
    pub topology: Vec<Topology>,
    /// The least time between two starts; zero = none.
    pub pace: TimeDelta,
    /// Who goes first.
    pub order: QueueOrder,
    /// The first nodes of a rollout, which must stay healthy for a while.
    pub canary: Option<Canary>,
    /// Whether a person must approve each node.
    pub approval: Approval,
    /// When failures stop the policy.
    pub breaker: BreakerRule,
    /// The time that the policy's `breaker-acknowledged` annotation names: failures up to it are known to a person.
    pub acknowledged: Option<Instant>,
    /// What an operation takes along.
    pub settings: Settings,
    /// How long operations took under this policy.
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
            breaker: BreakerRule::default(),
            acknowledged: None,
            settings: Settings::default(),
            duration_estimate: DurationEstimate::default(),
            state: PolicyState::default(),
        }
    }
}

/// A limit, parsed; one that cannot be read allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// That many nodes.
    Count(usize),
    /// A percentage, rounded down, at least 1 unless it is 0.
    Percent(usize),
    /// It could not be read.
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

/// Limits over the nodes that we hold under one policy, by the value of a label. Nodes without the label form a
/// domain of their own, named "".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The label, such as `topology.kubernetes.io/zone`.
    pub key: String,
    /// In how many domains at once.
    pub max_domains: Option<usize>,
    /// How many nodes of one domain at once.
    pub max_in_progress_per_domain: Option<usize>,
}

impl Topology {
    /// The domain of a node.
    pub fn domain_of<'a>(&self, node: &'a Node) -> &'a str {
        node.domains.get(&self.key).map_or("", String::as_str)
    }
}

/// Who goes first among those that could start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOrder {
    /// The longest waiting.
    #[default]
    Oldest,
    /// By name.
    Name,
}

/// The first nodes of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// How many.
    pub nodes: usize,
    /// How long all of them must have been back and Ready before the others start.
    pub soak: TimeDelta,
}

/// Whether a person must approve each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Nobody needs to.
    #[default]
    Automatic,
    /// A node starts only with an approval of its own.
    Manual,
}

/// When failures stop a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// So many failed nodes open it; 0 is taken for 1.
    pub max_failed: usize,
    /// After this long a probe goes; absent = only a person re-arms it.
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

/// How long operations took, from the policy's last successes; the defaults until enough is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationEstimate {
    /// From cordon to uncordon, longer than nine in ten: what must fit into a window.
    pub cordoned: TimeDelta,
    /// A whole operation, from its slot to the free slot, the median: what a forecast counts with.
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
    /// The rollout under way: from the first node that needs a reboot until none does.
    pub rollout: Option<Rollout>,
    /// The breaker, for those who watch: it is computed anew in each pass.
    pub breaker: Breaker,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started: Instant,
    /// When its canary had stayed healthy for long enough.
    pub canary_passed: Option<Instant>,
}

/// The breaker of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Whether nodes may start.
    pub state: BreakerState,
    /// When the last node failed that keeps it open, or did until a probe succeeded; what an acknowledgement names.
    pub opened: Option<Instant>,
    /// The nodes that are Failed.
    pub failed: Vec<String>,
}

/// Whether a breaker lets nodes start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// They may.
    #[default]
    Closed,
    /// None may.
    Open,
    /// One may, to see whether it succeeds.
    Probing,
}

/// The settings an operation finishes with, as they were when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a drain may take, from the first eviction that is allowed.
    pub drain_timeout: TimeDelta,
    /// What follows when it has taken that long.
    pub on_timeout: OnTimeout,
    /// From our marks to the first eviction, for load balancers to look elsewhere.
    pub load_balancer_delay: TimeDelta,
    /// The pods of `DaemonSets` are evicted too, last, under a taint of ours that keeps them away.
    pub daemon_sets_last: bool,
    /// Nodes whose reboot is still to come get a taint of ours that pods avoid.
    pub prefer_updated_nodes: bool,
    /// From the reboot order until the node must be back and Ready.
    pub reboot_timeout: TimeDelta,
    /// How long an agent may take to answer.
    pub agent_timeout: TimeDelta,
}

impl Default for Settings {
    /// The policy's defaults, for an operation whose policy nobody knows any more.
    fn default() -> Self {
        Self {
            drain_timeout: TimeDelta::seconds(900),
            on_timeout: OnTimeout::Defer,
            load_balancer_delay: TimeDelta::zero(),
            daemon_sets_last: false,
            prefer_updated_nodes: false,
            reboot_timeout: TimeDelta::seconds(900),
            agent_timeout: TimeDelta::seconds(60),
        }
    }
}

/// What follows when a drain has taken too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The node is put back.
    #[default]
    Defer,
    /// Inside a window, what is left is deleted past its budgets.
    Delete,
    /// Inside a window, the node is rebooted with the pods that are left.
    Reboot,
}
