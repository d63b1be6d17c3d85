//! From what was read to the planner's snapshot: parsed at the edge, nothing decided.

use std::sync::Arc;

use lockkeeper_planner as planner;
use planner::ViewGap;

use crate::convert;
use crate::duration_history::{DurationHistory, policy_of};
use crate::managed::is_unmanaged_record;
use crate::node_view::{node_view, view_gap};
use crate::observed::{Local, ObservedObjects};
use crate::policy_views::{PolicyViews, Selection, invalid};
use crate::static_pod::StaticPod;

/// The planner's view of what was seen.
pub fn snapshot(seen: &ObservedObjects, local: &Local) -> planner::Snapshot {
    let mut snapshot = planner::Snapshot::default();
    let policies = PolicyViews::of(&seen.policies);
    snapshot.policies = policies.views;
    look_around(&mut snapshot, seen, &policies.gaps, local);
    for name in seen.nodes.keys() {
        look_at_node(&mut snapshot, name, seen, &policies.selection, local);
    }
    estimate_durations(&mut snapshot, seen);
    snapshot
}

/// Everything but the policies and the nodes.
pub(crate) fn look_around(snapshot: &mut planner::Snapshot, seen: &ObservedObjects, gaps: &[ViewGap], local: &Local) {
    let undecodable = seen.undecodable.policies.iter();
    let undecodable = undecodable.map(|(name, cause)| invalid(name, cause));
    snapshot.view_gaps = undecodable.chain(gaps.iter().cloned()).collect();
    // Without the lock it is not known which nodes are in progress.
    let lock = seen.undecodable.lock.iter().cloned();
    snapshot.unlisted = lock.map(|cause| ViewGap::LockInvalid { cause }).collect();
    snapshot.lock = seen.lock.as_deref().map(convert::lock);
    snapshot.own_node.clone_from(&local.own_node);
    snapshot.accepts_unconfined_agents = local.accepts_unconfined_agents;
}

/// This node, with its record and its static pods, in place of what was known of it.
pub(crate) fn look_at_node(
    snapshot: &mut planner::Snapshot,
    name: &str,
    seen: &ObservedObjects,
    selection: &Selection,
    local: &Local,
) {
    let reboot = seen.reboots.get(name);
    let node = seen.nodes.get(name);
    let view = node.and_then(|node| node_view(node, reboot, selection, local));
    let is_left = |node: &&Arc<_>| reboot.is_some_and(|reboot| is_unmanaged_record(node, reboot));
    if view.is_none() && node.as_ref().is_some_and(is_left) {
        snapshot.unmanaged_records.insert(name.to_owned());
    } else {
        snapshot.unmanaged_records.remove(name);
    }
    let (Some(node), Some(mut view)) = (node, view) else {
        snapshot.nodes.remove(name);
        return;
    };
    view.view_gap = view_gap(name, node, seen.undecodable.reboots.get(name));
    for pod in seen.static_pods.iter().filter(|pod| pod.node() == Some(name)) {
        mark_control_plane(&mut view, pod);
    }
    match snapshot.nodes.get_mut(name) {
        Some(known) => *known = view,
        None => drop(snapshot.nodes.insert(name.to_owned(), view)),
    }
}

/// What the successes of the nodes of each policy teach.
pub(crate) fn estimate_durations(snapshot: &mut planner::Snapshot, seen: &ObservedObjects) {
    let mut durations = DurationHistory::default();
    for (name, node) in &snapshot.nodes {
        if let (Some(policy), Some(reboot)) = (policy_of(node), seen.reboots.get(name)) {
            durations.add(policy, reboot);
        }
    }
    for (name, policy) in &mut snapshot.policies {
        policy.duration_estimate = durations.estimate(name);
    }
}

/// A node that runs a static pod of the control plane is a control-plane node, whatever its labels are.
fn mark_control_plane(node: &mut planner::Node, pod: &StaticPod) {
    node.control_plane = true;
    if !pod.is_ready() {
        let name = pod.full_name();
        let other = node.unready_static_pod.take();
        node.unready_static_pod = Some(other.map_or(name.clone(), |other| other.min(name)));
    }
}

#[cfg(test)]
mod tests;
