//! Preconditions: what must still hold when an action is written.
//!
//! A resourceVersion protects only the object that is written, and each watch can lag. Before a write that could do harm,
//! the executor therefore reads other objects again. [`preconditions()`] is the table of what each action needs,
//! [`Precondition::next_read`] names the reads, and [`Precondition::check`] judges what they found. The operator and the
//! simulator use the same three functions; each supplies only the reads.

mod fresh;
mod proven;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

pub use fresh::{Fresh, NodeState, PolicyIdentity, Read, RecordState};
pub use proven::Proven;
pub use table::{Observed, preconditions};

use crate::Instant;
use crate::names::BootId;
use crate::snapshot::{Holder, Lock, Operation};

/// A reboot is ordered no sooner than this after the cordon: pods were seen to start on a node for up to 2 s after it.
pub const MIN_CORDON_AGE: TimeDelta = TimeDelta::seconds(3);
/// A node is rebooted with pods left no sooner than this after its stage was recorded: the Event must be written first.
pub const STAGE_NOTICE: TimeDelta = TimeDelta::seconds(2);

/// The answer to a write of the lock is as good as a read for this long: as long as a read may be on its way.
pub const LOCK_FRESH: TimeDelta = TimeDelta::seconds(1);

/// What must still hold when an action is written, with what is needed to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The lock has the node's holder: a node is touched only while it has a slot.
    HoldsSlot {
        /// The node.
        node: String,
        /// Its uid.
        node_uid: String,
        /// The operation of the holder.
        operation_id: String,
        /// Whether the holder must say that the reboot is ordered, so that it keeps the slot if the Node is deleted.
        reboots: bool,
    },
    /// The lock has no holder that the plan did not count, because that node may be cordoned first; and the same limit.
    NoNewHolder {
        /// The lock that the plan was made on.
        planned: Option<Lock>,
    },
    /// The record has the operation that the plan was made on, or none.
    ///
    /// The Node's version does not tell: an operation may end without a trace on the Node, and an uncordon is guarded by
    /// the Node's uid alone.
    OperationUnchanged {
        /// The node.
        node: String,
        /// The operation that the plan was made on.
        planned: Option<Box<Operation>>,
    },
    /// The policies are those that the plan was made on: nothing starts under one that has been suspended or deleted.
    PoliciesUnchanged {
        /// The policies that the plan was made on.
        planned: BTreeSet<PolicyIdentity>,
        /// Whether one read serves for all such actions of a pass, of which there may be thousands.
        once_per_pass: bool,
    },
    /// No other node is cordoned by Lockkeeper that the plan did not count, by its holder or by its cordon.
    ///
    /// The holder and the record of such a node were deleted by hand, and only its cordon is left.
    NoUnknownCordon {
        /// The node that is to be cordoned.
        node: String,
        /// The cordons that the plan counted: node and operation.
        planned: BTreeMap<String, String>,
    },
    /// The Node of a holder is gone, or neither its record nor its cordon names the operation.
    ///
    /// The lock's version guards the holders, not the objects that show whether a node is still in progress.
    Released {
        /// The holder that is to be removed.
        holder: Holder,
    },
    /// The record still has the operation whose holder is restored.
    OperationInProgress {
        /// The node.
        node: String,
        /// The operation.
        operation_id: String,
    },
    /// The Node is cordoned for the operation that is reconstructed from this cordon.
    Cordoned {
        /// The node.
        node: String,
        /// The operation.
        operation_id: String,
    },
    /// The Node is no longer cordoned for the operation that is removed: its slot is free after that.
    Uncordoned {
        /// The node.
        node: String,
        /// The operation.
        operation_id: String,
    },
    /// The Node is in another boot than before: the watch may have shown a boot that is older still.
    BootChanged {
        /// The node.
        node: String,
        /// The boot before the reboot.
        before: BootId,
    },
    /// The Node is cordoned for the operation, long enough, and in the boot that the reboot order is for.
    ReadyForReboot {
        /// The node.
        node: String,
        /// The operation.
        operation_id: String,
        /// The boot that the order is for.
        boot_id: BootId,
        /// When the cordon was recorded.
        cordoned: Option<Instant>,
        /// The time now.
        now: Instant,
    },
    /// No person holds the node: until the reboot order, a hold frees the slot.
    NotHeld {
        /// The node.
        node: String,
        /// The time now.
        now: Instant,
    },
    /// The stage that reboots the node with pods left was recorded long enough ago. This needs no read.
    StageAnnounced {
        /// When the stage was recorded.
        since: Instant,
        /// The time now.
        now: Instant,
    },
    /// The node has no pod that must be evicted.
    Drained {
        /// The node.
        node: String,
    },
    /// The Node exists.
    ///
    /// The garbage collector deletes the record of a Node that is gone. If the watch on Nodes lags, the record would be
    /// created again and again.
    NodeExists {
        /// The node.
        node: String,
        /// Its uid.
        uid: String,
    },
}

