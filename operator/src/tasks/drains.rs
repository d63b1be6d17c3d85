//! One drain for each node whose operation is draining. After a crash the drains are started again from the API.

mod notifications;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_crds::Operation;
use lockkeeper_drain::{Cause, DrainClients, Progress, ReturningOwner, Settings};
use lockkeeper_kube_util::{Clock, error_chain};
use lockkeeper_planner::{Action, Change, Drain, Node, Phase, Snapshot, StageKind, WaitReason};
use lockkeeper_snapshot::ObservedObjects;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::notifications::{BLOCKED_FOR, DrainNotifications};
use super::supervisor::{AnswerSender, Supervisor, WakeUp};
use crate::drain_settings::of_operation;
use crate::report::event::Event;

/// An engine that returned an error is started again after this, until the operation itself times out.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// A pass observes a change a moment after it; one more pass after this finds that it has lasted long enough.
const AFTER_BLOCKED: Duration = Duration::from_secs(1);

/// The drains that run, by node.
pub struct Drains {
    clients: DrainClients,
    namespace: String,
    clock: Clock,
    tasks: Supervisor<String, Attempt, State>,
    /// What Events have told of each drain.
    notifications: BTreeMap<String, (Attempt, DrainNotifications)>,
    /// What earlier runs of drains have done that this process started anew.
    earlier_runs: BTreeMap<String, (Attempt, EarlierRuns)>,
}

/// What a drain is started for; another attempt is another drain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    /// The order's id: a retry drains anew.
    order: String,
    stage: Option<StageKind>,
}

/// What the runs of a drain in this process have done before the present one: each run counts from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EarlierRuns {
    moved: usize,
    evicting: EvictionTime,
    /// When the first of them was started.
    started: Instant,
}

/// How long evictions were asked for, by a clock that nobody sets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct EvictionTime {
    before: Duration,
    /// Since when they are asked for now.
    since: Option<Instant>,
}

/// How far a drain is.
#[derive(Clone, Debug, PartialEq)]
struct State {
    progress: Progress,
    /// Pods moved by earlier runs of the engine: each run counts from zero.
    moved_before: usize,
    /// When this process started the first of the runs.
    started: Instant,
    evicting: EvictionTime,
    /// Why the engine returned; empty while it runs.
    failure: String,
}

impl std::fmt::Debug for Drains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drains")
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl Drains {
    /// No drain runs yet.
    pub fn new(clients: DrainClients, namespace: String, clock: Clock, wake_up: WakeUp) -> Self {
        Self {
            clients,
            namespace,
            clock,
            tasks: Supervisor::new(wake_up),
            notifications: BTreeMap::new(),
            earlier_runs: BTreeMap::new(),
        }
    }

    /// Puts into the snapshot how far each drain is.
    pub fn fill(&self, snapshot: &mut Snapshot) {
        let now = Instant::now();
        for (name, task) in self.tasks.iter() {
            if let Some(node) = snapshot.nodes.get_mut(name) {
                let state = task.answer();
                node.drain = drain(&state);
                let owners = returning(&state.progress).iter().map(|one| one.owner.clone());
                node.drain_details.returning_owners = owners.collect();
                node.drain_details.grace_ends = grace_ends(&state.progress);
                node.drain_details.evicting_for = delta(state.evicting.elapsed(now));
                node.drain_details.running_for = delta(now.saturating_duration_since(state.started));
            }
        }
    }

    /// The Events that are due. None is returned twice while this process runs the drain.
    pub fn take_events(&mut self) -> Vec<(String, Event)> {
        let (mut all, now) = (Vec::new(), Instant::now());
        for (node, task) in self.tasks.iter() {
            let (attempt, notifications) = self
                .notifications
                .entry(node.clone())
                .or_insert_with(|| (task.question.clone(), DrainNotifications::default()));
            if *attempt != task.question {
                (*attempt, *notifications) = (task.question.clone(), DrainNotifications::default());
            }
            let events = notifications.take_events(&task.answer().progress, now);
            all.extend(events.into_iter().map(|event| (node.clone(), event)));
        }
        all
    }

    /// Starts the drains that should run and ends those that should not: also those of operations that `actions` end, so
    /// that their pods are left alone before that is even written.
    pub fn reconcile(&mut self, snapshot: &Snapshot, observed: &ObservedObjects, actions: &[Action]) {
        let wanted: BTreeMap<&String, Attempt> = snapshot
            .nodes
            .iter()
            .filter(|(name, _)| !actions.iter().any(|action| ends_operation(action, name)))
            .filter_map(|(name, node)| Some((name, attempt(node)?)))
            .collect();
        self.tasks.retain(|node| wanted.get(node).cloned());
        self.notifications.retain(|node, _| self.tasks.get(node).is_some());
        self.earlier_runs
            .retain(|node, (attempt, _)| wanted.get(node) == Some(attempt));
        for (node, attempt) in wanted {
            let status = observed.reboots.get(node).and_then(|reboot| reboot.status.as_ref());
            let operation = status.and_then(|status| status.operation.as_ref());
            if let Some(operation) = operation.filter(|_| self.tasks.get(node).is_none()) {
                self.start(node, attempt, operation);
            }
        }
    }

    /// Ends the drain of a node; the next pass starts it anew.
    pub fn restart(&mut self, node: &str) {
        if let Some(task) = self.tasks.get(node) {
            let runs = (task.question.clone(), task.answer().runs(Instant::now()));
            self.earlier_runs.insert(node.to_owned(), runs);
        }
        self.tasks.end(node);
        self.notifications.remove(node);
    }

    /// Ends all drains: another replica leads.
    pub fn stop(&mut self) {
        self.tasks.stop();
        self.notifications.clear();
        self.earlier_runs.clear();
    }

    fn start(&mut self, node: &str, attempt: Attempt, operation: &Operation) {
        let settings = of_operation(node, operation, &self.namespace, self.clock).map(with_rounded_cordon_time);
        let (clients, name) = (self.clients.clone(), node.to_owned());
        let before = self.earlier_runs.get(node).filter(|(known, _)| *known == attempt);
        let first = EarlierRuns {
            moved: usize::try_from(operation.pods_moved).unwrap_or_default(),
            evicting: EvictionTime::default(),
            started: Instant::now(),
        };
        let before = before.map_or(first, |(_, runs)| *runs);
        let initial = State {
            progress: Progress::Starting,
            moved_before: before.moved,
            started: before.started,
            evicting: before.evicting,
            failure: String::new(),
        };
        self.tasks
            .start(node.to_owned(), attempt, initial, |answer| async move {
                let settings = match settings {
                    Ok(settings) => settings,
                    Err(error) => {
                        tracing::error!(node = name, "drain: {}", error_chain(&error));
                        answer.modify(|state| state.failure = error_chain(&error));
                        return;
                    }
                };
                let (sender, progress) = watch::channel(Progress::Starting);
                tokio::join!(
                    run(clients, settings, sender, name, answer.clone()),
                    forward(progress, answer)
                );
            });
    }
}

