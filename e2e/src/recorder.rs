//! Watches a whole rollout from outside: who was down at the same time, and whether the workload was served.
//!
//! It believes Nodes and Pods alone: a node is down while it carries our mark, is not Ready, or has another boot id
//! than its last Ready state showed. It never asks the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::names;
use tokio::task::JoinHandle;

use crate::hollow::{boot_id, is_ready};
use crate::workload;

/// How long a recording may need to see what the API server holds.
const CATCH_UP: Duration = Duration::from_mins(2);

/// A recording; dropping it ends it.
pub struct Recorder {
    client: Client,
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Boot ids in the order they were seen, by node.
    pub boots: BTreeMap<String, Vec<String>>,
    /// Nodes that are down now.
    pub down: BTreeSet<String>,
    /// Nodes that carry our mark or are unschedulable now.
    pub cordoned: BTreeSet<String>,
    /// The most that were down at once, and who.
    pub most_down: BTreeSet<String>,
    /// The most that carried our mark at once, and who.
    pub most_marked: BTreeSet<String>,
    /// In which order nodes were first marked by us.
    pub order: Vec<String>,
    /// The fewest ready pods of the workload since it was first complete.
    pub fewest_ready: Option<usize>,
    /// The most ready pods.
    pub most_ready: usize,
    /// On which node each pod of the namespace `default` was, gone ones too.
    pub placed: BTreeMap<String, String>,
    /// How often the workload was looked at.
    pub samples: usize,
    ready: BTreeSet<String>,
    marked: BTreeSet<String>,
    /// The Nodes are listed anew: what is known of them is of two times until all are there.
    listing: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("seen", &self.seen())
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts recording.
    pub fn start(client: &Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let nodes = watch(Api::<Node>::all(client.clone()), watcher::Config::default()).backoff(Soon);
        let pods = Api::<Pod>::namespaced(client.clone(), "default");
        let pods = watch(pods, watcher::Config::default()).backoff(Soon);
        let (node_seen, pod_seen) = (seen.clone(), seen.clone());
        let nodes = tokio::spawn(nodes.for_each(move |event| {
            if let Ok(event) = event {
                lock(&node_seen).node(&event);
            }
            std::future::ready(())
        }));
        let pods = tokio::spawn(pods.for_each(move |event| {
            if let Ok(event) = event {
                lock(&pod_seen).pod(&event);
            }
            std::future::ready(())
        }));
        Self {
            client: client.clone(),
            seen,
            tasks: vec![nodes, pods],
        }
    }

    /// What was recorded so far.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Fails unless at most `down` nodes were ever down and the workload always had `ready` pods.
    ///
    /// Waits first until the recording shows what the API server holds: a watch lags, most of all after an outage.
    pub async fn verdict(&self, down: usize, ready: usize) -> Result<Seen> {
        self.caught_up().await?;
        let seen = self.seen();
        ensure!(
            seen.most_down.len() <= down,
            "{} were down at once: {:?}",
            seen.most_down.len(),
            seen.most_down
        );
        let fewest = seen.fewest_ready.unwrap_or(ready);
        ensure!(fewest >= ready, "the workload was down to {fewest} ready pods");
        Ok(seen)
    }

    async fn caught_up(&self) -> Result<()> {
        let nodes = Api::<Node>::all(self.client.clone());
        let shown = async {
            loop {
                // Listed anew each time: the recording may be ahead of a list by the time that it is looked at.
                let now = nodes.list(&ListParams::default()).await.context("list the nodes")?;
                let seen = self.seen();
                if now.iter().all(|node| seen.shows(node)) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(CATCH_UP, shown)
            .await
            .context("the recording does not show what the API server holds")?
    }
}

/// The watch is opened again at once, or nearly: what happens meanwhile is not recorded.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {}
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_marked(node: &Node) -> bool {
    node.annotations().contains_key(names::OPERATION)
}

fn is_cordoned(node: &Node) -> bool {
    is_marked(node) || node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

impl Seen {
    /// Whether this state of a node was recorded, or a later one that looks the same.
    fn shows(&self, node: &Node) -> bool {
        let name = node.name_any();
        let boots = self.boots.get(&name);
        boots.is_some_and(|boots| boots.last().map(String::as_str) == boot_id(node).filter(|boot| !boot.is_empty()))
            && self.cordoned.contains(&name) == is_cordoned(node)
    }

    fn node(&mut self, event: &Event<Node>) {
        match event {
            Event::Apply(node) | Event::InitApply(node) => self.node_is(node),
            Event::Delete(node) => {
                self.down.remove(&node.name_any());
                self.marked.remove(&node.name_any());
            }
            // A list shows one node after the other: who was down before it and who is now were not down at once.
            Event::Init => {
                self.listing = true;
                self.down.clear();
                self.marked.clear();
                self.cordoned.clear();
            }
            Event::InitDone => self.listing = false,
        }
        if !self.listing && self.down.len() > self.most_down.len() {
            self.most_down = self.down.clone();
        }
        if !self.listing && self.marked.len() > self.most_marked.len() {
            self.most_marked = self.marked.clone();
        }
    }

    fn node_is(&mut self, node: &Node) {
        let name = node.name_any();
        let boot = boot_id(node).unwrap_or_default();
        let boots = self.boots.entry(name.clone()).or_default();
        if !boot.is_empty() && boots.last().map(String::as_str) != Some(boot) {
            boots.push(boot.to_owned());
        }
        let marked = is_marked(node);
        if marked && !self.order.contains(&name) {
            self.order.push(name.clone());
        }
        set(&mut self.marked, &name, marked);
        set(&mut self.cordoned, &name, is_cordoned(node));
        set(&mut self.down, &name, marked || !is_ready(node));
    }

    fn pod(&mut self, event: &Event<Pod>) {
        if let Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod) = event {
            if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
                self.placed.insert(pod.name_any(), node);
            }
            if !workload::is_ours(pod) {
                return;
            }
        }
        match event {
            Event::Init => self.ready.clear(),
            Event::Apply(pod) | Event::InitApply(pod) => {
                set(&mut self.ready, &pod.name_any(), workload::is_ready(pod));
            }
            Event::Delete(pod) => {
                self.ready.remove(&pod.name_any());
            }
            Event::InitDone => {}
        }
        if matches!(event, Event::Init | Event::InitApply(_)) {
            return;
        }
        self.samples += 1;
        self.most_ready = self.most_ready.max(self.ready.len());
        if self.fewest_ready.is_some() || self.ready.len() >= 2 {
            let fewest = self.fewest_ready.unwrap_or(usize::MAX);
            self.fewest_ready = Some(fewest.min(self.ready.len()));
        }
    }
}

fn set(names: &mut BTreeSet<String>, name: &str, there: bool) {
    if there {
        names.insert(name.to_owned());
    } else {
        names.remove(name);
    }
}
