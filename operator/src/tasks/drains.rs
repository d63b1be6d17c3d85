//! One drain for each node whose operation is draining. After a crash the drains are started again from the API.

mod notifications;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use lockkeeper_crds::Operation;
use lockkeeper_drain::{DrainClients, EmptyNode, Progress, Settings};
use lockkeeper_kube_util::{Clock, error_chain};
use lockkeeper_planner::{Action, Change, HookPoint, Node, Phase, Snapshot, StageKind};
use lockkeeper_snapshot::{Filling, ObservedObjects};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::notifications::{BLOCKED_FOR, DrainNotifications};
use self::state::{EarlierRuns, EvictionTime, State};
use super::supervisor::{AnswerSender, Supervisor, WakeUp};
use crate::drain_settings::{DrainOptions, of_operation};
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
    eviction_requests: bool,
    tasks: Supervisor<String, Attempt, State>,
    /// What Events have told of each drain.
    notifications: BTreeMap<String, (Attempt, DrainNotifications)>,
    /// What earlier runs of drains have done that this process started anew.
    earlier_runs: BTreeMap<String, (Attempt, EarlierRuns)>,
    /// Nodes that were found to be empty when their cordon was recorded, each with its order: no watch is needed.
    empty: BTreeMap<String, (String, EmptyNode)>,
}

/// What a drain is started for; another attempt is another drain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    /// The order's id: a retry drains anew.
    order: String,
    stage: Option<StageKind>,
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
    pub fn new(clients: DrainClients, options: &DrainOptions, wake_up: WakeUp) -> Self {
        Self {
            clients,
            namespace: options.namespace.clone(),
            clock: options.clock,
            eviction_requests: options.eviction_requests,
            tasks: Supervisor::new(wake_up),
            notifications: BTreeMap::new(),
            earlier_runs: BTreeMap::new(),
            empty: BTreeMap::new(),
        }
    }

    /// Puts into the snapshot how far each drain is.
    pub fn fill(&self, filling: &mut Filling) {
        let now = Instant::now();
        for (name, task) in self.tasks.iter() {
            if let Some(node) = filling.node(name) {
                node.drain = task.answer().fill(&mut node.drain_details, now);
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

    /// These nodes were found to be empty when their cordon was recorded, each for this order.
    pub fn expect_empty(&mut self, nodes: BTreeMap<String, (String, EmptyNode)>) {
        self.empty.extend(nodes);
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
        self.empty.retain(|node, _| wanted.contains_key(node));
        for (node, attempt) in wanted {
            let status = observed.reboots.get(node).and_then(|reboot| reboot.status.as_ref());
            let operation = status.and_then(|status| status.operation.as_ref());
            if let Some(operation) = operation.filter(|_| self.tasks.get(node).is_none()) {
                let may_have_volumes = observed.nodes.get(node).is_none_or(|node| node.status.has_volumes);
                self.start(node, attempt, operation, may_have_volumes);
            }
        }
    }

    /// The nodes that are drained now.
    pub fn nodes(&self) -> BTreeSet<String> {
        self.tasks.iter().map(|(node, _)| node.clone()).collect()
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
        self.empty.clear();
    }

    fn start(&mut self, node: &str, attempt: Attempt, operation: &Operation, may_have_volumes: bool) {
        // Once only: a drain that is started again looks at the pods.
        let empty = self
            .empty
            .remove(node)
            .filter(|_| attempt.stage.is_none() && !may_have_volumes);
        let empty = empty
            .filter(|(order, _)| *order == attempt.order)
            .map(|(_, empty)| empty);
        let settings = of_operation(node, operation, &self.namespace, self.clock).map(|settings| Settings {
            eviction_requests: self.eviction_requests,
            ..with_rounded_cordon_time(settings)
        });
        let (clients, name) = (self.clients.clone(), node.to_owned());
        let before = self.earlier_runs.get(node).filter(|(known, _)| *known == attempt);
        let first = EarlierRuns {
            moved: usize::try_from(operation.pods_moved).unwrap_or_default(),
            evicting: EvictionTime::default(),
            started: Instant::now(),
        };
        let before = before.map_or(first, |(_, runs)| *runs);
        let initial = State::before_run(before);
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
                let drain = async {
                    match empty {
                        Some(empty) => empty.drain(sender).await,
                        None => run(clients, settings, sender, name, answer.clone()).await,
                    }
                };
                tokio::join!(drain, forward(progress, answer.clone()));
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
    // Nothing leaves the node before its first hooks have ended.
    let awaits_hooks = operation.next_hook(HookPoint::BeforeDrain).is_some();
    // Nor before its workloads have been given notice.
    let awaits = awaits_hooks || operation.awaits_notice();
    // Without the taint, the pods of DaemonSets would come back as soon as they are gone.
    let is_tainted = node.taints.rebooting || !operation.settings.daemon_sets_last;
    (is_draining && is_cordoned && is_tainted && !awaits).then(|| Attempt {
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