impl Precondition {
    /// The next read that the verdict needs, if it needs another one than those that are in `fresh`.
    pub fn next_read(&self, fresh: &Fresh) -> Option<Read> {
        match self {
            Self::HoldsSlot { .. } | Self::NoNewHolder { .. } => fresh.lock.is_none().then_some(Read::Lock),
            Self::OperationUnchanged { node, .. } | Self::OperationInProgress { node, .. } => fresh.needs_record(node),
            Self::PoliciesUnchanged { .. } => fresh.policies.is_none().then_some(Read::Policies),
            Self::NoUnknownCordon { .. } if fresh.lock.is_none() => Some(Read::Lock),
            Self::NoUnknownCordon { .. } => fresh.cordons.is_none().then_some(Read::CordonedNodes),
            Self::Released { holder } => match fresh.nodes.get(&holder.node) {
                None => Some(Read::NodeIfPresent(holder.node.clone())),
                Some(node) if is_node_of(node.as_ref(), holder) => fresh.needs_record(&holder.node),
                Some(_) => None,
            },
            Self::Cordoned { node, .. }
            | Self::BootChanged { node, .. }
            | Self::ReadyForReboot { node, .. }
            | Self::NotHeld { node, .. } => fresh.needs_node(node, Read::Node),
            Self::Uncordoned { node, .. } | Self::NodeExists { node, .. } => {
                fresh.needs_node(node, Read::NodeIfPresent)
            }
            Self::StageAnnounced { .. } => None,
            Self::Drained { node } => fresh.pods.is_none().then(|| Read::Pods(node.clone())),
        }
    }

    /// Whether the precondition holds by what was read; if not, what was found.
    ///
    /// It does not hold if a read is missing.
    pub fn check(&self, fresh: &Fresh) -> Result<(), String> {
        match self {
            Self::HoldsSlot {
                node,
                node_uid,
                operation_id,
                reboots,
            } => check_slot(fresh.lock()?, node, node_uid, operation_id, *reboots),
            Self::NoNewHolder { planned } => check_holders(fresh.lock()?, planned.as_ref()),
            Self::OperationUnchanged { node, planned } => {
                check_operation(fresh.record(node)?.and_then(RecordState::operation), planned.as_deref())
            }
            Self::PoliciesUnchanged { planned, .. } => check_policies(fresh.policies()?, planned),
            Self::NoUnknownCordon { node, planned } => check_cordons(fresh, node, planned),
            Self::Released { holder } => check_released(fresh, holder),
            Self::OperationInProgress { node, operation_id } => {
                let found = fresh.record(node)?.and_then(RecordState::operation);
                let in_progress = found.is_some_and(|found| &found.id == operation_id);
                holds(in_progress, || format!("operation {operation_id} of {node} has ended"))
            }
            Self::Cordoned { node, operation_id } => {
                let found = present(fresh.node(node)?)?;
                holds(found.is_cordoned_for(operation_id), || {
                    format!("it is not cordoned for operation {operation_id}")
                })
            }
            Self::Uncordoned { node, operation_id } => {
                let found = fresh.node(node)?;
                let cordoned = found.is_some_and(|found| found.is_cordoned_for(operation_id));
                holds(!cordoned, || {
                    format!("it is still cordoned for operation {operation_id}")
                })
            }
            Self::BootChanged { node, before } => {
                let found = present(fresh.node(node)?)?;
                holds(&found.boot_id != before, || format!("it is still in boot {before}"))
            }
            Self::ReadyForReboot {
                node,
                operation_id,
                boot_id,
                cordoned,
                now,
            } => {
                check_node(present(fresh.node(node)?)?, operation_id, boot_id)?;
                check_cordon_age(*cordoned, *now)
            }
            Self::NotHeld { node, now } => match &present(fresh.node(node)?)?.hold {
                Some(hold) if hold.holds(*now) => Err(format!("it is on hold: \"{}\"", hold.reason)),
                Some(_) | None => Ok(()),
            },
            Self::StageAnnounced { since, now } => holds(*now - *since >= STAGE_NOTICE, || {
                let seconds = STAGE_NOTICE.num_seconds();
                format!("the stage that reboots it with pods left is younger than {seconds} s")
            }),
            Self::Drained { .. } => check_pods(fresh.pods()?),
            Self::NodeExists { node, uid } => {
                let found = fresh.node(node)?;
                holds(found.is_some_and(|found| &found.uid == uid), || {
                    format!("its Node with uid {uid} is gone")
                })
            }
        }
    }
}

fn holds(condition: bool, found: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(found()) }
}

fn present(node: Option<&NodeState>) -> Result<&NodeState, String> {
    node.ok_or_else(|| "its Node is gone".to_owned())
}

/// Whether this is the Node of the holder, and not a later one of the same name.
fn is_node_of(node: Option<&NodeState>, holder: &Holder) -> bool {
    node.is_some_and(|node| node.uid == holder.node_uid)
}

