//! The words of each waiting reason.

use std::fmt;

use super::{Rearm, Scope, Waiting, duration, time};

/// From this place in the queue on, a waiting node's words no longer name who is inside.
const FAR: usize = 3;

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
            Self::AwaitingApproval { policy } => write!(f, "policy {policy} asks for approval of each node"),
            Self::AgentMissing { since } => write!(f, "no agent has reported from this node since {}", time(*since)),
            Self::AgentIncapable { cause } => write!(f, "the agent cannot reboot this node: {cause}"),
            Self::AgentNotAnswering { order, seconds } => {
                write!(f, "the agent did not answer order {order} within {seconds} s")
            }
            Self::Inhibited { who, why } => write!(f, "{who} asks not to shut down: {why}"),
            Self::BreakerOpen { nodes, next } => {
                let plural = if nodes.len() == 1 { "" } else { "s" };
                write!(
                    f,
                    "stopped after {} failed node{plural} ({}); ",
                    nodes.len(),
                    names(nodes)
                )?;
                match next {
                    Rearm::Person => f.write_str("retry or release them to go on"),
                    Rearm::ProbeAt(at) => write!(f, "probe at {}", time(*at)),
                    Rearm::Probe(node) => write!(f, "{node} is the probe"),
                }
            }
            Self::Excluded { until, reason } => {
                f.write_str("excluded")?;
                until.map_or(Ok(()), |until| write!(f, " until {}", time(until)))?;
                if reason.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {reason}")
                }
            }
            Self::OutsideWindow { opens: Some(opens), .. } => write!(f, "the next window opens {}", time(*opens)),
            Self::OutsideWindow {
                unreadable: Some(why), ..
            } => write!(f, "no window can open: {why}"),
            Self::OutsideWindow { .. } => f.write_str("no window will ever open"),
            Self::DoesNotFitWindow { needs, closes, opens } => {
                write!(
                    f,
                    "needs about {}, the window closes {}",
                    duration(*needs),
                    time(*closes)
                )?;
                opens.map_or(Ok(()), |opens| write!(f, "; next opens {}", time(opens)))
            }
            Self::CanarySoaking { names: all, until } => match (all.as_ref(), until) {
                ([], _) => f.write_str("the first nodes of the rollout must stay healthy"),
                (_, Some(until)) => write!(f, "canary {} must stay healthy until {}", names(all), time(*until)),
                (_, None) => write!(f, "canary {} must be done and stay healthy", names(all)),
            },
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
            Self::TopologyFull { key, value, inside } => {
                let value = if value.is_empty() { "\"\"" } else { value };
                write!(f, "{key} {value} already has {} inside", names(inside))
            }
            Self::Pacing { until } => write!(f, "the next node may start {}", time(*until)),
            Self::LoadBalancerDelay { from } => {
                write!(f, "taken out of load balancers, evicting from {}", time(*from))
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
            Self::PreflightBlocked { pod, why, .. } => write!(f, "could not be drained: {pod}: {why}"),
            Self::PodRunning { what }
            | Self::VolumesAttached { what }
            | Self::EvictionBlocked { what }
            | Self::PodTerminating { what, .. }
            | Self::PodStuck { what } => f.write_str(what),
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
