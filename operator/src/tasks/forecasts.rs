//! Forecasts: at most one at a time and one a minute, and none while no rollout is in progress.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_planner::{Horizon, LateNode, Node, Plan, PolicyName, Snapshot, forecast};
use tokio::time::Instant;

use super::supervisor::{Supervisor, WakeUp};

/// Two forecasts are at least this far apart.
const MIN_INTERVAL: Duration = Duration::from_mins(1);
/// A new end that differs by less than this from the last one is the same end.
const TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// A status is worth waiting for a forecast for this long.
const EXPECTED_WITHIN: Duration = Duration::from_secs(1);

/// When the last node of each policy will be done.
pub type Ends = BTreeMap<String, DateTime<Utc>>;

/// What a forecast says about the policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// When the last node of each will be done.
    pub ends: Ends,
    /// The nodes of each that will be overdue before they are rebooted, the first one first.
    pub late: BTreeMap<PolicyName, Vec<LateNode>>,
}

/// The forecast of the whole cluster: the only key.
const CLUSTER: () = ();

/// The forecasts of one leader.
#[derive(Debug)]
pub struct Forecasts {
    tasks: Supervisor<(), Arc<Snapshot>, Outlook>,
    /// The policies whose rollouts the last forecast knew.
    known: BTreeSet<PolicyName>,
}

impl Forecasts {
    /// No forecast yet.
    pub fn new(wake_up: WakeUp) -> Self {
        Self {
            tasks: Supervisor::new(wake_up),
            known: BTreeSet::new(),
        }
    }

    /// Starts a forecast if one is due. Returns when the next one is due, if that is known.
    pub fn reconcile(&mut self, snapshot: &Snapshot, plan: &Plan, now: DateTime<Utc>) -> Option<Instant> {
        if plan.policies.values().all(|state| state.rollout.is_none()) {
            self.stop();
            return None;
        }
        let rollouts = plan.policies.iter().filter(|(_, state)| state.rollout.is_some());
        let rollouts: BTreeSet<PolicyName> = rollouts.map(|(name, _)| name.clone()).collect();
        // A rollout that has just begun does not wait for its first forecast.
        let is_new = !rollouts.is_subset(&self.known);
        if let Some(last) = self.tasks.get(&CLUSTER) {
            let is_overdue = last.answer().ends.values().any(|end| *end <= now);
            let due = last.started + MIN_INTERVAL;
            if !last.is_finished() || (is_same(&last.question, snapshot) && !is_overdue) {
                return None;
            }
            if due > Instant::now() && !is_new {
                return Some(due);
            }
        }
        self.known = rollouts;
        let last = self.outlook();
        let question = Arc::new(snapshot.clone());
        self.tasks.start(CLUSTER, question.clone(), last, |answer| async move {
            let found = tokio::task::spawn_blocking(move || {
                let forecast = forecast(&question, now, Horizon::default());
                let late = forecast.late_nodes(&question, now);
                (forecast.policies, late)
            });
            if let Ok((ends, late)) = found.await {
                answer.modify(|outlook| {
                    let ends = keep_close_ends(&outlook.ends, ends);
                    *outlook = Outlook { ends, late };
                });
            }
        });
        None
    }

    /// When a forecast that was started a moment ago will have answered.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let running = self.tasks.get(&CLUSTER).filter(|task| !task.is_finished());
        let expected = running.map(|task| task.started + EXPECTED_WITHIN);
        expected.filter(|expected| *expected > now)
    }

    /// The answer of the last forecast.
    pub fn outlook(&self) -> Outlook {
        self.tasks
            .get(&CLUSTER)
            .map(|task| task.answer().clone())
            .unwrap_or_default()
    }

    /// Ends the forecast and forgets the last one: no rollout is in progress, or another replica leads.
    pub fn stop(&mut self) {
        self.tasks.stop();
        self.known.clear();
    }
}

