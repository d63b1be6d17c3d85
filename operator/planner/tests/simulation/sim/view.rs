//! What one operator has seen: four watches that lag each on its own, and the answers to its own writes.
//!
//! As in `operator/src/cache/table.rs`, a larger version is the newer state, so that a late event never hides an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use lockkeeper_planner::*;

use super::cluster::{Cluster, Kind, LockObject, News, NodeObject, Object, PolicyObject, RebootObject};
use super::update::{set, set_node, set_record};

/// The objects that a pass saw; their versions guard its writes, and its own answers take their place.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub nodes: Vec<Option<Rc<NodeObject>>>,
    pub reboots: Vec<Option<Rc<RebootObject>>>,
    pub policies: Vec<Option<Rc<PolicyObject>>>,
    pub lock: Option<Rc<LockObject>>,
}

impl Seen {
    /// The objects as they are now.
    pub fn see(&mut self, view: &View) {
        fn take_over<T>(to: &mut Vec<Option<Rc<T>>>, from: &[Entry<T>]) {
            to.resize_with(from.len(), || None);
            for (to, from) in to.iter_mut().zip(from) {
                // Most are the same as before.
                if to.as_ref().map(Rc::as_ptr) != from.object.as_ref().map(Rc::as_ptr) {
                    to.clone_from(&from.object);
                }
            }
        }
        take_over(&mut self.nodes, &view.nodes);
        take_over(&mut self.reboots, &view.reboots);
        take_over(&mut self.policies, &view.policies);
        self.lock.clone_from(&view.lock.object);
    }

    /// Keeps the answer to a write.
    pub fn keep(&mut self, news: &News) {
        match &news.object {
            Object::Node(object) => self.nodes[news.index].clone_from(object),
            Object::Reboot(object) => self.reboots[news.index].clone_from(object),
            Object::Lock(object) => self.lock.clone_from(object),
            Object::Policy(_) => {}
        }
    }
}

#[derive(Debug, Default)]
pub struct View {
    pub snapshot: Snapshot,
    /// Whether the snapshot is another one since somebody who cares set this to false.
    pub changed: bool,
    nodes: Vec<Entry<NodeObject>>,
    reboots: Vec<Entry<RebootObject>>,
    policies: Vec<Entry<PolicyObject>>,
    lock: Entry<LockObject>,
    policy_names: Vec<PolicyName>,
    /// The policies that select each group, as far as somebody has asked.
    selecting: BTreeMap<u8, Vec<PolicyName>>,
    names: Vec<String>,
    /// The newest version that each watch has delivered.
    delivered: [u64; 4],
    listed: [bool; 4],
    /// Which nodes of the snapshot have an operation.
    inside: BTreeSet<usize>,
    /// Of which nodes something was learned that the snapshot does not have yet: their Nodes, their records.
    due: (Vec<usize>, Vec<usize>),
    queues: [VecDeque<(i64, News)>; 4],
}

#[derive(Debug)]
struct Entry<T> {
    version: u64,
    object: Option<Rc<T>>,
    /// It is among those that are due.
    due: bool,
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self {
            version: 0,
            object: None,
            due: false,
        }
    }
}

impl View {
    /// Has seen nothing yet.
    pub fn new(cluster: &Cluster, own_node: Option<String>) -> Self {
        let mut view = Self {
            names: cluster.names.clone(),
            policy_names: cluster.policy_names.clone(),
            ..Self::default()
        };
        view.nodes.resize_with(cluster.nodes.len(), Entry::default);
        view.reboots.resize_with(cluster.reboots.len(), Entry::default);
        view.policies.resize_with(cluster.policies.len(), Entry::default);
        view.snapshot.own_node = own_node;
        view.snapshot.unlisted = Kind::ALL.iter().map(|kind| not_listed(*kind)).collect();
        view
    }

    /// A watch will show this no earlier than `ready`, and after what it has in its queue.
    pub fn enqueue(&mut self, ready: i64, news: News) -> i64 {
        let queue = &mut self.queues[news.kind() as usize];
        let ready = queue.back().map_or(ready, |(last, _)| ready.max(*last));
        queue.push_back((ready, news));
        ready
    }

    /// The watch shows what is due; if `coalesced`, only the last of what concerns one object. Says if that was news.
    pub fn deliver(&mut self, kind: Kind, now: i64, coalesced: bool) -> bool {
        let queue = &self.queues[kind as usize];
        let due = queue.iter().take_while(|(ready, _)| *ready <= now).count();
        let mut changed = false;
        for later in (0..due).rev() {
            let queue = &mut self.queues[kind as usize];
            let Some((_, news)) = queue.pop_front() else { break };
            let hidden = coalesced && queue.iter().take(later).any(|(_, later)| later.index == news.index);
            if self.listed[kind as usize] && !hidden {
                self.delivered[kind as usize] = self.delivered[kind as usize].max(news.version);
                changed |= self.learn(&news);
            }
        }
        changed
    }

