//! The watches that fill the cache, for ever.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_kube_util::{Guarded, GuardedApi, Rest, Undecodable, WatchBackoff, error_chain, restartable_watch};
use lockkeeper_snapshot::guarded::{GuardedLock, GuardedPolicy, GuardedRecord, UndecodablePolicy, UndecodableRecord};
use lockkeeper_snapshot::slim::Node;
use lockkeeper_snapshot::static_pod::{self, PodRest, StaticPod};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::table::{Applied, Key, Table};
use super::{Cache, SharedCache, shared};
use crate::client::describe_error;
use crate::watched_kind::WatchedKind;

/// Pages of this size keep a list of thousands of nodes small in memory.
const PAGE: u32 = 200;

/// Fills the cache until it is dropped; failures are said once in words, counted, and tried again with back-off.
pub async fn feed(cache: SharedCache, client: Client) {
    let config = watcher::Config::default().page_size(PAGE);
    let lock_only = config.clone().fields(&format!("metadata.name={}", names::LOCK));
    let nodes = follow(&cache, events(&cache, &client, &config), WatchedTable::nodes());
    let reboots = follow(&cache, events(&cache, &client, &config), WatchedTable::reboots());
    let policies = follow(&cache, events(&cache, &client, &config), WatchedTable::policies());
    let lock = follow(&cache, events(&cache, &client, &lock_only), WatchedTable::lock());
    let control_plane = config.clone().labels(static_pod::SELECTOR);
    let static_pods = follow(
        &cache,
        events(&cache, &client, &control_plane),
        WatchedTable::static_pods(),
    );
    futures::join!(nodes, reboots, policies, lock, static_pods);
}

/// How objects of one kind get into their table.
pub(super) struct WatchedTable<K, T> {
    pub(super) kind: WatchedKind,
    table: fn(&mut Cache) -> &mut Table<T>,
    store: fn(K) -> T,
    /// Whether going from the first to the second is no reason to look again.
    quiet: fn(&T, &T) -> bool,
    /// Why the object cannot be decoded, if it cannot be.
    undecodable: fn(&T) -> Option<&str>,
}

impl WatchedTable<Guarded<Node>, Arc<Node>> {
    pub(super) fn nodes() -> Self {
        let store = |guarded| {
            let mut node = Node::from(guarded);
            node.prune();
            Arc::new(node)
        };
        Self {
            kind: WatchedKind::Nodes,
            table: |cache| &mut cache.nodes,
            store,
            quiet: |old, new| old.is_only_alive(new),
            undecodable: |node| node.undecodable.as_deref(),
        }
    }
}

impl WatchedTable<GuardedRecord, Result<Arc<NodeReboot>, Arc<UndecodableRecord>>> {
    pub(super) fn reboots() -> Self {
        Self {
            kind: WatchedKind::Reboots,
            table: |cache| &mut cache.reboots,
            store: pruned,
            quiet: |_, _| false,
            undecodable: cause,
        }
    }
}

impl WatchedTable<GuardedPolicy, Result<Arc<RebootPolicy>, Arc<UndecodablePolicy>>> {
    pub(super) fn policies() -> Self {
        Self {
            kind: WatchedKind::Policies,
            table: |cache| &mut cache.policies,
            store: pruned,
            quiet: |_, _| false,
            undecodable: cause,
        }
    }
}

impl WatchedTable<GuardedLock, Result<Arc<RebootLock>, Arc<Undecodable>>> {
    pub(super) fn lock() -> Self {
        Self {
            kind: WatchedKind::Lock,
            table: |cache| &mut cache.locks,
            store: pruned,
            quiet: |_, _| false,
            undecodable: cause,
        }
    }
}

impl WatchedTable<Guarded<StaticPod, PodRest>, Arc<StaticPod>> {
    pub(super) fn static_pods() -> Self {
        let store = |guarded| {
            let mut pod = StaticPod::from(guarded);
            pod.prune();
            Arc::new(pod)
        };
        Self {
            kind: WatchedKind::StaticPods,
            table: |cache| &mut cache.static_pods,
            store,
            quiet: |old, new| (old.node(), old.is_ready()) == (new.node(), new.is_ready()),
            undecodable: |pod| pod.undecodable.as_deref(),
        }
    }
}

fn pruned<K: Resource, R>(mut object: Guarded<K, R>) -> Result<Arc<K>, Arc<Undecodable<R>>>
where
    Guarded<K, R>: Resource,
{
    object.meta_mut().managed_fields = None;
    shared(object)
}

