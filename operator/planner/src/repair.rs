//! What a dead predecessor, a lost reply or a hand on the lock left behind is put right before anything is granted.

use std::collections::BTreeSet;

use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::capacity::{Facts, Seen};
use crate::gate;
use crate::operation::{Failure, Operation, Phase};
use crate::snapshot::{Holder, Lock, Node, Record, Settings};

/// The holders as they must be, and what else must be written.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// Who is inside, after the repair.
    pub(crate) holders: Vec<Holder>,
    /// So many of them, the first ones, had their entry; the others get it back.
    pub(crate) kept: usize,
    /// What was put right, in words.
    pub(crate) because: Vec<String>,
    /// Operations to write and marks to lift.
    pub(crate) actions: Vec<Action>,
    /// Entries of nodes that went in a moment ago: their operation was never written. Whoever goes in again keeps its
    /// entry, so that an operator that dies after each single write gets on; the others are freed.
    pub(crate) unused: Vec<Holder>,
}

impl Repaired {
    /// The entry that a node of this policy keeps when it goes in again.
    pub(crate) fn entry_of(&self, node: &str, policy: &str) -> Option<&Holder> {
        let mut unused = self.unused.iter();
        unused.find(|holder| holder.node == node && holder.policy == policy)
    }
}

/// The entries as they went in. The order of the lock's list means nothing: people edit it.
pub(crate) fn in_order<'a>(lock: &'a Lock, own_node: Option<&str>) -> Vec<&'a Holder> {
    let mut holders: Vec<&Holder> = lock.holders.iter().collect();
    holders.sort_by_key(|holder| {
        let own = own_node == Some(holder.node.as_str());
        (holder.acquired, own, &holder.node, &holder.operation_id)
    });
    holders
}

/// Compares lock, operations and marks: a lost or edited lock is not "nobody inside".
pub(crate) fn repair(facts: &Facts, holders: &[&Holder], settings: &Settings) -> Repaired {
    let (snapshot, now) = (facts.snapshot, facts.now);
    let mut repaired = Repaired::default();
    let mut seen = BTreeSet::new();
    for holder in holders {
        let node = snapshot
            .nodes
            .get(&holder.node)
            .filter(|node| node.uid == holder.node_uid);
        match node {
            None => repaired.because.push(format!("{} is gone", holder.node)),
            Some(node) => keep_or_free(holder, node, settings, now, &mut repaired),
        }
    }
    let Repaired { holders, because, .. } = &mut repaired;
    holders.retain(|holder| {
        let first = seen.insert(holder.node.clone());
        if !first {
            because.push(format!("{} was inside twice", holder.node));
        }
        first
    });
    repaired.unused.retain(|holder| {
        let first = !seen.contains(&holder.node);
        if !first {
            repaired.because.push(format!("{} was inside twice", holder.node));
        }
        first
    });
    repaired.kept = repaired.holders.len();
    for Seen { name, node, record } in &facts.inside {
        if let Some(operation) = record.operation.as_ref().filter(|_| !seen.contains(*name)) {
            repaired.because.push(format!("{name} got its entry back"));
            repaired.holders.push(Holder {
                node: (*name).to_owned(),
                node_uid: node.uid.clone(),
                policy: operation.policy.clone(),
                operation_id: operation.id.clone(),
                acquired: operation.started,
            });
            seen.insert((*name).to_owned());
        }
    }
    for (name, node) in facts.marked.iter().filter(|(name, _)| !seen.contains(*name)) {
        lift(name, node, now, &mut repaired);
    }
    repaired
}

fn keep_or_free(holder: &Holder, node: &Node, settings: &Settings, now: Instant, repaired: &mut Repaired) {
    let record = node.record.as_ref();
    match record.and_then(|record| record.operation.as_ref()) {
        Some(operation) if operation.id == holder.operation_id => repaired.holders.push(holder.clone()),
        Some(_) => repaired
            .because
            .push(format!("{} was inside under another operation", holder.node)),
        None if node.mark.as_ref() == Some(&holder.operation_id) => {
            repaired.holders.push(holder.clone());
            let ended = record.is_some_and(|record| record.finished.as_ref() == Some(&holder.operation_id));
            if ended {
                // An operation ends without marks: these are seen late, or somebody put them back.
                lift(&holder.node, node, now, repaired);
            } else if record.is_some() {
                let operation = lost_operation(holder, node, settings, now);
                let change = Box::new(RecordChange::operation(operation));
                repaired.actions.push(Action::WriteRecord {
                    node: holder.node.clone(),
                    change,
                });
            }
        }
        None if record.is_some_and(|record| !was_used(&holder.operation_id, record)) => {
            repaired.unused.push(holder.clone());
        }
        None => repaired.because.push(format!("{} is free", holder.node)),
    }
}

/// Marks that belong to nobody are lifted once the node is Ready.
fn lift(name: &str, node: &Node, now: Instant, repaired: &mut Repaired) {
    if node.ready.ready {
        repaired.actions.push(Action::LiftMarks {
            node: name.to_owned(),
            keep_cordon: gate::held(node, now).is_some(),
        });
    }
}

/// Whether anything was done under this id already. An id that was used must not come again: an answer to its first
/// order would be taken for one to the second.
fn was_used(id: &str, record: &Record) -> bool {
    let of_it = |order: &str| order.rsplit_once('-').is_some_and(|(operation, _)| operation == id);
    let host = record.host.as_ref();
    let answered = host
        .and_then(|host| host.answer.as_ref())
        .is_some_and(|answer| of_it(&answer.id));
    let ordered = record.order.as_ref().is_some_and(|order| of_it(&order.id));
    record.finished.as_deref() == Some(id) || ordered || answered
}

/// Our marks stand, the lock says so, and nothing tells how far it was: a person must look.
fn lost_operation(holder: &Holder, node: &Node, settings: &Settings, now: Instant) -> Operation {
    Operation {
        id: holder.operation_id.clone(),
        attempt: 0,
        phase: Phase::Failed,
        policy: holder.policy.clone(),
        boot_id_before: node.boot_id.clone(),
        kernel_before: String::new(),
        reasons: Vec::new(),
        requested: None,
        approved: None,
        required: None,
        started: holder.acquired,
        asked: now,
        cordoned: None,
        stage: None,
        reboot_ordered: None,
        rebooted: None,
        pods_moved: 0,
        settings: settings.clone(),
        failure: Some(Failure {
            time: now,
            message: "the record of this operation was lost while the node was cordoned; \
                      look at the node, then retry or release it"
                .to_owned(),
        }),
        ending: None,
    }
}
