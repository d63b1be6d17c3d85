//! Why a node waits: the closed list, with its data and its words.
//!
//! The name is the status reason, the Event reason and the metric label; the `Display` is what status, Events, CLI,
//! logs and tests print. A reason is added here or nowhere.

use std::fmt;

use chrono::TimeDelta;

use crate::Instant;

/// Why a node waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The operator has not seen everything.
    ViewIncomplete { what: String },
    /// More than one policy selects the node.
    PolicyConflict { policies: Vec<String> },
    /// No policy selects the node.
    NoPolicy,
    /// The policy is suspended.
    Suspended { policy: String },
    /// A person holds the node.
    Held { reason: String, until: Option<Instant> },
    /// No agent reports from the node.
    AgentMissing { since: Instant },
    /// The agent cannot reboot the node.
    AgentIncapable { cause: String },
    /// The agent did not answer in time.
    AgentNotAnswering { order: String, seconds: i64 },
    /// A program asks not to shut down.
    Inhibited { who: String, why: String },
    /// Failed nodes stopped the policy.
    BreakerOpen { nodes: Vec<String> },
    /// The windows are closed.
    OutsideWindow {
        opens: Option<Instant>,
        unreadable: Option<String>,
    },
    /// Too many nodes are down for any reason.
    TooManyUnavailable { down: Vec<(String, String)>, max: usize },
    /// The lock is full.
    NoFreeSlot {
        inside: Vec<String>,
        max: usize,
        scope: Scope,
        before: usize,
    },
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
    PreflightBlocked { pod: String, why: String },
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

/// From this place in the queue on, a waiting node's words no longer name who is inside.
const FAR: usize = 3;

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
            Self::AgentMissing { .. } => "AgentMissing",
            Self::AgentIncapable { .. } => "AgentIncapable",
            Self::AgentNotAnswering { .. } => "AgentNotAnswering",
            Self::Inhibited { .. } => "Inhibited",
            Self::BreakerOpen { .. } => "BreakerOpen",
            Self::OutsideWindow { .. } => "OutsideWindow",
            Self::TooManyUnavailable { .. } => "TooManyUnavailable",
            Self::NoFreeSlot { .. } => "NoFreeSlot",
            Self::Preparing { .. } => "Preparing",
            Self::ControlPlaneBusy { .. } => "ControlPlaneBusy",
            Self::Uncordoned => "Uncordoned",
            Self::MarksRefused { .. } => "MarksRefused",
            Self::Released { .. } => "Released",
            Self::StillRequired { .. } => "StillRequired",
            Self::BackingOff { .. } => "BackingOff",
            Self::PreflightBlocked { .. } => "PreflightBlocked",
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
            Self::Held { until, .. } | Self::PodTerminating { until, .. } => *until,
            Self::OutsideWindow { opens, .. } => *opens,
            Self::Preparing { until, .. }
            | Self::StillRequired { until, .. }
            | Self::BackingOff { until, .. }
            | Self::Rebooting { until, .. }
            | Self::NodeNotReady { until, .. } => Some(*until),
            Self::ViewIncomplete { .. }
            | Self::PolicyConflict { .. }
            | Self::NoPolicy
            | Self::Suspended { .. }
            | Self::AgentMissing { .. }
            | Self::AgentIncapable { .. }
            | Self::AgentNotAnswering { .. }
            | Self::Inhibited { .. }
            | Self::BreakerOpen { .. }
            | Self::TooManyUnavailable { .. }
            | Self::NoFreeSlot { .. }
            | Self::ControlPlaneBusy { .. }
            | Self::Uncordoned
            | Self::MarksRefused { .. }
            | Self::Released { .. }
            | Self::PreflightBlocked { .. }
            | Self::EvictionBlocked { .. }
            | Self::PodStuck { .. }
            | Self::Failed { .. } => None,
        }
    }
}