/// Whether both show the same cluster; how long a watch or a drain has gone on by now makes no difference.
fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    let same_node = |(one, other): (&Node, &Node)| {
        one == other || {
            let mut timed = one.clone();
            timed.drain_details.evicting_for = other.drain_details.evicting_for;
            timed.drain_details.running_for = other.drain_details.running_for;
            timed == *other
        }
    };
    let Snapshot {
        unlisted,
        view_gaps,
        control_plane_gap,
        watched_for: _,
        policies,
        nodes,
        unmanaged_records,
        lock,
        refused_lock_write,
        own_node,
        accepts_unconfined_agents,
    } = one;
    let gaps = (unlisted, view_gaps, control_plane_gap, refused_lock_write);
    let rest = (policies, unmanaged_records, lock, own_node, accepts_unconfined_agents);
    gaps == (
        &other.unlisted,
        &other.view_gaps,
        &other.control_plane_gap,
        &other.refused_lock_write,
    ) && rest
        == (
            &other.policies,
            &other.unmanaged_records,
            &other.lock,
            &other.own_node,
            &other.accepts_unconfined_agents,
        )
        && nodes.keys().eq(other.nodes.keys())
        && nodes.values().zip(other.nodes.values()).all(same_node)
}

/// The new ends; one that hardly moved stays, so that no status is written for it.
fn keep_close_ends(known: &Ends, found: Ends) -> Ends {
    let keep = |(policy, end): (String, DateTime<Utc>)| {
        let same = known.get(&policy).filter(|known| (**known - end).abs() < TOLERANCE);
        let end = same.copied().unwrap_or(end);
        (policy, end)
    };
    found.into_iter().map(keep).collect()
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
    fn an_end_that_moves_by_less_than_a_minute_stays() {
        let known = [("a".to_owned(), time(10)), ("b".to_owned(), time(10))].into();
        let nearly = time(10) + TimeDelta::seconds(59);
        let found = [("a".to_owned(), nearly), ("b".to_owned(), time(11))].into();
        let ends = keep_close_ends(&known, found);
        assert_eq!(ends["a"], time(10));
        assert_eq!(ends["b"], time(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_cluster_is_forecast_once_a_minute_and_an_unchanged_one_not_again() {
        let (wake_up, mut wake_ups) = WakeUp::channel();
        let mut forecasts = Forecasts::new(wake_up);
        let started = Instant::now();
        let first = Snapshot::default();
        assert_eq!(forecasts.reconcile(&first, &rolling(), time(0)), None);
        wake_ups.recv().await.unwrap();
        while !forecasts.tasks.get(&CLUSTER).unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            forecasts.reconcile(&first, &rolling(), time(0)),
            None,
            "nothing has changed"
        );
        let changed = Snapshot {
            own_node: Some("w-01".to_owned()),
            ..Snapshot::default()
        };
        let due = forecasts.reconcile(&changed, &rolling(), time(0)).unwrap();
        assert!(due >= started + MIN_INTERVAL, "not before a minute has passed");
        tokio::time::advance(MIN_INTERVAL).await;
        assert_eq!(forecasts.reconcile(&changed, &rolling(), time(1)), None);
        assert_eq!(
            forecasts.tasks.get(&CLUSTER).unwrap().question,
            Arc::new(changed),
            "it was started"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rollout_that_has_just_begun_does_not_wait_for_its_forecast() {
        let (wake_up, mut wake_ups) = WakeUp::channel();
        let mut forecasts = Forecasts::new(wake_up);
        forecasts.reconcile(&Snapshot::default(), &rolling(), time(0));
        wake_ups.recv().await.unwrap();
        while !forecasts.tasks.get(&CLUSTER).unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
        let changed = Snapshot {
            own_node: Some("w-01".to_owned()),
            ..Snapshot::default()
        };
        let mut two = rolling();
        let state = two.policies.values().next().unwrap().clone();
        two.policies.insert("another".into(), state);
        assert_eq!(forecasts.reconcile(&changed, &two, time(0)), None);
        assert_eq!(
            forecasts.tasks.get(&CLUSTER).unwrap().question,
            Arc::new(changed),
            "it was started"
        );
    }

    #[tokio::test]
    async fn without_a_rollout_there_is_no_forecast() {
        let (wake_up, _wake_ups) = WakeUp::channel();
        let mut forecasts = Forecasts::new(wake_up);
        forecasts.reconcile(&Snapshot::default(), &rolling(), time(0));
        assert_eq!(
            forecasts.reconcile(&Snapshot::default(), &Plan::default(), time(0)),
            None
        );
        assert!(forecasts.tasks.get(&CLUSTER).is_none() && forecasts.outlook() == Outlook::default());
    }

    #[test]
    fn how_long_a_drain_or_a_watch_has_gone_on_is_no_change() {
        let before = Snapshot::default();
        let mut after = Snapshot {
            watched_for: TimeDelta::seconds(60),
            ..Snapshot::default()
        };
        assert!(is_same(&before, &after));
        after.own_node = Some("w-01".to_owned());
        assert!(!is_same(&before, &after));
    }
}
