//! The message of each reason: one full sentence a variant.

use std::fmt;

use crate::text::names;
use crate::{BreakerRecovery, ConfinementGap, Instant, LimitScope, WaitReason, format_duration, format_time, plural};

/// From this place in the queue on, a message no longer names the nodes in progress.
///
/// Otherwise each node that starts would change the status of every node in the queue.
const FAR: usize = 3;

impl fmt::Display for WaitReason {
    // One arm a reason: longer than other functions, and nothing but text.
    #[allow(clippy::too_many_lines)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ViewIncomplete(gap) => gap.fmt(f),
            Self::PolicyConflict { policies } => write!(
                f,
                "selected by more than one policy ({}); a node must match exactly one",
                policies.join(", ")
            ),
            Self::NoPolicy => f.write_str("no policy selects this node"),
            Self::Suspended { policy } => write!(f, "policy {policy} is suspended"),
            Self::BeingDeleted { taint, since, stale } => being_deleted(f, taint.as_deref(), *since, *stale),
            Self::Held { reason, until } => {
                write!(f, "held by annotation: \"{reason}\"")?;
                until.map_or(Ok(()), |until| write!(f, ", until {}", format_time(until)))
            }
            Self::AwaitingApproval { policy } => {
                write!(f, "waiting for manual approval (required by policy {policy})")
            }
            Self::AgentMissing { since } => {
                write!(f, "no agent has reported from this node since {}", format_time(*since))
            }
            Self::AgentNotConfined(gap) => not_confined(f, gap),
            Self::AgentIncapable { cause } => write!(f, "the agent cannot reboot this node: {cause}"),
            Self::JustBooted { until } => write!(
                f,
                "the host has just booted; its agent reboots it only from {} on",
                format_time(*until)
            ),
            Self::AgentNotAnswering { order, seconds } => {
                write!(f, "the node agent did not answer order {order} within {seconds} s")
            }
            Self::Inhibited { who, why } => write!(f, "shutdown inhibited by {who}: {why}"),
            Self::BreakerOpen { nodes, recovery } => breaker_open(f, nodes, recovery),
            Self::Excluded { until, reason } => {
                f.write_str("excluded")?;
                until.map_or(Ok(()), |until| write!(f, " until {}", format_time(until)))?;
                if reason.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {reason}")
                }
            }
            Self::OutsideWindow { opens: Some(opens), .. } => {
                write!(f, "the next window opens at {}", format_time(*opens))
            }
            Self::OutsideWindow { invalid: Some(why), .. } => {
                write!(f, "no window can open because the schedule is invalid: {why}")
            }
            Self::OutsideWindow { .. } => f.write_str("no window will open again"),
            Self::DoesNotFitWindow { needs, closes, opens } => {
                let (needs, closes) = (format_duration(*needs), format_time(*closes));
                write!(f, "a reboot takes about {needs} but the window closes at {closes}")?;
                opens.map_or(Ok(()), |opens| {
                    write!(f, "; the next one opens at {}", format_time(opens))
                })
            }
            Self::CanarySoaking { names: all, until } => match (all.as_ref(), until) {
                ([], _) => f.write_str("waiting for the first nodes of the rollout to finish and stay healthy"),
                (_, Some(until)) => write!(
                    f,
                    "canary {} must stay healthy until {}",
                    names(all),
                    format_time(*until)
                ),
                (_, None) => write!(f, "waiting for canary {} to finish and stay healthy", names(all)),
            },
            Self::TooManyUnavailable { nodes, max } => {
                let list: Vec<String> = nodes.iter().map(|(node, why)| format!("{node} ({why})")).collect();
                let count = plural(nodes.len(), "node");
                write!(f, "{count} unavailable, at most {max} allowed: {}", names(&list))
            }
            Self::NoFreeSlot {
                in_progress,
                max,
                scope,
                ahead,
            } => no_free_slot(f, in_progress, *max, *scope, *ahead),
            Self::TopologyFull {
                key,
                value,
                in_progress,
            } => {
                let value = if value.is_empty() { "\"\"" } else { value };
                write!(
                    f,
                    "limit for {key} {value} reached (in progress: {})",
                    names(in_progress)
                )
            }
            Self::Pacing { until } => write!(f, "the next node may start at {}", format_time(*until)),
            Self::ControlPlaneBusy { node } => write!(f, "another control-plane node is down: {node}"),
            Self::Released { failure } => {
                write!(
                    f,
                    "released manually after a failure ({failure}); not rebooted again for the same cause"
                )
            }
            Self::StillRequired {
                reboots,
                since: Some(since),
                rebooted,
                until,
            } => write!(
                f,
                "requires a reboot again after {} since {}, the last at {}; next attempt not before {}",
                plural(*reboots, "reboot"),
                format_time(*since),
                format_time(*rebooted),
                format_time(*until)
            ),
            Self::StillRequired {
                reboots,
                since: None,
                rebooted,
                until,
            } => {
                let (rebooted, until) = (format_time(*rebooted), format_time(*until));
                f.write_str("still requires a reboot for the same cause after ")?;
                match reboots {
                    0 | 1 => write!(f, "rebooting at {rebooted}")?,
                    reboots => write!(f, "{reboots} reboots in a row, the last at {rebooted}")?,
                }
                write!(f, "; next attempt not before {until}")
            }
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
                write!(
                    f,
                    "deferred {times} ({cause}: {message}); next attempt at {}",
                    format_time(*until)
                )
            }
            Self::ChecksPending { job: None, .. } => f.write_str("the checks of the policy are being evaluated"),
            Self::ChecksPending { job: Some(job), .. } => {
                write!(f, "the checks of the policy are being evaluated: {job}")
            }
            Self::CheckUnavailable { check, error, until } => {
                write!(f, "check {check} could not be evaluated: {error}")?;
                write_failed_at(f, *until)
            }
            Self::CheckFailing { check, what, until } => {
                write!(f, "check {check} fails: {what}")?;
                write_failed_at(f, *until)
            }
            Self::Soaking { until } => write!(
                f,
                "rebooted and healthy; its slot is freed at {} if it stays healthy until then",
                format_time(*until)
            ),
            Self::PreflightBlocked { pod, why, .. } if pod.is_empty() => write!(f, "cannot be drained: {why}"),
            Self::PreflightBlocked { pod, why, .. } => write!(f, "cannot be drained: pod {pod}: {why}"),
            Self::Preparing { asked, .. } => {
                write!(
                    f,
                    "waiting for the node agent to respond (asked at {})",
                    format_time(*asked)
                )
            }
            Self::NoticeGiven { until } => {
                write!(
                    f,
                    "advance notice was given; evictions start at {}, or the reboot once all pods have left",
                    format_time(*until)
                )
            }
            Self::LoadBalancerDelay { from } => {
                write!(
                    f,
                    "waiting for load balancers; evictions start at {}",
                    format_time(*from)
                )
            }
            Self::HookRunning { hook, what, until } => {
                write!(f, "hook {hook}: {what}; it times out at {}", format_time(*until))
            }
            Self::HookUnavailable { hook, error, until } => {
                write!(f, "hook {hook}: {error}; it times out at {}", format_time(*until))
            }
            Self::HookFailed { hook, message } => write!(f, "hook {hook} failed: {message}"),
            Self::Uncordoned => f.write_str("uncordoned by another client during the drain; deferred"),
            Self::PodRunning { message }
            | Self::ResponderActive { message, .. }
            | Self::VolumesAttached { message, .. }
            | Self::EvictionBlocked { message }
            | Self::WriteRefused { message }
            | Self::PodTerminating { message, .. }
            | Self::PodStuck { message }
            | Self::Failed { message } => f.write_str(message),
            Self::Rebooting { since, until } => {
                write!(
                    f,
                    "rebooting since {}; times out at {}",
                    format_time(*since),
                    format_time(*until)
                )
            }
            Self::AwaitingExternalReboot { since, until } => write!(
                f,
                "drained since {}: reboot it now (reboot.method: External); times out at {}",
                format_time(*since),
                format_time(*until)
            ),
            Self::RebootRefused { cause, until } => write!(
                f,
                "the reboot was refused ({cause}); the node stays cordoned until the kubelet confirms that the host stays up, \
                 or until {}",
                format_time(*until)
            ),
            Self::NodeNotReady { message, .. } => {
                write!(f, "rebooted; waiting for the node to become Ready: {message}")
            }
            Self::WorkloadsNotReady {
                workloads,
                failure,
                until,
            } => workloads_not_ready(f, workloads, failure.as_deref(), *until),
        }
    }
}