fn check_slot(lock: &Lock, node: &str, node_uid: &str, operation_id: &str, reboots: bool) -> Result<(), String> {
    let is_holder = |holder: &&Holder| {
        let names = (holder.node.as_str(), holder.node_uid.as_str());
        names == (node, node_uid) && holder.operation_id == operation_id
    };
    let Some(holder) = lock.holders.iter().find(is_holder) else {
        return Err(format!(
            "it does not hold a slot of RebootLock for operation {operation_id}"
        ));
    };
    holds(!reboots || holder.reboot.is_some(), || {
        format!("RebootLock does not say that operation {operation_id} reboots it")
    })
}

fn check_holders(lock: &Lock, planned: Option<&Lock>) -> Result<(), String> {
    if planned.is_some_and(|planned| planned.max_in_progress != lock.max_in_progress) {
        return Err("the limit of RebootLock has changed".to_owned());
    }
    let planned = planned.map_or(&[][..], |planned| planned.holders.as_slice());
    let is_planned = |holder: &Holder| {
        let same = |other: &Holder| (&other.node, &other.operation_id) == (&holder.node, &holder.operation_id);
        planned.iter().any(same)
    };
    match lock.holders.iter().find(|holder| !is_planned(holder)) {
        Some(new) => Err(format!(
            "{} holds a slot of RebootLock that the plan did not count",
            new.node
        )),
        None => Ok(()),
    }
}

fn check_operation(found: Option<&Operation>, planned: Option<&Operation>) -> Result<(), String> {
    let name = |operation: Option<&Operation>| {
        operation.map_or("no operation".to_owned(), |one| {
            format!("operation {} ({:?})", one.id, one.phase)
        })
    };
    if found == planned {
        return Ok(());
    }
    let (found, planned) = (name(found), name(planned));
    Err(if found == planned {
        format!("{found} has changed")
    } else {
        format!("it has {found}, but the plan was made for {planned}")
    })
}

fn check_policies(found: &BTreeSet<PolicyIdentity>, planned: &BTreeSet<PolicyIdentity>) -> Result<(), String> {
    match found.symmetric_difference(planned).next() {
        Some(policy) => Err(format!("RebootPolicy {} has changed", policy.name)),
        None => Ok(()),
    }
}

fn check_cordons(fresh: &Fresh, node: &str, planned: &BTreeMap<String, String>) -> Result<(), String> {
    let holders = &fresh.lock()?.holders;
    let is_unknown = |(other, operation_id): &(&String, &String)| {
        *other != node
            && planned.get(*other) != Some(operation_id)
            && !holders.iter().any(|holder| &holder.node == *other)
    };
    match fresh.cordons()?.iter().find(is_unknown) {
        Some((other, operation_id)) => Err(format!(
            "{other} is cordoned for operation {operation_id}, but holds no slot"
        )),
        None => Ok(()),
    }
}

fn check_released(fresh: &Fresh, holder: &Holder) -> Result<(), String> {
    let (name, operation_id) = (&holder.node, &holder.operation_id);
    let Some(node) = fresh.node(name)?.filter(|node| is_node_of(Some(node), holder)) else {
        return Ok(());
    };
    let owned = fresh
        .record(name)?
        .filter(|record| record.owners.contains(&holder.node_uid));
    let operation = owned.and_then(RecordState::operation);
    let has_operation = operation.is_some_and(|operation| &operation.id == operation_id);
    match (node.is_cordoned_for(operation_id), has_operation) {
        (false, false) => Ok(()),
        (true, false) => Err(format!("{name} is still cordoned for operation {operation_id}")),
        (false, true) => Err(format!("{name} still has operation {operation_id}")),
        (true, true) => Err(format!(
            "{name} still has operation {operation_id}, and is cordoned for it"
        )),
    }
}

fn check_node(found: &NodeState, operation_id: &str, boot_id: &BootId) -> Result<(), String> {
    holds(found.unschedulable, || "it is not cordoned".to_owned())?;
    holds(found.is_cordoned_for(operation_id), || {
        format!("it is not cordoned for operation {operation_id}")
    })?;
    holds(&found.boot_id == boot_id, || {
        format!("it is in boot {}, but the order is for boot {boot_id}", found.boot_id)
    })
}

fn check_cordon_age(cordoned: Option<Instant>, now: Instant) -> Result<(), String> {
    let cordoned = cordoned.ok_or("its operation does not say when it was cordoned")?;
    holds(now - cordoned >= MIN_CORDON_AGE, || {
        format!("its cordon is younger than {} s", MIN_CORDON_AGE.num_seconds())
    })
}

/// The first three pods tell a person where to look.
fn check_pods(pods: &[String]) -> Result<(), String> {
    let more = if pods.len() > 3 { ", ..." } else { "" };
    let first = || pods[..pods.len().min(3)].join(", ");
    match pods.len() {
        0 => Ok(()),
        1 => Err(format!("1 pod must be evicted first: {}", first())),
        count => Err(format!("{count} pods must be evicted first: {}{more}", first())),
    }
}
