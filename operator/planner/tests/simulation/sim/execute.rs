//! One action, one write, as `operator/src/execute` does it; a mutant may drop a guard.

use std::collections::BTreeSet;

use chrono::SubsecRound;
use lockkeeper_planner::preconditions::{Observed, Proven, RecordState};
use lockkeeper_planner::*;

use super::cluster::{Cluster, Kind, LockObject, News, RebootObject, Refusal};
use super::view::Seen;

/// What guards a write; production has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The lock is replaced by compare-and-swap.
    LockVersion,
    /// Records are written with the version that was seen.
    RecordVersion,
    /// The cordon is applied with the uid and version that were seen.
    NodeVersion,
    /// An uncordon is an apply of nothing, which leaves a person's cordon.
    OwnCordonOnly,
    /// [`Precondition::HoldsSlot`].
    HoldsSlot,
    /// [`Precondition::NoNewHolder`].
    NoNewHolder,
    /// [`Precondition::OperationUnchanged`].
    OperationUnchanged,
    /// [`Precondition::PoliciesUnchanged`].
    PoliciesUnchanged,
    /// [`Precondition::NoUnknownCordon`].
    NoUnknownCordon,
    /// [`Precondition::Released`].
    Released,
    /// [`Precondition::OperationInProgress`].
    OperationInProgress,
    /// [`Precondition::Cordoned`].
    Cordoned,
    /// [`Precondition::Uncordoned`].
    Uncordoned,
    /// [`Precondition::BootChanged`].
    BootChanged,
    /// [`Precondition::ReadyForReboot`].
    ReadyForReboot,
    /// [`Precondition::NotHeld`].
    NotHeld,
    /// [`Precondition::StageAnnounced`].
    StageAnnounced,
    /// [`Precondition::Drained`].
    Drained,
    /// [`Precondition::NodeExists`].
    NodeExists,
}

impl Guard {
    /// The guard that is this precondition.
    pub fn of(precondition: &Precondition) -> Self {
        match precondition {
            Precondition::HoldsSlot { .. } => Self::HoldsSlot,
            Precondition::NoNewHolder { .. } => Self::NoNewHolder,
            Precondition::OperationUnchanged { .. } => Self::OperationUnchanged,
            Precondition::PoliciesUnchanged { .. } => Self::PoliciesUnchanged,
            Precondition::NoUnknownCordon { .. } => Self::NoUnknownCordon,
            Precondition::Released { .. } => Self::Released,
            Precondition::OperationInProgress { .. } => Self::OperationInProgress,
            Precondition::Cordoned { .. } => Self::Cordoned,
            Precondition::Uncordoned { .. } => Self::Uncordoned,
            Precondition::BootChanged { .. } => Self::BootChanged,
            Precondition::ReadyForReboot { .. } => Self::ReadyForReboot,
            Precondition::NotHeld { .. } => Self::NotHeld,
            Precondition::StageAnnounced { .. } => Self::StageAnnounced,
            Precondition::Drained { .. } => Self::Drained,
            Precondition::NodeExists { .. } => Self::NodeExists,
        }
    }
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
    /// Whether this pass has verified the policies, where once is enough.
    pub policies_verified: &'a mut bool,
    /// When this pass wrote the lock, and now, by a clock that is never set; in milliseconds.
    pub lock_written: &'a mut Option<i64>,
    pub at: i64,
    /// What this process has proven with its own writes.
    pub proven: &'a mut Proven,
    /// What the API server answered.
    pub answers: Vec<News>,
}

