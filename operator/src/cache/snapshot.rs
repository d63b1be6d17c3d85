//! A look at the cache: the objects, and what the planner sees in them.

use std::collections::BTreeMap;

use lockkeeper_planner::{Snapshot, ViewGap};
use lockkeeper_snapshot::{Local, ObservedObjects, snapshot};

use super::{Cache, WatchFailure};
use crate::watched_kind::WatchedKind;

/// Takes a snapshot of the cache.
pub fn observe(cache: &Cache, local: &Local, now: tokio::time::Instant) -> (Snapshot, ObservedObjects) {
    let mut seen = ObservedObjects {
        nodes: kept(cache.nodes.iter()),
        reboots: kept(cache.reboots.iter()),
        lock: cache.lock().cloned(),
        static_pods: cache.static_pods.iter().map(|(_, pod)| pod.clone()).collect(),
        ..ObservedObjects::default()
    };
    for (name, policy) in cache.policies.iter() {
        match policy {
            Ok(policy) => drop(seen.policies.insert(name.to_owned(), policy.clone())),
            Err(unreadable) => drop(seen.undecodable.insert(name.to_owned(), unreadable.cause.clone())),
        }
    }
    let mut view = snapshot(&seen, local);
    view.unlisted = cache.unlisted().into_iter().map(|kind| gap(cache, kind)).collect();
    // A watch that has failed for a minute shows the past: nothing starts on it, what runs goes on under its guards.
    let stale = cache
        .stale(now)
        .into_iter()
        .map(|(kind, failure)| watch_failing(kind, failure));
    view.view_gaps.extend(stale);
    (view, seen)
}

/// Why a kind is not listed: its watch fails, or its first list has not arrived.
fn gap(cache: &Cache, kind: WatchedKind) -> ViewGap {
    let failure = cache.watch_failures().find(|(failing, _)| *failing == kind);
    failure.map_or_else(
        || ViewGap::NotListed {
            kind: kind.as_str().to_owned(),
        },
        |(kind, failure)| watch_failing(kind, failure),
    )
}

fn watch_failing(kind: WatchedKind, failure: &WatchFailure) -> ViewGap {
    ViewGap::WatchFailing {
        kind: kind.as_str().to_owned(),
        error: failure.message.clone(),
    }
}

fn kept<'a, T: Clone + 'a>(entries: impl Iterator<Item = (&'a str, &'a T)>) -> BTreeMap<String, T> {
    entries.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
