//! One supervised drain for each node whose operation is draining; rebuilt from the API after a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use kube::Client;
use lockkeeper_crds::{Operation, UnmanagedPods};
use lockkeeper_drain::{Cause, OwnPods, Progress, Settings, Unmanaged};
use lockkeeper_observe::Seen;
use lockkeeper_planner::{Drain, Phase, Snapshot, Waiting};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// An engine that gave up is started again after this, until the operation's own time-out puts the node back.
const AGAIN: Duration = Duration::from_secs(10);

/// The drains that run.
#[derive(Debug)]
pub struct Drains {
    client: Client0,
    namespace: String,
    tasks: BTreeMap<String, Task>,
    news: mpsc::UnboundedSender<()>,
}

struct Client0(Client);

impl std::fmt::Debug for Client0 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

#[derive(Debug)]
struct Task {
    /// The order id: a retry drains anew.
    attempt: String,
    progress: watch::Receiver<Progress>,
    abort: AbortHandle,
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
            client: Client0(client),
            namespace,
            tasks: BTreeMap::new(),
            news,
        }
    }

    /// How far each one is, as the planner wants it.
    pub fn progress(&self) -> BTreeMap<String, Drain> {
        self.tasks
            .iter()
            .map(|(node, task)| (node.clone(), view(&task.progress.borrow())))
            .collect()
    }

    /// Starts the drains that should run and ends those that should not.
    pub fn tend(&mut self, snapshot: &Snapshot, seen: &Seen) {
        let wanted: BTreeMap<&String, String> = snapshot
            .nodes
            .iter()
            .filter_map(|(name, node)| {
                let operation = node.record.as_ref()?.operation.as_ref()?;
                let draining = operation.phase == Phase::Draining && operation.ending.is_none();
                let marked = node.mark.as_ref() == Some(&operation.id) && node.unschedulable;
                (draining && marked).then(|| (name, operation.order_id()))
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

    /// Ends the drain of a node, so that the next `tend` starts it anew.
    pub fn restart(&mut self, node: &str) {
        self.tasks.remove(node);
    }

    /// Ends all: we lead no more.
    pub fn stop(&mut self) {
        self.tasks.clear();
    }

    fn start(&self, node: &str, attempt: String, operation: &Operation) -> Task {
        let (sender, progress) = watch::channel(Progress::Starting);
        // The record has whole seconds only: the cordon is not younger than the next one, nor than now.
        let recorded = settings(node, operation, &self.namespace);
        let cordoned_at = (recorded.cordoned_at + TimeDelta::seconds(1)).min(Utc::now());
        let settings = Settings {
            cordoned_at,
            ..recorded
        };
        let (client, news, name) = (self.client.0.clone(), self.news.clone(), node.to_owned());
        let mut steps = progress.clone();
        let run = async move {
            while let Err(error) = lockkeeper_drain::drain(client.clone(), settings.clone(), sender.clone()).await {
                tracing::warn!(
                    node = name,
                    "drain: {}; tried again in 10 s",
                    crate::client::chain(&error)
                );
                tokio::time::sleep(AGAIN).await;
            }
        };
        let tell = async move {
            while steps.changed().await.is_ok() {
                let _ = news.send(());
            }
        };
        let drain = async { tokio::join!(run, tell) };
        let abort = tokio::spawn(drain).abort_handle();
        Task {
            attempt,
            progress,
            abort,
        }
    }
}

/// What the engine must know, from the operation's record.
pub fn settings(node: &str, operation: &Operation, namespace: &str) -> Settings {
    let cordoned_at = operation.cordoned_time.unwrap_or(operation.started_time);
    Settings {
        unmanaged: match operation.settings.drain.unmanaged_pods {
            UnmanagedPods::Evict => Unmanaged::Evict,
            UnmanagedPods::Block | UnmanagedPods::Unknown => Unmanaged::Block,
        },
        grace_period_seconds: operation.settings.drain.grace_period_seconds.map(i64::from),
        ..Settings::new(node, OwnPods::in_namespace(namespace), cordoned_at)
    }
}

fn view(progress: &Progress) -> Drain {
    match progress {
        Progress::Starting => Drain::NotStarted,
        Progress::Running { moved, waiting_on, .. } => Drain::Running {
            moved: *moved,
            waiting: waiting_on.first().map(waiting),
        },
        Progress::Done { moved, .. } => Drain::Done { moved: *moved },
    }
}

fn waiting(cause: &Cause) -> Waiting {
    let what = cause.to_string();
    match cause.reason() {
        "PodTerminating" => Waiting::PodTerminating {
            what,
            until: cause.until(),
        },
        "PodStuck" => Waiting::PodStuck { what },
        _ => Waiting::EvictionBlocked { what },
    }
}
