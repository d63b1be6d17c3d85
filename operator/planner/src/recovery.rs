//! What a crash, a lost reply or a manual edit left behind is repaired before any node is admitted.

use std::collections::BTreeSet;

use crate::Instant;
use crate::action::{Action, RecordChange};
use crate::context::Context;
use crate::names::BootId;
use crate::snapshot::{Command, Failure, Holder, Lock, Node, Operation, OrderedReboot, Phase, Record, Settings};

/// An entry of the lock, and the Node that has its name now, whichever that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) holder: &'a Holder,
    pub(crate) node: Option<&'a Node>,
}

/// The holders as they must be, and what else must be written.
#[derive(Debug, Default)]
pub(crate) struct Recovery<'a> {
    /// Every entry of the lock, in the order of admission.
    pub(crate) known: Vec<Entry<'a>>,
    /// The entries that stay.
    pub(crate) kept: Vec<Entry<'a>>,
    /// The entries that are restored, each with its node.
    pub(crate) restored: Vec<(Holder, &'a Node)>,
    /// Nodes with an orphaned cordon: record and entry are lost. They count as in progress until they are Ready, their
    /// agents have confirmed that no reboot is in progress, and they are uncordoned.
    pub(crate) orphaned: Vec<(&'a str, &'a Node)>,
    /// Nodes whose orphaned cordon is removed now. Until that is written they count like those that keep it.
    pub(crate) lifted: Vec<(&'a str, &'a Node)>,
    /// Nodes that keep their entry although their operation has ended: they are still cordoned and not Ready.
    pub(crate) awaiting_ready: BTreeSet<&'a str>,
    /// Entries of nodes whose operation was never written. A node that is admitted again keeps its entry, so that an
    /// operator that dies after each single write makes progress; the others are freed.
    pub(crate) unstarted: Vec<&'a Holder>,
    /// What was repaired, for the log.
    pub(crate) because: Vec<String>,
    /// Operations to write, and nodes to uncordon.
    pub(crate) actions: Vec<Action>,
}

/// Compares lock, operations and cordons: a lost or edited lock does not mean that no node is in progress.
pub(crate) fn recover<'a>(context: &Context<'a>, lock: &'a Lock) -> Recovery<'a> {
    let mut recovery = Recovery {
        known: in_order(context, lock),
        ..Recovery::default()
    };
    for entry in recovery.known.clone() {
        match entry.node.filter(|node| node.uid == entry.holder.node_uid) {
            // What has become of its operation is not known.
            Some(node) if node.view_gap.is_some() => recovery.kept.push(entry),
            Some(node) => recovery.keep_or_free(entry, node, context),
            None => recovery.keep_or_free_deleted(entry, lock, context),
        }
    }
    let has_entry = recovery.drop_duplicates();
    recovery.restore_entries(context, &has_entry);
    recovery.handle_orphaned_cordons(context, &has_entry);
    recovery
}

/// The entries in the order of admission. The order of the lock's list means nothing: people edit it.
fn in_order<'a>(context: &Context<'a>, lock: &'a Lock) -> Vec<Entry<'a>> {
    let mut holders: Vec<&Holder> = lock.holders.iter().collect();
    holders.sort_by_key(|holder| (holder.acquired, *holder));
    let entry = |holder: &'a Holder| Entry {
        holder,
        node: context.snapshot.nodes.get(&holder.node),
    };
    holders.into_iter().map(entry).collect()
}

