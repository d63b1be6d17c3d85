//! What the operator has seen: its watches, and the answers to its own writes.

mod feed;
mod snapshot;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use kube::Resource;
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_kube_util::{Guarded, Undecodable};
use lockkeeper_snapshot::guarded::{GuardedPolicy, GuardedRecord, UndecodablePolicy, UndecodableRecord};
use lockkeeper_snapshot::slim::Node;
use lockkeeper_snapshot::static_pod::StaticPod;
use tokio::sync::watch;
use tokio::time::Instant;

pub use feed::feed;
pub use snapshot::observe;
pub use table::{Key, Table};

use crate::metrics::Metrics;
use crate::watched_kind::WatchedKind;

/// A watch that fails for this long no longer shows the cluster as it is.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// The watched objects as they were last seen.
#[derive(Debug, Default)]
pub struct Cache {
    /// Nodes by name, of any operating system.
    pub nodes: Table<Arc<Node>>,
    /// `NodeReboot`s by name, with those that cannot be decoded.
    pub reboots: Table<Result<Arc<NodeReboot>, Arc<UndecodableRecord>>>,
    /// Policies by name, with those that cannot be decoded.
    pub policies: Table<Result<Arc<RebootPolicy>, Arc<UndecodablePolicy>>>,
    /// Locks; only [`Cache::lock`] means anything.
    pub locks: Table<Result<Arc<RebootLock>, Arc<Undecodable>>>,
    /// Pods that may be static pods of the control plane, by namespace and name.
    pub static_pods: Table<Arc<StaticPod>>,
    watch_failures: [Option<WatchFailure>; 5],
    rewind: Option<Rewind>,
    /// When each watch last failed, or last had to list everything.
    interruptions: [Option<Instant>; 5],
}

/// The resource versions of the API server went back: etcd was restored from a backup.
///
/// Watches stay silent then until the versions that they wait for have come again, and what was written in between is
/// never shown. Everything has to be listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewind {
    /// Which one it is, since this process was started.
    pub number: u64,
    /// The newest version before.
    pub from: u64,
    /// A version after it.
    pub to: u64,
}

/// A watch that fails.
#[derive(Clone, Debug)]
pub struct WatchFailure {
    /// The first failure since the last sign of life.
    pub since: Instant,
    /// The last one.
    pub last: Instant,
    /// How many there were.
    pub count: u64,
    /// What is wrong and what helps, in one line.
    pub message: String,
}

impl Cache {
    /// The lock, if there is one, or what is known of one that cannot be decoded.
    pub fn lock(&self) -> Option<&Result<Arc<RebootLock>, Arc<Undecodable>>> {
        self.locks.get(names::LOCK)
    }

    /// The last time that the versions of the API server went back.
    pub fn rewind(&self) -> Option<Rewind> {
        self.rewind
    }

    /// Forgets everything: its versions, and what they would hide.
    fn forget(&mut self) {
        self.nodes.forget();
        self.reboots.forget();
        self.policies.forget();
        self.locks.forget();
        self.static_pods.forget();
    }

    /// The kinds that have not been listed completely yet, or can no longer be; nothing may be done while there is one.
    pub fn unlisted(&self) -> Vec<WatchedKind> {
        let listed = [
            self.nodes.is_listed(),
            self.reboots.is_listed(),
            self.policies.is_listed(),
            self.locks.is_listed(),
            self.static_pods.is_listed(),
        ];
        WatchedKind::ALL
            .into_iter()
            .zip(listed)
            .filter(|(_, listed)| !listed)
            .map(|(kind, _)| kind)
            .collect()
    }

    /// The watches that have been failing for a minute, with the reason: what they showed may be long past.
    pub fn stale(&self, now: Instant) -> Vec<(WatchedKind, &WatchFailure)> {
        self.watch_failures()
            .filter(|(_, failure)| {
                // A watch that works again is silent until something changes; only fresh failures count.
                failure.last - failure.since >= STALE_AFTER && now.saturating_duration_since(failure.last) < STALE_AFTER
            })
            .collect()
    }

    /// How long the watches on Nodes and `NodeReboot`s have shown without a break what kubelets and agents report.
    pub fn watched_for(&self, now: Instant) -> Duration {
        let shown_for = |kind: WatchedKind| {
            let last = self.interruptions[kind as usize];
            last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
        };
        if self.nodes.is_listed() && self.reboots.is_listed() {
            shown_for(WatchedKind::Nodes).min(shown_for(WatchedKind::Reboots))
        } else {
            Duration::ZERO
        }
    }

    fn interrupted(&mut self, kind: WatchedKind, now: Instant) {
        self.interruptions[kind as usize] = Some(now);
    }

    /// The watches that have failed since they last showed something.
    pub fn watch_failures(&self) -> impl Iterator<Item = (WatchedKind, &WatchFailure)> {
        WatchedKind::ALL
            .into_iter()
            .zip(&self.watch_failures)
            .filter_map(|(kind, failure)| Some((kind, failure.as_ref()?)))
    }

