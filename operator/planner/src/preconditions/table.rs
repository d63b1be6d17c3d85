//! The table of preconditions: which ones each action needs, in the order in which they are checked.

use std::collections::{BTreeMap, BTreeSet};

use super::Precondition;
use super::fresh::{Fresh, NodeState, PolicyIdentity, RecordState};
use super::proven::Proven;
use crate::Instant;
use crate::action::{Action, Change, RecordChange};
use crate::names::PolicyName;
use crate::snapshot::{Holder, Lock, OnTimeout, Operation, Order, Phase, StageKind};

/// The objects that the plan was made on, with the answers to the writes of the same pass.
pub trait Observed {
    /// The lock, if it exists.
    fn lock(&self) -> Option<Lock>;
    /// A Node, if it exists.
    fn node(&self, node: &str) -> Option<NodeState>;
    /// The record of a node, if it exists.
    fn record(&self, node: &str) -> Option<RecordState>;
    /// The policies.
    fn policies(&self) -> BTreeSet<PolicyIdentity>;
    /// The nodes that Lockkeeper has cordoned, each with its operation.
    fn cordons(&self) -> BTreeMap<String, String>;
    /// Whether the policies were verified in this pass, for an action that needs it only once.
    fn policies_verified(&self) -> bool;
    /// Whether this process has created a record for the Node with this uid before.
    fn has_created_record(&self, uid: &str) -> bool;
    /// Whether this pass has written the lock a moment ago: the answer is as good as a read.
    fn has_written_lock(&self) -> bool;
    /// What this process has proven with its own writes.
    fn proven(&self) -> &Proven;
}

/// The preconditions of an action, in order; if the observed objects show that it cannot be written, the reason.
pub fn preconditions(action: &Action, observed: &impl Observed, now: Instant) -> Result<Vec<Precondition>, String> {
    match action {
        // These are guarded by the version of the object that they write, and were derived from nothing else.
        Action::CreateLock
        | Action::DeleteRecord { .. }
        | Action::AddTaint { .. }
        | Action::RemoveTaint { .. }
        | Action::BeginHandshake { .. }
        | Action::EndHandshake { .. }
        | Action::GiveNotice { .. }
        | Action::EndNotice { .. }
        | Action::RemoveCommand { .. }
        | Action::RemoveRequest { .. }
        | Action::RemoveApproval { .. } => Ok(vec![]),
        Action::CreateRecord { node, uid, .. } => Ok(second_record(observed, node, uid)),
        Action::SetHolders { holders, .. } => holder_changes(observed, holders),
        Action::WriteRecord { node, change } => record_change(observed, node, change),
        Action::SetSpec { node, policy, .. } => spec_change(observed, node, policy.as_ref()),
        Action::OrderReboot { node, order } => reboot_order(observed, node, order, now),
        Action::Cordon { node, operation_id } => cordon(observed, node, operation_id),
        Action::Uncordon { node, .. } => Ok(vec![operation_unchanged(observed, node)]),
    }
}

/// The first record for a Node saves the read: of a new cluster there are thousands.
fn second_record(observed: &impl Observed, node: &str, uid: &str) -> Vec<Precondition> {
    let exists = || Precondition::NodeExists {
        node: node.to_owned(),
        uid: uid.to_owned(),
    };
    observed.has_created_record(uid).then(exists).into_iter().collect()
}

/// No node in progress loses its holder, and no holder is restored to an operation that has ended.
fn holder_changes(observed: &impl Observed, holders: &[Holder]) -> Result<Vec<Precondition>, String> {
    let planned = observed.lock().ok_or("RebootLock is gone")?.holders;
    let stays = |holder: &&Holder| {
        let mut holders = holders.iter();
        holders.any(|other| (&other.node, &other.node_uid) == (&holder.node, &holder.node_uid))
    };
    let proven = observed.proven();
    let has_ended = |holder: &Holder| proven.has_ended(&holder.node, &holder.operation_id);
    let removed = planned.iter().filter(|holder| !stays(holder) && !has_ended(holder));
    let removed = removed.map(|holder| Precondition::Released { holder: holder.clone() });
    let restored = holders.iter().filter(|holder| {
        let record = observed.record(&holder.node);
        let operation = record.as_ref().and_then(RecordState::operation);
        let known = |other: &Holder| (&other.node, &other.operation_id) == (&holder.node, &holder.operation_id);
        !planned.iter().any(known) && operation.is_some_and(|operation| operation.id == holder.operation_id)
    });
    let restored = restored.map(|holder| Precondition::OperationInProgress {
        node: holder.node.clone(),
        operation_id: holder.operation_id.clone(),
    });
    Ok(removed.chain(restored).collect())
}

