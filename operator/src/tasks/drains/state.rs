//! How far a drain is, over all runs of its engine in this process, and what the planner gets to know of it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_drain::{Cause, Progress, ReturningOwner};
use lockkeeper_planner::{Drain, DrainDetails, WaitReason};
use tokio::time::Instant;

/// What the runs of a drain in this process have done before the present one: each run counts from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EarlierRuns {
    pub(super) moved: usize,
    pub(super) evicting: EvictionTime,
    /// When the first of them was started.
    pub(super) started: Instant,
}

/// How long evictions were asked for, by a clock that is never set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct EvictionTime {
    before: Duration,
    /// Since when they are asked for now.
    since: Option<Instant>,
}

/// How far a drain is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) progress: Progress,
    /// Pods moved by earlier runs of the engine: each run counts from zero.
    pub(super) moved_before: usize,
    /// When this process started the first of the runs.
    pub(super) started: Instant,
    pub(super) evicting: EvictionTime,
    /// Why the engine returned; empty while it runs.
    pub(super) failure: String,
}

impl State {
    /// Before the first run of a drain, or before another one.
    pub(super) fn before_run(before: EarlierRuns) -> Self {
        Self {
            progress: Progress::Starting,
            moved_before: before.moved,
            started: before.started,
            evicting: before.evicting,
            failure: String::new(),
        }
    }

    /// What the planner gets to know about the pods; `details` has what the preflight has found.
    pub(super) fn fill(&self, details: &mut DrainDetails, now: Instant) -> Drain {
        let owners = returning(&self.progress).iter().map(|one| one.owner.clone());
        details.returning_owners = owners.collect();
        details.grace_ends = grace_ends(&self.progress);
        details.evicting_for = delta(self.evicting.elapsed(now));
        details.running_for = delta(now.saturating_duration_since(self.started));
        drain(self)
    }

    pub(super) fn advance(&mut self, progress: Progress, now: Instant) {
        let is_evicting = matches!(progress, Progress::Running { evicting: true, .. });
        self.evicting = self.evicting.pause(now);
        self.evicting.since = is_evicting.then_some(now);
        self.progress = progress;
    }

    /// What this run and the ones before it have done.
    pub(super) fn runs(&self, now: Instant) -> EarlierRuns {
        EarlierRuns {
            moved: self.moved(),
            evicting: self.evicting.pause(now),
            started: self.started,
        }
    }

    /// Pods moved by all runs of the engine.
    pub(super) fn moved(&self) -> usize {
        let moved = match &self.progress {
            Progress::Starting => 0,
            Progress::Running { moved, .. } | Progress::Done { moved, .. } => *moved,
        };
        self.moved_before + moved
    }
}

impl EvictionTime {
    fn elapsed(self, now: Instant) -> Duration {
        let running = self.since.map(|since| now.saturating_duration_since(since));
        self.before + running.unwrap_or_default()
    }

    fn pause(self, now: Instant) -> Self {
        Self {
            before: self.elapsed(now),
            since: None,
        }
    }
}

fn delta(length: Duration) -> TimeDelta {
    TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX)
}

/// The owners whose pods return to the node.
pub(super) fn returning(progress: &Progress) -> &[ReturningOwner] {
    match progress {
        Progress::Starting => &[],
        Progress::Running { returning, .. } | Progress::Done { returning, .. } => returning,
    }
}

/// When the last grace period ends, if the drain waits for nothing else.
fn grace_ends(progress: &Progress) -> Option<DateTime<Utc>> {
    match progress {
        Progress::Running { grace_ends, .. } => *grace_ends,
        Progress::Starting | Progress::Done { .. } => None,
    }
}

fn drain(state: &State) -> Drain {
    let moved = state.moved();
    let failed = (!state.failure.is_empty()).then(|| WaitReason::EvictionBlocked {
        message: format!("the drain cannot continue: {}", state.failure),
    });
    match &state.progress {
        Progress::Starting if failed.is_some() => Drain::Running { moved, waiting: failed },
        Progress::Starting => Drain::NotStarted,
        Progress::Running { waiting_on, .. } => Drain::Running {
            moved,
            waiting: failed.or_else(|| wait_reason(waiting_on)),
        },
        Progress::Done { .. } => Drain::Done { moved },
    }
}

/// The wait reason of the worst cause; its message names all causes.
fn wait_reason(causes: &[Cause]) -> Option<WaitReason> {
    let first = causes.first()?;
    let messages: Vec<String> = causes.iter().map(ToString::to_string).collect();
    Some(first.wait_reason(messages.join("; ")))
}

