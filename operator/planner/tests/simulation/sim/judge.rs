//! The rules of design section 10, asked of the truth: not of what an operator believed, but of what it did.

use std::collections::BTreeMap;

use lockkeeper_planner::preconditions::LOCK_FRESH;
use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::history::{History, is_selected};
use super::notices::Given;
use super::writer::{Allowed, Before, Writer};

#[derive(Debug, Default)]
pub struct Judge {
    pub violations: Vec<String>,
    /// When the faults ended.
    pub quiet_since: Option<i64>,
    /// The most that each policy, and all together, ever allowed.
    highest_limits: Vec<usize>,
    highest_limit: usize,
    /// The most nodes that each policy's groups ever had, and that there ever were: a limit in percent is one of the
    /// nodes that were seen, and the view of the Nodes may be older than that of the policies.
    most: (Vec<usize>, usize),
    /// What people did to each node since its last operation began; some rules then do not apply to it.
    pub(super) manual_changes: Vec<ManualChanges>,
    /// The operations of each node that have ended, as far as its record can tell.
    ended: Vec<Vec<String>>,
    /// The operations of each node whose record was lost and that a person released: their hosts may go down still.
    pub(super) released_without_record: Vec<Vec<String>>,
    /// The operation for which each host is down, if that operation holds a slot: it keeps the slot until the host is up,
    /// whatever becomes of its Node.
    pub(super) down_for: Vec<Option<String>>,
    /// The operation for which each host went down last, once it is up again.
    pub(super) came_back: Vec<Option<String>>,
    /// When a person edited the lock last.
    pub lock_edited: Option<i64>,
    /// What has happened, and when, by a clock that is right.
    pub history: History,
    /// The last notice that each node was given.
    pub notices: BTreeMap<usize, Given>,
}

/// What people did to a node since its last operation began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ManualChanges {
    pub(super) uncordoned: bool,
    pub(super) record_lost: bool,
    pub(super) gone: bool,
}

impl Judge {
    pub fn new(cluster: &Cluster) -> Self {
        let mut judge = Self {
            highest_limits: vec![0; cluster.policies.len()],
            most: (vec![0; cluster.policies.len()], 0),
            manual_changes: vec![ManualChanges::default(); cluster.nodes.len()],
            ended: vec![vec![]; cluster.nodes.len()],
            released_without_record: vec![vec![]; cluster.nodes.len()],
            down_for: vec![None; cluster.nodes.len()],
            came_back: vec![None; cluster.nodes.len()],
            history: History::new(cluster),
            ..Self::default()
        };
        judge.look(cluster);
        judge
    }

    pub fn broken(&mut self, rule: &str, what: &str) {
        self.violations.push(format!("{rule}: {what}"));
    }

