//! The conditions of a policy: `Ready`, `UpToDate`, `Progressing`, `Degraded` always; `Stalled` only while it is true, as
//! kstatus wants it, and so `ScheduleTooTight`.

use lockkeeper_crds::{BreakerState, BreakerStatus, NodeState};
use lockkeeper_planner::{Policy, TooTight};

use super::node::Fact;
use super::policy::{Count, SHOWN};

/// All conditions without their times.
pub(super) fn facts(
    count: &Count,
    unreadable: Option<&str>,
    policy: &Policy,
    breaker: Option<&BreakerStatus>,
    too_tight: Option<&TooTight>,
) -> Vec<Fact> {
    let pending = count.nodes - count.by_state.get(&NodeState::UpToDate).copied().unwrap_or(0);
    let breaker = breaker.filter(|breaker| breaker.state != BreakerState::Closed);
    let always = [
        ready(count, unreadable, policy, breaker, pending),
        up_to_date(count, pending),
        progressing(count),
        degraded(count),
    ];
    let only_while_true = [stalled(count, unreadable), tight(too_tight)];
    always
        .into_iter()
        .chain(only_while_true.into_iter().flatten())
        .collect()
}

fn ready(
    count: &Count,
    unreadable: Option<&str>,
    policy: &Policy,
    breaker: Option<&BreakerStatus>,
    pending: i32,
) -> Fact {
    let fact = |status, reason, message: String| fact("Ready", status, reason, message);
    if let Some(why) = unreadable {
        let message = format!("{why}; no node starts until it is corrected");
        return fact("False", "InvalidSpec", message);
    }
    match (count.failed.as_slice(), breaker) {
        ([], None) if policy.suspend => fact("True", "Suspended", "suspended: no node starts".to_owned()),
        ([], None) if pending == 0 => fact("True", "UpToDate", "no node needs a reboot".to_owned()),
        ([], None) => {
            let message = format!("{pending} of {} nodes are not done", count.nodes);
            fact("True", "RollingOut", message)
        }
        (failed, None) => {
            let message = format!("{} failed; look at it, then retry or release it", list(failed));
            fact("False", "NodesFailed", message)
        }
        (failed, Some(breaker)) => {
            let failed = if failed.is_empty() {
                &breaker.failed_nodes
            } else {
                failed
            };
            let others = match breaker.state {
                BreakerState::Probing => "one other node probes whether all is well again",
                BreakerState::Open | BreakerState::Closed | BreakerState::Unknown => "no other node starts",
            };
            let message = format!(
                "{} failed, {others}; look at it, then retry or release it",
                list(failed)
            );
            fact("False", "NodesFailed", message)
        }
    }
}

fn up_to_date(count: &Count, pending: i32) -> Fact {
    let fact = |status, reason, message: String| fact("UpToDate", status, reason, message);
    match (pending, count.unknown) {
        (0, _) => fact("True", "NothingPending", "no node needs a reboot".to_owned()),
        (left, unknown) if left == unknown => {
            let message = format!("no agent has reported from {unknown} nodes");
            fact("Unknown", "AgentMissing", message)
        }
        (left, _) => {
            let message = format!("{left} of {} nodes are not done", count.nodes);
            fact("False", "NodesPending", message)
        }
    }
}

fn progressing(count: &Count) -> Fact {
    match count.inside.as_slice() {
        [] => fact("Progressing", "False", "NobodyInside", String::new()),
        inside => fact("Progressing", "True", "NodesInside", format!("{} inside", list(inside))),
    }
}

fn degraded(count: &Count) -> Fact {
    let still = count.waiting.get("StillRequired").map(|nodes| list(nodes));
    match (count.failed.as_slice(), still) {
        ([], None) => fact("Degraded", "False", "NoFailure", String::new()),
        ([], Some(nodes)) => {
            let message = format!("{nodes} still asks for a reboot after one; look at what asks there");
            fact("Degraded", "True", "StillRequired", message)
        }
        (failed, _) => fact("Degraded", "True", "NodesFailed", format!("{} failed", list(failed))),
    }
}

fn stalled(count: &Count, unreadable: Option<&str>) -> Option<Fact> {
    let (reason, message) = match (unreadable, count.failed.as_slice()) {
        (Some(why), _) => ("InvalidSpec", why.to_owned()),
        (None, []) => return None,
        (None, failed) => ("NodesFailed", format!("{} must be looked at", list(failed))),
    };
    Some(fact("Stalled", "True", reason, message))
}

fn tight(too_tight: Option<&TooTight>) -> Option<Fact> {
    let why = too_tight?;
    let reason = match why {
        TooTight::LittleTime { .. } => "LittleOpenTime",
        TooTight::TooManyNodes { .. } => "TooManyNodes",
    };
    Some(fact("ScheduleTooTight", "True", reason, why.to_string()))
}

fn fact(type_: &'static str, status: &'static str, reason: &'static str, message: String) -> Fact {
    Fact {
        type_,
        status,
        reason,
        message,
    }
}

fn list(nodes: &[String]) -> String {
    nodes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ")
}