impl fmt::Display for Waiting {
    // One arm a reason: longer than other functions, and nothing but words.
    #[allow(clippy::too_many_lines)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ViewIncomplete { what } => write!(f, "the operator has not seen {what} yet"),
            Self::PolicyConflict { policies } => {
                write!(
                    f,
                    "matched by policies {}: a node belongs to exactly one",
                    policies.join(", ")
                )
            }
            Self::NoPolicy => f.write_str("no policy selects this node"),
            Self::Suspended { policy } => write!(f, "policy {policy} is suspended"),
            Self::Held { reason, until } => {
                write!(f, "held by annotation: \"{reason}\"")?;
                until.map_or(Ok(()), |until| write!(f, ", until {}", time(until)))
            }
            Self::AgentMissing { since } => write!(f, "no agent has reported from this node since {}", time(*since)),
            Self::AgentIncapable { cause } => write!(f, "the agent cannot reboot this node: {cause}"),
            Self::AgentNotAnswering { order, seconds } => {
                write!(f, "the agent did not answer order {order} within {seconds} s")
            }
            Self::Inhibited { who, why } => write!(f, "{who} asks not to shut down: {why}"),
            Self::BreakerOpen { nodes } => {
                let plural = if nodes.len() == 1 { "" } else { "s" };
                write!(
                    f,
                    "stopped after {} failed node{plural} ({}); ",
                    nodes.len(),
                    names(nodes)
                )?;
                f.write_str("retry or release them to go on")
            }
            Self::OutsideWindow { opens: Some(opens), .. } => write!(f, "the next window opens {}", time(*opens)),
            Self::OutsideWindow {
                unreadable: Some(why), ..
            } => write!(f, "no window can open: {why}"),
            Self::OutsideWindow { .. } => f.write_str("no window will ever open"),
            Self::TooManyUnavailable { down, max } => {
                let list: Vec<String> = down.iter().map(|(node, why)| format!("{node} ({why})")).collect();
                write!(f, "{} of at most {max} nodes are down: {}", down.len(), names(&list))
            }
            Self::NoFreeSlot {
                inside,
                max,
                scope,
                before,
            } => {
                let whose = match scope {
                    Scope::Policy => "policy",
                    Scope::Cluster => "cluster",
                };
                match (inside.is_empty(), *before) {
                    (true, _) => write!(f, "no free slot: the {whose} allows none ({max})"),
                    (false, 0) => write!(
                        f,
                        "no free slot: {} inside ({} of {max}, {whose})",
                        names(inside),
                        inside.len()
                    ),
                    // Far back in the queue the words stay the same, or each grant would rewrite every status.
                    (false, FAR..) => write!(f, "no free slot ({max}, {whose}); {FAR} or more before this one"),
                    (false, before) => write!(
                        f,
                        "no free slot: {} inside ({} of {max}, {whose}); {before} before this one",
                        names(inside),
                        inside.len()
                    ),
                }
            }
            Self::Preparing { asked, .. } => write!(f, "the agent was asked at {}", time(*asked)),
            Self::ControlPlaneBusy { node } => write!(f, "another control-plane node is down: {node}"),
            Self::Uncordoned => f.write_str("somebody uncordoned this node while it was being drained; put back"),
            Self::MarksRefused { manager, field } => {
                write!(f, "{manager} holds {field} on this node with another value")
            }
            Self::Released { failure } => {
                write!(f, "released by a person after: {failure}; not again for the same cause")
            }
            Self::StillRequired { rebooted, until } => write!(
                f,
                "rebooted at {} and still asks for a reboot for the same cause; not again before {}",
                time(*rebooted),
                time(*until)
            ),
            Self::BackingOff {
                count,
                cause,
                message,
                until,
            } => {
                let times = if *count == 1 {
                    "once".to_owned()
                } else {
                    format!("{count} times")
                };
                write!(f, "put back {times} ({cause}: {message}); tried again {}", time(*until))
            }
            Self::PreflightBlocked { pod, why } => write!(f, "could not be drained: {pod}: {why}"),
            Self::EvictionBlocked { what } | Self::PodTerminating { what, .. } | Self::PodStuck { what } => {
                f.write_str(what)
            }
            Self::Rebooting { since, until } => {
                write!(f, "rebooting since {}, given up on at {}", time(*since), time(*until))
            }
            Self::NodeNotReady { message, .. } => write!(f, "back with a new boot, not Ready: {message}"),
            Self::Failed { message } => f.write_str(message),
        }
    }
}

/// At most three names, and how many more there are.
fn names(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = all
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > SHOWN {
        format!("{shown} and {} more", all.len() - SHOWN)
    } else {
        shown
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
