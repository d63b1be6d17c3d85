//! How the nodes of a policy stand against its deadline: the part of the status, and the conditions about it.

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{DeadlineStatus, RungStatus};
use lockkeeper_planner::{LateNode, PendingDeadline, Policy, RUNG_NOTICE, Rung, Snapshot, Urgent};
use lockkeeper_reasons::{format_duration, format_time, plural};
use lockkeeper_snapshot::convert::override_to_api;

use super::condition::{ConditionDraft, ConditionReason as Reason, ConditionStatus as Status, ConditionType as Type};
use super::node_counts::MAX_LISTED_NODES;

/// The nodes of a policy that require a reboot, and since when, the longest waiting first.
#[derive(Debug, Default)]
pub(super) struct PendingNodes(Vec<(DateTime<Utc>, String)>);

impl PendingNodes {
    pub(super) fn new(nodes: Vec<(DateTime<Utc>, String)>) -> Self {
        Self(nodes)
    }

    /// Those of one policy; a node that two policies select has no deadline.
    pub(super) fn of(policy: &str, snapshot: &Snapshot, now: DateTime<Utc>) -> Self {
        let nodes = snapshot.nodes.iter();
        let selected = nodes.filter(|(_, node)| matches!(&*node.policies, [only] if only == policy));
        let pending = selected.filter_map(|(name, node)| Some((node.pending_since(now)?, name.clone())));
        let mut pending: Vec<_> = pending.collect();
        pending.sort_unstable();
        Self::new(pending)
    }

    /// The names of those that have waited for this time, and the next one that will with its time.
    fn split(&self, after: TimeDelta, now: DateTime<Utc>) -> (Vec<&str>, Option<(DateTime<Utc>, &str)>) {
        let reached = self.0.partition_point(|(since, _)| *since + after <= now);
        let names = self.0[..reached].iter().map(|(_, name)| name.as_str());
        let next = self.0.get(reached).map(|(since, name)| (*since + after, name.as_str()));
        (names.collect(), next)
    }
}

/// The late nodes of a forecast that are not overdue by now; the forecast may be a minute old.
pub(super) fn still_to_come(late: &[LateNode], now: DateTime<Utc>) -> &[LateNode] {
    &late[late.partition_point(|one| one.overdue <= now)..]
}

/// The deadline's part of a policy's status.
pub(super) fn status(
    deadline: &PendingDeadline,
    pending: &PendingNodes,
    late: &[LateNode],
    now: DateTime<Utc>,
) -> DeadlineStatus {
    let (overdue, next) = pending.split(deadline.max_pending, now);
    let rungs = deadline.ladder.iter().map(|rung| rung_status(rung, pending, now));
    let announced = |rung: &RungStatus| rung.nodes > 0 || rung.next_time.is_some_and(|at| at - RUNG_NOTICE <= now);
    DeadlineStatus {
        overdue: count(overdue.len()),
        late: count(late.len()),
        next_overdue_time: next.map(|(at, _)| whole_seconds(at)),
        rungs: rungs.filter(announced).collect(),
    }
}

fn rung_status(rung: &Rung, pending: &PendingNodes, now: DateTime<Utc>) -> RungStatus {
    let (reached, next) = pending.split(rung.after, now);
    RungStatus {
        after_seconds: i32::try_from(rung.after.num_seconds()).unwrap_or(i32::MAX),
        override_: override_to_api(rung.kind),
        nodes: count(reached.len()),
        next_node: next.map(|(_, name)| name.to_owned()),
        next_time: next.map(|(at, _)| whole_seconds(at)),
    }
}

fn count(nodes: usize) -> i32 {
    i32::try_from(nodes).unwrap_or(i32::MAX)
}

