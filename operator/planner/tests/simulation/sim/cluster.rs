//! The truth: what the API server holds, under its rules. Every write makes a new version and is news for all watches.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lockkeeper_planner::*;

use super::daemons::Daemon;
use super::hooks::Hooks;
use super::workloads::Workload;

/// The kinds of objects that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nodes,
    Reboots,
    Policies,
    Lock,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Nodes, Self::Reboots, Self::Policies, Self::Lock];
}

/// Who holds `spec.unschedulable`: an apply of nothing takes away only its own share of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cordon {
    pub ours: bool,
    /// Our other field manager, for a node that is on hold.
    pub hold: bool,
    pub human: bool,
}

#[derive(Clone, Debug)]
pub struct NodeObject {
    pub version: u64,
    /// The label that policies select by; a bit.
    pub group: u8,
    pub cordon: Cordon,
    /// All but policies, record and drain, which a view fills in.
    pub value: Node,
}

#[derive(Clone, Debug)]
pub struct RebootObject {
    pub version: u64,
    /// The uid of the Node that owns it.
    pub owner: String,
    pub record: Record,
    /// Its agent has reported something that no operator can decode.
    pub undecodable: bool,
}

#[derive(Clone, Debug)]
pub struct PolicyObject {
    pub version: u64,
    /// Another one once it was deleted and created again; written by [`Cluster::put_policy`] alone.
    pub uid: u64,
    /// Grows with each change of the spec; written by [`Cluster::put_policy`] alone.
    pub generation: i64,
    /// The groups of nodes that it selects: the one of its place.
    pub groups: u8,
    pub value: Policy,
}

impl PolicyObject {
    /// Whether the spec of both is the same.
    fn has_spec_of(&self, other: &Self) -> bool {
        let spec = |object: &Self| Policy {
            state: PolicyState::default(),
            acknowledged: None,
            ..object.value.clone()
        };
        self.groups == other.groups && spec(self) == spec(other)
    }
}

#[derive(Clone, Debug)]
pub struct LockObject {
    pub version: u64,
    pub uid: u64,
    pub value: Lock,
}

/// One object as it is now; `None` means that it is gone.
#[derive(Clone, Debug)]
pub enum Object {
    Node(Option<Rc<NodeObject>>),
    Reboot(Option<Rc<RebootObject>>),
    Policy(Option<Rc<PolicyObject>>),
    Lock(Option<Rc<LockObject>>),
}

/// What a watch tells of one write.
#[derive(Clone, Debug)]
pub struct News {
    pub version: u64,
    /// Which object of its kind.
    pub index: usize,
    pub object: Object,
}

impl News {
    pub fn kind(&self) -> Kind {
        match self.object {
            Object::Node(_) => Kind::Nodes,
            Object::Reboot(_) => Kind::Reboots,
            Object::Policy(_) => Kind::Policies,
            Object::Lock(_) => Kind::Lock,
        }
    }
}

/// Why the API server, or a precondition, refused a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 409, 404 or 422: another writer was faster.
    Conflict,
    /// A precondition does not hold any more.
    Stale,
    /// The node has pods again that must be evicted.
    NotEmpty,
    /// The API server was in trouble, or its answer was lost.
    Trouble,
    /// A webhook or another field manager does not allow it.
    Denied,
}

#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub version: u64,
    pub names: Vec<String>,
    /// Where each name is among them.
    places: BTreeMap<String, usize>,
    pub policy_names: Vec<PolicyName>,
    /// Written by [`Self::put_node`] alone.
    pub nodes: Vec<Option<Rc<NodeObject>>>,
    /// Those of them that have our mark.
    pub marked: BTreeSet<usize>,
    /// How many nodes each group has; its bits are the place.
    grouped: [usize; 4],
    pub reboots: Vec<Option<Rc<RebootObject>>>,
    pub policies: Vec<Option<Rc<PolicyObject>>>,
    pub lock: Option<Rc<LockObject>>,
    /// Pods that would have to leave, by node.
    pub pods: Vec<usize>,
    /// The pod of the one `DaemonSet`, by node.
    pub daemons: Vec<Daemon>,
    /// The workload that has a pod on each node.
    pub workloads: Vec<Workload>,
    /// What of the hooks is true.
    pub hooks: Hooks,
    /// What no watch has been told yet.
    pub news: Vec<News>,
}

