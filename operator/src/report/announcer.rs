//! Where each Event goes: to the API server, and as a notification to those who want it, in the same words.

use std::collections::BTreeSet;

use kube::ResourceExt;
use lockkeeper_kube_util::Clock;
use lockkeeper_notify::{KnownEvents, Notifier};
use lockkeeper_planner::{Phase, Snapshot};
use lockkeeper_reasons::{ReasonName, Severity};
use lockkeeper_silences::{Desired, InProgress, Silencer};
use lockkeeper_snapshot::ObservedObjects;

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
    silencer: Silencer,
    clock: Clock,
}

impl Announcer {
    /// Sends Events with this recorder, notifications with this notifier, and operations to this silencer.
    pub fn new(events: EventRecorder, notifier: Notifier, silencer: Silencer, clock: Clock) -> Self {
        Self {
            events,
            notifier,
            silencer,
            clock,
        }
    }

    /// The operations that there are, whose nodes are silenced in Alertmanager.
    pub(super) fn operations(&self, snapshot: &Snapshot, seen: &ObservedObjects) {
        if self.silencer.is_active()
            && let Some(lock) = &seen.lock
        {
            let cluster = lock.uid().unwrap_or_default();
            self.silencer.set(Some(desired_silences(snapshot, cluster)));
        }
    }

    /// Another replica leads.
    pub(super) fn stop_leading(&self) {
        self.silencer.set(None);
    }

    /// An Event about a node.
    pub(super) fn about_node(&self, target: EventTarget, event: Event, fields: LogFields) {
        let LogFields { policy, operation, .. } = fields;
        self.notify(&event, policy, name_of_node(&target), operation);
        if !event.is_part_of_each_reboot() {
            self.events.record(target, event);
        }
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

/// What is silenced: the nodes in progress. `cluster` is the uid of the lock, which no other cluster has.
fn desired_silences(snapshot: &Snapshot, cluster: String) -> Desired {
    let mut desired = Desired {
        cluster,
        ..Desired::default()
    };
    for (name, node) in &snapshot.nodes {
        let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
        let Some(operation) = operation else { continue };
        let id = operation.id.clone();
        match operation.phase {
            Phase::Preparing | Phase::Draining | Phase::Rebooting | Phase::Verifying => {
                let (node, policy) = (name.clone(), operation.policy.to_string());
                desired.in_progress.insert(id, InProgress { node, policy });
            }
            Phase::Failed => {
                desired.failed.insert(id);
            }
        }
    }
    desired
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
        let page = include_str!("../../../docs/notifications.md");
        let (_, section) = page.split_once("## Which Events").unwrap();
        let (section, _) = section.split_once("Add `RebootSucceeded`").unwrap();
        for name in known.default {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
