//! One action, one write with its precondition, as `operator/src/execute` does it; a mutant may drop a guard.

use std::collections::BTreeSet;
use std::rc::Rc;

use chrono::{SubsecRound, TimeDelta};
use lockkeeper_planner::*;

use super::cluster::{Cluster, LockObject, News, NodeObject, Object, RebootObject, Refusal};
use super::view::Seen;

/// Pods may land on a node for this long after its cordon.
const STEADY: TimeDelta = TimeDelta::seconds(3);

/// What guards a write; production has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The lock is replaced by compare-and-swap.
    LockVersion,
    /// Records are written with the version that was seen.
    RecordVersion,
    /// Marks are applied with the uid and version that were seen.
    NodeVersion,
    /// The lock is looked at afresh before a node is touched.
    FreshLock,
    /// Cordon, boot and age of the cordon are looked at afresh before the reboot order.
    FreshNode,
    /// Pods are listed afresh before the reboot order.
    FreshPods,
    /// The operation is read again before a cordon or uncordon, and before an entry is removed or restored.
    FreshOperation,
    /// The Node is read again before an operation is removed or reconstructed and before its entry goes: its cordon must
    /// be gone, or there.
    FreshCordon,
    /// The policies are looked at afresh before a node is cordoned, and before the name of its policy is written.
    FreshPolicies,
    /// The cordoned Nodes are listed afresh before a node is cordoned.
    UnknownCordons,
    /// Marks are lifted by an apply of nothing, which leaves a person's cordon.
    OwnCordonOnly,
}

/// Writes one action; the answers are what the operator learns from it, also if it was refused half-way.
pub struct Write<'a> {
    pub cluster: &'a mut Cluster,
    pub seen: &'a mut Seen,
    /// The guards that are broken.
    pub without: &'static [Guard],
    pub now: Instant,
    /// The process dies between the two calls that leave a node cordoned for a person.
    pub halved: bool,
    /// The uids of the Nodes that this process has made a record for.
    pub made: &'a mut BTreeSet<String>,
    /// What the API server answered.
    pub answers: Vec<News>,
}

