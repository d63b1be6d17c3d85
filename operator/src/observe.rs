//! A look at the cache: the objects, and what the planner sees in them.

use std::collections::BTreeMap;

use lockkeeper_observe::{Local, Seen, snapshot};
use lockkeeper_planner::Snapshot;

use crate::cache::Cache;

/// Takes a snapshot of the cache.
pub fn observe(cache: &Cache, local: &Local, now: tokio::time::Instant) -> (Snapshot, Seen) {
    let mut seen = Seen {
        nodes: kept(cache.nodes.iter()),
        reboots: kept(cache.reboots.iter()),
        lock: cache.lock().cloned(),
        ..Seen::default()
    };
    for (name, policy) in cache.policies.iter() {
        match policy {
            Ok(policy) => drop(seen.policies.insert(name.to_owned(), policy.clone())),
            Err(unreadable) => drop(seen.undecodable.insert(name.to_owned(), unreadable.cause.clone())),
        }
    }
    let mut view = snapshot(&seen, local);
    view.unseen = cache.unseen().into_iter().map(str::to_owned).collect();
    // A watch that has failed for a minute shows the past: nothing starts on it, what runs goes on under its guards.
    let stale = cache.stale(now).into_iter().map(|(_, trouble)| trouble.message.clone());
    view.undecodable.extend(stale);
    (view, seen)
}

fn kept<'a, T: Clone + 'a>(entries: impl Iterator<Item = (&'a str, &'a T)>) -> BTreeMap<String, T> {
    entries.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