    fn clear_failure(&mut self, kind: WatchedKind) {
        self.watch_failures[kind as usize] = None;
    }

    /// Records a failure and answers whether it is another one than before.
    fn record_failure(&mut self, kind: WatchedKind, message: &str, now: Instant) -> bool {
        self.interrupted(kind, now);
        let failure = self.watch_failures[kind as usize].get_or_insert_with(|| WatchFailure {
            since: now,
            last: now,
            count: 0,
            message: String::new(),
        });
        // A failure after a long silence is a new one: the watch worked in between.
        if now.saturating_duration_since(failure.last) >= STALE_AFTER {
            failure.since = now;
        }
        failure.last = now;
        failure.count += 1;
        let news = failure.message != message;
        message.clone_into(&mut failure.message);
        news
    }
}

/// A cache that its watches fill while others read it; clones are the same cache.
#[derive(Clone, Debug)]
pub struct SharedCache {
    cache: Arc<Mutex<Cache>>,
    changes: Arc<watch::Sender<u64>>,
    /// Counts the rewinds: each restarts the watches.
    rewinds: Arc<watch::Sender<u64>>,
    /// Where failures are counted.
    metrics: Option<Arc<Metrics>>,
}

impl Default for SharedCache {
    fn default() -> Self {
        Self {
            cache: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            rewinds: Arc::new(watch::Sender::new(0)),
            metrics: None,
        }
    }
}

impl SharedCache {
    /// An empty cache that counts the failures of its watches.
    pub fn counting(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics: Some(metrics),
            ..Self::default()
        }
    }

    /// The cache, held still; keep it no longer than it takes to read, and never over an `await`.
    pub fn read(&self) -> MutexGuard<'_, Cache> {
        // A reader that panicked has changed nothing.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the changes made by other clients; await `changed()` on it to run another pass.
    ///
    /// Our own writes and bare heartbeats do not count.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The versions of the API server went back: nothing is known until everything is listed again.
    pub fn rewind(&self, from: u64, to: u64) {
        tracing::warn!(
            from,
            to,
            "the resource versions of the API server went back, as after a restore of etcd from a backup; listing everything again"
        );
        if let Some(metrics) = &self.metrics {
            metrics.count_rewind();
        }
        {
            let mut cache = self.read();
            cache.forget();
            let number = cache.rewind.map_or(1, |rewind| rewind.number + 1);
            cache.rewind = Some(Rewind { number, from, to });
        }
        self.rewinds.send_modify(|count| *count += 1);
        self.changed();
    }

    /// Says when the watches have to list again.
    fn restarts(&self) -> impl Stream<Item = ()> + Send + Unpin + use<> {
        let rewinds = self.rewinds.subscribe();
        Box::pin(futures::stream::unfold(rewinds, |mut rewinds| async move {
            rewinds.changed().await.ok()?;
            Some(((), rewinds))
        }))
    }

    /// Puts in a Node as the API server answered it to a write of ours.
    pub fn absorb_node(&self, mut node: Node) {
        node.prune();
        self.read().nodes.absorb(Key::of(&node), Arc::new(node));
    }

    /// Puts in a `NodeReboot` as the API server answered it to a write of ours.
    pub fn absorb_reboot(&self, mut reboot: NodeReboot) {
        reboot.metadata.managed_fields = None;
        self.read().reboots.absorb(Key::of(&reboot), Ok(Arc::new(reboot)));
    }

    /// Removes a `NodeReboot` that we have deleted as it is here.
    pub fn forget_reboot(&self, reboot: &NodeReboot) {
        self.read().reboots.remove(&Key::of(reboot));
    }

    /// Puts in a policy as the API server answered it to a write of its status.
    pub fn absorb_policy(&self, mut policy: RebootPolicy) {
        policy.metadata.managed_fields = None;
        self.read().policies.absorb(Key::of(&policy), Ok(Arc::new(policy)));
    }

    /// Puts in a policy that cannot be decoded, as the API server answered it to a write of its status.
    pub fn upsert_policy(&self, mut policy: GuardedPolicy) {
        policy.meta_mut().managed_fields = None;
        self.read().policies.absorb(Key::of(&policy), shared(policy));
    }

    /// Puts in a `NodeReboot` that cannot be decoded, as the API server answered it to a write of its status.
    pub fn upsert_record(&self, mut record: GuardedRecord) {
        record.meta_mut().managed_fields = None;
        self.read().reboots.absorb(Key::of(&record), shared(record));
    }

    /// Puts in the lock as the API server answered it to a write of ours.
    pub fn absorb_lock(&self, mut lock: RebootLock) {
        lock.metadata.managed_fields = None;
        self.read().locks.absorb(Key::of(&lock), Ok(Arc::new(lock)));
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

fn shared<K, R>(object: Guarded<K, R>) -> Result<Arc<K>, Arc<Undecodable<R>>> {
    object.0.map(Arc::new).map_err(Arc::new)
}

#[cfg(test)]
mod tests;
