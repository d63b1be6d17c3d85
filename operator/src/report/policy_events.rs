//! The Events that a change of a policy's status is worth.

use lockkeeper_crds::condition::{self, Condition};
use lockkeeper_crds::{BreakerState, RebootPolicyStatus, RungStatus};

use super::event::Event;
use crate::status::condition::{ConditionReason, ConditionStatus, ConditionType};

/// The Events of a policy whose status changes.
pub(super) fn events(policy: &str, before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Vec<Event> {
    let mut events = condition_events(&before.conditions, &after.conditions);
    let changes = [
        rollout(before, after),
        canary(before, after),
        breaker(policy, before, after),
        urgent_ended(before, after),
    ];
    events.extend(changes.into_iter().flatten());
    events.extend(rungs(before, after));
    events
}

/// An Event for each condition that became bad.
pub(super) fn condition_events(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let bad = after
        .iter()
        .filter_map(|now| became_bad(condition::find(before, &now.type_), now));
    bad.collect()
}

fn became_bad(was: Option<&Condition>, now: &Condition) -> Option<Event> {
    let bad = bad_status(ConditionType::from_name(&now.type_)?)?;
    let changed = was.is_none_or(|was| was.status != now.status);
    let reason = ConditionReason::from_name(&now.reason)?;
    (now.status == bad.as_str() && changed).then(|| Event::condition(reason, &now.message))
}

/// The status of a condition of a policy that a person should look at.
fn bad_status(type_: ConditionType) -> Option<ConditionStatus> {
    match type_ {
        ConditionType::Ready => Some(ConditionStatus::False),
        ConditionType::Degraded
        | ConditionType::ScheduleTooTight
        | ConditionType::ChecksFailing
        | ConditionType::DeadlineAtRisk
        | ConditionType::DeadlineMissed
        | ConditionType::Urgent
        | ConditionType::AcknowledgementInvalid => Some(ConditionStatus::True),
        // The agents of a node that boots, or of a new version, cannot reboot anything for some seconds.
        ConditionType::AgentsIncapable
        // Each rung has Events of its own.
        | ConditionType::DeadlineEscalating
        | ConditionType::UpToDate
        | ConditionType::Progressing
        | ConditionType::Stalled
        | ConditionType::RebootRequired
        | ConditionType::Cordoned
        | ConditionType::Drained
        | ConditionType::Rebooted
        | ConditionType::Healthy
        | ConditionType::RebootCapable
        | ConditionType::AgentConfined
        | ConditionType::HoldInvalid => None,
    }
}

fn rollout(before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Option<Event> {
    match (&before.rollout, &after.rollout) {
        (was, Some(now)) if was.as_ref().is_none_or(|was| was.id != now.id) => {
            let outdated = after.nodes - after.up_to_date;
            Some(Event::rollout_started(&now.id, outdated, after.nodes))
        }
        (Some(was), None) => Some(Event::rollout_finished(&was.id)),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

fn canary(before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Option<Event> {
    let passed = |status: &RebootPolicyStatus| status.rollout.as_ref()?.canary_passed_time;
    let until = passed(after).filter(|_| passed(before).is_none());
    until.map(Event::canary_passed)
}

/// One Event a day before the first node reaches a rung, and one once it does; none for each node.
fn rungs(before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Vec<Event> {
    let all = |status: &RebootPolicyStatus| status.deadline.clone().unwrap_or_default().rungs;
    let known = all(before);
    let was = |rung: &RungStatus| {
        let same = |was: &&RungStatus| (was.after_seconds, was.override_) == (rung.after_seconds, rung.override_);
        known.iter().find(same).map(|was| was.nodes)
    };
    let events = all(after)
        .into_iter()
        .filter_map(|rung| match (was(&rung), rung.nodes) {
            (None, 0) => Some(Event::rung_due(&rung)),
            (None | Some(0), 1..) => Some(Event::rung_reached(&rung)),
            (Some(_) | None, _) => None,
        });
    events.collect()
}

fn urgent_ended(before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Option<Event> {
    let applies = |status: &RebootPolicyStatus| {
        let urgent = condition::find(&status.conditions, ConditionType::Urgent.as_str());
        urgent.is_some_and(|urgent| urgent.status == ConditionStatus::True.as_str())
    };
    (applies(before) && !applies(after)).then(Event::urgent_ended)
}

fn breaker(policy: &str, before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Option<Event> {
    let state = |status: &RebootPolicyStatus| {
        let breaker = status.breaker.as_ref();
        breaker.map_or(BreakerState::Closed, |breaker| breaker.state)
    };
    if state(before) == state(after) {
        return None;
    }
    match state(after) {
        BreakerState::Closed => Some(Event::breaker_closed()),
        BreakerState::Probing => Some(Event::breaker_probing()),
        BreakerState::Open | BreakerState::Unknown => {
            let breaker = after.breaker.as_ref();
            breaker.map(|breaker| Event::breaker_opened(policy, breaker))
        }
    }
}

#[cfg(test)]
mod tests;
