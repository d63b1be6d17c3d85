//! What one pass has observed, and counts over it. No rule is applied here: that is for the steps that follow.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_reasons::ViewGap;

use crate::Instant;
use crate::history::recently_rebooted_until;
use crate::names::PolicyName;
use crate::overrides::{Overrides, Relaxed, changes_of, relaxed};
use crate::recorded::{MAX_CLOCK_DIFFERENCE, or_now, unless_ahead};
use crate::snapshot::{Confinement, Host, Node, Operation, Phase, Policy, Record, Snapshot, UnavailableCause};
use crate::windows::Opening;

/// A node that has a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeRef<'a> {
    pub(crate) name: &'a str,
    pub(crate) node: &'a Node,
    pub(crate) record: &'a Record,
    /// The report of its agent, if it comes from the present boot.
    pub(crate) host: Option<&'a Host>,
    /// The policy that selects it, if exactly one does.
    pub(crate) policy: Option<&'a PolicyName>,
}

/// What one pass has observed.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) now: Instant,
    pub(crate) policies: BTreeMap<&'a PolicyName, PolicyContext<'a>>,
    /// How many nodes may be in progress over all policies.
    pub(crate) cluster_limit: usize,
    /// Control-plane nodes that are not Ready, run a static pod of the control plane that is not ready, or are about to be
    /// deleted; whether or not they ever were Ready.
    pub(crate) control_plane_down: Vec<&'a str>,
    /// Nodes with an operation, by name.
    pub(crate) in_progress: Vec<NodeRef<'a>>,
    /// Nodes without an operation that require a reboot, by name.
    pub(crate) requiring: Vec<NodeRef<'a>>,
    /// Nodes without an operation whose agent is missing, since when, by name. It is not known what they require.
    pub(crate) without_agent: Vec<(NodeRef<'a>, Instant)>,
    /// Nodes that Lockkeeper cordoned, by name.
    pub(crate) cordoned: Vec<(&'a str, &'a Node)>,
    /// Nodes without an operation whose record is missing, has an order or a command, or names another policy, by name.
    pub(crate) outdated_records: Vec<(&'a str, &'a Node)>,
    /// Nodes of which something cannot be decoded, by name. They hold slots, and nothing else is done with them.
    pub(crate) undecodable: Vec<(&'a str, &'a ViewGap)>,
    /// Nodes whose last writes are refused, and by what, by name.
    pub(crate) refused_writes: Vec<(&'a str, &'a str)>,
    /// Nodes whose agents are not confined to their own node, and what is wrong, by name.
    pub(crate) unconfined: Vec<(&'a str, &'a str)>,
    /// When a node's own times change something next.
    pub(crate) next_change: Option<Instant>,
}

/// What one pass has observed of a policy and its nodes.
#[derive(Debug)]
pub(crate) struct PolicyContext<'a> {
    pub(crate) name: &'a PolicyName,
    pub(crate) policy: &'a Policy,
    /// How many nodes it selects.
    pub(crate) selected: usize,
    /// `maxInProgress` as a number.
    pub(crate) limit: usize,
    /// `maxUnavailable` as a number.
    pub(crate) max_unavailable: usize,
    /// Its nodes that are unavailable for a cause other than Lockkeeper, and that cause.
    pub(crate) unavailable: BTreeMap<&'a str, UnavailableCause<'a>>,
    /// Whether its schedule is open; an invalid schedule is an error.
    pub(crate) opening: Result<Opening, &'a str>,
    /// The windows for nodes for which they are overridden, by the number of rungs that they have reached.
    pub(crate) relaxed: BTreeMap<usize, Relaxed>,
    /// Its Failed nodes, and since when.
    pub(crate) failures: Vec<(&'a str, Instant)>,
    /// When the first operation in progress began.
    pub(crate) first_operation: Option<Instant>,
    /// When the last of its proven reboots began; one that a wrong clock has recorded is left out.
    pub(crate) last_reboot: Option<Instant>,
    /// The same without those that lie ahead of now at all: whether they began before or after a failure is not known.
    pub(crate) last_start: Option<Instant>,
    /// When the first of the times counts that a wrong clock has recorded.
    pub(crate) credible_at: Option<Instant>,
    /// The nodes rebooted in this rollout, and when they finished; only until the canary has passed.
    pub(crate) rebooted: Vec<(&'a str, &'a Node, Instant)>,
    /// The domains in which this rollout has rebooted a node, by the first topology key.
    pub(crate) begun_domains: BTreeSet<&'a str>,
}

