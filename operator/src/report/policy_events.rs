//! What a change of a policy's status means to people: Events.

use lockkeeper_crds::condition::{self, Condition};
use lockkeeper_crds::{BreakerState, BreakerStatus, RebootPolicyStatus, names};
use lockkeeper_reasons::format_time;

use crate::report::event_recorder::Severity;

/// An Event: how bad, its reason, its words.
type Event = (Severity, String, String);

/// The Events that a change is worth, in the words of the status.
pub(super) fn events(policy: &str, before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Vec<Event> {
    let mut events = condition_events(&before.conditions, &after.conditions);
    let changes = [
        rollout(before, after),
        canary(before, after),
        breaker(policy, before, after),
    ];
    let changes = changes.into_iter().flatten();
    events.extend(changes.map(|(severity, reason, note)| (severity, reason.to_owned(), note)));
    events
}

/// An Event for each condition that has become bad.
pub(super) fn condition_events(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let became = after
        .iter()
        .filter_map(|now| became_bad(condition::find(before, &now.type_), now));
    became.collect()
}

/// A condition that has become bad.
fn became_bad(was: Option<&Condition>, now: &Condition) -> Option<Event> {
    let bad = match now.type_.as_str() {
        "Ready" => now.status == "False",
        "Degraded" | "ScheduleTooTight" | "AcknowledgementInvalid" => now.status == "True",
        _ => false,
    };
    let news = was.is_none_or(|was| was.status != now.status);
    (bad && news).then(|| (Severity::Warning, now.reason.clone(), now.message.clone()))
}

type Draft = Option<(Severity, &'static str, String)>;

fn rollout(before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Draft {
    match (&before.rollout, &after.rollout) {
        (was, Some(now)) if was.as_ref().is_none_or(|was| was.id != now.id) => {
            let left = after.nodes - after.up_to_date;
            let note = format!("rollout {}: {left} of {} nodes are not up to date", now.id, after.nodes);
            Some((Severity::Normal, "RolloutStarted", note))
        }
        (Some(was), None) => {
            let note = format!("rollout {} is over: no node needs a reboot", was.id);
            Some((Severity::Normal, "RolloutFinished", note))
        }
        _ => None,
    }
}

fn canary(before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Draft {
    let passed = |status: &RebootPolicyStatus| status.rollout.as_ref()?.canary_passed_time;
    match (passed(before), passed(after)) {
        (None, Some(at)) => {
            let note = format!(
                "the canary stayed healthy until {}: the others may start",
                format_time(at)
            );
            Some((Severity::Normal, "CanaryPassed", note))
        }
        _ => None,
    }
}

fn breaker(policy: &str, before: &RebootPolicyStatus, after: &RebootPolicyStatus) -> Draft {
    let state = |status: &RebootPolicyStatus| status.breaker.as_ref().map_or(BreakerState::Closed, |it| it.state);
    let breaker = after.breaker.as_ref();
    match (state(before), state(after)) {
        (was, now) if was == now => None,
        (_, BreakerState::Closed) => {
            let note = "nodes may start again".to_owned();
            Some((Severity::Normal, "BreakerClosed", note))
        }
        (_, BreakerState::Probing) => {
            let note = "one node probes whether all is well again".to_owned();
            Some((Severity::Normal, "BreakerProbing", note))
        }
        (_, BreakerState::Open | BreakerState::Unknown) => {
            let note = breaker.map(|breaker| opened(policy, breaker)).unwrap_or_default();
            Some((Severity::Warning, "BreakerOpened", note))
        }
    }
}

fn opened(policy: &str, breaker: &BreakerStatus) -> String {
    let failed = &breaker.failed_nodes;
    let plural = if failed.len() == 1 { "" } else { "s" };
    let until = breaker.opened_time.map(format_time).unwrap_or_default();
    format!(
        "no node starts after {} failed node{plural} ({}); retry or release them, or, to try one more node: kubectl \
         annotate rbp {policy} --overwrite {}={until}",
        failed.len(),
        failed.join(", "),
        names::BREAKER_ACKNOWLEDGED,
    )
}

#[cfg(test)]
mod tests;