#[cfg(test)]
mod tests {
    use lockkeeper_drain::{Blocker, group_by_cause};

    use super::*;

    fn state(blocker: Blocker) -> State {
        State {
            progress: Progress::Running {
                to_move: 1,
                moved: 0,
                remaining: 1,
                with_empty_dir: 0,
                waiting_tiers: vec![],
                evicting: true,
                grace_ends: None,
                returning: vec![],
                waiting_on: group_by_cause(vec![blocker]),
                pods: vec![],
            },
            moved_before: 0,
            started: Instant::now(),
            evicting: EvictionTime::default(),
            failure: String::new(),
        }
    }

    #[test]
    fn an_uncordoned_node_and_a_load_balancer_delay_keep_their_reasons() {
        let from = "2026-11-24T22:10:00Z".parse().unwrap();
        let delayed = drain(&state(Blocker::LoadBalancerDelay { from }));
        let waiting = Some(WaitReason::LoadBalancerDelay { from });
        assert_eq!(delayed, Drain::Running { moved: 0, waiting });
        let uncordoned = drain(&state(Blocker::Uncordoned {
            node: "w-01".to_owned(),
        }));
        let waiting = Some(WaitReason::Uncordoned);
        assert_eq!(uncordoned, Drain::Running { moved: 0, waiting });
    }

    #[test]
    fn trouble_with_the_api_server_does_not_replace_the_reason_of_a_drain() {
        let terminating = Blocker::Terminating {
            pod: lockkeeper_drain::PodName::new("shop", "db-0"),
            until: "2026-11-24T22:10:00Z".parse().unwrap(),
            grace: 60,
        };
        let away = Blocker::ApiUnavailable {
            message: "timed out".to_owned(),
        };
        let waiting = wait_reason(&group_by_cause(vec![away, terminating])).unwrap();
        assert_eq!(
            waiting.to_string(),
            "pod shop/db-0 is shutting down; its grace period of 60 s ends at 2026-11-24T22:10:00Z; the API server is unavailable: timed out"
        );
        assert_eq!(waiting.name(), lockkeeper_reasons::ReasonName::PodTerminating);
    }

    #[test]
    fn a_drain_that_failed_says_why_and_blocks() {
        let uncordoned = Blocker::Uncordoned {
            node: "w-01".to_owned(),
        };
        let state = State {
            progress: Progress::Starting,
            failure: "listing the pods: refused".to_owned(),
            ..state(uncordoned)
        };
        let Drain::Running {
            waiting: Some(waiting), ..
        } = drain(&state)
        else {
            panic!("it is running")
        };
        assert_eq!(
            waiting.to_string(),
            "the drain cannot continue: listing the pods: refused"
        );
    }

    #[test]
    fn only_the_time_in_which_evictions_are_asked_for_counts() {
        let running = |evicting: bool| match state(Blocker::Uncordoned {
            node: "w-01".to_owned(),
        })
        .progress
        {
            Progress::Running {
                to_move,
                moved,
                remaining,
                with_empty_dir,
                waiting_tiers,
                grace_ends,
                returning,
                waiting_on,
                pods,
                ..
            } => Progress::Running {
                to_move,
                moved,
                remaining,
                with_empty_dir,
                waiting_tiers,
                evicting,
                grace_ends,
                returning,
                waiting_on,
                pods,
            },
            other @ (Progress::Starting | Progress::Done { .. }) => other,
        };
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut state = state(Blocker::Uncordoned {
            node: "w-01".to_owned(),
        });
        state.advance(running(true), after(10));
        state.advance(running(true), after(15));
        // The API server is away.
        state.advance(running(false), after(30));
        assert_eq!(state.evicting.elapsed(after(100)), Duration::from_secs(20));
        state.advance(running(true), after(100));
        assert_eq!(state.evicting.elapsed(after(101)), Duration::from_secs(21));
        // A run that follows in the same process goes on counting.
        let runs = state.runs(after(102));
        assert_eq!(runs.evicting.elapsed(after(200)), Duration::from_secs(22));
        assert_eq!(runs.started, state.started);
    }

    #[test]
    fn pods_that_an_earlier_run_of_a_drain_moved_are_counted() {
        let mut state = state(Blocker::Uncordoned {
            node: "w-01".to_owned(),
        });
        state.moved_before = 7;
        state.progress = Progress::Done {
            moved: 4,
            stayed: 2,
            with_empty_dir: 0,
            still_attached: vec![],
            returning: vec![],
        };
        assert_eq!(drain(&state), Drain::Done { moved: 11 });
    }
}