impl<'a> Context<'a> {
    /// Walks over all nodes once; nothing is allocated for a node that is up to date.
    pub(crate) fn observe(snapshot: &'a Snapshot, now: Instant) -> Self {
        let policies = snapshot.policies.iter();
        let mut context = Self {
            snapshot,
            now,
            policies: policies
                .map(|(name, policy)| (name, PolicyContext::new(name, policy, now)))
                .collect(),
            cluster_limit: 0,
            control_plane_down: Vec::new(),
            in_progress: Vec::new(),
            requiring: Vec::new(),
            without_agent: Vec::new(),
            cordoned: Vec::new(),
            outdated_records: Vec::new(),
            undecodable: Vec::new(),
            refused_writes: Vec::new(),
            unconfined: Vec::new(),
            next_change: None,
        };
        for policy in snapshot.policies.values() {
            let urgent = policy.urgent.as_ref();
            context.changes_at(urgent.map(|urgent| urgent.from));
            context.changes_at(urgent.map(|urgent| urgent.until));
        }
        for (name, node) in &snapshot.nodes {
            context.observe_node(name, node);
        }
        context.observe_deleted_holders();
        for policy in context.policies.values_mut() {
            policy.limit = policy.policy.max_in_progress.of(policy.selected);
            policy.max_unavailable = policy.policy.max_unavailable.of(policy.selected);
        }
        let largest = context.policies.values().map(|policy| policy.limit).max();
        let cap = snapshot.lock.as_ref().and_then(|lock| lock.max_in_progress);
        context.cluster_limit = cap.map_or_else(|| largest.unwrap_or(0), |cap| cap.of(snapshot.nodes.len()));
        context
    }

    /// A node whose Node was deleted while it rebooted has failed if it is not back in time.
    fn observe_deleted_holders(&mut self) {
        let snapshot = self.snapshot;
        for holder in snapshot.lock.iter().flat_map(|lock| &lock.holders) {
            let Some(reboot) = holder.reboot.as_ref().filter(|_| holder.is_deleted(snapshot)) else {
                continue;
            };
            let judged = snapshot.judged_at(reboot.deadline, self.now);
            self.changes_at(Some(judged));
            if let Some(policy) = self.policies.get_mut(&holder.policy).filter(|_| self.now >= judged) {
                policy.failures.push((&holder.node, reboot.deadline));
                policy.failures.sort_unstable();
            }
        }
    }

    fn observe_node(&mut self, name: &'a str, node: &'a Node) {
        if node.is_control_plane_down(self.now) {
            self.control_plane_down.push(name);
        }
        if !node.ready.ready {
            self.changes_at(Some(node.set_up_by()));
        }
        self.changes_at(node.hold.as_ref().and_then(|hold| hold.until));
        self.changes_at(node.stale_taint_at());
        if node.cordoned_for.is_some() {
            self.cordoned.push((name, node));
        }
        if let Some(refusal) = &node.refused_write {
            self.refused_writes.push((name, refusal));
        }
        let now = self.now;
        let unavailable = node.unavailable_cause(now);
        for policy in &node.policies {
            if let Some(policy) = self.policies.get_mut(policy) {
                policy.observe_node(name, node, unavailable, now);
            }
        }
        if let Some(gap) = &node.view_gap {
            self.undecodable.push((name, gap));
            if node.operation().is_none() {
                return;
            }
        }
        match &node.record {
            Some(record) => self.observe_record(NodeRef {
                name,
                node,
                record,
                host: node.trusted_host(),
                policy: self.single_policy(node),
            }),
            None => self.outdated_records.push((name, node)),
        }
    }

    fn observe_record(&mut self, node_ref: NodeRef<'a>) {
        let NodeRef {
            name,
            node,
            record,
            host,
            policy,
        } = node_ref;
        if let Some(host) = host {
            self.observe_host(name, host);
        }
        let missing = match host {
            Some(_) => None,
            None => node.agent_missing_since(self.now),
        };
        if record.host.is_some() {
            self.changes_at(missing);
        }
        if let Some(deadline) = policy.and_then(|name| self.policies.get(name)?.policy.deadline.as_ref()) {
            self.changes_at(node.pending_credible_at(self.now));
            let since = node.pending_since(self.now).into_iter();
            for time in since.flat_map(|since| changes_of(deadline, since)) {
                self.changes_at(Some(time));
            }
        }
        if let Some(operation) = &record.operation {
            self.in_progress.push(node_ref);
            if let Some(policy) = self.policies.get_mut(&operation.policy) {
                policy.observe_operation(name, operation, self.now);
            }
            return;
        }
        if record.order.is_some() || record.command.is_some() || record.policy.as_ref() != policy {
            self.outdated_records.push((name, node));
        }
        if node.requested.is_some() || host.is_some_and(|host| host.required) {
            self.changes_at(recently_rebooted_until(record, self.now));
            self.requiring.push(node_ref);
        } else if let Some(since) = missing.filter(|since| record.host.is_none() || *since <= self.now) {
            self.without_agent.push((node_ref, since));
        }
    }

