//! What one operator has seen: four watches that lag each on its own, and the answers to its own writes.
//!
//! As in `operator/src/cache/table.rs`, a larger version is the newer state, so that a late event never hides an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::{Cluster, Kind, LockObject, News, NodeObject, Object, PolicyObject, RebootObject};
use super::failed_writes::Target;

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
        fn objects<T>(entries: &[Entry<T>]) -> Vec<Option<Rc<T>>> {
            entries.iter().map(|entry| entry.object.clone()).collect()
        }
        self.nodes = objects(&view.nodes);
        self.reboots = objects(&view.reboots);
        self.policies = objects(&view.policies);
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
    /// Whether the snapshot has changed since a reader set this to false.
    pub changed: bool,
    nodes: Vec<Entry<NodeObject>>,
    reboots: Vec<Entry<RebootObject>>,
    policies: Vec<Entry<PolicyObject>>,
    lock: Entry<LockObject>,
    /// What is written in vain again and again, because it is denied.
    pub denied: BTreeSet<Target>,
    policy_names: Vec<PolicyName>,
    names: Vec<String>,
    /// The newest version that each watch has delivered.
    delivered: [u64; 4],
    listed: [bool; 4],
    queues: [VecDeque<(i64, News)>; 4],
    /// The last rounds of checks.
    rounds: BTreeMap<PolicyName, CheckRound>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    version: u64,
    object: Option<Rc<T>>,
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self {
            version: 0,
            object: None,
        }
    }
}

impl<T> Entry<T> {
    /// Takes over a newer state; says whether it is newer.
    fn replace(&mut self, version: u64, object: Option<&Rc<T>>) -> bool {
        let newer = version > self.version;
        if newer {
            (self.version, self.object) = (version, object.cloned());
        }
        newer
    }
}

impl View {
    /// Has observed nothing yet.
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
        view.snapshot.unlisted = view.unlisted();
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