impl Write<'_> {
    pub fn execute(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::CreateLock => self.create_lock(),
            Action::CreateRecord { node, uid, policy } => self.create_record(node, uid, policy.as_ref()),
            Action::SetHolders { holders, .. } => self.set_holders(holders),
            Action::WriteRecord { node, change } => self.write_record(node, change),
            Action::SetSpec { node, policy, order } => self.set_spec(node, policy.as_ref(), order.as_ref()),
            Action::OrderReboot { node, order } => self.order_reboot(node, order),
            Action::Cordon { node, operation_id } => self.cordon(node, operation_id),
            Action::Uncordon { node, keep_cordon } => self.uncordon(node, *keep_cordon),
            Action::AddTaint { node, taint } => self.annotation(node, |node| node.taints.set(*taint, true)),
            Action::RemoveTaint { node, taint } => self.annotation(node, |node| node.taints.set(*taint, false)),
            Action::RemoveCommand { node, .. } => self.record(node, |record| record.command = None),
            Action::RemoveRequest { node, .. } => self.annotation(node, |node| node.requested = None),
            Action::RemoveApproval { node, .. } => self.annotation(node, |node| node.approved = None),
        }
    }

    fn create_lock(&mut self) -> Result<(), Refusal> {
        if self.cluster.lock.is_some() {
            return Err(Refusal::Conflict);
        }
        let uid = self.cluster.version + 1;
        let made = LockObject {
            version: 0,
            uid,
            value: Lock::default(),
        };
        let answer = self.cluster.put_lock(Some(made));
        self.keep(answer);
        Ok(())
    }

    fn create_record(&mut self, node: &str, uid: &str, policy: Option<&PolicyName>) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let same = |fresh: Rc<NodeObject>| fresh.value.uid == uid;
        if self.made.contains(uid) && !self.read_node(index).is_some_and(same) {
            return Err(Refusal::Stale);
        }
        if self.cluster.reboots[index].is_some() {
            return Err(Refusal::Conflict);
        }
        let record = Record {
            policy: policy.cloned(),
            ..Record::default()
        };
        let made = RebootObject {
            version: 0,
            owner: uid.to_owned(),
            record,
        };
        let answer = self.cluster.put_reboot(index, Some(made));
        self.keep(answer);
        self.made.insert(uid.to_owned());
        Ok(())
    }

    fn set_holders(&mut self, holders: &[Holder]) -> Result<(), Refusal> {
        let truth = self.cluster.lock.as_ref().ok_or(Refusal::Conflict)?;
        let seen = self.seen.lock.as_ref().ok_or(Refusal::Stale)?;
        if self.has(Guard::LockVersion) && (seen.version, seen.uid) != (truth.version, truth.uid) {
            return Err(Refusal::Conflict);
        }
        let mut object = LockObject::clone(truth);
        let planned = seen.value.holders.clone();
        self.entries(&planned, holders)?;
        object.value.holders = holders.to_vec();
        for holder in &mut object.value.holders {
            holder.acquired = holder.acquired.trunc_subsecs(0);
        }
        let answer = self.cluster.put_lock(Some(object));
        self.keep(answer);
        Ok(())
    }

    /// Before an operation is removed, its cordon must be gone; before a reboot counts as proven, the boot must be
    /// another one: the view of the Node may be older than the record's.
    fn write_record(&mut self, node: &str, change: &RecordChange) -> Result<(), Refusal> {
        let finished = change.finished.as_ref().filter(|_| self.has(Guard::FreshCordon));
        let proven = match &change.operation {
            Change::Set(Some(operation)) if operation.phase == Phase::Verifying => Some(operation),
            Change::Set(_) | Change::Keep => None,
        };
        if finished.is_some() || proven.is_some() {
            let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
            let fresh = self.read_node(index).ok_or(Refusal::Conflict)?;
            let marked =
                finished.is_some_and(|finished| fresh.value.cordoned_for.as_ref() == Some(&finished.operation.id));
            let same_boot = proven.is_some_and(|operation| fresh.value.boot_id == operation.boot_id_before);
            if marked || same_boot {
                return Err(Refusal::Stale);
            }
        }
        if let Change::Set(Some(operation)) = &change.operation {
            let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
            // One that begins, or is reconstructed for one that was lost: a view of the lock that lags shows entries of old.
            let seen = self.seen.reboots[index].as_ref();
            if seen.is_some_and(|seen| seen.record.operation.is_none()) {
                self.still_holds(index, &operation.id)?;
                let marks = |node: Rc<NodeObject>| node.value.cordoned_for.as_ref() == Some(&operation.id);
                let lost = operation.phase == Phase::Failed;
                if lost && self.has(Guard::FreshCordon) && !self.read_node(index).is_some_and(marks) {
                    return Err(Refusal::Stale);
                }
            }
        }
        let now = self.now;
        let daemon = self
            .cluster
            .index(node)
            .map(|index| self.cluster.daemons[index].counted());
        self.record(node, |record| {
            let draining = |record: &Record| {
                record
                    .operation
                    .as_ref()
                    .is_some_and(|one| one.phase == Phase::Draining)
            };
            let before = draining(record);
            changed(record, change, now);
            let cordoned = draining(record) && !before;
            let operation = record
                .operation
                .as_mut()
                .filter(|one| cordoned && one.daemon_sets.is_empty());
            if let Some(operation) = operation {
                operation.daemon_sets = daemon.unwrap_or_default();
            }
        })
    }

    /// Two leaders whose views of the policies differ would write a policy's name in turns.
    fn set_spec(&mut self, node: &str, policy: Option<&PolicyName>, order: Option<&Order>) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let seen = self.seen.reboots[index].as_ref().ok_or(Refusal::Stale)?;
        if seen.record.policy.as_ref() != policy && seen.record.order.is_none() {
            self.same_policies()?;
        }
        self.record(node, |record| {
            record.policy = policy.cloned();
            record.order = order.cloned();
        })
    }

    /// Merge patch with resourceVersion.
    fn record(&mut self, node: &str, edit: impl FnOnce(&mut Record)) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let truth = self.cluster.reboots[index].as_ref().ok_or(Refusal::Conflict)?;
        let seen = self.seen.reboots[index].as_ref().ok_or(Refusal::Stale)?;
        if self.has(Guard::RecordVersion) && seen.version != truth.version {
            return Err(Refusal::Conflict);
        }
        let mut object = RebootObject::clone(truth);
        edit(&mut object.record);
        if object.record != truth.record {
            let answer = self.cluster.put_reboot(index, Some(object));
            self.keep(answer);
        }
        Ok(())
    }

    /// One server-side apply with uid and resourceVersion.
    fn cordon(&mut self, node: &str, operation: &str) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        self.still_holds(index, operation)?;
        self.no_new_holder()?;
        self.same_operation(index)?;
        self.same_policies()?;
        self.no_unknown_cordon(index)?;
        let truth = self.cluster.nodes[index].as_ref().ok_or(Refusal::Conflict)?;
        let seen = self.seen.nodes[index].as_ref().ok_or(Refusal::Stale)?;
        if self.has(Guard::NodeVersion) && (seen.version, &seen.value.uid) != (truth.version, &truth.value.uid) {
            return Err(Refusal::Conflict);
        }
        let answer = self.cluster.edit_node(index, |object| {
            object.cordon.ours = true;
            object.value.cordoned_for = Some(operation.to_owned());
        });
        self.keep_some(answer);
        Ok(())
    }

    /// The uid alone guards it.
    fn uncordon(&mut self, node: &str, keep_cordon: bool) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let truth = self.cluster.nodes[index].as_ref().ok_or(Refusal::Conflict)?;
        let seen = self.seen.nodes[index].as_ref().ok_or(Refusal::Stale)?;
        if seen.value.uid != truth.value.uid {
            return Err(Refusal::Conflict);
        }
        let same_version = seen.version == truth.version;
        let seen = &self.seen.reboots[index];
        // Marks of an operation before: those of this one may be there by now.
        let starts = |reboot: &Rc<RebootObject>| {
            let operation = reboot.record.operation.as_ref();
            operation.is_some_and(|one| one.phase == Phase::Preparing && one.pending_outcome.is_none())
        };
        if self.has(Guard::NodeVersion) && seen.as_ref().is_some_and(starts) && !same_version {
            return Err(Refusal::Conflict);
        }
        self.same_operation(index)?;
        if keep_cordon {
            let answer = self.cluster.edit_node(index, |object| object.cordon.hold = true);
            self.keep_some(answer);
            if self.halved {
                return Err(Refusal::Trouble);
            }
        }
        let own_only = self.has(Guard::OwnCordonOnly);
        let answer = self.cluster.edit_node(index, |object| {
            object.cordon.ours = false;
            object.cordon.human &= own_only;
            object.value.cordoned_for = None;
        });
        self.keep_some(answer);
        Ok(())
    }

    /// Merge patch of an annotation or a taint, with resourceVersion.
    fn annotation(&mut self, node: &str, edit: impl FnOnce(&mut Node)) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let truth = self.cluster.nodes[index].as_ref().ok_or(Refusal::Conflict)?;
        if self.seen.nodes[index].as_ref().map(|seen| seen.version) != Some(truth.version) {
            return Err(Refusal::Conflict);
        }
        let answer = self.cluster.edit_node(index, |object| edit(&mut object.value));
        self.keep_some(answer);
        Ok(())
    }

    /// The point of no return: lock, cordon, boot and pods are looked at afresh.
    fn order_reboot(&mut self, node: &str, order: &Order) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let reboot = self.seen.reboots[index].as_ref().ok_or(Refusal::Stale)?;
        let operation = reboot.record.operation.clone().ok_or(Refusal::Stale)?;
        self.still_holds(index, &operation.id)?;
        let fresh = self.cluster.nodes[index].clone().ok_or(Refusal::Conflict)?;
        if self.has(Guard::FreshNode) {
            let marked = fresh.value.cordoned_for.as_ref() == Some(&operation.id);
            let same_boot = fresh.value.boot_id == order.boot_id;
            self.keep(News {
                version: fresh.version,
                index,
                object: Object::Node(Some(fresh.clone())),
            });
            let since = operation.cordoned.ok_or(Refusal::Stale)?;
            if !(fresh.value.unschedulable && marked && same_boot) || self.now - since < STEADY {
                return Err(Refusal::Stale);
            }
        }
        if self.has(Guard::FreshPods) && self.cluster.pods[index] > 0 {
            return Err(Refusal::NotEmpty);
        }
        self.record(node, |record| record.order = Some(order.clone()))
    }

    pub(super) fn has(&self, guard: Guard) -> bool {
        !self.without.contains(&guard)
    }

    pub(super) fn keep_some(&mut self, answer: Option<News>) {
        if let Some(answer) = answer {
            self.keep(answer);
        }
    }

    pub(super) fn keep(&mut self, answer: News) {
        self.seen.keep(&answer);
        self.answers.push(answer);
    }
}

