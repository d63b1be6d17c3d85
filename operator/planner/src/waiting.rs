//! Why a node waits: the closed list, with its data and its words.
//!
//! The name is the status reason, the Event reason and the metric label; the `Display` is what status, Events, CLI,
//! logs and tests print. A reason is added here or nowhere.

mod waits;
mod words;

use std::sync::Arc;

use chrono::TimeDelta;

use crate::Instant;
use crate::name::Name;

pub use waits::Waits;

/// Why a node waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The operator has not seen everything.
    ViewIncomplete { what: String },
    /// More than one policy selects the node.
    PolicyConflict { policies: Arc<[Name]> },
    /// No policy selects the node.
    NoPolicy,
    /// The policy is suspended.
    Suspended { policy: Name },
    /// A person holds the node.
    Held { reason: String, until: Option<Instant> },
    /// A person must approve the node.
    AwaitingApproval { policy: Name },
    /// No agent reports from the node.
    AgentMissing { since: Instant },
    /// The agent cannot reboot the node.
    AgentIncapable { cause: String },
    /// The agent did not answer in time.
    AgentNotAnswering { order: String, seconds: i64 },
    /// A program asks not to shut down.
    Inhibited { who: String, why: String },
    /// Failed nodes stopped the policy.
    BreakerOpen { nodes: Arc<[String]>, next: Rearm },
    /// An exclusion is in force.
    Excluded { until: Option<Instant>, reason: String },
    /// The windows are closed.
    OutsideWindow {
        opens: Option<Instant>,
        unreadable: Option<String>,
    },
    /// What is left of the window is too short.
    DoesNotFitWindow {
        needs: TimeDelta,
        closes: Instant,
        opens: Option<Instant>,
    },
    /// The first nodes of the rollout must stay healthy first.
    CanarySoaking {
        names: Arc<[String]>,
        until: Option<Instant>,
    },
    /// Too many nodes are down for any reason.
    TooManyUnavailable { down: Arc<[(String, String)]>, max: usize },
    /// The lock is full.
    NoFreeSlot {
        inside: Arc<[String]>,
        max: usize,
        scope: Scope,
        before: usize,
    },
    /// Its label's domain has no room, or another domain goes first.
    TopologyFull {
        key: String,
        value: String,
        inside: Arc<[String]>,
    },
    /// The last node started too recently.
    Pacing { until: Instant },
    /// The agent was asked.
    Preparing { asked: Instant, until: Instant },
    /// Another control-plane node is down.
    ControlPlaneBusy { node: String },
    /// Somebody uncordoned the node during the drain.
    Uncordoned,
    /// Somebody holds one of our marks with another value.
    MarksRefused { manager: String, field: String },
    /// A person released the node.
    Released { failure: String },
    /// Rebooted and still asking, for the same cause.
    StillRequired { rebooted: Instant, until: Instant },
    /// Put back; tried again later.
    BackingOff {
        count: i32,
        cause: String,
        message: String,
        until: Instant,
    },
    /// It could not be drained at all.
    PreflightBlocked {
        pod: String,
        why: String,
        /// When it is asked again.
        until: Instant,
    },
    /// Load balancers are given time to look elsewhere before the first eviction.
    LoadBalancerDelay { from: Instant },
    /// A pod may complete.
    PodRunning { what: String },
    /// Volumes are still attached.
    VolumesAttached { what: String },
    /// A pod may not be evicted now.
    EvictionBlocked { what: String },
    /// A pod is shutting down.
    PodTerminating { what: String, until: Option<Instant> },
    /// A pod does not go.
    PodStuck { what: String },
    /// The reboot is under way.
    Rebooting { since: Instant, until: Instant },
    /// Back, but not Ready.
    NodeNotReady { message: String, until: Instant },
    /// A person must look.
    Failed { message: String },
}

/// How an open breaker closes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rearm {
    /// A person retries or releases the failed nodes, or acknowledges them.
    Person,
    /// One node tries at this time.
    ProbeAt(Instant),
    /// This node is trying.
    Probe(String),
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The policy's `maxInProgress`.
    Policy,
    /// The lock's, or the largest of any policy.
    Cluster,
}