    pub(super) fn demand(&mut self, holds: bool, rule: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(rule, &what());
        }
    }

    /// `check`, as production asks it, of every plan.
    pub fn plan(&mut self, snapshot: &Snapshot, plan: &Plan, now: Instant) {
        for violation in check(snapshot, plan, now) {
            self.violations.push(format!("check {violation}"));
        }
        for violation in check::unexplained_waits(snapshot, plan, now) {
            self.violations.push(format!("unexplained_waits {violation}"));
        }
    }

    /// A person gave a command for the node, or edited the lock: its slot may go while its host is down.
    pub fn slot_may_go(&mut self, node: usize) {
        self.down_for[node] = None;
    }

    pub fn uncordoned(&mut self, node: usize) {
        self.manual_changes[node].uncordoned = true;
    }

    pub fn record_lost(&mut self, node: usize) {
        self.manual_changes[node].record_lost = true;
        self.history.forget(node);
        self.ended[node].clear();
    }

    /// The garbage collector took the record of a Node that had gone.
    pub fn record_collected(&mut self, node: usize) {
        self.history.forget(node);
    }

    pub fn node_gone(&mut self, node: usize) {
        self.manual_changes[node].gone = true;
        self.history.forget(node);
        self.ended[node].clear();
    }

    /// etcd was restored: what happened since the backup is unknown to everybody, and a host may still do what it was told.
    pub fn restored(&mut self, cluster: &Cluster) {
        for node in 0..cluster.nodes.len() {
            self.record_lost(node);
            self.node_gone(node);
            self.uncordoned(node);
            self.slot_may_go(node);
        }
        self.history.restored();
    }

    /// A write was made.
    pub fn wrote(
        &mut self,
        cluster: &Cluster,
        before: &Before,
        action: &Action,
        allowed: &Allowed,
        writer: &Writer,
        at: i64,
    ) {
        let index = action.node().and_then(|name| cluster.index(name));
        match (action, index) {
            (Action::SetHolders { holders, .. }, _) => {
                self.check_admitted(&before.holders, holders, allowed);
                self.let_out(cluster, &before.holders, holders);
            }
            (Action::Cordon { operation_id, .. }, Some(node)) => {
                self.manual_changes[node] = ManualChanges::default();
                self.starts(cluster, before, node, operation_id, allowed);
                self.history
                    .starts(cluster, node, allowed, writer, at, &mut self.violations);
            }
            (Action::OrderReboot { order, .. }, Some(node)) => {
                let just_edited = self
                    .lock_edited
                    .is_some_and(|edited| at - edited < LOCK_FRESH.num_milliseconds());
                self.orders(cluster, node, order, writer.now, just_edited);
                self.hooks_before(cluster, node);
            }
            (Action::GiveNotice { id, .. }, Some(node)) => self.gives_notice(cluster, node, id, writer),
            (Action::Uncordon { .. }, Some(node)) => {
                self.lifts(cluster, before, node);
                self.hooks_after(cluster, node);
            }
            (Action::WriteRecord { change, .. }, Some(node)) => {
                self.remembers(cluster, node, change);
                self.overrides(cluster, node, before.operation.as_deref(), change, allowed);
                if let (Some(operation), Some(finished)) = (&before.operation, &change.finished) {
                    self.workloads_again(cluster, node, operation, finished, writer.now);
                }
                self.history.remembers(
                    cluster,
                    node,
                    (before.operation.as_deref(), change),
                    writer,
                    at,
                    &mut self.violations,
                );
            }
            _ => {}
        }
    }

    /// S1, by the limits that its writer had seen; a node in progress gets its entry back whatever the limits are.
    fn check_admitted(&mut self, before: &[Holder], after: &[Holder], allowed: &Allowed) {
        let gone = |holder: &&Holder| !after.iter().any(|other| other.operation_id == holder.operation_id);
        for holder in before.iter().filter(gone) {
            let known = allowed.in_progress.contains(&holder.operation_id);
            self.demand(!known, "S1", || {
                format!("{} loses its slot in the middle of its operation", holder.node)
            });
        }
        let new = |holder: &&Holder| !before.iter().any(|other| other.operation_id == holder.operation_id);
        for holder in after.iter().filter(new) {
            if allowed.in_progress.contains(&holder.operation_id) {
                continue;
            }
            let of_policy = after.iter().filter(|other| other.policy == holder.policy).count();
            let (limit, _) = allowed.of(&holder.policy);
            self.demand(of_policy <= limit && after.len() <= allowed.all, "S1", || {
                format!(
                    "{} starts as one of {of_policy} under {} ({limit} allowed)",
                    holder.node, holder.policy
                )
            });
        }
    }

    /// S1: a node whose entry is removed is not cordoned for its operation: no limit would count it.
    fn let_out(&mut self, cluster: &Cluster, before: &[Holder], after: &[Holder]) {
        let stays = |holder: &&Holder| after.iter().any(|other| other.node == holder.node);
        for holder in before.iter().filter(|holder| !stays(holder)) {
            let node = cluster
                .index(&holder.node)
                .and_then(|index| cluster.nodes[index].as_ref());
            let node = node.filter(|node| node.value.uid == holder.node_uid);
            let marked = node.is_some_and(|node| node.value.cordoned_for.as_ref() == Some(&holder.operation_id));
            self.demand(!marked, "S1", || {
                format!("{} loses its entry while it is marked", holder.node)
            });
        }
    }

    /// S1, S2, S5 at the cordon.
    fn starts(&mut self, cluster: &Cluster, before: &Before, node: usize, id: &str, allowed: &Allowed) {
        let name = &cluster.names[node];
        let holds = cluster
            .holders()
            .iter()
            .any(|holder| &holder.node == name && holder.operation_id == id);
        self.demand(holds, "S1", || {
            format!("{name} is cordoned without an entry in the lock")
        });
        let marked = before.node.as_ref().and_then(|node| node.value.cordoned_for.as_ref());
        self.demand(marked.is_none(), "S5", || format!("{name} is cordoned twice"));
        // A person may have deleted the record between two writes.
        let Some(policy) = cluster.operation(node).map(|operation| operation.policy.clone()) else {
            return;
        };
        let open = allowed.is_open_for(&policy, name);
        self.demand(open, "S2", || {
            format!("{name} starts under {policy}, which is closed or suspended")
        });
        let place = cluster.policy_names.iter().position(|known| known == &policy);
        let stands = place.and_then(|place| cluster.policies[place].as_ref());
        let stands = stands.is_some_and(|policy| !policy.value.suspend);
        self.demand(stands, "S2", || {
            format!("{name} starts under {policy}, which is suspended or gone by now")
        });
    }

    /// S4: an id that has been used does not come again: an answer to its old order would count for the new one.
    fn remembers(&mut self, cluster: &Cluster, node: usize, change: &RecordChange) {
        if let Change::Set(Some(operation)) = &change.operation {
            let again = self.ended[node].contains(&operation.id);
            let name = &cluster.names[node];
            self.demand(!again, "S4", || format!("{name} starts again as {}", operation.id));
            // The record is gone, and with it that the host was asked already: a person who releases the node then takes
            // its cordon away before it goes down, through us, as an uncordon by hand does.
            let pending_outcome = operation.pending_outcome.as_ref();
            let released = pending_outcome.is_some_and(|pending_outcome| pending_outcome.outcome == Outcome::Released);
            let manual = &mut self.manual_changes[node];
            if manual.record_lost && released {
                manual.uncordoned = true;
                self.released_without_record[node].push(operation.id.clone());
            }
        }
        // A record whose Node was made again is about to be collected.
        if let Some(finished) = change.finished.as_ref().filter(|_| cluster.record(node).is_some()) {
            self.ended[node].push(finished.operation.id.clone());
        }
    }

    /// What holds at every instant: never more nodes marked than any limit ever allowed, one of the control plane.
    pub fn look(&mut self, cluster: &Cluster) {
        let mut largest = 0;
        for (index, policy) in cluster.policies.iter().enumerate() {
            let (most, highest_limit) = (&mut self.most.0[index], &mut self.highest_limits[index]);
            *most = cluster.total(index).max(*most);
            let limit = policy
                .as_ref()
                .map_or(0, |policy| policy.value.max_in_progress.of(*most));
            *highest_limit = limit.max(*highest_limit);
            largest = limit.max(largest);
        }
        self.most.1 = self.most.1.max(cluster.there());
        let cap = cluster.lock.as_ref().and_then(|lock| lock.value.max_in_progress);
        self.highest_limit = self.highest_limit.max(cap.map_or(largest, |cap| cap.of(self.most.1)));
        self.marked(cluster);
    }

    fn marked(&mut self, cluster: &Cluster) {
        let marked = &cluster.marked;
        let down = self.down_for.iter().enumerate();
        let down = down.filter(|(node, operation)| operation.is_some() && !marked.contains(node));
        let down: Vec<&String> = down.map(|(node, _)| &cluster.names[node]).collect();
        if marked.len() + down.len() > self.highest_limit {
            let what = format!(
                "{down:?} reboot without a cordon beside {} that are marked, {} were allowed at most",
                marked.len(),
                self.highest_limit
            );
            self.broken("S1", &what);
        }
        if marked.len() > self.highest_limit {
            let names: Vec<&String> = marked.iter().map(|index| &cluster.names[*index]).collect();
            let what = format!("{names:?} are marked, {} were allowed at most", self.highest_limit);
            self.broken("S1", &what);
        }
        for (index, name) in cluster.policy_names.iter().enumerate() {
            let highest_limit = self.highest_limits[index];
            if marked.len() <= highest_limit {
                continue;
            }
            // A node that has changed its policy may have lost its entry, while its record cannot be decoded.
            let under = |node: &&usize| {
                let operation = cluster.readable_operation(**node);
                let has_it = operation.is_some_and(|operation| &operation.policy == name);
                has_it && is_selected(cluster, **node, name)
            };
            let count = marked.iter().filter(under).count();
            self.demand(count <= highest_limit, "S1", || {
                format!("{count} are marked under {name}, {highest_limit} were allowed")
            });
        }
        let control = |node: &&usize| {
            cluster.nodes[**node]
                .as_ref()
                .is_some_and(|node| node.value.control_plane)
        };
        let controls = marked.iter().filter(control).count();
        self.demand(controls <= 1, "S1", || {
            format!("{controls} nodes of the control plane are marked")
        });
    }
}
