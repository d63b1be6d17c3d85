//! The conditions of a `RebootPolicy`: `Ready`, `UpToDate`, `Progressing` and `Degraded` always, the others only while they
//! are true.

use chrono::{DateTime, Utc};
use lockkeeper_crds::{BreakerState, BreakerStatus, NodeState, names};
use lockkeeper_planner::{CheckStage, CheckVerdict, Checks, InsufficientWindowTime, Policy};
use lockkeeper_reasons::{ReasonName, format_time, plural};
use lockkeeper_snapshot::convert::bounded;

use super::condition::{ConditionDraft, ConditionReason as Reason, ConditionStatus as Status, ConditionType as Type};
use super::node_counts::{MAX_LISTED_NODES, NodeCounts};

/// All conditions of a policy whose schedule is `invalid` for this cause, if it is.
pub(super) fn drafts(
    count: &NodeCounts,
    invalid: Option<&str>,
    policy: &Policy,
    breaker: Option<&BreakerStatus>,
    window_time: Option<&InsufficientWindowTime>,
    acknowledgement: Option<ConditionDraft>,
    deadline: Vec<ConditionDraft>,
) -> Vec<ConditionDraft> {
    let breaker = breaker.filter(|breaker| breaker.state != BreakerState::Closed);
    let always = [
        ready(count, invalid, policy.suspend, breaker),
        up_to_date(count),
        progressing(count),
        degraded(count),
    ];
    let only_while_true = [
        stalled(count, invalid),
        window_time.map(schedule_too_tight),
        agents_incapable(count),
        checks_failing(policy.checks.as_ref()),
        acknowledgement,
    ];
    always
        .into_iter()
        .chain(only_while_true.into_iter().flatten())
        .chain(deadline)
        .collect()
}

/// The conditions of a policy that cannot be decoded: nothing else is known.
pub fn invalid_policy(name: &str, cause: &str) -> Vec<ConditionDraft> {
    let message = format!(
        "{cause}; no node of any policy starts until it is fixed: kubectl edit rbp {name}, or apply the CRDs of this version"
    );
    let draft = |type_, status| ConditionDraft::new(type_, status, Reason::InvalidSpec, message.as_str());
    vec![
        draft(Type::Ready, Status::False),
        draft(Type::UpToDate, Status::Unknown),
        draft(Type::Stalled, Status::True),
    ]
}

/// Whether the policy works.
pub(super) fn ready(
    count: &NodeCounts,
    invalid: Option<&str>,
    suspended: bool,
    breaker: Option<&BreakerStatus>,
) -> ConditionDraft {
    let draft = |status: bool, reason, message: String| ConditionDraft::new(Type::Ready, status, reason, message);
    if let Some(cause) = invalid {
        let message = format!("{cause}; no node starts until it is fixed");
        return draft(false, Reason::InvalidSpec, message);
    }
    match (count.failed.as_slice(), breaker) {
        ([], None) if suspended => draft(true, Reason::Suspended, "suspended: no node starts".to_owned()),
        ([], None) if count.outdated() == 0 => draft(true, Reason::UpToDate, "no node requires a reboot".to_owned()),
        ([], None) => draft(true, Reason::RollingOut, not_up_to_date(count)),
        (failed, None) => {
            let message = format!("{} failed; check it, then retry or release it", list(failed));
            draft(false, Reason::NodesFailed, message)
        }
        (failed, Some(breaker)) => {
            let failed = if failed.is_empty() {
                &breaker.failed_nodes
            } else {
                failed
            };
            let others = match breaker.state {
                BreakerState::Probing => "allowing one node as a probe",
                BreakerState::Open | BreakerState::Closed | BreakerState::Unknown => "no other node starts",
            };
            let message = format!("{} failed; {others}; check it, then retry or release it", list(failed));
            draft(false, Reason::NodesFailed, message)
        }
    }
}

