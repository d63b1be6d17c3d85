//! What a dead predecessor, a lost reply or a hand on the lock left behind is put right before anything is granted.

use std::collections::BTreeSet;

use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::capacity::{Facts, Seen};
use crate::gate;
use crate::operation::{Failure, Operation, Phase};
use crate::snapshot::{Holder, Lock, Node, Settings};

/// The holders as they must be, and what else must be written.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// Who is inside, after the repair.
    pub(crate) holders: Vec<Holder>,
    /// What was put right, in words.
    pub(crate) because: Vec<String>,
    /// Operations to write and marks to lift.
    pub(crate) actions: Vec<Action>,
}

/// Compares lock, operations and marks: a lost or edited lock is not "nobody inside".
pub(crate) fn repair(facts: &Facts, lock: &Lock, settings: &Settings) -> Repaired {
    let (snapshot, now) = (facts.snapshot, facts.now);
    let mut repaired = Repaired::default();
    let mut seen = BTreeSet::new();
    for holder in &lock.holders {
        let node = snapshot
            .nodes
            .get(&holder.node)
            .filter(|node| node.uid == holder.node_uid);
        match node {
            None => repaired.because.push(format!("{} is gone", holder.node)),
            Some(node) => keep_or_free(holder, node, settings, now, &mut repaired),
        }
    }
    repaired.holders.retain(|holder| seen.insert(holder.node.clone()));
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
        if node.ready.ready {
            repaired.actions.push(Action::LiftMarks {
                node: (*name).to_owned(),
                keep_cordon: gate::held(node, now).is_some(),
            });
        }
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
            if record.is_some() {
                let operation = lost_operation(holder, node, settings, now);
                let change = Box::new(RecordChange::operation(operation));
                repaired.actions.push(Action::WriteRecord {
                    node: holder.node.clone(),
                    change,
                });
            }
        }
        None => repaired.because.push(format!("{} is free", holder.node)),
    }
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