fn cause<K, R>(object: &Result<Arc<K>, Arc<Undecodable<R>>>) -> Option<&str> {
    object.as_ref().err().map(|undecodable| undecodable.cause.as_str())
}

fn events<K, R>(
    cache: &SharedCache,
    client: &Client,
    config: &watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Guarded<K, R>>>> + use<K, R>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    R: Rest + Clone + Debug + Send + 'static,
{
    let api: GuardedApi<K, R> = GuardedApi::all(client.clone());
    let config = config.clone();
    let start = move || api.clone().watch(config.clone()).boxed();
    restartable_watch(start, cache.restarts()).backoff(WatchBackoff::for_operator())
}

async fn follow<K, T>(
    cache: &SharedCache,
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    view: WatchedTable<K, T>,
) where
    K: Resource,
{
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => handle_event(cache, &view, event),
            Err(error) => handle_error(cache, &view, &error),
        }
    }
}

/// Puts one event of a watch into the cache.
pub(super) fn handle_event<K: Resource, T>(cache: &SharedCache, view: &WatchedTable<K, T>, event: Event<K>) {
    let listed = matches!(event, Event::InitDone);
    let changed = {
        let mut guard = cache.read();
        if listed {
            guard.interrupted(view.kind, Instant::now());
        }
        let changed = apply((view.table)(&mut guard), view, event);
        if changed.is_some() {
            guard.clear_failure(view.kind);
        }
        changed
    };
    if changed == Some(true) {
        cache.changed();
    }
}

/// Answers whether there is a reason to look again; nothing if the event shows nothing of the server.
fn apply<K: Resource, T>(table: &mut Table<T>, view: &WatchedTable<K, T>, event: Event<K>) -> Option<bool> {
    match event {
        Event::Init => {
            table.start_list();
            None
        }
        Event::InitApply(object) => {
            let key = Key::of(&object);
            let value = (view.store)(object);
            report_undecodable(table, view, &key, &value);
            table.list(key, value);
            Some(false)
        }
        Event::InitDone => {
            table.end_list();
            Some(true)
        }
        Event::Apply(object) => {
            let key = Key::of(&object);
            let value = (view.store)(object);
            report_undecodable(table, view, &key, &value);
            let news = match table.get(key.name()) {
                Some(known) => !(view.quiet)(known, &value),
                None => true,
            };
            match table.apply(key, value) {
                Applied::Stored => Some(news),
                Applied::Stale => Some(false),
            }
        }
        Event::Delete(object) => Some(table.delete(&Key::of(&object))),
    }
}

/// Names an object that cannot be decoded, once until it can be.
fn report_undecodable<K, T>(table: &Table<T>, view: &WatchedTable<K, T>, key: &Key, value: &T) {
    let is_known = table
        .get(key.name())
        .is_some_and(|known| (view.undecodable)(known).is_some());
    if let Some(cause) = (view.undecodable)(value).filter(|_| !is_known) {
        let (kind, name) = (view.kind.as_str(), key.name());
        tracing::warn!(
            kind,
            name,
            "an object cannot be decoded: {cause}; the others of its kind are not affected"
        );
    }
}

/// Records a failure, says it once, and forgets a kind that the server denies us.
fn handle_error<K, T>(cache: &SharedCache, view: &WatchedTable<K, T>, error: &watcher::Error) {
    let (message, denied) = describe(error);
    if let Some(metrics) = &cache.metrics {
        metrics.count_watch_error(view.kind.as_str());
    }
    let mut guard = cache.read();
    if denied && (view.table)(&mut guard).is_listed() {
        (view.table)(&mut guard).forget();
        cache.changed();
    }
    let news = guard.record_failure(view.kind, &message, Instant::now());
    drop(guard);
    if news {
        tracing::warn!(
            "the watch on {} is failing: {message}; it is retried",
            view.kind.as_str()
        );
    } else {
        tracing::debug!("the watch on {} is failing: {message}", view.kind.as_str());
    }
}

/// The failure in words, and whether the server will show us nothing of this kind.
fn describe(error: &watcher::Error) -> (String, bool) {
    match error {
        watcher::Error::InitialListFailed(error) => {
            let denied = matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404));
            (describe_error(error), denied)
        }
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => (describe_error(error), false),
        other @ (watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion) => (error_chain(other), false),
    }
}
