//! A look at the cache: the objects, and what the planner sees in them.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_planner::{OBSERVATION_GRACE, Snapshot, ViewGap};
use lockkeeper_snapshot::{Local, ObservedObjects, UndecodableObjects, snapshot};

use super::{Cache, Table, WatchFailure};
use crate::watched_kind::WatchedKind;

/// Takes a snapshot of the cache.
pub fn observe(cache: &Cache, local: &Local, now: tokio::time::Instant) -> (Snapshot, ObservedObjects) {
    let (reboots, undecodable_reboots) = decoded(&cache.reboots);
    let (policies, undecodable_policies) = decoded(&cache.policies);
    let causes = undecodable_policies.into_iter();
    let lock = cache.lock();
    let seen = ObservedObjects {
        nodes: kept(cache.nodes.iter()),
        reboots,
        policies,
        lock: lock.and_then(|lock| lock.as_ref().ok()).cloned(),
        static_pods: cache.static_pods.iter().map(|(_, pod)| pod.clone()).collect(),
        undecodable: UndecodableObjects {
            policies: causes.map(|(name, policy)| (name, policy.cause.clone())).collect(),
            reboots: undecodable_reboots,
            lock: lock.and_then(|lock| Some(lock.as_ref().err()?.cause.clone())),
        },
    };
    let mut view = snapshot(&seen, local);
    // A watch that has failed for a minute shows the past: nothing starts on it, what runs goes on under its guards.
    let stale = cache.stale(now).into_iter();
    for (kind, gap) in stale.map(|(kind, failure)| (kind, watch_failing(kind, failure))) {
        match kind {
            WatchedKind::StaticPods => view.control_plane_gap = Some(gap),
            WatchedKind::Nodes | WatchedKind::Reboots | WatchedKind::Policies | WatchedKind::Lock => {
                view.view_gaps.push(gap);
            }
        }
    }
    for kind in cache.unlisted() {
        match (kind, gap(cache, kind)) {
            // A list that is not permitted may never arrive.
            (WatchedKind::StaticPods, gap @ ViewGap::ControlPlaneUnknown { .. }) => view.control_plane_gap = Some(gap),
            (_, gap) => view.unlisted.push(gap),
        }
    }
    let watched_for = TimeDelta::from_std(cache.watched_for(now)).unwrap_or(OBSERVATION_GRACE);
    view.watched_for = watched_for.min(OBSERVATION_GRACE);
    (view, seen)
}

/// The objects of a table that can be decoded, and the others.
fn decoded<T: Clone, E: Clone>(table: &Table<Result<T, E>>) -> (BTreeMap<String, T>, BTreeMap<String, E>) {
    let (mut objects, mut undecodable) = (BTreeMap::new(), BTreeMap::new());
    for (name, object) in table.iter() {
        match object {
            Ok(object) => drop(objects.insert(name.to_owned(), object.clone())),
            Err(error) => drop(undecodable.insert(name.to_owned(), error.clone())),
        }
    }
    (objects, undecodable)
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
    let (error, name) = (failure.message.clone(), kind.as_str().to_owned());
    match kind {
        WatchedKind::StaticPods => ViewGap::ControlPlaneUnknown { kind: name, error },
        WatchedKind::Nodes | WatchedKind::Reboots | WatchedKind::Policies | WatchedKind::Lock => {
            ViewGap::WatchFailing { kind: name, error }
        }
    }
}

fn kept<'a, T: Clone + 'a>(entries: impl Iterator<Item = (&'a str, &'a T)>) -> BTreeMap<String, T> {
    entries.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
