//! Drains one cordoned node, prints its progress and returns how it ended.

use std::time::Duration;

use chrono::Utc;
use lockkeeper_drain::{Blocker, Cause, Progress, Settings};
use lockkeeper_kube_util::error_chain;
use lockkeeper_planner::{MAX_GRACE_WAIT, SHUTDOWN_DELAY};
use tokio::sync::watch;
use tokio::time::Instant;

use super::follow::Follower;
use super::json::{CauseJson, PodProgress};
use super::messages;
use super::result::{NodeResult, Outcome};
use super::stop::Stop;
use crate::clock::DisplayClock;
use crate::cluster::Cluster;

/// How long the drain of a node may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit {
    /// The time-out.
    pub(super) drain: Duration,
    /// Whether it waits longer for pods within their own grace period.
    pub(super) wait_for_grace: bool,
}

impl TimeLimit {
    /// Until when the drain goes on although it has timed out, as the operator's would.
    fn extend_for_grace(self, progress: &Progress, begin: Instant) -> Option<Instant> {
        let Progress::Running {
            grace_ends: Some(ends), ..
        } = progress
        else {
            return None;
        };
        let rest = (*ends + SHUTDOWN_DELAY - Utc::now()).to_std().ok()?;
        let latest = begin + self.drain + MAX_GRACE_WAIT.to_std().ok()?;
        let until = (Instant::now() + rest).min(latest);
        (self.wait_for_grace && until > Instant::now()).then_some(until)
    }
}

/// What ended the drain.
enum End {
    Engine(Result<(), lockkeeper_drain::Error>),
    Uncordoned,
    Timeout,
    Stop,
}

/// Drains the node and prints each change; dropping the engine stops its requests.
pub(crate) async fn drain(
    cluster: &Cluster,
    settings: Settings,
    limit: TimeLimit,
    stop: &mut Stop,
    print: &mut dyn FnMut(&str),
) -> NodeResult {
    let node = settings.node.clone();
    let begin = Instant::now();
    let (to, mut progress) = watch::channel(Progress::Starting);
    let mut follower = Follower::default();
    let end = {
        let mut engine = std::pin::pin!(lockkeeper_drain::drain(cluster.client.clone(), settings, to));
        let mut timeout = std::pin::pin!(tokio::time::sleep(limit.drain));
        loop {
            tokio::select! {
                ended = &mut engine => break End::Engine(ended),
                () = &mut timeout => match limit.extend_for_grace(&progress.borrow(), begin) {
                    Some(until) => timeout.as_mut().reset(until),
                    None => break End::Timeout,
                },
                () = stop.requested() => break End::Stop,
                Ok(()) = progress.changed() => {
                    let now = progress.borrow_and_update().clone();
                    follower.lines(&now, &DisplayClock::now()).iter().for_each(|line| print(line));
                    if is_uncordoned(&now) {
                        break End::Uncordoned;
                    }
                }
            }
        }
    };
    let last = progress.borrow().clone();
    follower
        .lines(&last, &DisplayClock::now())
        .iter()
        .for_each(|line| print(line));
    let mut result = NodeResult::unchanged(&node, None, Outcome::Failed, String::new());
    result.seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    result.pods = follower.pods.iter().map(PodProgress::from).collect();
    fill(&mut result, &last);
    (result.result, result.message) = match end {
        End::Engine(Ok(())) => (Outcome::Drained, messages::drained(&result)),
        End::Engine(Err(error)) => (
            Outcome::Failed,
            format!("{node} is not drained: {}", error_chain(&error)),
        ),
        End::Uncordoned => (Outcome::Failed, messages::uncordoned_by_other(&node)),
        End::Timeout => (
            Outcome::TimedOut,
            messages::timed_out(&node, begin.elapsed().as_secs(), &last, &DisplayClock::now()),
        ),
        End::Stop => (Outcome::Stopped, messages::stopped(&node, &last, &DisplayClock::now())),
    };
    result
}

fn is_uncordoned(progress: &Progress) -> bool {
    let Progress::Running { waiting_on, .. } = progress else {
        return false;
    };
    let uncordoned = |cause: &Cause| matches!(cause.blocker, Blocker::Uncordoned { .. });
    waiting_on.iter().any(uncordoned)
}

/// The numbers of the last progress.
fn fill(result: &mut NodeResult, last: &Progress) {
    match last {
        Progress::Starting => {}
        Progress::Running {
            moved,
            with_empty_dir,
            waiting_on,
            ..
        } => {
            (result.moved, result.with_empty_dir) = (*moved, *with_empty_dir);
            result.blockers = waiting_on.iter().map(CauseJson::from).collect();
        }
        Progress::Done {
            moved,
            stayed,
            with_empty_dir,
            still_attached,
            ..
        } => {
            (result.moved, result.stayed, result.with_empty_dir) = (*moved, *stayed, *with_empty_dir);
            result.still_attached.clone_from(still_attached);
        }
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::group_by_cause;

    use super::*;

    #[test]
    fn a_drain_ends_if_another_client_uncordons_the_node() {
        let node = "w-02".to_owned();
        let progress = Progress::Running {
            to_move: 2,
            moved: 1,
            remaining: 1,
            with_empty_dir: 0,
            waiting_tiers: vec![],
            evicting: true,
            grace_ends: None,
            returning: Vec::new(),
            waiting_on: group_by_cause(vec![Blocker::Uncordoned { node }]),
            pods: vec![],
        };
        assert!(is_uncordoned(&progress));
        assert!(!is_uncordoned(&Progress::Starting));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_a_grace_period_but_not_past_an_explicit_limit() {
        let running = |seconds: i64| Progress::Running {
            to_move: 1,
            moved: 0,
            remaining: 1,
            with_empty_dir: 0,
            waiting_tiers: vec![],
            evicting: true,
            grace_ends: Some(Utc::now() + chrono::TimeDelta::seconds(seconds)),
            returning: vec![],
            waiting_on: vec![],
            pods: vec![],
        };
        let limit = TimeLimit {
            drain: Duration::from_mins(1),
            wait_for_grace: true,
        };
        let begin = Instant::now();
        let extended = |limit: TimeLimit, seconds| {
            let until = limit.extend_for_grace(&running(seconds), begin)?;
            Some((until - begin).as_secs_f64().round())
        };
        assert_eq!(extended(limit, 600), Some(610.0));
        assert_eq!(extended(limit, 86_400), Some(7260.0));
        assert_eq!(extended(limit, -11), None);
        let explicit = TimeLimit {
            wait_for_grace: false,
            ..limit
        };
        assert_eq!(extended(explicit, 600), None);
        assert_eq!(limit.extend_for_grace(&Progress::Starting, begin), None);
    }
}
