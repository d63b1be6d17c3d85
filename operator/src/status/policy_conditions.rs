//! The conditions of a policy: `Ready`, `UpToDate`, `Progressing`, `Degraded` always; `Stalled` only while it is true, as
//! kstatus wants it, and so `ScheduleTooTight` and `AcknowledgementInvalid`.

use chrono::{DateTime, Utc};
use lockkeeper_crds::{BreakerState, BreakerStatus, NodeState, names};
use lockkeeper_planner::{InsufficientWindowTime, Policy};
use lockkeeper_reasons::format_time;
use lockkeeper_snapshot::convert::bounded;

use super::node::ConditionDraft;
use super::policy::{MAX_LISTED_NODES, NodeCounts};

/// All conditions without their times.
pub(super) fn drafts(
    count: &NodeCounts,
    unreadable: Option<&str>,
    policy: &Policy,
    breaker: Option<&BreakerStatus>,
    too_tight: Option<&InsufficientWindowTime>,
    acknowledgement: Option<ConditionDraft>,
) -> Vec<ConditionDraft> {
    let pending = count.nodes - count.by_state.get(&NodeState::UpToDate).copied().unwrap_or(0);
    let breaker = breaker.filter(|breaker| breaker.state != BreakerState::Closed);
    let always = [
        ready(count, unreadable, policy, breaker, pending),
        up_to_date(count, pending),
        progressing(count),
        degraded(count),
    ];
    let only_while_true = [stalled(count, unreadable), tight(too_tight), acknowledgement];
    always
        .into_iter()
        .chain(only_while_true.into_iter().flatten())
        .collect()
}

/// What is said of a policy that cannot be decoded: nothing is known but that.
pub fn undecodable(name: &str, cause: &str) -> Vec<ConditionDraft> {
    let message = format!(
        "{cause}; no node of any policy starts until it is corrected: kubectl edit rbp {name}, or apply the \
         definitions of this version"
    );
    let of = |type_, status| draft(type_, status, "InvalidSpec", message.clone());
    vec![of("Ready", "False"), of("UpToDate", "Unknown"), of("Stalled", "True")]
}

fn ready(
    count: &NodeCounts,
    unreadable: Option<&str>,
    policy: &Policy,
    breaker: Option<&BreakerStatus>,
    pending: i32,
) -> ConditionDraft {
    let draft = |status, reason, message: String| draft("Ready", status, reason, message);
    if let Some(why) = unreadable {
        let message = format!("{why}; no node starts until it is corrected");
        return draft("False", "InvalidSpec", message);
    }
    match (count.failed.as_slice(), breaker) {
        ([], None) if policy.suspend => draft("True", "Suspended", "suspended: no node starts".to_owned()),
        ([], None) if pending == 0 => draft("True", "UpToDate", "no node needs a reboot".to_owned()),
        ([], None) => {
            let message = format!("{pending} of {} nodes are not done", count.nodes);
            draft("True", "RollingOut", message)
        }
        (failed, None) => {
            let message = format!("{} failed; look at it, then retry or release it", list(failed));
            draft("False", "NodesFailed", message)
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
            draft("False", "NodesFailed", message)
        }
    }
}

fn up_to_date(count: &NodeCounts, pending: i32) -> ConditionDraft {
    let draft = |status, reason, message: String| draft("UpToDate", status, reason, message);
    match (pending, count.unknown) {
        (0, _) => draft("True", "NothingPending", "no node needs a reboot".to_owned()),
        (left, unknown) if left == unknown => {
            let message = format!("no agent has reported from {unknown} nodes");
            draft("Unknown", "AgentMissing", message)
        }
        (left, _) => {
            let message = format!("{left} of {} nodes are not done", count.nodes);
            draft("False", "NodesPending", message)
        }
    }
}

fn progressing(count: &NodeCounts) -> ConditionDraft {
    match count.inside.as_slice() {
        [] => draft("Progressing", "False", "NoneInProgress", String::new()),
        inside => draft(
            "Progressing",
            "True",
            "NodesInProgress",
            format!("{} inside", list(inside)),
        ),
    }
}

