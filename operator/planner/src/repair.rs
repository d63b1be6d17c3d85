//! What a dead predecessor, a lost reply or a hand on the lock left behind is put right before anything is granted.

use std::collections::BTreeSet;

use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::capacity::{Facts, Seen};
use crate::gate;
use crate::operation::{Failure, Operation, Phase};
use crate::snapshot::{Holder, Lock, Node, Record, Settings};

/// An entry of the lock, and the Node that has its name now, whichever that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) holder: &'a Holder,
    pub(crate) node: Option<&'a Node>,
    /// The node's place in `Facts::inside`, if it has an operation.
    pub(crate) inside: Option<usize>,
}

/// The holders as they must be, and what else must be written.
#[derive(Debug, Default)]
pub(crate) struct Repaired<'a> {
    /// Entries that stay.
    pub(crate) kept: Vec<Entry<'a>>,
    /// Entries that are given back, each with its node.
    pub(crate) restored: Vec<(Holder, &'a Node)>,
    /// Nodes that are cordoned by us, and nothing tells of their operation: record and entry are lost. They count as inside
    /// until they are Ready, their agents have said that they stay up, and their marks are lifted.
    pub(crate) astray: Vec<(&'a str, &'a Node)>,
    /// Nodes that keep their entry although their operation has ended: their marks are seen and they are not Ready, so
    /// that nothing is lifted yet.
    pub(crate) late: Vec<&'a str>,
    /// What was put right, in words.
    pub(crate) because: Vec<String>,
    /// Operations to write and marks to lift.
    pub(crate) actions: Vec<Action>,
    /// Entries of nodes that went in a moment ago: their operation was never written. Whoever goes in again keeps its
    /// entry, so that an operator that dies after each single write gets on; the others are freed.
    pub(crate) unused: Vec<&'a Holder>,
}

impl Repaired<'_> {
    /// Whether this node is Ready and its agent has not said yet that it stays up.
    pub(crate) fn awaits_word(&self, name: &str) -> bool {
        let mut astray = self.astray.iter();
        astray.any(|(other, node)| *other == name && node.ready.ready)
    }

    /// All that are inside, first those that had their entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let restored = self.restored.iter().map(|(holder, node)| Entry {
            holder,
            node: Some(node),
            inside: None,
        });
        self.kept.iter().copied().chain(restored)
    }
}

/// The entries as they went in. The order of the lock's list means nothing: people edit it. Nor does the operator's own
/// node: two operators must name the same one as the first.
pub(crate) fn in_order<'a>(lock: &'a Lock, facts: &Facts<'a>) -> Vec<Entry<'a>> {
    let mut holders: Vec<&Holder> = lock.holders.iter().collect();
    holders.sort_by_key(|holder| (holder.acquired, *holder));
    let entry = |holder: &'a Holder| {
        let inside = facts.inside_at(&holder.node);
        let seen = inside.map(|place| facts.inside[place].node);
        Entry {
            holder,
            node: seen.or_else(|| facts.snapshot.nodes.get(&holder.node)),
            inside,
        }
    };
    holders.into_iter().map(entry).collect()
}

/// Compares lock, operations and marks: a lost or edited lock is not "nobody inside".
pub(crate) fn repair<'a>(facts: &Facts<'a>, entries: &[Entry<'a>], settings: &Settings) -> Repaired<'a> {
    let now = facts.now;
    let mut repaired = Repaired::default();
    for entry in entries {
        match entry.node.filter(|node| node.uid == entry.holder.node_uid) {
            None => repaired.because.push(format!("{} is gone", entry.holder.node)),
            Some(node) => keep_or_free(*entry, node, settings, now, &mut repaired),
        }
    }
    let mut seen = Names::new(facts);
    let Repaired {
        kept, unused, because, ..
    } = &mut repaired;
    let mut twice = |holder: &Holder| because.push(format!("{} was inside twice", holder.node));
    kept.retain(|entry| {
        let first = seen.insert(*entry);
        if !first {
            twice(entry.holder);
        }
        first
    });
    unused.retain(|holder| {
        let first = !seen.without_operation.contains(holder.node.as_str());
        if !first {
            twice(holder);
        }
        first
    });
    for (place, Seen { name, node, record, .. }) in facts.inside.iter().enumerate() {
        if let Some(operation) = record.operation.as_ref().filter(|_| !seen.with_operation[place]) {
            repaired.because.push(format!("{name} got its entry back"));
            let holder = Holder {
                node: (*name).to_owned(),
                node_uid: node.uid.clone(),
                policy: operation.policy.clone(),
                operation_id: operation.id.clone(),
                acquired: operation.started,
            };
            repaired.restored.push((holder, node));
        }
    }
    for (name, node, inside) in &facts.marked {
        // Whoever has an operation has its entry by now.
        if inside.is_none() && !seen.without_operation.contains(name) {
            if gate::is_astray(node) {
                repaired.astray.push((name, node));
            } else {
                lift(name, node, now, &mut repaired);
            }
        }
    }
    repaired
}

/// The nodes whose entries stay.
struct Names<'a> {
    /// By their places in `Facts::inside`.
    with_operation: Vec<bool>,
    without_operation: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn new(facts: &Facts) -> Self {
        Self {
            with_operation: vec![false; facts.inside.len()],
            without_operation: BTreeSet::new(),
        }
    }

    /// Whether it is new.
    fn insert(&mut self, entry: Entry<'a>) -> bool {
        match entry.inside {
            Some(place) => !std::mem::replace(&mut self.with_operation[place], true),
            None => self.without_operation.insert(&entry.holder.node),
        }
    }
}

fn keep_or_free<'a>(entry: Entry<'a>, node: &Node, settings: &Settings, now: Instant, repaired: &mut Repaired<'a>) {
    let (holder, record) = (entry.holder, node.record.as_ref());
    let ended = record.is_some_and(|record| record.finished.as_ref() == Some(&holder.operation_id));
    match record.and_then(|record| record.operation.as_ref()) {
        Some(operation) if operation.id == holder.operation_id => repaired.kept.push(entry),
        Some(_) => repaired
            .because
            .push(format!("{} was inside under another operation", holder.node)),
        None if node.cordoned_for.as_ref() == Some(&holder.operation_id) => {
            repaired.kept.push(entry);
            if ended {
                // An operation ends without marks: these are seen late, or somebody put them back. While they are seen,
                // the entry stays.
                lift(&holder.node, node, now, repaired);
                if !node.ready.ready {
                    repaired.late.push(&holder.node);
                }
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
            repaired.unused.push(holder);
        }
        None => repaired.because.push(format!("{} is free", holder.node)),
    }
}

/// Marks that belong to nobody, of an operation that has ended or whose host stays up, are lifted once the node is Ready.
fn lift(name: &str, node: &Node, now: Instant, repaired: &mut Repaired) {
    if node.ready.ready {
        repaired.actions.push(Action::Uncordon {
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
        daemon_sets: Vec::new(),
        settings: settings.clone(),
        failure: Some(Failure {
            time: now,
            message: "the record of this operation was lost while the node was cordoned; \
                      look at the node, then retry or release it"
                .to_owned(),
        }),
        pending_outcome: None,
    }
}
