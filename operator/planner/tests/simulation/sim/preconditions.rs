//! What is read again right before a write, as in `operator/src/execute/preconditions.rs`; a mutant may drop one.

use std::rc::Rc;

use lockkeeper_planner::*;

use super::cluster::{News, NodeObject, Object, PolicyObject, RebootObject, Refusal};
use super::execute::{Guard, Write};

impl Write<'_> {
    /// No node in progress loses its entry, and none is restored to an operation that has ended.
    pub(super) fn entries(&mut self, planned: &[Holder], holders: &[Holder]) -> Result<(), Refusal> {
        for holder in planned.iter().filter(|holder| !has_node(holders, holder)) {
            self.has_left(holder)?;
        }
        for holder in holders.iter().filter(|holder| !planned.contains(holder)) {
            self.has_operation(holder)?;
        }
        Ok(())
    }

    /// An entry goes: the node is gone, or neither its record nor its cordon names the operation.
    fn has_left(&mut self, holder: &Holder) -> Result<(), Refusal> {
        let Some(index) = self.cluster.index(&holder.node) else {
            return Ok(());
        };
        let fresh = self.read_node(index);
        let same = fresh.as_ref().filter(|node| node.value.uid == holder.node_uid);
        let marked = same.is_some_and(|node| node.value.cordoned_for.as_ref() == Some(&holder.operation_id));
        let in_progress = same.is_some() && self.read_operation(index).as_ref() == Some(&holder.operation_id);
        if marked && self.has(Guard::FreshCordon) || in_progress && self.has(Guard::FreshOperation) {
            return Err(Refusal::Stale);
        }
        Ok(())
    }

    /// An entry comes: if it is restored to an operation, that one must be there still.
    fn has_operation(&mut self, holder: &Holder) -> Result<(), Refusal> {
        let index = self.cluster.index(&holder.node);
        let seen = index.and_then(|index| self.seen.reboots[index].as_ref()?.record.operation.as_ref());
        let Some(index) = index.filter(|_| seen.is_some_and(|seen| seen.id == holder.operation_id)) else {
            return Ok(());
        };
        let in_progress = self.read_operation(index).as_ref() == Some(&holder.operation_id);
        if in_progress || !self.has(Guard::FreshOperation) {
            Ok(())
        } else {
            Err(Refusal::Stale)
        }
    }

    /// The operation that the record of the Node has now; for the next pass, too.
    fn read_operation(&mut self, index: usize) -> Option<String> {
        let fresh = self.cluster.reboots[index].clone();
        // That there is none has no version: only the watch can tell it.
        self.answers.extend(fresh.map(|fresh| News {
            version: fresh.version,
            index,
            object: Object::Reboot(Some(fresh)),
        }));
        self.cluster.operation(index).map(|operation| operation.id.clone())
    }

    /// The operation is as the plan saw it.
    pub(super) fn same_operation(&mut self, index: usize) -> Result<(), Refusal> {
        fn operation(reboot: Option<&Rc<RebootObject>>) -> Option<&Operation> {
            reboot.and_then(|reboot| reboot.record.operation.as_deref())
        }
        self.read_operation(index);
        let (seen, truth) = (&self.seen.reboots[index], &self.cluster.reboots[index]);
        let same = operation(seen.as_ref()) == operation(truth.as_ref());
        if same || !self.has(Guard::FreshOperation) {
            Ok(())
        } else {
            Err(Refusal::Stale)
        }
    }

    /// The Node as it is now; for the next pass, too.
    pub(super) fn read_node(&mut self, index: usize) -> Option<Rc<NodeObject>> {
        let fresh = self.cluster.nodes[index].clone();
        self.answers.extend(fresh.clone().map(|fresh| News {
            version: fresh.version,
            index,
            object: Object::Node(Some(fresh)),
        }));
        fresh
    }

    /// Reads the lock from the API server: a node is touched only while its entry is in there.
    pub(super) fn still_holds(&mut self, index: usize, operation: &str) -> Result<(), Refusal> {
        if !self.has(Guard::FreshLock) {
            return Ok(());
        }
        let node = self.seen.nodes[index].as_ref().ok_or(Refusal::Stale)?;
        let (name, uid) = (&self.cluster.names[index], &node.value.uid);
        let entry =
            |holder: &Holder| &holder.node == name && &holder.node_uid == uid && holder.operation_id == operation;
        let holds = self.cluster.holders().iter().any(entry);
        let lock = self.cluster.lock.clone().ok_or(Refusal::Conflict)?;
        // For the next pass: the writes of this one stay guarded by the lock that it was planned on.
        self.answers.push(News {
            version: lock.version,
            index: 0,
            object: Object::Lock(Some(lock)),
        });
        if holds { Ok(()) } else { Err(Refusal::Stale) }
    }

    /// The plan counted the nodes that it observed in progress; one that it did not observe may have been cordoned since.
    pub(super) fn no_new_holder(&self) -> Result<(), Refusal> {
        let known = |holder: &Holder| self.seen.lock.iter().any(|lock| lock.value.holders.contains(holder));
        if self.has(Guard::FreshLock) && !self.cluster.holders().iter().all(known) {
            return Err(Refusal::Stale);
        }
        Ok(())
    }

    /// No node is cordoned by us that the plan did not count: by its entry, or because its cordon was observed.
    pub(super) fn no_unknown_cordon(&mut self, node: usize) -> Result<(), Refusal> {
        let cordoned = |index: &usize| {
            let truth = self.cluster.nodes[*index].as_ref();
            let truth = truth.filter(|truth| truth.value.unschedulable && truth.value.cordoned_for.is_some())?;
            let name = &self.cluster.names[*index];
            let has_entry = self.cluster.holders().iter().any(|holder| &holder.node == name);
            let seen = self.seen.nodes[*index].as_ref();
            let seen = seen.is_some_and(|seen| seen.value.cordoned_for == truth.value.cordoned_for);
            (!has_entry && !seen).then_some(*index)
        };
        let others = (0..self.cluster.nodes.len()).filter(|index| *index != node);
        let hidden: Vec<usize> = others.filter_map(|index| cordoned(&index)).collect();
        if hidden.is_empty() || !self.has(Guard::UnknownCordons) {
            return Ok(());
        }
        for index in hidden {
            self.read_node(index);
        }
        Err(Refusal::Stale)
    }

    /// The policies are those that the plan was made on.
    pub(super) fn same_policies(&mut self) -> Result<(), Refusal> {
        let same = |(seen, truth): (&Option<Rc<PolicyObject>>, &Option<Rc<PolicyObject>>)| match (seen, truth) {
            (Some(seen), Some(truth)) => seen.has_spec_of(truth),
            (seen, truth) => seen.is_none() && truth.is_none(),
        };
        let mut policies = self.seen.policies.iter().zip(&self.cluster.policies);
        if self.has(Guard::FreshPolicies) && !policies.all(same) {
            let fresh = self.cluster.policies.iter().enumerate();
            let fresh = fresh.filter_map(|(index, policy)| Some((index, policy.clone()?)));
            self.answers.extend(fresh.map(|(index, policy)| News {
                version: policy.version,
                index,
                object: Object::Policy(Some(policy)),
            }));
            return Err(Refusal::Stale);
        }
        Ok(())
    }
}

/// Whether this entry's node is in there, under whatever operation.
fn has_node(holders: &[Holder], entry: &Holder) -> bool {
    let same = |holder: &Holder| (&holder.node, &holder.node_uid) == (&entry.node, &entry.node_uid);
    holders.iter().any(same)
}
