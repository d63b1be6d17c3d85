//! What the answers to this process's own writes have proven, so that it is not read again.
//!
//! Each proof rests on a version, not on time. A cordon carries the version of the Node, and is written only after a read of
//! the record. So once this process has removed the cordon of an operation whose end the record shows, no other process
//! can set it again: its cordon would carry an older version, or its read would show the end. In the same way a Node of a
//! larger version than the one at the reboot order is the newer one, and its boot the later one.
//!
//! Losing this in a restart costs reads and nothing else. It must be lost when the data of the cluster went back.

use std::collections::BTreeMap;

use super::fresh::NodeState;
use crate::action::Action;
use crate::names::BootId;
use crate::snapshot::Operation;

/// What was proven, by the name of the node; one operation of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven(BTreeMap<String, Proof>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Proof {
    operation_id: String,
    /// The Node when the reboot was ordered: its uid, its version and its boot.
    ordered: Option<(String, u64, BootId)>,
    /// The cordon of the operation was removed by this process.
    uncordoned: bool,
    /// The operation was ended by this process, after its cordon was removed.
    ended: bool,
}

impl Proven {
    /// What a write has proven; `operation` is that of its node, and the Node is `before` and `after` it as it was observed.
    pub fn written(
        &mut self,
        action: &Action,
        operation: Option<&Operation>,
        before: Option<&NodeState>,
        after: Option<&NodeState>,
    ) {
        match action {
            Action::OrderReboot { node, .. } => {
                if let (Some(operation), Some(seen)) = (operation, after) {
                    let ordered = |version| (seen.uid.clone(), version, seen.boot_id.clone());
                    self.proof(node, &operation.id).ordered = seen.version.map(ordered);
                }
            }
            Action::Uncordon { node, .. } => {
                let removed = |id: &str| before.is_some_and(|before| before.is_cordoned_for(id));
                // The cordon of another operation proves nothing, nor does that of one which is to be cordoned yet.
                let ends = |operation: &&Operation| !operation.awaits_cordon() && removed(&operation.id);
                if let Some(operation) = operation.filter(ends) {
                    self.proof(node, &operation.id).uncordoned = true;
                }
            }
            Action::WriteRecord { node, change } => {
                let proof = self.0.get_mut(node);
                if let (Some(finished), Some(proof)) = (&change.finished, proof) {
                    proof.ended = proof.uncordoned && proof.operation_id == finished.operation.id;
                }
            }
            // An operation without a holder needs no proof any more.
            Action::SetHolders { holders, .. } => self.0.retain(|node, proof| {
                let mut holders = holders.iter();
                holders.any(|holder| (&holder.node, &holder.operation_id) == (node, &proof.operation_id))
            }),
            Action::Cordon { .. }
            | Action::CreateLock
            | Action::CreateRecord { .. }
            | Action::DeleteRecord { .. }
            | Action::SetSpec { .. }
            | Action::AddTaint { .. }
            | Action::RemoveTaint { .. }
            | Action::BeginHandshake { .. }
            | Action::EndHandshake { .. }
            | Action::GiveNotice { .. }
            | Action::EndNotice { .. }
            | Action::RemoveCommand { .. }
            | Action::RemoveRequest { .. }
            | Action::RemoveApproval { .. } => {}
        }
    }

    /// Whether the cordon of the operation is gone for good.
    pub(super) fn is_uncordoned(&self, node: &str, operation_id: &str) -> bool {
        self.of(node, operation_id).is_some_and(|proof| proof.uncordoned)
    }

    /// Whether the operation has ended for good, with its cordon.
    pub(super) fn has_ended(&self, node: &str, operation_id: &str) -> bool {
        self.of(node, operation_id).is_some_and(|proof| proof.ended)
    }

    /// Whether the observed Node is in a later boot than the one that the reboot order was for.
    pub(super) fn has_left(&self, node: &str, operation_id: &str, before: &BootId, observed: &NodeState) -> bool {
        let ordered = self.of(node, operation_id).and_then(|proof| proof.ordered.as_ref());
        ordered.is_some_and(|(uid, version, boot)| {
            let is_newer = observed.version.is_some_and(|observed| observed > *version);
            *uid == observed.uid && boot == before && is_newer && observed.boot_id != *before
        })
    }

    fn of(&self, node: &str, operation_id: &str) -> Option<&Proof> {
        self.0.get(node).filter(|proof| proof.operation_id == operation_id)
    }

    fn proof(&mut self, node: &str, operation_id: &str) -> &mut Proof {
        let proof = self.0.entry(node.to_owned()).or_default();
        if proof.operation_id != operation_id {
            *proof = Proof {
                operation_id: operation_id.to_owned(),
                ..Proof::default()
            };
        }
        proof
    }
}
