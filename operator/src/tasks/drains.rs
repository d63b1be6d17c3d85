//! One supervised drain for each node whose operation is draining; rebuilt from the API after a crash.

mod notifications;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use kube::Client;
use lockkeeper_crds::Operation;
use lockkeeper_drain::{Cause, Progress, Settings};
use lockkeeper_kube_util::{Opaque, error_chain};
use lockkeeper_planner::{Action, Change, Drain, Phase, Snapshot, StageKind, WaitReason};
use lockkeeper_snapshot::ObservedObjects;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use self::notifications::{DrainNotifications, SETTLED};
use crate::drain_settings::of_operation;

pub use self::notifications::DrainEvent;

/// An engine that gave up is started again after this, until the operation's own time-out puts the node back.
const AGAIN: Duration = Duration::from_secs(10);

/// A pass sees a change a moment after it; one more after this finds it settled.
const AFTER_SETTLED: Duration = Duration::from_secs(1);

/// The drains that run.
#[derive(Debug)]
pub struct Drains {
    client: Opaque<Client>,
    namespace: String,
    tasks: BTreeMap<String, Task>,
    news: mpsc::UnboundedSender<()>,
}

#[derive(Debug)]
struct Task {
    attempt: Attempt,
    progress: watch::Receiver<Progress>,
    /// Why the engine gave up; empty while it runs.
    failure: watch::Receiver<String>,
    announced: DrainNotifications,
    abort: AbortHandle,
}

/// What a drain is started for; another one is started for another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    /// The order id: a retry drains anew.
    order: String,
    stage: Option<StageKind>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Drains {
    /// None runs yet. Each step of a drain sends on `news`.
    pub fn new(client: Client, namespace: String, news: mpsc::UnboundedSender<()>) -> Self {
        Self {
            client: Opaque(client),
            namespace,
            tasks: BTreeMap::new(),
            news,
        }
    }

    /// How far each one is, as the planner wants it.
    pub fn progress(&self) -> BTreeMap<String, Drain> {
        self.tasks
            .iter()
            .map(|(node, task)| (node.clone(), view(&task.progress.borrow(), &task.failure.borrow())))
            .collect()
    }

    /// What is to be told of each node now, and never again while this process runs the drain.
    pub fn news(&mut self) -> Vec<(String, DrainEvent)> {
        let (mut all, now) = (Vec::new(), Instant::now());
        for (node, task) in &mut self.tasks {
            for news in task.announced.news(&task.progress.borrow(), now) {
                all.push((node.clone(), news));
            }
        }
        all
    }

    /// Starts the drains that should run and ends those that should not.
    pub fn tend(&mut self, snapshot: &Snapshot, seen: &ObservedObjects) {
        let wanted: BTreeMap<&String, Attempt> = snapshot
            .nodes
            .iter()
            .filter_map(|(name, node)| {
                let operation = node.record.as_ref()?.operation.as_ref()?;
                let draining = operation.phase == Phase::Draining && operation.pending_outcome.is_none();
                let marked = node.cordoned_for.as_ref() == Some(&operation.id) && node.unschedulable;
                // Without the taint, the pods of DaemonSets would come back as soon as they are gone.
                let kept_away = node.taints.rebooting || !operation.settings.daemon_sets_last;
                let attempt = Attempt {
                    order: operation.order_id(),
                    stage: operation.stage.map(|stage| stage.kind),
                };
                (draining && marked && kept_away).then_some((name, attempt))
            })
            .collect();
        self.tasks.retain(|node, task| wanted.get(node) == Some(&task.attempt));
        for (node, attempt) in wanted {
            let operation = seen
                .reboots
                .get(node)
                .and_then(|reboot| reboot.status.as_ref()?.operation.as_ref());
            if let Some(operation) = operation.filter(|_| !self.tasks.contains_key(node)) {
                let task = self.start(node, attempt, operation);
                self.tasks.insert(node.clone(), task);
            }
        }
    }

    /// Ends the drains of operations that the plan ends: their pods are left alone before that is even written.
    pub fn end(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::WriteRecord { node, change } = action
                && let Change::Set(Some(operation)) = &change.operation
                && operation.pending_outcome.is_some()
            {
                self.tasks.remove(node);
            }
        }
    }

    /// Ends the drain of a node, so that the next `tend` starts it anew.
    pub fn restart(&mut self, node: &str) {
        self.tasks.remove(node);
    }

    /// Ends all: we lead no more.
    pub fn stop(&mut self) {
        self.tasks.clear();
    }

    fn start(&self, node: &str, attempt: Attempt, operation: &Operation) -> Task {
        let (sender, progress) = watch::channel(Progress::Starting);
        let (gave_up, failure) = watch::channel(String::new());
        let settings = of_operation(node, operation, &self.namespace).map(settled);
        let (client, news, name) = (self.client.0.clone(), self.news.clone(), node.to_owned());
        let (mut steps, step) = (progress.clone(), news.clone());
        let run = async move {
            let settings = match settings {
                Ok(settings) => settings,
                Err(error) => {
                    tracing::error!(node = name, "drain: {}", error_chain(&error));
                    gave_up.send_replace(error_chain(&error));
                    let _ = news.send(());
                    return;
                }
            };
            while let Err(error) = lockkeeper_drain::drain(client.clone(), settings.clone(), sender.clone()).await {
                tracing::warn!(node = name, "drain: {}; tried again in 10 s", error_chain(&error));
                gave_up.send_replace(error_chain(&error));
                let _ = news.send(());
                tokio::time::sleep(AGAIN).await;
                gave_up.send_replace(String::new());
            }
        };
        let tell = async move {
            while steps.changed().await.is_ok() {
                let _ = step.send(());
                while let Ok(Ok(())) = timeout(SETTLED + AFTER_SETTLED, steps.changed()).await {
                    let _ = step.send(());
                }
                // Nothing new for a while: what has settled may be told now.
                let _ = step.send(());
            }
        };
        let drain = async { tokio::join!(run, tell) };
        let abort = tokio::spawn(drain).abort_handle();
        Task {
            attempt,
            progress,
            failure,
            announced: DrainNotifications::default(),
            abort,
        }
    }
}

/// The record has whole seconds only: the cordon is not younger than the next one, nor than now.
fn settled(settings: Settings) -> Settings {
    Settings {
        cordoned_at: (settings.cordoned_at + TimeDelta::seconds(1)).min(Utc::now()),
        ..settings
    }
}

fn view(progress: &Progress, failure: &str) -> Drain {
    match progress {
        Progress::Starting if !failure.is_empty() => Drain::Running {
            moved: 0,
            waiting: Some(cannot(failure)),
        },
        Progress::Starting => Drain::NotStarted,
        Progress::Running { moved, waiting_on, .. } => Drain::Running {
            moved: *moved,
            waiting: if failure.is_empty() {
                waiting(waiting_on)
            } else {
                Some(cannot(failure))
            },
        },
        Progress::Done { moved, .. } => Drain::Done { moved: *moved },
    }
}

fn cannot(failure: &str) -> WaitReason {
    WaitReason::EvictionBlocked {
        message: format!("the drain cannot continue: {failure}"),
    }
}

/// The worst cause gives the reason; all are said.
fn waiting(causes: &[Cause]) -> Option<WaitReason> {
    let first = causes.first()?;
    let messages: Vec<String> = causes.iter().map(ToString::to_string).collect();
    Some(first.wait_reason(messages.join("; ")))
}