    fn observe_host(&mut self, name: &'a str, host: &'a Host) {
        self.changes_at(host.reboot_allowed);
        match &host.confinement {
            Confinement::NotConfined(cause) => self.unconfined.push((name, cause)),
            Confinement::Confined | Confinement::Unreported(_) => {}
        }
    }

    fn single_policy(&self, node: &Node) -> Option<&'a PolicyName> {
        match node.policies.as_slice() {
            [name] => self.policies.get_key_value(name).map(|(name, _)| *name),
            _ => None,
        }
    }

    fn changes_at(&mut self, time: Option<Instant>) {
        if let Some(time) = time.filter(|time| *time > self.now) {
            self.next_change = Some(self.next_change.map_or(time, |earlier| earlier.min(time)));
        }
    }
}

impl<'a> PolicyContext<'a> {
    fn new(name: &'a PolicyName, policy: &'a Policy, now: Instant) -> Self {
        let schedule = policy.schedule.as_ref().map_err(String::as_str);
        Self {
            name,
            policy,
            selected: 0,
            limit: 0,
            max_unavailable: 0,
            unavailable: BTreeMap::new(),
            opening: schedule.map(|schedule| schedule.opening(now)),
            relaxed: relaxed(policy, now),
            failures: Vec::new(),
            first_operation: None,
            last_reboot: None,
            last_start: None,
            credible_at: None,
            rebooted: Vec::new(),
            begun_domains: BTreeSet::new(),
        }
    }

    /// Whether its windows and exclusions let nodes start.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.opening, Ok(Opening::Open { .. }))
    }

    /// The windows for this node, if those of the policy are overridden for it.
    pub(crate) fn relaxed_for(&self, node: &Node, now: Instant) -> Option<&Relaxed> {
        if self.relaxed.is_empty() {
            return None;
        }
        let reached = Overrides::of(self.policy, node, now).rungs.len();
        self.relaxed.range(..=reached).next_back().map(|(_, relaxed)| relaxed)
    }

    /// Whether windows and exclusions let this node start, and when that changes; an invalid schedule is an error.
    pub(crate) fn opening_for(&self, node: &Node, now: Instant) -> Result<&Opening, &'a str> {
        match self.relaxed_for(node, now) {
            Some(relaxed) => Ok(&relaxed.opening),
            None => self.opening.as_ref().map_err(|why| *why),
        }
    }

    fn observe_node(&mut self, name: &'a str, node: &'a Node, unavailable: Option<UnavailableCause<'a>>, now: Instant) {
        self.selected += 1;
        if let Some(cause) = unavailable {
            self.unavailable.insert(name, cause);
        }
        let Some(last) = node.record.as_ref().and_then(|record| record.last_reboot.as_ref()) else {
            return;
        };
        let Some(started) = unless_ahead(last.started, now) else {
            let at = last.started - MAX_CLOCK_DIFFERENCE;
            self.credible_at = Some(self.credible_at.map_or(at, |earlier| earlier.min(at)));
            return;
        };
        self.last_reboot = self.last_reboot.max(Some(started));
        self.last_start = self
            .last_start
            .max(Some(last.started).filter(|started| *started <= now));
        let rollout = self.policy.state.rollout.as_ref();
        let Some(rollout) = rollout.filter(|rollout| started >= or_now(rollout.started, now)) else {
            return;
        };
        if let Some(topology) = self.policy.topology.first() {
            self.begun_domains.insert(node.domain(&topology.key));
        }
        if self.policy.canary.is_some() && !rollout.has_passed_canary(now) {
            self.rebooted.push((name, node, last.time));
        }
    }

    fn observe_operation(&mut self, name: &'a str, operation: &'a Operation, now: Instant) {
        let started = operation.started;
        self.first_operation = Some(self.first_operation.map_or(started, |first| first.min(started)));
        if operation.phase == Phase::Failed && operation.pending_outcome.is_none() {
            let failure = operation.failure.as_ref();
            let since = failure.map_or(operation.asked, |failure| failure.time);
            let since = or_now(since, now);
            self.failures.push((name, since));
        }
    }
}