/// The conditions of a policy about its deadline and its urgent override.
pub(super) fn drafts(
    name: &str,
    policy: &Policy,
    status: Option<&DeadlineStatus>,
    pending: &PendingNodes,
    late: &[LateNode],
    now: DateTime<Utc>,
) -> Vec<ConditionDraft> {
    let deadline = policy.deadline.as_ref();
    let all = [
        status.and_then(|status| escalating(&status.rungs)),
        at_risk(name, late).filter(|_| deadline.is_some()),
        deadline.and_then(|deadline| missed(deadline, pending, now)),
        policy.urgent_at(now).map(urgent),
    ];
    all.into_iter().flatten().collect()
}

/// A rung applies to nodes, or will within a day.
pub(super) fn escalating(rungs: &[RungStatus]) -> Option<ConditionDraft> {
    let is_reached = rungs.iter().any(|rung| rung.nodes > 0);
    let reason = if is_reached {
        Reason::RungReached
    } else {
        Reason::RungDue
    };
    let rungs: Vec<String> = rungs.iter().map(describe_rung).collect();
    (!rungs.is_empty()).then(|| ConditionDraft::new(Type::DeadlineEscalating, Status::True, reason, rungs.join("; ")))
}

/// To how many nodes a rung applies, and when it applies to the next one.
pub(crate) fn describe_rung(rung: &RungStatus) -> String {
    let name = rung.override_.as_str();
    let nodes = usize::try_from(rung.nodes).unwrap_or_default();
    let next = rung.next_node.as_ref().zip(rung.next_time);
    let next = next.map(|(node, at)| format!("to {node} from {} on", format_time(at)));
    let after = format_duration(TimeDelta::seconds(rung.after_seconds.into()));
    let whom = match (nodes, next) {
        (0, None) => "to no node".to_owned(),
        (0, Some(next)) => next,
        (nodes, None) => format!("to {}", plural(nodes, "node")),
        (nodes, Some(next)) => format!("to {} and {next}", plural(nodes, "node")),
    };
    format!("{name} applies {whom} (after {after})")
}

/// By the forecast, nodes will be overdue before they are rebooted.
pub(super) fn at_risk(policy: &str, late: &[LateNode]) -> Option<ConditionDraft> {
    let first = late.first()?;
    let done = match first.done {
        Some(done) => format!("will be done at {}", format_time(done)),
        None => "will not be rebooted".to_owned(),
    };
    let message = format!(
        "{} will be overdue, first {} at {}: it {done} if nothing changes; widen spec.windows, raise \
         spec.disruption.maxInProgress, or override them: kubectl lockkeeper urgent {policy} --reason TEXT",
        plural(late.len(), "node"),
        first.name,
        format_time(first.overdue),
    );
    Some(ConditionDraft::new(
        Type::DeadlineAtRisk,
        Status::True,
        Reason::ForecastLate,
        message,
    ))
}

/// Nodes are overdue.
pub(super) fn missed(deadline: &PendingDeadline, pending: &PendingNodes, now: DateTime<Utc>) -> Option<ConditionDraft> {
    let (overdue, _) = pending.split(deadline.max_pending, now);
    let named: Vec<&str> = overdue.iter().copied().take(MAX_LISTED_NODES).collect();
    let have = if overdue.len() == 1 { "has" } else { "have" };
    let message = format!(
        "{} {have} required a reboot for longer than {} ({}); kubectl lockkeeper explain NODE says what each waits for",
        plural(overdue.len(), "node"),
        format_duration(deadline.max_pending),
        named.join(", "),
    );
    (!overdue.is_empty())
        .then(|| ConditionDraft::new(Type::DeadlineMissed, Status::True, Reason::NodesOverdue, message))
}

/// The urgent override applies.
pub(super) fn urgent(urgent: &Urgent) -> ConditionDraft {
    let overrides: Vec<&str> = urgent.overrides.iter().map(|one| one.as_str()).collect();
    let message = format!(
        "{} for all nodes until {}: {}",
        overrides.join(", "),
        format_time(urgent.until),
        urgent.reason
    );
    ConditionDraft::new(Type::Urgent, Status::True, Reason::UrgentOverride, message)
}

