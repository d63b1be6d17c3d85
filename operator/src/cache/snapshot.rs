//! A look at the cache: the objects, and what the planner sees in them.

use std::sync::Arc;

use chrono::TimeDelta;
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy};
use lockkeeper_planner::{OBSERVATION_GRACE, ViewGap};
use lockkeeper_snapshot::guarded::{UndecodablePolicy, UndecodableRecord};
use lockkeeper_snapshot::slim::Node;
use lockkeeper_snapshot::static_pod::StaticPod;
use lockkeeper_snapshot::{KeptSnapshot, Local, Objects};

use super::{Cache, WatchFailure};
use crate::watched_kind::WatchedKind;

/// Makes the kept snapshot one of the cache.
pub fn observe(kept: &mut KeptSnapshot, cache: &Cache, local: &Local, now: tokio::time::Instant) {
    kept.update(cache, local);
    let (view, _) = kept.parts();
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

impl Objects for Cache {
    fn nodes(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.nodes.iter()
    }

    fn reboots(&self) -> impl Iterator<Item = (&str, Result<&Arc<NodeReboot>, &Arc<UndecodableRecord>>)> {
        self.reboots.iter().map(|(name, reboot)| (name, reboot.as_ref()))
    }

    fn policies(&self) -> impl Iterator<Item = (&str, Result<&Arc<RebootPolicy>, &Arc<UndecodablePolicy>>)> {
        self.policies.iter().map(|(name, policy)| (name, policy.as_ref()))
    }

    fn lock(&self) -> Option<Result<&Arc<RebootLock>, &String>> {
        let lock = Self::lock(self)?.as_ref();
        Some(lock.map_err(|undecodable| &undecodable.cause))
    }

    fn static_pods(&self) -> impl Iterator<Item = &Arc<StaticPod>> {
        self.static_pods.iter().map(|(_, pod)| pod)
    }
}