impl<'a> Recovery<'a> {
    /// All entries afterwards, first those that were there before.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.kept.iter().copied().chain(self.restored_entries())
    }

    pub(crate) fn restored_entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.restored.iter().map(|(holder, node)| Entry {
            holder,
            node: Some(node),
        })
    }

    /// Every node with an orphaned cordon.
    pub(crate) fn cordoned_without_entry(&self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        self.orphaned.iter().chain(&self.lifted).copied()
    }

    /// Whether this node has an orphaned cordon and is Ready: its agent has not confirmed that no reboot is in progress.
    pub(crate) fn awaits_agent_report(&self, name: &str) -> bool {
        let mut orphaned = self.orphaned.iter();
        orphaned.any(|(other, node)| *other == name && node.ready.ready)
    }

    fn keep_or_free(&mut self, entry: Entry<'a>, node: &'a Node, context: &Context) {
        let (holder, record) = (entry.holder, node.record.as_ref());
        match (node.operation(), record) {
            (Some(operation), _) if operation.id == holder.operation_id => self.kept.push(entry),
            (Some(_), _) => {
                let because = format!("{} was listed under another operation", holder.node);
                self.because.push(because);
            }
            (None, _) if node.cordoned_for.as_ref() == Some(&holder.operation_id) => {
                self.kept.push(entry);
                self.keep_cordoned(holder, node, context);
            }
            (None, record) if let Some(reboot) = unfinished_reboot(holder, record) => {
                // The Node registered again. Its record is being made anew, or an operator died before it wrote it.
                self.kept.push(entry);
                if record.is_some() {
                    self.resume(holder, reboot, context);
                }
            }
            (None, Some(record)) if !was_used(&holder.operation_id, record) => self.unstarted.push(holder),
            (None, _) => self.because.push(format!("{} is free", holder.node)),
        }
    }

    /// The Node of the entry was deleted. If its reboot was ordered, the slot stays with its name until the node registers
    /// again and its operation ends, or a person releases it.
    fn keep_or_free_deleted(&mut self, entry: Entry<'a>, lock: &Lock, context: &Context) {
        let holder = entry.holder;
        let Some(reboot) = &holder.reboot else {
            self.because.push(format!("{} is gone", holder.node));
            return;
        };
        if lock.command.as_ref().is_some_and(|command| releases(command, holder)) {
            self.because.push(format!("{} is gone and was released", holder.node));
            return;
        }
        let known = entry.node.filter(|node| node.view_gap.is_none());
        let Some((node, record)) = known.and_then(|node| Some((node, node.record.as_ref()?))) else {
            self.kept.push(entry);
            return;
        };
        match &record.operation {
            Some(operation) if operation.id != holder.operation_id => {
                let because = format!("{} was listed under another operation", holder.node);
                self.because.push(because);
                return;
            }
            Some(_) => {}
            None if record.finished.as_ref() == Some(&holder.operation_id) => {
                self.because.push(format!("{} is free", holder.node));
                return;
            }
            None => self.resume(holder, reboot, context),
        }
        self.because.push(format!("{} registered again", holder.node));
        let holder = Holder {
            node_uid: node.uid.clone(),
            ..holder.clone()
        };
        self.restored.push((holder, node));
    }

    fn resume(&mut self, holder: &Holder, reboot: &OrderedReboot, context: &Context) {
        self.actions.push(Action::WriteRecord {
            node: holder.node.clone(),
            change: Box::new(RecordChange::operation(resume_operation(holder, reboot, context))),
        });
    }

    /// The node is cordoned for the entry's operation and has no operation: it has ended, or its record is lost.
    fn keep_cordoned(&mut self, holder: &'a Holder, node: &Node, context: &Context) {
        let Some(record) = &node.record else { return };
        if record.finished.as_ref() == Some(&holder.operation_id) {
            // An operation ends after its uncordon: this cordon is observed late, or a person restored it. The entry
            // stays as long as it is there.
            self.uncordon(&holder.node, node, context.now);
            if !node.ready.ready {
                self.awaiting_ready.insert(&holder.node);
            }
            return;
        }
        let operation = reconstruct_operation(holder, node, context);
        self.actions.push(Action::WriteRecord {
            node: holder.node.clone(),
            change: Box::new(RecordChange::operation(operation)),
        });
    }

    /// Drops entries of nodes that have one already; the names of the nodes that have one.
    fn drop_duplicates(&mut self) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let because = &mut self.because;
        let mut duplicate = |holder: &Holder| because.push(format!("{} was listed twice", holder.node));
        self.kept.retain(|entry| {
            let first = seen.insert(entry.holder.node.as_str());
            if !first {
                duplicate(entry.holder);
            }
            first
        });
        self.unstarted.retain(|holder| {
            let first = !seen.contains(holder.node.as_str());
            if !first {
                duplicate(holder);
            }
            first
        });
        self.restored.retain(|(holder, _)| !seen.contains(holder.node.as_str()));
        seen
    }

    /// A node with an operation always has an entry.
    fn restore_entries(&mut self, context: &Context<'a>, has_entry: &BTreeSet<&str>) {
        for one in &context.in_progress {
            let registered_again = self.restored.iter().any(|(holder, _)| holder.node == one.name);
            let lost = !registered_again && !has_entry.contains(one.name);
            let Some(operation) = one.record.operation.as_ref().filter(|_| lost) else {
                continue;
            };
            self.because.push(format!("{} got its entry back", one.name));
            let holder = Holder {
                node: one.name.to_owned(),
                node_uid: one.node.uid.clone(),
                policy: operation.policy.clone(),
                operation_id: operation.id.clone(),
                acquired: operation.started,
                reboot: operation.reboot_ordered.map(|time| OrderedReboot::of(operation, time)),
            };
            self.restored.push((holder, one.node));
        }
    }

    /// Cordons without an entry and without an operation.
    fn handle_orphaned_cordons(&mut self, context: &Context<'a>, has_entry: &BTreeSet<&str>) {
        for (name, node) in &context.cordoned {
            if node.operation().is_some() || has_entry.contains(name) {
                continue;
            }
            if node.keeps_orphaned_cordon() {
                self.orphaned.push((name, node));
            } else {
                self.lifted.push((name, node));
                self.uncordon(name, node, context.now);
            }
        }
    }

    /// A cordon of an operation that has ended, or whose host stays up, is removed once the node is Ready.
    fn uncordon(&mut self, name: &str, node: &Node, now: Instant) {
        if node.ready.ready {
            self.actions.push(Action::Uncordon {
                node: name.to_owned(),
                keep_cordon: node.hold_at(now).is_some(),
            });
        }
    }
}