#[cfg(test)]
mod tests {
    use lockkeeper_planner::Override;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    fn pending() -> PendingNodes {
        let nodes = [("20T08:00", "w-1"), ("22T08:00", "w-2"), ("23T08:00", "w-3")];
        PendingNodes::new(
            nodes
                .iter()
                .map(|(since, name)| (at(since), (*name).to_owned()))
                .collect(),
        )
    }

    fn deadline() -> PendingDeadline {
        let rung = |days, kind| Rung {
            after: TimeDelta::days(days),
            kind,
            window: None,
        };
        PendingDeadline {
            max_pending: TimeDelta::days(4),
            ladder: vec![
                rung(2, Override::IgnoreWindows),
                rung(3, Override::IgnoreChecks),
                rung(6, Override::DeletePods),
            ],
        }
    }

    #[test]
    fn a_rung_is_announced_a_day_before_the_first_node_reaches_it() {
        let announced = |now: &str| {
            let status = status(&deadline(), &pending(), &[], at(now));
            let rungs = status.rungs.iter().map(|rung| (rung.override_.as_str(), rung.nodes));
            rungs.collect::<Vec<_>>()
        };
        assert_eq!(announced("21T07:59"), []);
        assert_eq!(announced("21T08:00"), [("IgnoreWindows", 0)]);
        assert_eq!(announced("22T08:00"), [("IgnoreWindows", 1), ("IgnoreChecks", 0)]);
        assert_eq!(
            announced("25T08:00"),
            [("IgnoreWindows", 3), ("IgnoreChecks", 2), ("DeletePods", 0)]
        );
    }

    #[test]
    fn a_status_counts_overdue_nodes_and_says_when_the_next_one_is() {
        let status = |now: &str| {
            let status = status(&deadline(), &pending(), &[], at(now));
            (status.overdue, status.next_overdue_time)
        };
        assert_eq!(status("24T07:59"), (0, Some(at("24T08:00"))));
        assert_eq!(status("24T08:00"), (1, Some(at("26T08:00"))));
        assert_eq!(status("27T08:00"), (3, None));
        assert!(missed(&deadline(), &pending(), at("24T07:59")).is_none());
        let message = missed(&deadline(), &pending(), at("26T08:00")).unwrap().message;
        assert_eq!(
            message,
            "2 nodes have required a reboot for longer than 96 h (w-1, w-2); kubectl lockkeeper explain NODE says what each \
             waits for"
        );
    }

    #[test]
    fn a_late_node_that_is_overdue_by_now_is_not_late_any_more() {
        let late = ["24T08:00", "26T08:00"].map(|overdue| LateNode {
            overdue: at(overdue),
            name: "w".to_owned(),
            done: None,
        });
        let left = |now| still_to_come(&late, at(now)).len();
        assert_eq!([left("24T07:59"), left("24T08:00"), left("26T08:00")], [2, 1, 0]);
    }

    #[test]
    fn the_condition_of_a_ladder_says_to_whom_each_rung_applies_and_from_when_on() {
        let escalating = |now: &str| {
            let status = status(&deadline(), &pending(), &[], at(now));
            let draft = escalating(&status.rungs)?;
            Some(format!("{}: {}", draft.reason.as_str(), draft.message))
        };
        assert_eq!(escalating("21T07:59"), None);
        assert_eq!(
            escalating("21T09:00").unwrap(),
            "RungDue: IgnoreWindows applies to w-1 from 2026-11-22T08:00:00Z on (after 48 h)"
        );
        assert_eq!(
            escalating("22T09:00").unwrap(),
            "RungReached: IgnoreWindows applies to 1 node and to w-2 from 2026-11-24T08:00:00Z on (after 48 h); \
             IgnoreChecks applies to w-1 from 2026-11-23T08:00:00Z on (after 72 h)"
        );
    }
}