/// When the node is Failed, if it has rebooted already.
fn write_failed_at(f: &mut fmt::Formatter<'_>, until: Option<Instant>) -> fmt::Result {
    until.map_or(Ok(()), |until| {
        write!(f, "; the node is Failed at {} if this lasts", format_time(until))
    })
}

fn being_deleted(f: &mut fmt::Formatter<'_>, taint: Option<&str>, since: Option<Instant>, stale: bool) -> fmt::Result {
    let since = since.map(|since| format!(" since {}", format_time(since)));
    let since = since.unwrap_or_default();
    match (taint, stale) {
        (None, _) => write!(f, "this Node is being deleted{since}"),
        (Some(taint), false) => write!(f, "this node has been marked for deletion{since} (taint {taint})"),
        (Some(taint), true) => write!(
            f,
            "this node has been marked for deletion{since} (taint {taint}) but is still Ready; remove the taint if it is stale"
        ),
    }
}

fn not_confined(f: &mut fmt::Formatter, gap: &ConfinementGap) -> fmt::Result {
    match gap {
        ConfinementGap::NotConfined { nodes, cause } => {
            let (count, verb) = (
                plural(nodes.len(), "agent"),
                if nodes.len() == 1 { "is" } else { "are" },
            );
            let all = names(nodes);
            write!(
                f,
                "no node starts: {count} ({all}) {verb} not confined to one node: {cause}"
            )
        }
        ConfinementGap::Unreported { cause } => {
            write!(f, "the agent does not report that it is confined to this node: {cause}")
        }
    }
}

