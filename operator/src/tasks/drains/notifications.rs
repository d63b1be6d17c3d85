//! The Events of a drain: how it begins, pods that are blocked later, volumes that it no longer waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use lockkeeper_drain::{Cause, PodLine, PodState, Progress};
use lockkeeper_reasons::ReasonName;
use tokio::time::Instant;

use crate::report::event::Event;
use crate::report::notified_pods::NotifiedPods;

/// Blocked pods have an Event once they were the same for this long: the answers arrive one by one.
pub(super) const BLOCKED_FOR: Duration = Duration::from_secs(10);

/// What Events have told of a drain.
#[derive(Debug, Default)]
pub(super) struct DrainNotifications {
    start: bool,
    volumes: bool,
    /// Owners whose pods return, and that an Event has named.
    returning: BTreeSet<String>,
    /// The pods that are blocked, and since when these.
    blocked: Option<(BTreeSet<String>, Instant)>,
    notified: NotifiedPods,
}

impl DrainNotifications {
    /// The Events that are due now.
    pub(super) fn take_events(&mut self, progress: &Progress, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        if *progress == Progress::Starting {
            return events;
        }
        if !std::mem::replace(&mut self.start, true) {
            events.push(started(progress));
        }
        for returning in super::state::returning(progress) {
            if self.returning.insert(returning.owner.clone()) {
                events.push(Event::pods_return(returning));
            }
        }
        match progress {
            Progress::Starting => {}
            Progress::Running { waiting_on, pods, .. } => events.extend(self.blocked(waiting_on, pods, now)),
            Progress::Done { still_attached, .. } if still_attached.is_empty() => {}
            Progress::Done { still_attached, .. } => {
                if !std::mem::replace(&mut self.volumes, true) {
                    events.push(Event::volumes_still_attached(still_attached));
                }
            }
        }
        events
    }

    fn blocked(&mut self, causes: &[Cause], pods: &[PodLine], now: Instant) -> Option<Event> {
        let stuck = |pod: &&PodLine| pod.blockers.iter().any(|blocker| may_need_person(blocker.reason()));
        let these: BTreeSet<String> = pods.iter().filter(stuck).map(|pod| pod.pod.to_string()).collect();
        match &self.blocked {
            Some((known, since)) if *known == these => {
                if now < *since + BLOCKED_FOR || !self.notified.needs_event(&these) {
                    return None;
                }
            }
            Some(_) | None => {
                self.blocked = Some((these, now));
                return None;
            }
        }
        let first = causes.iter().find(|cause| may_need_person(cause.reason()))?;
        let messages: Vec<String> = causes.iter().map(ToString::to_string).collect();
        Some(Event::pods_blocked(first.reason(), &messages.join("; ")))
    }
}

/// Whether time alone may not end the wait.
fn may_need_person(reason: ReasonName) -> bool {
    matches!(reason, ReasonName::EvictionBlocked | ReasonName::PodStuck)
}

fn started(progress: &Progress) -> Event {
    let (to_evict, stay, with_empty_dir) = match progress {
        Progress::Starting => (0, 0, 0),
        Progress::Running {
            to_move,
            with_empty_dir,
            pods,
            ..
        } => {
            let stay = pods.iter().filter(|pod| matches!(pod.state, PodState::Stays(_)));
            (*to_move, stay.count(), *with_empty_dir)
        }
        Progress::Done {
            moved,
            stayed,
            with_empty_dir,
            ..
        } => (*moved, *stayed, *with_empty_dir),
    };
    Event::drain_started(to_evict, with_empty_dir, stay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockkeeper_drain::{Blocker, PodName, ReturningOwner, Tier, group_by_cause};

    fn blocked_by_webhook(names: &[&str]) -> Progress {
        let pods: Vec<PodLine> = names
            .iter()
            .map(|name| PodLine {
                pod: PodName::new("shop", *name),
                tier: Tier::default(),
                state: PodState::Waiting,
                blockers: vec![Blocker::Webhook {
                    pod: PodName::new("shop", *name),
                    message: "not now".to_owned(),
                }],
            })
            .collect();
        Progress::Running {
            to_move: 9,
            moved: 9 - pods.len(),
            remaining: pods.len(),
            with_empty_dir: 0,
            waiting_tiers: vec![],
            evicting: true,
            grace_ends: None,
            returning: vec![],
            waiting_on: group_by_cause(pods.iter().flat_map(|pod| pod.blockers.clone()).collect()),
            pods,
        }
    }

    #[test]
    fn pods_that_are_blocked_later_have_one_event_once_they_stay_blocked() {
        let (mut notifications, start) = (DrainNotifications::default(), Instant::now());
        let mut events = Vec::new();
        let steps: [(u64, &[&str]); 9] = [
            (0, &["a"]),
            (1, &["a", "b"]),
            (12, &["a", "b"]),
            (20, &["a", "b", "c"]),
            (21, &["a", "b", "c"]),
            (31, &["a", "b", "c"]),
            (40, &["c"]),
            (60, &["c"]),
            (90, &["a", "b", "c"]),
        ];
        for (second, pods) in steps {
            let now = start + Duration::from_secs(second);
            for event in notifications.take_events(&blocked_by_webhook(pods), now) {
                events.push((second, event));
            }
        }
        let later = notifications.take_events(&blocked_by_webhook(&["a", "b", "c"]), start + Duration::from_mins(2));
        assert_eq!(later, [], "an Event named each of them before");
        let blocked = blocked_by_webhook(&["a", "b", "c"]);
        let Progress::Running { waiting_on, .. } = blocked else {
            panic!("it is running")
        };
        let started = Event::drain_started(9, 0, 0);
        let blocked = Event::pods_blocked(ReasonName::EvictionBlocked, &waiting_on[0].to_string());
        assert_eq!(events, [(0, started), (31, blocked)]);
    }

    #[test]
    fn volumes_that_are_no_longer_waited_for_have_one_event() {
        let mut notifications = DrainNotifications::default();
        let done = Progress::Done {
            moved: 1,
            stayed: 2,
            with_empty_dir: 1,
            still_attached: vec!["pv-1".to_owned()],
            returning: vec![],
        };
        let events = notifications.take_events(&done, Instant::now());
        let messages: Vec<&str> = events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "evicting 1 pod (1 with emptyDir data that will be lost); 2 pods stay",
                "volumes still attached after drain.waitForVolumeDetachSeconds; continuing without waiting: pv-1"
            ]
        );
        assert_eq!(notifications.take_events(&done, Instant::now()), []);
    }

    #[test]
    fn an_owner_whose_pods_return_is_named_in_one_event() {
        let mut notifications = DrainNotifications::default();
        let owner = |name: &str| ReturningOwner {
            owner: format!("CloneSet.apps.kruise.io shop/{name}"),
            tolerates_cordon: true,
        };
        let mut count = |returning: Vec<ReturningOwner>| {
            let done = Progress::Done {
                moved: 1,
                stayed: 2,
                with_empty_dir: 0,
                still_attached: vec![],
                returning,
            };
            let events = notifications.take_events(&done, Instant::now());
            let named = events
                .iter()
                .filter(|event| event.message.contains("return to this node"));
            named.count()
        };
        assert_eq!(count(vec![owner("a")]), 1);
        assert_eq!(count(vec![owner("a")]), 0);
        assert_eq!(count(vec![owner("a"), owner("b")]), 1);
    }
}