impl Waiting {
    /// The reason's name: status, Event and metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ViewIncomplete { .. } => "ViewIncomplete",
            Self::PolicyConflict { .. } => "PolicyConflict",
            Self::NoPolicy => "NoPolicy",
            Self::Suspended { .. } => "Suspended",
            Self::Held { .. } => "Held",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::AgentMissing { .. } => "AgentMissing",
            Self::AgentIncapable { .. } => "AgentIncapable",
            Self::AgentNotAnswering { .. } => "AgentNotAnswering",
            Self::Inhibited { .. } => "Inhibited",
            Self::BreakerOpen { .. } => "BreakerOpen",
            Self::Excluded { .. } => "Excluded",
            Self::OutsideWindow { .. } => "OutsideWindow",
            Self::DoesNotFitWindow { .. } => "DoesNotFitWindow",
            Self::CanarySoaking { .. } => "CanarySoaking",
            Self::TooManyUnavailable { .. } => "TooManyUnavailable",
            Self::NoFreeSlot { .. } => "NoFreeSlot",
            Self::TopologyFull { .. } => "TopologyFull",
            Self::Pacing { .. } => "Pacing",
            Self::Preparing { .. } => "Preparing",
            Self::LoadBalancerDelay { .. } => "LoadBalancerDelay",
            Self::ControlPlaneBusy { .. } => "ControlPlaneBusy",
            Self::Uncordoned => "Uncordoned",
            Self::MarksRefused { .. } => "MarksRefused",
            Self::Released { .. } => "Released",
            Self::StillRequired { .. } => "StillRequired",
            Self::BackingOff { .. } => "BackingOff",
            Self::PreflightBlocked { .. } => "PreflightBlocked",
            Self::PodRunning { .. } => "PodRunning",
            Self::VolumesAttached { .. } => "VolumesAttached",
            Self::EvictionBlocked { .. } => "EvictionBlocked",
            Self::PodTerminating { .. } => "PodTerminating",
            Self::PodStuck { .. } => "PodStuck",
            Self::Rebooting { .. } => "Rebooting",
            Self::NodeNotReady { .. } => "NodeNotReady",
            Self::Failed { .. } => "Failed",
        }
    }

    /// Until when it holds, if that is known.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Held { until, .. }
            | Self::Excluded { until, .. }
            | Self::CanarySoaking { until, .. }
            | Self::PodTerminating { until, .. } => *until,
            Self::OutsideWindow { opens, .. } | Self::DoesNotFitWindow { opens, .. } => *opens,
            Self::LoadBalancerDelay { from } => Some(*from),
            Self::BreakerOpen {
                next: Rearm::ProbeAt(until),
                ..
            }
            | Self::Pacing { until }
            | Self::PreflightBlocked { until, .. }
            | Self::Preparing { until, .. }
            | Self::StillRequired { until, .. }
            | Self::BackingOff { until, .. }
            | Self::Rebooting { until, .. }
            | Self::NodeNotReady { until, .. } => Some(*until),
            Self::ViewIncomplete { .. }
            | Self::PolicyConflict { .. }
            | Self::NoPolicy
            | Self::Suspended { .. }
            | Self::AwaitingApproval { .. }
            | Self::AgentMissing { .. }
            | Self::AgentIncapable { .. }
            | Self::AgentNotAnswering { .. }
            | Self::Inhibited { .. }
            | Self::BreakerOpen { .. }
            | Self::TooManyUnavailable { .. }
            | Self::NoFreeSlot { .. }
            | Self::TopologyFull { .. }
            | Self::PodRunning { .. }
            | Self::VolumesAttached { .. }
            | Self::ControlPlaneBusy { .. }
            | Self::Uncordoned
            | Self::MarksRefused { .. }
            | Self::Released { .. }
            | Self::EvictionBlocked { .. }
            | Self::PodStuck { .. }
            | Self::Failed { .. } => None,
        }
    }
}

/// An instant as every text of ours writes it.
pub fn time(time: Instant) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A length of time in words: `45 s`, `12 min`, `3 h 12 min`.
pub fn duration(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
