//! Events that as a rule are followed by another one about the same node at once: both are written as one.

use std::time::Duration;

use tokio::time::Instant;

use super::{MAX_NOTE_BYTES, PendingEvent};
use crate::report::event::EventReason;

/// An Event waits so long for the one that may follow it.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(1);

/// The Events that wait, at most one about each object, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct HeldEvents(Vec<(PendingEvent, Instant)>);

impl HeldEvents {
    /// Takes an Event; returns what is to be written now, in this order.
    pub(super) fn add(&mut self, mut next: PendingEvent, now: Instant) -> Vec<PendingEvent> {
        let mut due = Vec::new();
        let about_it = |(held, _): &(PendingEvent, Instant)| held.target == next.target;
        if let Some(index) = self.0.iter().position(about_it) {
            let (held, _) = self.0.remove(index);
            match joined(&held, &next) {
                Some(both) => next = both,
                None => due.push(held),
            }
        }
        if may_be_followed(next.event.reason) {
            self.0.push((next, now + FOLLOWED_WITHIN));
        } else {
            due.push(next);
        }
        due
    }

    /// The Events that have waited for long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PendingEvent> {
        let due = self.0.extract_if(.., |(_, until)| *until <= now);
        due.map(|(held, _)| held).collect()
    }

    /// When the first of them has.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    /// All of them: no other one comes.
    pub(super) fn take(&mut self) -> Vec<PendingEvent> {
        std::mem::take(&mut self.0).into_iter().map(|(held, _)| held).collect()
    }
}

/// Both Events as one with the reason of the second, if they are written as one and fit into it.
fn joined(first: &PendingEvent, second: &PendingEvent) -> Option<PendingEvent> {
    let message = format!("{}; {}", first.event.message, second.event.message);
    let fits = message.len() <= MAX_NOTE_BYTES && first.event.severity == second.event.severity;
    let follows = follower(first.event.reason) == Some(second.event.reason);
    (fits && follows).then(|| {
        let mut both = second.clone();
        both.event.message = message;
        both
    })
}

fn may_be_followed(reason: EventReason) -> bool {
    follower(reason).is_some()
}

/// The Event that follows this one at once if nothing is waited for in between.
fn follower(reason: EventReason) -> Option<EventReason> {
    match reason {
        EventReason::RebootRequired => Some(EventReason::LockAcquired),
        EventReason::Cordoned => Some(EventReason::DrainStarted),
        EventReason::Uncordoned => Some(EventReason::RebootSucceeded),
        EventReason::LockAcquired
        | EventReason::DrainStarted
        | EventReason::PodsReturn
        | EventReason::DrainTimedOut
        | EventReason::RebootOrdered
        | EventReason::NodeRebooted
        | EventReason::RebootSucceeded
        | EventReason::Failed
        | EventReason::Deferred
        | EventReason::Withdrawn
        | EventReason::Held
        | EventReason::Released
        | EventReason::CommandAccepted
        | EventReason::CommandRefused
        | EventReason::PlanRefused
        | EventReason::ClusterRestored
        | EventReason::RolloutStarted
        | EventReason::RolloutFinished
        | EventReason::CanaryPassed
        | EventReason::BreakerOpened
        | EventReason::BreakerProbing
        | EventReason::BreakerClosed
        | EventReason::RungDue
        | EventReason::RungReached
        | EventReason::UrgentEnded
        | EventReason::Wait(_)
        | EventReason::Condition(_) => None,
    }
}