/// An operation begins or is reconstructed only with a slot, counts as rebooted only with a new boot, and ends only
/// without its cordon.
fn record_change(observed: &impl Observed, node: &str, change: &RecordChange) -> Result<Vec<Precondition>, String> {
    let before = observed.record(node).ok_or("its NodeReboot is gone")?.operation;
    let mut needed = Vec::new();
    let proven = observed.proven();
    let finished = change.finished.as_ref().map(|finished| finished.operation.id.clone());
    if let Some(operation_id) = finished.filter(|id| !proven.is_uncordoned(node, id)) {
        needed.push(Precondition::Uncordoned {
            node: node.to_owned(),
            operation_id,
        });
    }
    match (&change.operation, before) {
        (Change::Set(Some(operation)), None) => {
            needed.extend(holds_slot(observed, node, &operation.id, false)?);
            if operation.phase == Phase::Failed {
                needed.push(Precondition::Cordoned {
                    node: node.to_owned(),
                    operation_id: operation.id.clone(),
                });
            }
        }
        (Change::Set(Some(operation)), Some(before)) => {
            let verifies = operation.phase == Phase::Verifying && before.phase != Phase::Verifying;
            if verifies && !is_counted(observed, node, operation) && !has_left(observed, node, operation) {
                needed.push(Precondition::BootChanged {
                    node: node.to_owned(),
                    before: operation.boot_id_before.clone(),
                });
            }
        }
        (Change::Set(None) | Change::Keep, _) => {}
    }
    Ok(needed)
}

/// Whether the soft-reboot was proven by the count in the report, in the very object that is written.
fn is_counted(observed: &impl Observed, node: &str, operation: &Operation) -> bool {
    let same_boot = |node: NodeState| node.boot_id == operation.boot_id_before;
    operation.soft_reboots_before.is_some() && observed.node(node).is_some_and(same_boot)
}

/// Whether the observed Node is proven to be younger than the one whose reboot was ordered: its boot is a later one.
fn has_left(observed: &impl Observed, node: &str, operation: &Operation) -> bool {
    let before = &operation.boot_id_before;
    let seen = observed.node(node);
    seen.is_some_and(|seen| observed.proven().has_left(node, &operation.id, before, &seen))
}

/// Two leaders that have observed different policies would write a node's policy in turns. Nothing delays the removal of
/// an order.
fn spec_change(observed: &impl Observed, node: &str, policy: Option<&PolicyName>) -> Result<Vec<Precondition>, String> {
    let before = observed.record(node).ok_or("its NodeReboot is gone")?;
    if before.policy.as_ref() == policy || before.has_order || observed.policies_verified() {
        return Ok(vec![]);
    }
    Ok(vec![Precondition::PoliciesUnchanged {
        planned: observed.policies(),
        once_per_pass: true,
    }])
}

/// The point of no return: the slot, the cordon, the boot, the hold and the pods are verified.
///
/// An order that was removed after the reboot had begun is repeated whether the node is held or not: its host may go down
/// at any time.
fn reboot_order(
    observed: &impl Observed,
    node: &str,
    order: &Order,
    now: Instant,
) -> Result<Vec<Precondition>, String> {
    let record = observed.record(node).ok_or("its NodeReboot is gone")?;
    let operation = record.operation().ok_or("it has no operation")?;
    let ready = Precondition::ReadyForReboot {
        node: node.to_owned(),
        operation_id: operation.id.clone(),
        boot_id: order.boot_id.clone(),
        cordoned: operation.cordoned,
        now,
    };
    let not_held = (operation.phase == Phase::Draining).then(|| Precondition::NotHeld {
        node: node.to_owned(),
        now,
    });
    let slot = holds_slot(observed, node, &operation.id, true)?;
    let needed = [slot, Some(ready), not_held, Some(drained(node, operation, now))];
    Ok(needed.into_iter().flatten().collect())
}

/// Only a policy with `onTimeout: Reboot` lets a node reboot with pods left, in the stage that was recorded and announced.
fn drained(node: &str, operation: &Operation, now: Instant) -> Precondition {
    match operation.stage {
        Some(stage) if stage.kind == StageKind::Reboot && operation.settings.on_timeout == OnTimeout::Reboot => {
            Precondition::StageAnnounced {
                since: stage.since,
                now,
            }
        }
        Some(_) | None => Precondition::Drained { node: node.to_owned() },
    }
}

/// All that the limits count, and all that lets a node start, is as the plan counted it.
fn cordon(observed: &impl Observed, node: &str, operation_id: &str) -> Result<Vec<Precondition>, String> {
    let slot = holds_slot(observed, node, operation_id, false)?;
    let others = [
        Precondition::NoNewHolder {
            planned: observed.lock(),
        },
        operation_unchanged(observed, node),
        Precondition::PoliciesUnchanged {
            planned: observed.policies(),
            once_per_pass: false,
        },
        Precondition::NoUnknownCordon {
            node: node.to_owned(),
            planned: observed.cordons(),
        },
    ];
    Ok(slot.into_iter().chain(others).collect())
}

/// The node has its slot; before the reboot order, the slot also says that the reboot is ordered. A lock that this pass has
/// written a moment ago is not read again.
fn holds_slot(
    observed: &impl Observed,
    node: &str,
    operation_id: &str,
    reboots: bool,
) -> Result<Option<Precondition>, String> {
    let node_uid = observed.node(node).ok_or("its Node is gone")?.uid;
    let needed = Precondition::HoldsSlot {
        node: node.to_owned(),
        node_uid,
        operation_id: operation_id.to_owned(),
        reboots,
    };
    let written = Fresh {
        lock: observed.lock().filter(|_| observed.has_written_lock()),
        ..Fresh::default()
    };
    Ok(Some(needed).filter(|needed| needed.check(&written).is_err()))
}

fn operation_unchanged(observed: &impl Observed, node: &str) -> Precondition {
    Precondition::OperationUnchanged {
        node: node.to_owned(),
        planned: observed.record(node).and_then(|record| record.operation),
    }
}