    /// The API server answered a write with this.
    pub fn absorb(&mut self, news: &News) {
        if news.version > self.delivered[news.kind() as usize] {
            self.learn(news);
        }
    }

    /// The watch broke: everything of this kind is listed anew, and what happened in between is never told.
    pub fn relist(&mut self, kind: Kind, cluster: &Cluster) {
        self.queues[kind as usize].clear();
        self.listed[kind as usize] = true;
        self.delivered[kind as usize] = cluster.version;
        let unseen = Kind::ALL.into_iter().filter(|kind| !self.listed[*kind as usize]);
        self.changed |= set(&mut self.snapshot.unlisted, &unseen.map(not_listed).collect());
        let news = |index, object| News {
            version: cluster.version,
            index,
            object,
        };
        match kind {
            Kind::Nodes => (0..self.nodes.len()).for_each(|index| {
                self.learn(&news(index, Object::Node(cluster.nodes[index].clone())));
            }),
            Kind::Reboots => (0..self.reboots.len()).for_each(|index| {
                self.learn(&news(index, Object::Reboot(cluster.reboots[index].clone())));
            }),
            Kind::Policies => (0..self.policies.len()).for_each(|index| {
                self.learn(&news(index, Object::Policy(cluster.policies[index].clone())));
            }),
            Kind::Lock => {
                self.learn(&news(0, Object::Lock(cluster.lock.clone())));
            }
        }
    }

    /// Whether a write with the version that was seen would be let through.
    pub fn has_newest_policy(&self, index: usize, cluster: &Cluster) -> bool {
        let version = |policy: &Option<Rc<PolicyObject>>| policy.as_ref().map(|policy| policy.version);
        version(&self.policies[index].object) == version(&cluster.policies[index])
    }

    pub fn is_listed(&self, kind: Kind) -> bool {
        self.listed[kind as usize]
    }

