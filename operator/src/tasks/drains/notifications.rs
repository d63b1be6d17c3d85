//! What people are told of a drain besides its status: how it begins, pods that get stuck later, volumes given up on.

use std::collections::BTreeSet;
use std::time::Duration;

use lockkeeper_drain::{Cause, PodLine, PodState, Progress};
use lockkeeper_reasons::ReasonName;
use tokio::time::Instant;

use crate::report::notified_pods::NotifiedPods;

/// Which pods are blocked is told once it has stood for this long: answers come in one by one.
pub(super) const SETTLED: Duration = Duration::from_secs(10);

/// Something about a drain that people should be told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainEvent {
    /// Its pods were seen.
    Started(String),
    /// Pods are blocked of which nobody was told: the reason to wait, and its words.
    Blocked(&'static str, String),
    /// Volumes were given up on.
    StillAttached(String),
}

/// What was said of a drain already.
#[derive(Debug, Default)]
pub(super) struct DrainNotifications {
    start: bool,
    volumes: bool,
    /// The pods that are blocked, and since when these.
    blocked: Option<(BTreeSet<String>, Instant)>,
    notified: NotifiedPods,
}

impl DrainNotifications {
    pub(super) fn news(&mut self, progress: &Progress, now: Instant) -> Vec<DrainEvent> {
        let mut news = Vec::new();
        if *progress == Progress::Starting {
            return news;
        }
        if !std::mem::replace(&mut self.start, true) {
            news.push(started(progress));
        }
        match progress {
            Progress::Starting => {}
            Progress::Running { waiting_on, pods, .. } => news.extend(self.blocked(waiting_on, pods, now)),
            Progress::Done { still_attached, .. } if still_attached.is_empty() => {}
            Progress::Done { still_attached, .. } => {
                if !std::mem::replace(&mut self.volumes, true) {
                    news.push(DrainEvent::StillAttached(format!(
                        "still attached after drain.waitForVolumeDetachSeconds, not waited for any longer: {}",
                        still_attached.join(", ")
                    )));
                }
            }
        }
        news
    }

    fn blocked(&mut self, causes: &[Cause], pods: &[PodLine], now: Instant) -> Option<DrainEvent> {
        let stuck = |pod: &&PodLine| pod.blockers.iter().any(|blocker| needs_somebody(blocker.reason()));
        let these: BTreeSet<String> = pods.iter().filter(stuck).map(|pod| pod.pod.to_string()).collect();
        match &self.blocked {
            Some((known, since)) if *known == these => {
                if now < *since + SETTLED || !self.notified.needs_event(&these) {
                    return None;
                }
            }
            Some(_) | None => {
                self.blocked = Some((these, now));
                return None;
            }
        }
        let first = causes.iter().find(|cause| needs_somebody(cause.reason()))?;
        let words: Vec<String> = causes.iter().map(ToString::to_string).collect();
        Some(DrainEvent::Blocked(first.reason().as_str(), words.join("; ")))
    }
}

/// Whether time alone may not end it.
fn needs_somebody(reason: ReasonName) -> bool {
    matches!(reason, ReasonName::EvictionBlocked | ReasonName::PodStuck)
}

fn started(progress: &Progress) -> DrainEvent {
    let (to_move, stay, data) = match progress {
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
    let data = match data {
        0 => String::new(),
        data => format!(" ({data} with data in an emptyDir, which goes with them)"),
    };
    DrainEvent::Started(format!("{to_move} pods to move{data}, {stay} stay"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockkeeper_drain::{Blocker, PodName, Tier, group_by_cause};

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
            waiting_on: group_by_cause(pods.iter().flat_map(|pod| pod.blockers.clone()).collect()),
            pods,
        }
    }

    #[test]
    fn pods_that_are_blocked_later_are_told_once_they_stand_and_once_only() {
        let (mut announced, began) = (DrainNotifications::default(), Instant::now());
        let mut notified = Vec::new();
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
            let now = began + Duration::from_secs(second);
            for news in announced.news(&blocked_by_webhook(pods), now) {
                notified.push((second, news));
            }
        }
        let later = announced.news(&blocked_by_webhook(&["a", "b", "c"]), began + Duration::from_mins(2));
        assert_eq!(later, [], "as was said before");
        let start = DrainEvent::Started("9 pods to move, 0 stay".to_owned());
        let words = "pods shop/a, shop/b, shop/c: not now".to_owned();
        assert_eq!(
            notified,
            [(0, start), (31, DrainEvent::Blocked("EvictionBlocked", words))]
        );
    }

    #[test]
    fn volumes_that_were_given_up_on_are_told_once() {
        let mut announced = DrainNotifications::default();
        let done = Progress::Done {
            moved: 1,
            stayed: 2,
            with_empty_dir: 1,
            still_attached: vec!["pv-1".to_owned()],
        };
        let news = announced.news(&done, Instant::now());
        assert_eq!(news.len(), 2, "{news:?}");
        let start = "1 pods to move (1 with data in an emptyDir, which goes with them), 2 stay";
        assert_eq!(news[0], DrainEvent::Started(start.to_owned()));
        assert!(matches!(&news[1], DrainEvent::StillAttached(words) if words.ends_with(": pv-1")));
        assert_eq!(announced.news(&done, Instant::now()), []);
    }
}