impl Cluster {
    /// Nothing is there yet under any of these names.
    pub fn new(names: Vec<String>, policy_names: Vec<PolicyName>, pods: Vec<usize>) -> Self {
        let places = names.iter().enumerate().map(|(place, name)| (name.clone(), place));
        Self {
            places: places.collect(),
            nodes: vec![None; names.len()],
            daemons: vec![Daemon::default(); names.len()],
            workloads: vec![Workload::default(); names.len()],
            reboots: vec![None; names.len()],
            policies: vec![None; policy_names.len()],
            names,
            policy_names,
            pods,
            ..Self::default()
        }
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    pub fn put_node(&mut self, index: usize, object: Option<NodeObject>) -> News {
        let version = self.next();
        if object
            .as_ref()
            .is_some_and(|object| object.value.cordoned_for.is_some())
        {
            self.marked.insert(index);
        } else {
            self.marked.remove(&index);
        }
        if let Some(before) = &self.nodes[index] {
            self.grouped[usize::from(before.group)] -= 1;
        }
        if let Some(after) = &object {
            self.grouped[usize::from(after.group)] += 1;
        }
        self.nodes[index] = object.map(|object| {
            let mut object = NodeObject { version, ..object };
            let Cordon { ours, hold, human } = object.cordon;
            object.value.unschedulable = ours || hold || human;
            Rc::new(object)
        });
        self.tell(version, index, Object::Node(self.nodes[index].clone()))
    }

    pub fn put_reboot(&mut self, index: usize, object: Option<RebootObject>) -> News {
        let version = self.next();
        self.reboots[index] = object.map(|object| Rc::new(RebootObject { version, ..object }));
        self.tell(version, index, Object::Reboot(self.reboots[index].clone()))
    }

    pub fn put_policy(&mut self, index: usize, object: Option<PolicyObject>) -> News {
        let version = self.next();
        let before = self.policies[index].take();
        self.policies[index] = object.map(|object| {
            let (uid, generation) = match &before {
                Some(before) if before.has_spec_of(&object) => (before.uid, before.generation),
                Some(before) => (before.uid, before.generation + 1),
                None => (version, 1),
            };
            Rc::new(PolicyObject {
                version,
                uid,
                generation,
                ..object
            })
        });
        self.tell(version, index, Object::Policy(self.policies[index].clone()))
    }

    pub fn put_lock(&mut self, object: Option<LockObject>) -> News {
        let version = self.next();
        self.lock = object.map(|object| Rc::new(LockObject { version, ..object }));
        self.tell(version, 0, Object::Lock(self.lock.clone()))
    }

    /// Changes a Node that is there.
    pub fn edit_node(&mut self, index: usize, edit: impl FnOnce(&mut NodeObject)) -> Option<News> {
        let mut object = NodeObject::clone(self.nodes[index].as_ref()?);
        edit(&mut object);
        Some(self.put_node(index, Some(object)))
    }

    /// Changes a record that is there.
    pub fn edit_record(&mut self, index: usize, edit: impl FnOnce(&mut Record)) -> Option<News> {
        let mut object = RebootObject::clone(self.reboots[index].as_ref()?);
        edit(&mut object.record);
        Some(self.put_reboot(index, Some(object)))
    }

    /// An agent reports something that no operator can decode, or something else again.
    pub fn set_undecodable(&mut self, index: usize, undecodable: bool) {
        let known = self.reboots[index].as_deref();
        if let Some(known) = known.filter(|known| known.undecodable != undecodable) {
            let object = RebootObject {
                undecodable,
                ..known.clone()
            };
            self.put_reboot(index, Some(object));
        }
    }

    /// Changes a policy that is there.
    pub fn edit_policy(&mut self, index: usize, edit: impl FnOnce(&mut PolicyObject)) -> Option<News> {
        let mut object = PolicyObject::clone(self.policies[index].as_ref()?);
        edit(&mut object);
        Some(self.put_policy(index, Some(object)))
    }

    /// The record that belongs to the Node that is there now.
    pub fn record(&self, index: usize) -> Option<&Record> {
        let (node, reboot) = (self.nodes[index].as_ref()?, self.reboots[index].as_ref()?);
        (reboot.owner == node.value.uid).then_some(&reboot.record)
    }

    pub fn operation(&self, index: usize) -> Option<&Operation> {
        self.record(index)?.operation.as_deref()
    }

    /// Whether the reboot of this operation has taken place on a node that is in this boot, by what its agent reports.
    pub fn has_rebooted(&self, index: usize, boot_id: &BootId, operation: &Operation) -> bool {
        let host = self.record(index).and_then(|record| record.host.as_ref());
        let counted = host
            .filter(|host| host.boot_id == *boot_id)
            .and_then(|host| host.soft_reboots);
        let before = operation.soft_reboots_before;
        *boot_id != operation.boot_id_before
            || before.is_some_and(|before| counted.is_some_and(|counted| counted.count > before))
    }

    /// The operation of a node, as far as an operator can read its record.
    pub fn readable_operation(&self, index: usize) -> Option<&Operation> {
        let reboot = self.reboots[index].as_ref()?;
        self.operation(index).filter(|_| !reboot.undecodable)
    }

    pub fn holders(&self) -> &[Holder] {
        self.lock.as_ref().map_or(&[], |lock| &lock.value.holders)
    }

    /// The policies that select a Node, in the order of their names.
    pub fn policies_of(&self, index: usize) -> impl Iterator<Item = (usize, &Policy)> {
        let group = self.nodes[index].as_ref().map_or(0, |node| node.group);
        let selecting = move |policy: &Rc<PolicyObject>| policy.groups & group != 0;
        let all = self.policies.iter().enumerate();
        all.filter_map(move |(index, policy)| {
            let policy = policy.as_ref().filter(|policy| selecting(policy))?;
            Some((index, &policy.value))
        })
    }

    /// How many nodes the groups of a policy have.
    pub fn total(&self, policy: usize) -> usize {
        let groups = self.grouped.iter().enumerate();
        let selected = groups.filter(|(group, _)| group & (1 << policy) != 0);
        selected.map(|(_, count)| count).sum()
    }

    /// How many nodes there are.
    pub fn there(&self) -> usize {
        self.grouped.iter().sum()
    }

    /// From now on the versions are others than those that were written after this state before: no two writes have the
    /// same one, as etcd has far more writes than there are versions of one object.
    pub fn begin_timeline(&mut self) {
        self.version += 1;
    }

    fn next(&mut self) -> u64 {
        self.version += 2;
        self.version
    }

    fn tell(&mut self, version: u64, index: usize, object: Object) -> News {
        let news = News { version, index, object };
        self.news.push(news.clone());
        news
    }
}