/// Whether no node of the policy requires a reboot.
pub(super) fn up_to_date(count: &NodeCounts) -> ConditionDraft {
    let draft = |status, reason, message: String| ConditionDraft::new(Type::UpToDate, status, reason, message);
    let unknown = count.of(NodeState::Unknown);
    match count.outdated() {
        0 => {
            let message = "no node requires a reboot".to_owned();
            draft(Status::True, Reason::NothingPending, message)
        }
        outdated if outdated == unknown => {
            let nodes = plural(usize::try_from(unknown).unwrap_or_default(), "node");
            let message = format!(
                "it is unknown whether {nodes} must be rebooted: no agent report, a failing detector, or not Ready"
            );
            draft(Status::Unknown, Reason::NodesUnknown, message)
        }
        _ => draft(Status::False, Reason::NodesPending, not_up_to_date(count)),
    }
}

/// Whether a node of the policy is in progress.
pub(super) fn progressing(count: &NodeCounts) -> ConditionDraft {
    match count.in_progress.as_slice() {
        [] => ConditionDraft::new(Type::Progressing, Status::False, Reason::NoneInProgress, ""),
        nodes => {
            let message = format!("in progress: {}", list(nodes));
            ConditionDraft::new(Type::Progressing, Status::True, Reason::NodesInProgress, message)
        }
    }
}

/// Whether a node failed, or still requires a reboot after one.
pub(super) fn degraded(count: &NodeCounts) -> ConditionDraft {
    let draft = |status, reason, message: String| ConditionDraft::new(Type::Degraded, status, reason, message);
    match (count.failed.as_slice(), count.waiting.get(&ReasonName::StillRequired)) {
        ([], None) => draft(Status::False, Reason::NoFailure, String::new()),
        ([], Some(nodes)) => {
            let message = format!(
                "{} still requires a reboot after rebooting; check what sets its reboot-required flag",
                list(nodes)
            );
            draft(Status::True, Reason::StillRequired, message)
        }
        (failed, _) => draft(Status::True, Reason::NodesFailed, format!("{} failed", list(failed))),
    }
}

/// Whether a person must act before the policy continues.
pub(super) fn stalled(count: &NodeCounts, invalid: Option<&str>) -> Option<ConditionDraft> {
    let (reason, message) = match (invalid, count.failed.as_slice()) {
        (Some(cause), _) => (Reason::InvalidSpec, cause.to_owned()),
        (None, []) => return None,
        (None, failed) => (
            Reason::NodesFailed,
            format!("{} failed; check it, then retry or release it", list(failed)),
        ),
    };
    Some(ConditionDraft::new(Type::Stalled, Status::True, reason, message))
}

/// The windows are too short.
pub(super) fn schedule_too_tight(window_time: &InsufficientWindowTime) -> ConditionDraft {
    let reason = match window_time {
        InsufficientWindowTime::LittleTime { .. } => Reason::InsufficientWindowTime,
        InsufficientWindowTime::TooManyNodes { .. } => Reason::TooManyNodes,
    };
    ConditionDraft::new(Type::ScheduleTooTight, Status::True, reason, window_time.to_string())
}

/// A check keeps nodes from starting, by the last round.
pub(super) fn checks_failing(checks: Option<&Checks>) -> Option<ConditionDraft> {
    let round = checks?.round.as_ref()?;
    let results = round.cluster.iter().chain(round.nodes.values().flatten());
    let refusals = results.filter_map(|result| match (&result.verdict, result.stage) {
        (CheckVerdict::Unavailable { error, ignored: false }, _) => {
            let message = format!("check {} could not be evaluated: {error}", result.name);
            Some((Reason::CheckUnavailable, message))
        }
        (CheckVerdict::Failing(findings), CheckStage::Before) => {
            let first = findings.first().map_or("", |finding| finding.text.as_str());
            let message = format!(
                "check {} fails ({}): {first}",
                result.name,
                plural(findings.len(), "finding")
            );
            Some((Reason::CheckFailing, message))
        }
        // What fails after the reboot may have failed before: the node's wait reason has it.
        (CheckVerdict::Failing(_), CheckStage::After)
        | (CheckVerdict::Passing | CheckVerdict::Running(_) | CheckVerdict::Unavailable { ignored: true, .. }, _) => {
            None
        }
    });
    let (reason, message) = refusals.into_iter().next()?;
    Some(ConditionDraft::new(Type::ChecksFailing, Status::True, reason, message))
}

