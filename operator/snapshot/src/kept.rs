//! A snapshot that is kept, and follows the objects that it was made of: an update costs what has changed.
//!
//! What has changed is found by comparing pointers with what was seen last, so that there is no record of changes that
//! could be lost. `docs/scale.md` has what an update costs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockkeeper_crds::{HistoryEntry, NodeReboot, RebootLock, RebootPolicy};
use lockkeeper_planner::{Node, Policy, PolicyName, Snapshot, ViewGap};

use crate::duration_history::policy_of;
use crate::guarded::{UndecodablePolicy, UndecodableRecord};
use crate::observed::{Local, ObservedObjects};
use crate::policy_views::{PolicyViews, Selection};
use crate::slim;
use crate::snapshot::{estimate_durations, look_around, look_at_node, snapshot};
use crate::static_pod::StaticPod;

/// In debug builds each update of a cluster up to this size is compared with a snapshot made from nothing.
const COMPARED: usize = 1_000;

/// Where the objects are: each kind in the order of the names.
pub trait Objects {
    /// The Nodes.
    fn nodes(&self) -> impl Iterator<Item = (&str, &Arc<slim::Node>)>;
    /// The `NodeReboot`s, and what is known of those that cannot be decoded.
    fn reboots(&self) -> impl Iterator<Item = (&str, Result<&Arc<NodeReboot>, &Arc<UndecodableRecord>>)>;
    /// The policies, and what is known of those that cannot be decoded.
    fn policies(&self) -> impl Iterator<Item = (&str, Result<&Arc<RebootPolicy>, &Arc<UndecodablePolicy>>)>;
    /// The lock, or why it cannot be decoded.
    fn lock(&self) -> Option<Result<&Arc<RebootLock>, &String>>;
    /// The pods that may be static pods of the control plane.
    fn static_pods(&self) -> impl Iterator<Item = &Arc<StaticPod>>;
}

/// A snapshot and the objects that it was made of.
#[derive(Debug, Default)]
pub struct KeptSnapshot {
    seen: ObservedObjects,
    snapshot: Snapshot,
    /// Policies that cannot be read.
    gaps: Vec<ViewGap>,
    selection: Selection,
    /// What the snapshot was made with; nothing before the first update.
    local: Option<Local>,
    /// Nodes that what the operator's own tasks know was filled in for: it counts for one pass.
    filled: BTreeSet<String>,
}

impl KeptSnapshot {
    /// Follows the objects as they are now. What was filled in is gone again.
    pub fn update(&mut self, objects: &impl Objects, local: &Local) {
        let mut changed = std::mem::take(&mut self.filled);
        let mut durations_change = self.follow_nodes(objects, &mut changed);
        let selects_anew = self.follow_policies(objects);
        self.follow_lock(objects);
        let anew = selects_anew || self.local.as_ref() != Some(local);
        if anew {
            self.local = Some(local.clone());
            changed.extend(self.seen.nodes.keys().cloned());
            durations_change = true;
        }
        look_around(&mut self.snapshot, &self.seen, &self.gaps, local);
        for name in &changed {
            let before = self.policy_of(name).cloned();
            look_at_node(&mut self.snapshot, name, &self.seen, &self.selection, local);
            durations_change = durations_change || self.policy_of(name) != before.as_ref();
        }
        if anew {
            // Nodes that are put in one after the other fill half of the memory that the map takes; all at once, all of it.
            self.snapshot.nodes = std::mem::take(&mut self.snapshot.nodes).into_iter().collect();
        }
        if durations_change {
            estimate_durations(&mut self.snapshot, &self.seen);
        }
        self.clear_answers();
        debug_assert!(
            self.seen.nodes.len() > COMPARED || self.snapshot == snapshot(&self.seen, local),
            "the kept snapshot differs from one made from nothing"
        );
    }

    /// What was seen, and the snapshot of it, to be filled in.
    pub fn fill(&mut self) -> (Filling<'_>, &ObservedObjects) {
        (Filling::new(&mut self.snapshot, &mut self.filled), &self.seen)
    }

    /// The snapshot, and what it was made of. Of the latter, a pass replaces what its own writes change.
    pub fn parts(&mut self) -> (&mut Snapshot, &mut ObservedObjects) {
        (&mut self.snapshot, &mut self.seen)
    }

    fn policy_of(&self, node: &str) -> Option<&PolicyName> {
        policy_of(self.snapshot.nodes.get(node)?)
    }

    /// Answers whether what the histories teach has changed.
    fn follow_nodes(&mut self, objects: &impl Objects, changed: &mut BTreeSet<String>) -> bool {
        self.seen.restore_reboots();
        let nodes = follow(&mut self.seen.nodes, objects.nodes());
        let decoded = objects
            .reboots()
            .filter_map(|(name, reboot)| Some((name, reboot.ok()?)));
        let reboots = follow(&mut self.seen.reboots, decoded);
        let rest = objects
            .reboots()
            .filter_map(|(name, reboot)| Some((name, reboot.err()?)));
        let undecodable = follow(&mut self.seen.undecodable.reboots, rest);
        let teaches_anew = |(name, before): &(String, Option<Arc<NodeReboot>>)| {
            let history = |reboot| history(reboot).unwrap_or_default();
            history(before.as_ref()) != history(self.seen.reboots.get(name))
        };
        let durations_change = reboots.iter().any(teaches_anew);
        changed.extend(nodes.into_iter().map(|(name, _)| name));
        changed.extend(reboots.into_iter().map(|(name, _)| name));
        changed.extend(undecodable.into_iter().map(|(name, _)| name));
        self.follow_static_pods(objects, changed);
        durations_change
    }