    /// The API server has lost what it would have told, and tells nothing more under the versions that are known.
    pub fn lose_events(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
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

    /// The nodes that have an operation, and the operation.
    pub fn in_progress(&self) -> impl Iterator<Item = (usize, &Node, &Operation)> {
        (0..self.nodes.len()).filter_map(|index| {
            let (node, operation) = self.operation(index)?;
            Some((index, node, operation))
        })
    }

    /// A node that is seen, and its operation.
    pub fn operation(&self, index: usize) -> Option<(&Node, &Operation)> {
        let node = &self.nodes[index].object.as_ref()?.value;
        let reboot = self.reboots[index].object.as_ref()?;
        let operation = reboot.record.operation.as_deref()?;
        (reboot.owner == node.uid).then_some((node, operation))
    }

    /// Whether the record of a node that is seen cannot be decoded.
    pub fn is_undecodable(&self, index: usize) -> bool {
        let reboot = self.reboots[index].object.as_ref();
        reboot.is_some_and(|reboot| reboot.undecodable)
    }

    pub fn set_preflight(&mut self, index: usize, preflight: &Preflight) {
        self.edit(index, |node| node.preflight = preflight.clone());
    }

    pub fn set_workloads(&mut self, index: usize, workloads: &WorkloadReadiness) {
        self.edit(index, |node| node.workloads = workloads.clone());
    }

    pub fn set_hook_job(&mut self, index: usize, report: Option<JobReport>) {
        self.edit(index, |node| node.hook_job = report);
    }

    pub fn set_round(&mut self, policy: &PolicyName, round: CheckRound) {
        self.rounds.insert(policy.clone(), round);
    }

    pub fn retain_rounds(&mut self, is_asked: impl Fn(&PolicyName) -> bool) {
        self.rounds.retain(|policy, _| is_asked(policy));
    }

    pub fn set_daemons(&mut self, index: usize, daemons: &DaemonSetReadiness) {
        self.edit(index, |node| node.daemon_sets = daemons.clone());
    }

    pub fn set_drain(&mut self, index: usize, drain: &Drain) {
        self.edit(index, |node| node.drain = drain.clone());
    }

    /// How long each of these drains has asked for evictions, and how long the watches have worked without a break.
    ///
    /// Only time goes on: what is planned before the next `recheck_at` stays the same.
    pub fn set_elapsed(&mut self, drains: &BTreeMap<usize, i64>, watched_for: i64) {
        let watched_for = TimeDelta::milliseconds(watched_for);
        self.snapshot.watched_for = watched_for.min(OBSERVATION_GRACE);
        for (index, name) in self.names.iter().enumerate() {
            let elapsed = drains.get(&index).copied().unwrap_or_default();
            if let Some(node) = self.snapshot.nodes.get_mut(name) {
                node.drain_details.evicting_for = TimeDelta::milliseconds(elapsed);
                node.drain_details.running_for = TimeDelta::milliseconds(elapsed);
            }
        }
    }

    fn edit(&mut self, index: usize, edit: impl FnOnce(&mut Node)) {
        if let Some(node) = self.snapshot.nodes.get_mut(&self.names[index]) {
            let before = node.clone();
            edit(node);
            self.changed |= before != *node;
        }
    }

    /// Shows this host's requirement as that much older, until its record changes.
    pub fn age_requirement(&mut self, index: usize, by: TimeDelta) {
        let Some(reboot) = &mut self.reboots[index].object else {
            return;
        };
        if let Some(host) = &mut Rc::make_mut(reboot).record.host {
            host.required_since = host.required_since.map(|since| since - by);
        }
    }

    /// Makes the snapshot of what was observed.
    pub fn refresh(&mut self, drains: &BTreeMap<usize, Drain>) {
        let nodes =
            (0..self.nodes.len()).filter_map(|index| Some((self.names[index].clone(), self.node(index, drains)?)));
        let policies = self
            .policies()
            .map(|(name, policy)| (name.clone(), self.with_round(name, policy.value.clone())));
        let snapshot = Snapshot {
            unlisted: self.unlisted(),
            view_gaps: vec![],
            control_plane_gap: None,
            watched_for: self.snapshot.watched_for,
            policies: policies.collect(),
            nodes: nodes.collect(),
            unmanaged_records: BTreeSet::new(),
            lock: self.lock.object.as_ref().map(|lock| lock.value.clone()),
            refused_lock_write: self.refusal(Target::Lock),
            own_node: self.snapshot.own_node.clone(),
            accepts_unconfined_agents: self.snapshot.accepts_unconfined_agents,
        };
        self.changed |= snapshot != self.snapshot;
        self.snapshot = snapshot;
    }

    fn with_round(&self, name: &PolicyName, mut policy: Policy) -> Policy {
        if let Some(checks) = &mut policy.checks {
            checks.round = self.rounds.get(name).cloned();
        }
        policy
    }

    /// A node that is observed, with its policies and its record, and the results of the operator's own tasks.
    fn node(&self, index: usize, drains: &BTreeMap<usize, Drain>) -> Option<Node> {
        let object = self.nodes[index].object.as_ref()?;
        let reboot = self.reboots[index].object.as_ref();
        let owned = reboot.filter(|reboot| reboot.owner == object.value.uid);
        let selecting = self.policies().filter(|(_, policy)| policy.groups & object.group != 0);
        let before = self.snapshot.nodes.get(&self.names[index]);
        let before = before.filter(|before| before.uid == object.value.uid);
        let undecodable = owned.filter(|reboot| reboot.undecodable);
        Some(Node {
            view_gap: undecodable.map(|_| ViewGap::RecordInvalid {
                node: self.names[index].clone(),
                cause: "status.host.bootTime: trailing input".to_owned(),
            }),
            refused_write: self.refusal(Target::Node(index)),
            policies: selecting.map(|(name, _)| name.clone()).collect(),
            record: owned
                .filter(|reboot| !reboot.undecodable)
                .map(|reboot| reboot.record.clone()),
            drain: drains.get(&index).cloned().unwrap_or_default(),
            preflight: before.map(|node| node.preflight.clone()).unwrap_or_default(),
            drain_details: before.map(|node| node.drain_details.clone()).unwrap_or_default(),
            daemon_sets: before.map(|node| node.daemon_sets.clone()).unwrap_or_default(),
            workloads: before.map(|node| node.workloads.clone()).unwrap_or_default(),
            hook_job: before.and_then(|node| node.hook_job.clone()),
            ..object.value.clone()
        })
    }

    fn refusal(&self, target: Target) -> Option<String> {
        let refusal = || "the API server refuses to write it: not today".to_owned();
        self.denied.contains(&target).then(refusal)
    }

    fn learn(&mut self, news: &News) -> bool {
        let (version, index) = (news.version, news.index);
        match &news.object {
            Object::Node(object) => self.nodes[index].replace(version, object.as_ref()),
            Object::Reboot(object) => self.reboots[index].replace(version, object.as_ref()),
            Object::Policy(object) => self.policies[index].replace(version, object.as_ref()),
            Object::Lock(object) => self.lock.replace(version, object.as_ref()),
        }
    }

    fn unlisted(&self) -> Vec<ViewGap> {
        let missing = Kind::ALL.iter().filter(|kind| !self.listed[**kind as usize]);
        let gap = |kind| ViewGap::NotListed {
            kind: format!("{kind:?}"),
        };
        missing.map(gap).collect()
    }
}
