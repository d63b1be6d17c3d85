//! Where each Event goes: to the API server, and as a notification to those who want it, in the same words.

use std::collections::BTreeSet;

use lockkeeper_kube_util::Clock;
use lockkeeper_notify::{KnownEvents, Notifier};
use lockkeeper_reasons::{ReasonName, Severity};

use super::event::{Event, EventReason};
use super::event_recorder::{EventRecorder, EventTarget};
use super::log_fields::LogFields;
use crate::status::condition::ConditionReason;

/// What a receiver of notifications gets that names no Events: how rollouts go, and what needs a person.
const DEFAULT: [EventReason; 9] = [
    EventReason::RolloutStarted,
    EventReason::RolloutFinished,
    EventReason::CanaryPassed,
    EventReason::Failed,
    EventReason::BreakerOpened,
    EventReason::BreakerProbing,
    EventReason::BreakerClosed,
    EventReason::PlanRefused,
    EventReason::ClusterRestored,
];

/// The reasons that receivers may name: those of all Events.
pub fn known_events() -> KnownEvents {
    let own = EventReason::OWN.into_iter().map(EventReason::as_str);
    let waits = ReasonName::ALL.into_iter().map(ReasonName::as_str);
    let conditions = ConditionReason::ALL.iter().copied().map(ConditionReason::as_str);
    // A wait reason may have the name of an Event of its own, such as Held.
    let all: BTreeSet<&str> = own.chain(waits).chain(conditions).collect();
    KnownEvents {
        all: all.into_iter().collect(),
        default: DEFAULT.map(EventReason::as_str).to_vec(),
    }
}

/// Sends Events and notifications; it never waits and never fails.
#[derive(Clone, Debug)]
pub struct Announcer {
    events: EventRecorder,
    notifier: Notifier,
    clock: Clock,
}

impl Announcer {
    /// Sends Events with this recorder and notifications with this notifier.
    pub fn new(events: EventRecorder, notifier: Notifier, clock: Clock) -> Self {
        Self {
            events,
            notifier,
            clock,
        }
    }

    /// An Event about a node.
    pub(super) fn about_node(&self, target: EventTarget, event: Event, fields: LogFields) {
        let LogFields { policy, operation, .. } = fields;
        self.notify(&event, policy, name_of_node(&target), operation);
        self.events.record(target, event);
    }

    /// An Event about a policy.
    pub(super) fn about_policy(&self, target: EventTarget, event: Event) {
        let policy = match &target {
            EventTarget::Policy { name, .. } | EventTarget::Node { name, .. } => name.clone(),
        };
        self.notify(&event, Some(policy), None, None);
        self.events.record(target, event);
    }

    /// An Event that concerns the whole cluster: one for each of its policies, and one notification.
    pub(super) fn to_all(&self, policies: Vec<EventTarget>, event: &Event) {
        self.notify(event, None, None, None);
        for target in policies {
            self.events.record(target, event.clone());
        }
    }

    fn notify(&self, event: &Event, policy: Option<String>, node: Option<String>, operation: Option<String>) {
        if !self.notifier.is_active() {
            return;
        }
        self.notifier.notify(lockkeeper_notify::Event {
            time: self.clock.now(),
            severity: match event.severity {
                Severity::Normal => lockkeeper_notify::Severity::Normal,
                Severity::Warning => lockkeeper_notify::Severity::Warning,
            },
            reason: event.reason.as_str(),
            message: lockkeeper_kube_util::single_line(&event.message),
            policy,
            node,
            operation,
        });
    }
}

fn name_of_node(target: &EventTarget) -> Option<String> {
    match target {
        EventTarget::Node { name, .. } => Some(name.clone()),
        EventTarget::Policy { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::samples;

    #[test]
    fn a_receiver_may_name_the_reason_of_every_event() {
        let known = known_events();
        for event in samples() {
            assert!(known.all.contains(&event.reason.as_str()), "{:?}", event.reason);
        }
        assert!(known.all.contains(&"EvictionBlocked") && known.all.contains(&"Held"));
        assert!(known.default.iter().all(|name| known.all.contains(name)));
    }
}