/// Agents that cannot reboot their nodes, long before one has to.
pub(super) fn agents_incapable(count: &NodeCounts) -> Option<ConditionDraft> {
    let (first, cause) = count.incapable.first()?;
    let nodes: Vec<String> = count.incapable.iter().map(|(node, _)| node.clone()).collect();
    let agents = plural(nodes.len(), "agent");
    let message = format!("{agents} cannot reboot the node ({}); {first}: {cause}", list(&nodes));
    Some(ConditionDraft::new(
        Type::AgentsIncapable,
        Status::True,
        Reason::AgentIncapable,
        message,
    ))
}

/// An acknowledgement of the breaker that cannot be used.
pub(super) fn acknowledgement(
    text: Option<&String>,
    breaker: Option<&BreakerStatus>,
    now: DateTime<Utc>,
) -> Option<ConditionDraft> {
    let text = text?.trim();
    let (reason, problem) = match DateTime::parse_from_rfc3339(text) {
        Err(_) => (Reason::InvalidTime, "is not an RFC 3339 time"),
        Ok(time) if time > now => (Reason::InTheFuture, "is in the future"),
        Ok(_) => return None,
    };
    let remedy = match breaker.and_then(|breaker| breaker.opened_time) {
        Some(opened) => format!("set it to {} to acknowledge", format_time(opened)),
        None => "remove it".to_owned(),
    };
    let (key, text) = (names::BREAKER_ACKNOWLEDGED, bounded(text, 64));
    let message = format!("annotation {key}=\"{text}\" {problem} and was ignored; {remedy}");
    Some(ConditionDraft::new(
        Type::AcknowledgementInvalid,
        Status::True,
        reason,
        message,
    ))
}

fn not_up_to_date(count: &NodeCounts) -> String {
    format!("{} of {} nodes are not up to date", count.outdated(), count.nodes)
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
    fn an_invalid_acknowledgement_says_what_to_write_instead() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let open = BreakerStatus {
            state: BreakerState::Open,
            opened_time: Some(at("2026-11-24T22:10:00Z")),
            failed_nodes: vec!["w-01".to_owned()],
        };
        let message = |text: &str, breaker: Option<&BreakerStatus>| {
            let found = acknowledgement(Some(&text.to_owned()), breaker, at("2026-11-24T23:00:00Z"));
            found.map(|draft| format!("{}: {}", draft.reason.as_str(), draft.message))
        };
        assert_eq!(
            message("yes", Some(&open)).unwrap(),
            "InvalidTime: annotation lockkeeper.dev/breaker-acknowledged=\"yes\" is not an RFC 3339 time and was \
             ignored; set it to 2026-11-24T22:10:00Z to acknowledge"
        );
        assert_eq!(
            message("2027-01-01T00:00:00Z", None).unwrap(),
            "InTheFuture: annotation lockkeeper.dev/breaker-acknowledged=\"2027-01-01T00:00:00Z\" is in the future and \
             was ignored; remove it"
        );
        assert_eq!(message("2026-11-24T22:10:00Z", Some(&open)), None);
        assert!(acknowledgement(None, Some(&open), at("2026-11-24T23:00:00Z")).is_none());
    }

    #[test]
    fn a_policy_names_the_agents_that_cannot_reboot_and_the_first_cause() {
        let mut count = NodeCounts::default();
        assert_eq!(agents_incapable(&count), None);
        for node in ["w-01", "w-02"] {
            count
                .incapable
                .push((node.to_owned(), format!("AppArmor forbids it on {node}")));
        }
        let message = "2 agents cannot reboot the node (w-01, w-02); w-01: AppArmor forbids it on w-01";
        assert_eq!(agents_incapable(&count).unwrap().message, message);
    }

    #[test]
    fn a_policy_whose_other_nodes_are_unknown_is_not_up_to_date_but_unknown() {
        let mut count = NodeCounts {
            nodes: 3,
            by_state: [(NodeState::UpToDate, 2), (NodeState::Unknown, 1)].into(),
            ..NodeCounts::default()
        };
        let unknown = up_to_date(&count);
        assert_eq!(
            (unknown.status, unknown.reason),
            (Status::Unknown, Reason::NodesUnknown)
        );
        count.by_state = [(NodeState::Pending, 2), (NodeState::Unknown, 1)].into();
        assert_eq!(up_to_date(&count).status, Status::False);
    }
}