fn degraded(count: &NodeCounts) -> ConditionDraft {
    let still = count.waiting.get("StillRequired").map(|nodes| list(nodes));
    match (count.failed.as_slice(), still) {
        ([], None) => draft("Degraded", "False", "NoFailure", String::new()),
        ([], Some(nodes)) => {
            let message = format!("{nodes} still asks for a reboot after one; look at what asks there");
            draft("Degraded", "True", "StillRequired", message)
        }
        (failed, _) => draft("Degraded", "True", "NodesFailed", format!("{} failed", list(failed))),
    }
}

fn stalled(count: &NodeCounts, unreadable: Option<&str>) -> Option<ConditionDraft> {
    let (reason, message) = match (unreadable, count.failed.as_slice()) {
        (Some(why), _) => ("InvalidSpec", why.to_owned()),
        (None, []) => return None,
        (None, failed) => ("NodesFailed", format!("{} must be looked at", list(failed))),
    };
    Some(draft("Stalled", "True", reason, message))
}

fn tight(too_tight: Option<&InsufficientWindowTime>) -> Option<ConditionDraft> {
    let why = too_tight?;
    let reason = match why {
        InsufficientWindowTime::LittleTime { .. } => "InsufficientWindowTime",
        InsufficientWindowTime::TooManyNodes { .. } => "TooManyNodes",
    };
    Some(draft("ScheduleTooTight", "True", reason, why.to_string()))
}

/// A person's word that the breaker cannot make use of.
pub(super) fn acknowledgement(
    text: Option<&String>,
    breaker: Option<&BreakerStatus>,
    now: DateTime<Utc>,
) -> Option<ConditionDraft> {
    let text = text?.trim();
    let (reason, wrong) = match DateTime::parse_from_rfc3339(text) {
        Err(_) => ("InvalidTime", "is no time"),
        Ok(time) if time > now => ("InTheFuture", "lies in the future"),
        Ok(_) => return None,
    };
    let opened = breaker.and_then(|breaker| breaker.opened_time);
    let remedy = opened.map_or("remove it".to_owned(), |opened| {
        format!("the breaker opened at {0}: set it to {0}", format_time(opened))
    });
    let (key, text) = (names::BREAKER_ACKNOWLEDGED, bounded(text, 64));
    let message = format!("the annotation {key}: \"{text}\" {wrong} and acknowledges nothing; {remedy}");
    Some(draft("AcknowledgementInvalid", "True", reason, message))
}

fn draft(type_: &'static str, status: &'static str, reason: &'static str, message: String) -> ConditionDraft {
    ConditionDraft {
        type_,
        status,
        reason,
        message,
    }
}

fn list(nodes: &[String]) -> String {
    nodes
        .iter()
        .take(MAX_LISTED_NODES)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_that_cannot_be_read_says_what_to_write() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let open = BreakerStatus {
            state: BreakerState::Open,
            opened_time: Some(at("2026-11-24T22:10:00Z")),
            failed_nodes: vec!["w-01".to_owned()],
        };
        let said = |text: &str, breaker: Option<&BreakerStatus>| {
            let found = acknowledgement(Some(&text.to_owned()), breaker, at("2026-11-24T23:00:00Z"));
            found.map(|draft| format!("{}: {}", draft.reason, draft.message))
        };
        assert_eq!(
            said("yes", Some(&open)).unwrap(),
            "InvalidTime: the annotation lockkeeper.dev/breaker-acknowledged: \"yes\" is no time and acknowledges nothing; \
             the breaker opened at 2026-11-24T22:10:00Z: set it to 2026-11-24T22:10:00Z"
        );
        assert_eq!(
            said("2027-01-01T00:00:00Z", None).unwrap(),
            "InTheFuture: the annotation lockkeeper.dev/breaker-acknowledged: \"2027-01-01T00:00:00Z\" lies in the \
             future and acknowledges nothing; remove it"
        );
        assert_eq!(said("2026-11-24T22:10:00Z", Some(&open)), None);
        assert!(acknowledgement(None, Some(&open), at("2026-11-24T23:00:00Z")).is_none());
    }
}
