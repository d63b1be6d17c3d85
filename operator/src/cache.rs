//! What the operator has seen: four watches, and the answers to its own writes.

mod feed;
mod guarded;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource;
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_snapshot::slim::Node;
use tokio::sync::watch;
use tokio::time::Instant;

pub use feed::feed;
pub use guarded::{Guarded, Unreadable};
pub use table::{Key, Table};

use crate::metrics::Metrics;

/// A watch that fails for this long no longer shows the cluster as it is.
const PATIENCE: Duration = Duration::from_mins(1);

/// Four kinds of objects as they were last seen.
#[derive(Debug, Default)]
pub struct Cache {
    /// Nodes by name, of any operating system.
    pub nodes: Table<Arc<Node>>,
    /// `NodeReboot`s by name.
    pub reboots: Table<Arc<NodeReboot>>,
    /// Policies by name, with those that cannot be decoded.
    pub policies: Table<Result<Arc<RebootPolicy>, Arc<Unreadable>>>,
    /// Locks; only [`Cache::lock`] means anything.
    pub locks: Table<Arc<RebootLock>>,
    troubles: [Option<Trouble>; 4],
}

/// One of the four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `nodes`
    Nodes,
    /// `nodereboots`
    Reboots,
    /// `rebootpolicies`
    Policies,
    /// `rebootlocks`
    Lock,
}

/// A watch that fails.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The first failure since the last sign of life.
    pub since: Instant,
    /// The last one.
    pub last: Instant,
    /// How many there were.
    pub count: u64,
    /// What is wrong and what helps, in one line.
    pub message: String,
}

impl Kind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Nodes, Self::Reboots, Self::Policies, Self::Lock];

    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "Nodes",
            Self::Reboots => "NodeReboots",
            Self::Policies => "RebootPolicies",
            Self::Lock => "RebootLocks",
        }
    }
}

impl Cache {
    /// The lock, if there is one.
    pub fn lock(&self) -> Option<&Arc<RebootLock>> {
        self.locks.get(names::LOCK)
    }

    /// The kinds that have not been listed completely yet, or can no longer be; nothing may be done while there is one.
    pub fn unlisted(&self) -> Vec<Kind> {
        let listed = [
            self.nodes.is_listed(),
            self.reboots.is_listed(),
            self.policies.is_listed(),
            self.locks.is_listed(),
        ];
        Kind::ALL
            .into_iter()
            .zip(listed)
            .filter(|(_, listed)| !listed)
            .map(|(kind, _)| kind)
            .collect()
    }

    /// The watches that have been failing for a minute, with the reason: what they showed may be long past.
    pub fn stale(&self, now: Instant) -> Vec<(Kind, &Trouble)> {
        self.troubles()
            .filter(|(_, trouble)| {
                // A watch that works again is silent until something changes; only fresh failures count.
                trouble.last - trouble.since >= PATIENCE && now.saturating_duration_since(trouble.last) < PATIENCE
            })
            .collect()
    }

    /// The watches that have failed since they last showed something.
    pub fn troubles(&self) -> impl Iterator<Item = (Kind, &Trouble)> {
        Kind::ALL
            .into_iter()
            .zip(&self.troubles)
            .filter_map(|(kind, trouble)| Some((kind, trouble.as_ref()?)))
    }

    fn works(&mut self, kind: Kind) {
        self.troubles[kind as usize] = None;
    }

    /// Records a failure and answers whether it is another one than before.
    fn fails(&mut self, kind: Kind, message: &str, now: Instant) -> bool {
        let trouble = self.troubles[kind as usize].get_or_insert_with(|| Trouble {
            since: now,
            last: now,
            count: 0,
            message: String::new(),
        });
        // A failure after a long silence is a new one: the watch worked in between.
        if now.saturating_duration_since(trouble.last) >= PATIENCE {
            trouble.since = now;
        }
        trouble.last = now;
        trouble.count += 1;
        let news = trouble.message != message;
        message.clone_into(&mut trouble.message);
        news
    }
}

/// A cache that its watches fill while others read it; clones are the same cache.
#[derive(Clone, Debug)]
pub struct SharedCache {
    cache: Arc<Mutex<Cache>>,
    changes: Arc<watch::Sender<u64>>,
    /// Where failures are counted.
    metrics: Option<Arc<Metrics>>,
}

impl Default for SharedCache {
    fn default() -> Self {
        Self {
            cache: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
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

    /// Counts the changes that somebody else made; await `changed()` on it to look again.
    ///
    /// Our own writes and bare heartbeats do not count.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Puts in a Node as the API server answered it to a write of ours.
    pub fn absorb_node(&self, mut node: Node) {
        node.prune();
        self.read().nodes.absorb(Key::of(&node), Arc::new(node));
    }

    /// Puts in a `NodeReboot` as the API server answered it to a write of ours.
    pub fn absorb_reboot(&self, mut reboot: NodeReboot) {
        reboot.metadata.managed_fields = None;
        self.read().reboots.absorb(Key::of(&reboot), Arc::new(reboot));
    }

    /// Puts in a policy as the API server answered it to a write of its status.
    pub fn absorb_policy(&self, mut policy: RebootPolicy) {
        policy.metadata.managed_fields = None;
        self.read().policies.absorb(Key::of(&policy), Ok(Arc::new(policy)));
    }

    /// Puts in a policy that cannot be decoded, as the API server answered it to a write of its status.
    pub fn absorb_guarded(&self, mut policy: Guarded) {
        policy.meta_mut().managed_fields = None;
        self.read().policies.absorb(Key::of(&policy), decoded(policy));
    }

    /// Puts in the lock as the API server answered it to a write of ours.
    pub fn absorb_lock(&self, mut lock: RebootLock) {
        lock.metadata.managed_fields = None;
        self.read().locks.absorb(Key::of(&lock), Arc::new(lock));
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

fn decoded(policy: Guarded) -> Result<Arc<RebootPolicy>, Arc<Unreadable>> {
    policy.0.map(Arc::new).map_err(Arc::new)
}

#[cfg(test)]
mod tests;
