//! Forecasts, made beside the loop: at most one at a time, one a minute, and none while no rollout is under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_planner::{Horizon, Plan, Snapshot, forecast};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Two forecasts are at least this far apart.
const MIN_INTERVAL: Duration = Duration::from_mins(1);
/// A new end that differs by less from the one before is the same end.
const TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// When the last node of each policy will be done.
pub type Ends = BTreeMap<String, DateTime<Utc>>;

/// The forecasts of one loop.
#[derive(Debug)]
pub struct Forecasts {
    /// Wakes the loop when a forecast is there.
    news: mpsc::UnboundedSender<()>,
    ends: Arc<Mutex<Ends>>,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    began: Instant,
    snapshot: Snapshot,
    task: JoinHandle<()>,
}

impl Forecasts {
    /// No forecast yet.
    pub fn new(news: mpsc::UnboundedSender<()>) -> Self {
        Self {
            news,
            ends: Arc::default(),
            last: None,
        }
    }

    /// Begins a forecast if one is due; answers when the next one is, if that is known.
    pub fn tend(&mut self, snapshot: &Snapshot, plan: &Plan, now: DateTime<Utc>) -> Option<Instant> {
        if plan.policies.values().all(|state| state.rollout.is_none()) {
            self.stop();
            return None;
        }
        if let Some(last) = &self.last {
            let late = self.ends().values().any(|end| *end <= now);
            let due = last.began + MIN_INTERVAL;
            if !last.task.is_finished() || (last.snapshot == *snapshot && !late) {
                return None;
            }
            if due > Instant::now() {
                return Some(due);
            }
        }
        let (task, ends, news) = (snapshot.clone(), self.ends.clone(), self.news.clone());
        let task = tokio::task::spawn_blocking(move || {
            let found = forecast(&task, now, Horizon::default()).policies;
            let mut known = ends.lock().unwrap_or_else(PoisonError::into_inner);
            *known = settled(&known, found);
            drop(known);
            // A loop that has ended needs no news.
            let _ = news.send(());
        });
        self.last = Some(Last {
            began: Instant::now(),
            snapshot: snapshot.clone(),
            task,
        });
        None
    }

    /// What the last forecast said.
    pub fn ends(&self) -> Ends {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There is nothing to look forward to, or somebody else does.
    pub fn stop(&mut self) {
        self.last = None;
        // A forecast that still runs writes into what nobody reads any more.
        self.ends = Arc::default();
    }
}

/// The new ends; one that hardly moved stays, so that a status is not written for it.
fn settled(known: &Ends, found: Ends) -> Ends {
    let settle = |(policy, end): (String, DateTime<Utc>)| {
        let same = known.get(&policy).filter(|known| (**known - end).abs() < TOLERANCE);
        let end = same.copied().unwrap_or(end);
        (policy, end)
    };
    found.into_iter().map(settle).collect()
}

#[cfg(test)]
mod tests {
    use lockkeeper_planner::{PolicyState, Rollout};

    use super::*;

    fn time(minute: u32) -> DateTime<Utc> {
        format!("2026-11-24T22:{minute:02}:00Z").parse().unwrap()
    }

    fn rolling() -> Plan {
        let rollout = Rollout {
            id: "7f3c".to_owned(),
            started: time(0),
            canary_passed: None,
        };
        let state = PolicyState {
            rollout: Some(rollout),
            ..PolicyState::default()
        };
        Plan {
            policies: [("all".into(), state)].into(),
            ..Plan::default()
        }
    }

    #[test]
    fn an_end_that_hardly_moved_stays() {
        let known = [("a".to_owned(), time(10)), ("b".to_owned(), time(10))].into();
        let nearly = time(10) + TimeDelta::seconds(59);
        let found = [("a".to_owned(), nearly), ("b".to_owned(), time(11))].into();
        let settled = settled(&known, found);
        assert_eq!(settled["a"], time(10));
        assert_eq!(settled["b"], time(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_within_the_minute_waits_for_it_and_no_change_asks_for_nothing() {
        let (news, mut done) = mpsc::unbounded_channel();
        let mut ahead = Forecasts::new(news);
        let began = Instant::now();
        let first = Snapshot::default();
        assert_eq!(ahead.tend(&first, &rolling(), time(0)), None);
        done.recv().await.unwrap();
        while !ahead.last.as_ref().unwrap().task.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ahead.tend(&first, &rolling(), time(0)), None, "nothing has changed");
        let changed = Snapshot {
            own_node: Some("w-01".to_owned()),
            ..Snapshot::default()
        };
        let due = ahead.tend(&changed, &rolling(), time(0)).unwrap();
        assert!(due >= began + MIN_INTERVAL, "not before a minute has passed");
        tokio::time::advance(MIN_INTERVAL).await;
        assert_eq!(ahead.tend(&changed, &rolling(), time(1)), None);
        assert_eq!(ahead.last.as_ref().unwrap().snapshot, changed, "it was begun");
    }

    #[tokio::test]
    async fn without_a_rollout_there_is_no_forecast() {
        let (news, _done) = mpsc::unbounded_channel();
        let mut ahead = Forecasts::new(news);
        ahead.ends.lock().unwrap().insert("all".to_owned(), time(0));
        assert_eq!(ahead.tend(&Snapshot::default(), &Plan::default(), time(0)), None);
        assert!(ahead.last.is_none() && ahead.ends().is_empty());
    }
}