impl Write<'_> {
    pub fn execute(&mut self, action: &Action) -> Result<(), Refusal> {
        self.verify(action)?;
        let before = action.node().and_then(|node| self.node(node));
        self.write(action)?;
        if matches!(action, Action::SetHolders { .. }) {
            *self.lock_written = Some(self.at);
        }
        let after = action.node().and_then(|node| self.node(node));
        let record = action.node().and_then(|node| Observed::record(self, node));
        let operation = record.as_ref().and_then(RecordState::operation);
        self.proven.written(action, operation, before.as_ref(), after.as_ref());
        Ok(())
    }

    fn write(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::CreateLock => self.create_lock(),
            Action::CreateRecord { node, uid, policy } => self.create_record(node, uid, policy.as_ref()),
            Action::DeleteRecord { node } => self.delete_record(node),
            Action::SetHolders { holders, .. } => self.set_holders(holders),
            Action::WriteRecord { node, change } => self.write_record(node, change),
            Action::SetSpec { node, policy, order } => self.set_spec(node, policy.as_ref(), order.as_ref()),
            Action::OrderReboot { node, order } => {
                // A later write of this pass is guarded by the version that was verified.
                let nodes = self.answers.iter().filter(|answer| answer.kind() == Kind::Nodes);
                nodes.for_each(|node| self.seen.keep(node));
                self.record(node, |record| record.order = Some(order.clone()))
            }
            Action::Cordon { node, operation_id } => self.cordon(node, operation_id),
            Action::Uncordon { node, keep_cordon } => self.uncordon(node, *keep_cordon),
            Action::AddTaint { node, taint } => self.annotation(node, |node| node.taints.set(*taint, true)),
            Action::RemoveTaint { node, taint } => self.annotation(node, |node| node.taints.set(*taint, false)),
            Action::BeginHandshake { node, id, keys } => self.annotation(node, |node| {
                node.handshake = Some(Handshake {
                    id: id.clone(),
                    keys: keys.clone(),
                    answered: false,
                });
            }),
            Action::EndHandshake { node, .. } => self.annotation(node, |node| node.handshake = None),
            Action::GiveNotice { node, id, .. } => {
                let (id, given) = (id.clone(), self.now);
                self.annotation(node, |node| {
                    node.notice = NoticeCondition::Ours(GivenNotice { id, given });
                })
            }
            Action::EndNotice { node, .. } => self.annotation(node, |node| node.notice = NoticeCondition::Absent),
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
            undecodable: false,
        };
        let answer = self.cluster.put_reboot(index, Some(made));
        self.keep(answer);
        self.made.insert(uid.to_owned());
        Ok(())
    }

    fn delete_record(&mut self, node: &str) -> Result<(), Refusal> {
        let index = self.cluster.index(node).ok_or(Refusal::Conflict)?;
        let truth = self.cluster.reboots[index].as_ref().ok_or(Refusal::Conflict)?;
        let seen = self.seen.reboots[index].as_ref().ok_or(Refusal::Stale)?;
        if seen.version != truth.version {
            return Err(Refusal::Conflict);
        }
        let answer = self.cluster.put_reboot(index, None);
        self.keep(answer);
        Ok(())
    }

    fn set_holders(&mut self, holders: &[Holder]) -> Result<(), Refusal> {
        let truth = self.cluster.lock.as_ref().ok_or(Refusal::Conflict)?;
        let seen = self.seen.lock.as_ref().ok_or(Refusal::Stale)?;
        if self.has(Guard::LockVersion) && (seen.version, seen.uid) != (truth.version, truth.uid) {
            return Err(Refusal::Conflict);
        }
        let mut object = LockObject::clone(truth);
        object.value.holders = holders.to_vec();
        for holder in &mut object.value.holders {
            holder.acquired = holder.acquired.trunc_subsecs(0);
        }
        let answer = self.cluster.put_lock(Some(object));
        self.keep(answer);
        Ok(())
    }

    fn write_record(&mut self, node: &str, change: &RecordChange) -> Result<(), Refusal> {
        let now = self.now;
        let index = self.cluster.index(node);
        let daemon = index.map(|index| self.cluster.daemons[index].counted());
        let workload = index.map(|index| self.cluster.workloads[index].counted());
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
            if let Some(operation) = record.operation.as_mut().filter(|_| cordoned) {
                if operation.daemon_sets.is_empty() {
                    operation.daemon_sets = daemon.unwrap_or_default();
                }
                if operation.workloads.is_empty() {
                    operation.workloads = workload.unwrap_or_default();
                }
            }
        })
    }

    fn set_spec(&mut self, node: &str, policy: Option<&PolicyName>, order: Option<&Order>) -> Result<(), Refusal> {
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
        // The cordon of an earlier operation: that of this one may be set by now.
        let record = self.seen.reboots[index].as_ref().map(|reboot| &reboot.record);
        let operation = record.and_then(|record| record.operation.as_ref());
        let awaits_cordon = operation.is_some_and(|operation| operation.awaits_cordon());
        if self.has(Guard::NodeVersion) && awaits_cordon && !same_version {
            return Err(Refusal::Conflict);
        }
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