    /// The Nodes that are seen.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeObject> {
        self.nodes.iter().filter_map(|entry| entry.object.as_deref())
    }

    /// The policies that are seen, by name.
    pub fn policies(&self) -> impl Iterator<Item = (&PolicyName, &PolicyObject)> {
        let all = self.policy_names.iter().zip(&self.policies);
        all.filter_map(|(name, entry)| Some((name, entry.object.as_deref()?)))
    }

    /// The nodes of the snapshot that have an operation, and which it is; right after [`Self::refresh`].
    pub fn inside(&self) -> impl Iterator<Item = (usize, &Node, &Operation)> {
        let inside = self.inside.iter();
        inside.filter_map(|index| {
            let (node, operation) = self.operation(*index)?;
            Some((*index, node, operation))
        })
    }

    /// A node that is seen, and its operation.
    pub fn operation(&self, index: usize) -> Option<(&Node, &Operation)> {
        let node = &self.nodes[index].object.as_ref()?.value;
        let reboot = self.reboots[index].object.as_ref()?;
        let operation = reboot.record.operation.as_deref()?;
        (reboot.owner == node.uid).then_some((node, operation))
    }

    pub fn set_preflight(&mut self, index: usize, preflight: &Preflight) {
        if let Some(node) = self.snapshot.nodes.get_mut(&self.names[index]) {
            self.changed |= set(&mut node.preflight, preflight);
        }
    }

    pub fn set_daemons(&mut self, index: usize, daemons: &DaemonSetReadiness) {
        if let Some(node) = self.snapshot.nodes.get_mut(&self.names[index]) {
            self.changed |= set(&mut node.daemon_sets, daemons);
        }
    }

    pub fn set_drain(&mut self, index: usize, drain: &Drain) {
        if let Some(node) = self.snapshot.nodes.get_mut(&self.names[index]) {
            self.changed |= set(&mut node.drain, drain);
        }
    }

    /// Brings the snapshot up to date with what was learned: once for many news, and not for an operator that does not look.
    pub fn refresh(&mut self, drains: &BTreeMap<usize, Drain>) {
        while let Some(index) = self.due.0.pop() {
            self.nodes[index].due = false;
            self.rebuild(index, drains);
        }
        while let Some(index) = self.due.1.pop() {
            self.reboots[index].due = false;
            self.fill_record(index);
        }
    }

    fn learn(&mut self, news: &News) -> bool {
        fn replace<T>(entry: &mut Entry<T>, version: u64, object: Option<&Rc<T>>) -> bool {
            let newer = version > entry.version;
            if newer {
                (entry.version, entry.object) = (version, object.cloned());
            }
            newer
        }
        let (version, index) = (news.version, news.index);
        match &news.object {
            Object::Node(object) => {
                let newer = replace(&mut self.nodes[index], version, object.as_ref());
                if newer && !std::mem::replace(&mut self.nodes[index].due, true) {
                    self.due.0.push(index);
                }
                newer
            }
            Object::Reboot(object) => {
                let newer = replace(&mut self.reboots[index], version, object.as_ref());
                if newer && !std::mem::replace(&mut self.reboots[index].due, true) {
                    self.due.1.push(index);
                }
                newer
            }
            Object::Policy(object) => {
                let groups = |entry: &Entry<PolicyObject>| entry.object.as_ref().map(|policy| policy.groups);
                let before = groups(&self.policies[index]);
                let newer = replace(&mut self.policies[index], version, object.as_ref());
                if newer {
                    let selects_others = before != groups(&self.policies[index]);
                    if selects_others {
                        self.selecting.clear();
                    }
                    self.rebuild_policies(index, selects_others);
                }
                newer
            }
            Object::Lock(object) => {
                let newer = replace(&mut self.lock, version, object.as_ref());
                let lock = self.lock.object.as_ref().map(|lock| &lock.value);
                if self.snapshot.lock.as_ref() != lock {
                    self.snapshot.lock = lock.cloned();
                    self.changed = true;
                }
                newer
            }
        }
    }

    fn rebuild(&mut self, index: usize, drains: &BTreeMap<usize, Drain>) {
        let Some(node) = self.nodes[index].object.clone() else {
            self.changed |= self.snapshot.nodes.remove(&self.names[index]).is_some();
            self.inside.remove(&index);
            return;
        };
        let policies = self.selecting(node.group);
        let drain = drains.get(&index).unwrap_or(&Drain::NotStarted);
        let name = &self.names[index];
        let known = self.snapshot.nodes.get_mut(name);
        let Some(known) = known.filter(|known| known.uid == node.value.uid) else {
            let value = Node {
                policies,
                drain: drain.clone(),
                ..node.value.clone()
            };
            self.snapshot.nodes.insert(name.clone(), value);
            self.changed = true;
            return self.fill_record(index);
        };
        self.changed |= set_node(known, &node.value);
        self.changed |= set(&mut known.policies, &policies) | set(&mut known.drain, drain);
        if known.record.is_none() {
            self.fill_record(index);
        }
    }

    fn fill_record(&mut self, index: usize) {
        let Some(node) = self.snapshot.nodes.get_mut(&self.names[index]) else {
            return;
        };
        let reboot = self.reboots[index].object.as_ref();
        let owned = reboot.filter(|reboot| reboot.owner == node.uid);
        let record = owned.map(|reboot| &reboot.record);
        self.changed |= set_record(&mut node.record, record);
        if record.is_some_and(|record| record.operation.is_some()) {
            self.inside.insert(index);
        } else {
            self.inside.remove(&index);
        }
    }

    fn rebuild_policies(&mut self, index: usize, selects_others: bool) {
        let name = &self.policy_names[index];
        match (&self.policies[index].object, self.snapshot.policies.get_mut(name)) {
            (Some(policy), Some(known)) => self.changed |= set(known, &policy.value),
            (Some(policy), None) => {
                self.snapshot.policies.insert(name.clone(), policy.value.clone());
                self.changed = true;
            }
            (None, _) => self.changed |= self.snapshot.policies.remove(name).is_some(),
        }
        for index in (0..self.nodes.len()).filter(|_| selects_others) {
            let Some(group) = self.nodes[index].object.as_ref().map(|node| node.group) else {
                continue;
            };
            let policies = self.selecting(group);
            if let Some(node) = self.snapshot.nodes.get_mut(&self.names[index]) {
                self.changed |= set(&mut node.policies, &policies);
            }
        }
    }

    fn selecting(&mut self, group: u8) -> Vec<PolicyName> {
        let find = || {
            let all = self.policies.iter().zip(&self.policy_names);
            let selecting = all.filter(|(entry, _)| entry.object.as_ref().is_some_and(|o| o.groups & group != 0));
            selecting.map(|(_, name)| name.clone()).collect()
        };
        self.selecting.entry(group).or_insert_with(find).clone()
    }
}

fn not_listed(kind: Kind) -> ViewGap {
    ViewGap::NotListed {
        kind: format!("{kind:?}"),
    }
}