/// Runs the engine, again and again if it fails.
async fn run(
    clients: DrainClients,
    settings: Settings,
    progress: watch::Sender<Progress>,
    node: String,
    answer: AnswerSender<State>,
) {
    while let Err(error) = lockkeeper_drain::drain(clients.clone(), settings.clone(), progress.clone()).await {
        let delay = RETRY_DELAY.as_secs();
        tracing::warn!(node, "drain: {}; retried in {delay} s", error_chain(&error));
        answer.modify(|state| {
            state.moved_before = state.moved();
            state.advance(Progress::Starting, Instant::now());
            state.failure = error_chain(&error);
        });
        tokio::time::sleep(RETRY_DELAY).await;
        answer.modify(|state| state.failure.clear());
    }
}

/// Passes the engine's progress on, and wakes the loop once more when it has been the same for a while.
async fn forward(mut progress: watch::Receiver<Progress>, answer: AnswerSender<State>) {
    let update = |progress: &mut watch::Receiver<Progress>| {
        let next = progress.borrow_and_update().clone();
        answer.modify(|state| state.advance(next, Instant::now()));
    };
    while progress.changed().await.is_ok() {
        update(&mut progress);
        while let Ok(Ok(())) = timeout(BLOCKED_FOR + AFTER_BLOCKED, progress.changed()).await {
            update(&mut progress);
        }
        // An Event about pods that are still blocked may be due now.
        answer.wake_up();
    }
}

/// The drain that should run on a node now.
fn attempt(node: &Node) -> Option<Attempt> {
    let operation = node.record.as_ref()?.operation.as_ref()?;
    let is_draining = operation.phase == Phase::Draining && operation.pending_outcome.is_none();
    let is_cordoned = node.cordoned_for.as_ref() == Some(&operation.id) && node.unschedulable;
    // Without the taint, the pods of DaemonSets would come back as soon as they are gone.
    let is_tainted = node.taints.rebooting || !operation.settings.daemon_sets_last;
    (is_draining && is_cordoned && is_tainted).then(|| Attempt {
        order: operation.order_id(),
        stage: operation.stage.map(|stage| stage.kind),
    })
}

/// Whether an action ends the operation of this node.
fn ends_operation(action: &Action, name: &str) -> bool {
    let Action::WriteRecord { node, change } = action else {
        return false;
    };
    match &change.operation {
        Change::Set(Some(operation)) => node == name && operation.pending_outcome.is_some(),
        Change::Set(None) | Change::Keep => false,
    }
}

/// The record has whole seconds only: the cordon is not younger than the next one, nor than now.
fn with_rounded_cordon_time(settings: Settings) -> Settings {
    Settings {
        cordoned_at: (settings.cordoned_at + TimeDelta::seconds(1)).min(settings.clock.now()),
        ..settings
    }
}

impl State {
    fn advance(&mut self, progress: Progress, now: Instant) {
        let is_evicting = matches!(progress, Progress::Running { evicting: true, .. });
        self.evicting = self.evicting.pause(now);
        self.evicting.since = is_evicting.then_some(now);
        self.progress = progress;
    }

    /// What this run and the ones before it have done.
    fn runs(&self, now: Instant) -> EarlierRuns {
        EarlierRuns {
            moved: self.moved(),
            evicting: self.evicting.pause(now),
            started: self.started,
        }
    }

    /// Pods moved by all runs of the engine.
    fn moved(&self) -> usize {
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
fn returning(progress: &Progress) -> &[ReturningOwner] {
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