fn breaker_open(f: &mut fmt::Formatter<'_>, nodes: &[String], recovery: &BreakerRecovery) -> fmt::Result {
    write!(
        f,
        "breaker open: {} ({}); ",
        plural(nodes.len(), "failed node"),
        names(nodes)
    )?;
    match recovery {
        BreakerRecovery::Manual if nodes.len() == 1 => f.write_str("retry or release it to continue"),
        BreakerRecovery::Manual => f.write_str("retry or release them to continue"),
        BreakerRecovery::ProbeAt(at) => write!(f, "one node starts as a probe at {}", format_time(*at)),
        BreakerRecovery::Probing(node) => write!(f, "probing with {node}"),
    }
}

fn no_free_slot(
    f: &mut fmt::Formatter<'_>,
    in_progress: &[String],
    max: usize,
    scope: LimitScope,
    ahead: usize,
) -> fmt::Result {
    let limit = match scope {
        LimitScope::Policy => "policy limit",
        LimitScope::Cluster => "cluster limit",
    };
    let count = in_progress.len();
    match (count, ahead) {
        (0, _) => write!(f, "no free slot: the {limit} is {max}"),
        (_, FAR..) => write!(
            f,
            "no free slot ({max}, {limit}); {FAR} or more nodes ahead in the queue"
        ),
        (_, 0) => write!(
            f,
            "no free slot: {} in progress ({count} of {max}, {limit})",
            names(in_progress)
        ),
        (_, ahead) => write!(
            f,
            "no free slot: {} in progress ({count} of {max}, {limit}); {} ahead in the queue",
            names(in_progress),
            plural(ahead, "node")
        ),
    }
}

fn workloads_not_ready(
    f: &mut fmt::Formatter<'_>,
    workloads: &[String],
    failure: Option<&str>,
    until: Instant,
) -> fmt::Result {
    let until = format_time(until);
    if workloads.is_empty() {
        write!(
            f,
            "uncordoned; checking whether the workloads that were evicted are ready again, until {until} at most"
        )?;
    } else {
        write!(
            f,
            "uncordoned; waiting until {until} at most for {} to be ready again: {}",
            plural(workloads.len(), "evicted workload"),
            names(workloads)
        )?;
    }
    failure.map_or(Ok(()), |failure| write!(f, "; {failure}"))
}
