//! S3 to S5 of reboots: orders, hosts that go down and come back, and cordons that are removed.

use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::hosts::Host;
use super::judge::Judge;
use super::writer::Before;

impl Judge {
    /// S3 and S4 at the point of no return.
    pub(super) fn orders(&mut self, cluster: &Cluster, node: usize, order: &Order, now: Instant, just_edited: bool) {
        let (name, pods) = (&cluster.names[node], cluster.pods[node]);
        let Some(object) = cluster.nodes[node].as_ref() else {
            return self.broken("S3", &format!("{name} is ordered to reboot and is gone"));
        };
        let id = cluster
            .operation(node)
            .map(|operation| operation.id.clone())
            .unwrap_or_default();
        let marked = object.value.cordoned_for.as_ref() == Some(&id) && object.value.unschedulable;
        let holds = cluster
            .holders()
            .iter()
            .any(|holder| &holder.node == name && holder.operation_id == id);
        let left = reboots_with_pods(cluster.operation(node));
        // What a person edits while the answer of the lock is on its way is seen too late.
        let holds = holds || just_edited;
        self.demand(marked && holds && (pods == 0 || left), "S3", || {
            format!("{name} is ordered to reboot: marked {marked}, entry {holds}, pods {pods}")
        });
        let draining = cluster
            .operation(node)
            .is_some_and(|operation| operation.phase == Phase::Draining);
        let held = object.value.hold.as_ref().is_some_and(|hold| hold.holds(now));
        self.demand(!(draining && held), "S3", || {
            format!("{name} is ordered to reboot although a person holds it")
        });
        let live = cluster.operation(node).is_some_and(|operation| {
            operation.pending_outcome.is_none() && operation.order_id() == order.id && operation.phase != Phase::Failed
        });
        let fits = object.value.boot_id == order.boot_id;
        self.demand(live && fits, "S4", || {
            format!("{name} is ordered to reboot: live {live}, same boot {fits}")
        });
    }

    /// S3, S5: nothing is uncordoned that is on its way through a reboot, and no cordon of a person.
    pub(super) fn lifts(&mut self, cluster: &Cluster, before: &Before, node: usize) {
        let Some(known) = &before.node else { return };
        let name = &cluster.names[node];
        let still = cluster.nodes[node]
            .as_ref()
            .is_some_and(|object| object.value.unschedulable);
        self.demand(still || !known.cordon.human, "S5", || {
            format!("{name} loses the cordon of a person")
        });
        let Some(operation) = cluster.operation(node) else {
            return;
        };
        self.daemons_again(cluster, known, node, operation);
        let under_way = operation.pending_outcome.is_none()
            && known.value.cordoned_for.as_ref() == Some(&operation.id)
            && !cluster.has_rebooted(node, &known.value.boot_id, operation);
        // A restored backup says otherwise, and the host has rebooted nevertheless.
        let came_back = self.manual_changes[node].gone && self.came_back[node].as_ref() == Some(&operation.id);
        self.demand(!under_way || came_back, "S3", || {
            format!("{name} is uncordoned in phase {:?}", operation.phase)
        });
    }

    /// S4: an agent hands an order to its host.
    pub fn reboots(&mut self, cluster: &Cluster, host: &Host, node: usize, order: &Order) {
        let name = &cluster.names[node];
        let fits =
            order.boot_id == host.boot_id && (order.soft_reboots.is_none() || order.soft_reboots == host.soft_reboots);
        self.demand(fits, "S4", || format!("{name} reboots for an order of another boot"));
    }

    /// S3: a host goes down; if we ordered it, it is in progress, cordoned and drained.
    pub fn goes_down(&mut self, cluster: &Cluster, host: &Host, node: usize, late: usize) {
        let Some(operation) = &host.ordered else {
            return;
        };
        let (name, manual) = (&cluster.names[node], self.manual_changes[node]);
        let pods = cluster.pods[node].saturating_sub(late);
        let Some(object) = cluster.nodes[node].as_ref().filter(|_| !manual.gone) else {
            return;
        };
        let holds = cluster
            .holders()
            .iter()
            .any(|holder| &holder.node == name && &holder.operation_id == operation);
        self.down_for[node] = holds.then(|| operation.clone());
        let known = cluster.operation(node).is_some_and(|known| &known.id == operation);
        let ours = known || manual.record_lost || self.released_without_record[node].contains(operation);
        let left = reboots_with_pods(cluster.operation(node));
        let cordoned = manual.uncordoned || object.value.unschedulable && (pods == 0 || left);
        self.demand(cordoned && ours, "S3", || {
            format!("{name} goes down: cordoned {cordoned}, pods {pods}, entry {holds}, operation {ours}")
        });
    }

    /// A host is up again.
    pub fn is_up(&mut self, node: usize) {
        self.came_back[node] = self.down_for[node].take();
    }
}

/// Whether the policy lets this operation reboot the node with the remaining pods.
fn reboots_with_pods(operation: Option<&Operation>) -> bool {
    operation.is_some_and(|operation| {
        operation.is_in(StageKind::Reboot) && operation.settings.on_timeout == OnTimeout::Reboot
    })
}