    fn follow_static_pods(&mut self, objects: &impl Objects, changed: &mut BTreeSet<String>) {
        let same = |(one, other): (&Arc<StaticPod>, &Arc<StaticPod>)| Arc::ptr_eq(one, other);
        let count = objects.static_pods().count();
        if count == self.seen.static_pods.len() && self.seen.static_pods.iter().zip(objects.static_pods()).all(same) {
            return;
        }
        let before = std::mem::replace(&mut self.seen.static_pods, objects.static_pods().cloned().collect());
        let of_both = before.iter().chain(&self.seen.static_pods);
        changed.extend(of_both.filter_map(|pod| pod.node()).map(str::to_owned));
    }

    /// Answers whether other nodes are selected, or other labels of theirs count.
    fn follow_policies(&mut self, objects: &impl Objects) -> bool {
        let decoded = objects
            .policies()
            .filter_map(|(name, policy)| Some((name, policy.ok()?)));
        let changed = follow(&mut self.seen.policies, decoded);
        let rest = objects
            .policies()
            .filter_map(|(name, policy)| Some((name, policy.err()?)));
        let causes = rest.map(|(name, policy)| (name.to_owned(), policy.cause.clone()));
        self.seen.undecodable.policies = causes.collect();
        if changed.is_empty() {
            return false;
        }
        let PolicyViews { views, gaps, selection } = PolicyViews::of(&self.seen.policies);
        let before = std::mem::replace(&mut self.snapshot.policies, views);
        for (name, policy) in &mut self.snapshot.policies {
            if let Some(before) = before.get(name) {
                policy.duration_estimate = before.duration_estimate;
            }
        }
        self.gaps = gaps;
        std::mem::replace(&mut self.selection, selection) != self.selection
    }

    fn follow_lock(&mut self, objects: &impl Objects) {
        let lock = objects.lock();
        self.seen.lock = lock.as_ref().and_then(|lock| lock.ok()).cloned();
        self.seen.undecodable.lock = lock.and_then(Result::err).cloned();
    }

    /// What tasks answered about no single node is not known any more.
    fn clear_answers(&mut self) {
        self.snapshot.refused_lock_write = None;
        self.snapshot.control_plane_gap = None;
        self.snapshot.watched_for = chrono::TimeDelta::default();
        let checks = self
            .snapshot
            .policies
            .values_mut()
            .filter_map(|policy| policy.checks.as_mut());
        checks.for_each(|checks| checks.round = None);
    }
}

/// What the operator's own tasks know, on its way into a snapshot.
#[derive(Debug)]
pub struct Filling<'a> {
    snapshot: &'a mut Snapshot,
    filled: &'a mut BTreeSet<String>,
}

impl<'a> Filling<'a> {
    /// Into this snapshot, with the names of the nodes that something is filled in for.
    pub fn new(snapshot: &'a mut Snapshot, filled: &'a mut BTreeSet<String>) -> Self {
        Self { snapshot, filled }
    }

    /// The nodes as they are.
    pub fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.snapshot.nodes
    }

    /// The node, to be filled in for one pass.
    pub fn node(&mut self, name: &str) -> Option<&mut Node> {
        let node = self.snapshot.nodes.get_mut(name)?;
        if !self.filled.contains(name) {
            self.filled.insert(name.to_owned());
        }
        Some(node)
    }

    /// The policy, whose round of checks is to be filled in.
    pub fn policy(&mut self, name: &PolicyName) -> Option<&mut Policy> {
        self.snapshot.policies.get_mut(name)
    }

    /// Whether this is the name of a `NodeReboot` that is not needed any more.
    pub fn is_unmanaged(&self, name: &str) -> bool {
        self.snapshot.unmanaged_records.contains(name)
    }

    /// The writes of the lock are refused, for this reason.
    pub fn refuse_lock_write(&mut self, refusal: String) {
        self.snapshot.refused_lock_write = Some(refusal);
    }
}

fn history(reboot: Option<&Arc<NodeReboot>>) -> Option<&[HistoryEntry]> {
    Some(&reboot?.status.as_ref()?.history)
}

/// Makes the kept objects those that there are now. Answers the names of those that were not the same, with what was kept.
fn follow<'a, T: 'a>(
    kept: &mut BTreeMap<String, Arc<T>>,
    now: impl Iterator<Item = (&'a str, &'a Arc<T>)>,
) -> Vec<(String, Option<Arc<T>>)> {
    let (mut news, mut gone) = (Vec::new(), Vec::new());
    let mut known = kept.iter().peekable();
    for (name, object) in now {
        while let Some((left, _)) = known.next_if(|(known, _)| known.as_str() < name) {
            gone.push(left.clone());
        }
        let same = known.next_if(|(known, _)| known.as_str() == name);
        if !same.is_some_and(|(_, known)| Arc::ptr_eq(known, object)) {
            news.push((name.to_owned(), object.clone()));
        }
    }
    gone.extend(known.map(|(left, _)| left.clone()));
    let news: Vec<_> = news
        .into_iter()
        .map(|(name, object)| {
            let before = kept.insert(name.clone(), object);
            (name, before)
        })
        .collect();
    let gone = gone.into_iter().map(|name| {
        let before = kept.remove(&name);
        (name, before)
    });
    news.into_iter().chain(gone.collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests;