/// The record after a change, with times of whole seconds as the API holds them.
fn changed(record: &mut Record, change: &RecordChange, now: Instant) {
    record.operation = change.operation.apply(&record.operation).map(whole_seconds);
    record.deferred = change.deferred.apply(&record.deferred);
    if let Some(deferred) = &mut record.deferred {
        deferred.until = deferred.until.trunc_subsecs(0);
    }
    record.released = change.released.apply(&record.released);
    let finished = change.finished.as_ref();
    if let Some(finished) = finished {
        record.finished = Some(finished.operation.id.clone());
    }
    if let Some(last) = finished.and_then(|finished| finished.last_reboot.clone()) {
        record.last_reboot = Some(LastReboot {
            time: now.trunc_subsecs(0),
            ..last
        });
    }
    if let Some((command, _)) = &change.answered_command {
        record.answered_command = Some(command.clone());
    }
}

fn whole_seconds(mut operation: Box<Operation>) -> Box<Operation> {
    let whole = |time: Option<Instant>| time.map(|time| time.trunc_subsecs(0));
    operation.started = operation.started.trunc_subsecs(0);
    operation.asked = operation.asked.trunc_subsecs(0);
    operation.cordoned = whole(operation.cordoned);
    operation.reboot_ordered = whole(operation.reboot_ordered);
    operation.rebooted = whole(operation.rebooted);
    operation
}