/// Whether anything was done under this id already. Such an id must not be used again: an answer to its first order would
/// be taken for one to the second.
fn was_used(id: &str, record: &Record) -> bool {
    let of_it = |order: &str| order.rsplit_once('-').is_some_and(|(operation, _)| operation == id);
    let answer = record.host.as_ref().and_then(|host| host.answer.as_ref());
    let answered = answer.is_some_and(|answer| of_it(&answer.id));
    let ordered = record.order.as_ref().is_some_and(|order| of_it(&order.id));
    record.finished.as_deref() == Some(id) || ordered || answered
}

/// The reboot that was ordered under this entry, unless the record says that its operation has finished.
fn unfinished_reboot<'a>(holder: &'a Holder, record: Option<&Record>) -> Option<&'a OrderedReboot> {
    let finished = record.and_then(|record| record.finished.as_ref());
    holder
        .reboot
        .as_ref()
        .filter(|_| finished != Some(&holder.operation_id))
}

/// Whether this command releases the holder, whose Node is gone.
fn releases(command: &Command, holder: &Holder) -> bool {
    command.verb == "release" && command.operation_id == holder.operation_id
}

/// The operation of a node whose Node was deleted while it rebooted, and that has registered again.
fn resume_operation(holder: &Holder, reboot: &OrderedReboot, context: &Context) -> Operation {
    let operation = lost_operation(holder, context);
    Operation {
        phase: Phase::Rebooting,
        boot_id_before: reboot.boot_id_before.clone(),
        soft_reboots_before: reboot.soft_reboots_before,
        asked: reboot.time,
        // The node was cordoned some time before. Without that the order could not be given once more.
        cordoned: Some(reboot.time),
        reboot_ordered: Some(reboot.time),
        settings: Settings {
            reboot_timeout: reboot.deadline - reboot.time,
            ..operation.settings
        },
        ..operation
    }
}

/// The operation of a node that is cordoned, has an entry, and lost its record: a person must check it.
fn reconstruct_operation(holder: &Holder, node: &Node, context: &Context) -> Operation {
    Operation {
        phase: Phase::Failed,
        boot_id_before: node.boot_id.clone(),
        failure: Some(Failure {
            time: context.now,
            message: "the record of this operation was lost while the node was cordoned; \
                      check the node, then retry or release it"
                .to_owned(),
            timed_out: false,
        }),
        ..lost_operation(holder, context)
    }
}

/// An operation as far as its entry tells. It finishes with the settings of the policy that the entry names.
fn lost_operation(holder: &Holder, context: &Context) -> Operation {
    let policy = context.snapshot.policies.get(&holder.policy);
    Operation {
        id: holder.operation_id.clone(),
        attempt: 0,
        phase: Phase::Failed,
        policy: holder.policy.clone(),
        boot_id_before: BootId::default(),
        soft_reboots_before: None,
        kernel_before: String::new(),
        reasons: Vec::new(),
        requested: None,
        approved: None,
        required: None,
        started: holder.acquired,
        asked: context.now,
        cordoned: None,
        stage: None,
        extended_until: None,
        reboot_ordered: None,
        refused: None,
        rebooted: None,
        uncordoned: None,
        pods_moved: 0,
        returning_owners: vec![],
        daemon_sets: Vec::new(),
        static_pods: Vec::new(),
        workloads: vec![],
        checks_baseline: Vec::new(),
        healthy_since: None,
        hook: None,
        ended_hooks: Vec::new(),
        noticed: None,
        overridden: None,
        settings: policy.map(|policy| policy.settings.clone()).unwrap_or_default(),
        failure: None,
        pending_outcome: None,
    }
}

#[cfg(test)]
mod tests;
