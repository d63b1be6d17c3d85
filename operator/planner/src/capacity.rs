//! The facts of one pass, gathered in one walk over the nodes: counts per policy, and the few nodes that need a thought.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::Instant;
use crate::breaker;
use crate::down::{SETTING_UP, why_down};
use crate::fit;
use crate::gate::{self, Drainable};
use crate::names::PolicyName;
use crate::operation::{Operation, Phase};
use crate::rollout;
use crate::snapshot::{Host, Node, Policy, PolicyState, Record, Snapshot, Taints};
use crate::windows::Opening;
use lockkeeper_reasons::WaitReason;

/// What one pass knows, computed once.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) now: Instant,
    /// The node that this operator runs on, if it is seen.
    pub(crate) own_node: Option<&'a Node>,
    /// A reboot before this says nothing of a node that asks again.
    still_required: Instant,
    /// Facts of each policy, by name.
    pub(crate) policies: Vec<PolicyFacts<'a>>,
    /// How many nodes may be inside over all policies.
    pub(crate) cluster_limit: usize,
    /// Control-plane nodes that are down by themselves; here a node that was never Ready counts, too.
    pub(crate) control_plane_down: Vec<&'a str>,
    /// Nodes that have an operation, by name.
    pub(crate) inside: Vec<Seen<'a>>,
    /// Nodes without operation that a reboot is asked for, by name.
    pub(crate) wanting: Vec<Wanting<'a>>,
    /// Nodes whose agent is missing, and since when; nothing asks for a reboot there.
    pub(crate) missing: Vec<(Seen<'a>, Instant)>,
    /// Nodes whose record is absent or says something that no longer holds, by name.
    pub(crate) untidy: Vec<(&'a str, &'a Node)>,
    /// Nodes with a taint of ours, or that may get one, by name.
    pub(crate) tainted: Vec<Seen<'a>>,
    /// Nodes with a mark of ours, by name, and their places in `inside`.
    pub(crate) marked: Vec<(&'a str, &'a Node, Option<usize>)>,
    /// When a node's own times change something.
    pub(crate) recheck: Option<Instant>,
}

/// A node and its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Its place among all names.
    pub(crate) rank: usize,
    pub(crate) name: &'a str,
    pub(crate) node: &'a Node,
    pub(crate) record: &'a Record,
}

/// A node that wants a reboot, with all that is asked of the node itself: it is looked at once, as 15,000 of them are
/// more than a processor keeps at hand.
#[derive(Debug)]
pub(crate) struct Wanting<'a> {
    pub(crate) seen: Seen<'a>,
    /// The place of the one policy that it belongs to.
    pub(crate) policy: Option<usize>,
    /// Why it may not start by itself: a hold, an approval that is missing, the agent.
    pub(crate) own: Option<WaitReason>,
    /// Why its past keeps it out.
    pub(crate) past: Option<WaitReason>,
    /// Whether it is down already.
    pub(crate) down: bool,
    pub(crate) control_plane: bool,
    /// Since when the host asks.
    pub(crate) since: Option<Instant>,
    /// Whether it was put back or released.
    pub(crate) again: bool,
    pub(crate) drainable: Drainable,
}

/// What one pass knows of a policy.
#[derive(Debug)]
pub(crate) struct PolicyFacts<'a> {
    /// Its place in `Facts::policies`.
    pub(crate) place: usize,
    pub(crate) name: &'a PolicyName,
    pub(crate) policy: &'a Policy,
    /// Nodes that it selects.
    pub(crate) total: usize,
    /// `maxInProgress` as a number.
    pub(crate) limit: usize,
    /// `maxUnavailable` as a number.
    pub(crate) max_unavailable: usize,
    /// Its nodes that are down by themselves, and why; those inside count besides.
    pub(crate) down: BTreeMap<&'a str, &'static str>,
    /// Its windows and exclusions; an error closes it.
    pub(crate) opening: Result<Opening, &'a str>,
    /// Why nothing fits what is left of the window, if so.
    pub(crate) late: Option<WaitReason>,
    /// Its nodes that are Failed, and since when.
    pub(crate) failures: Vec<(&'a str, Instant)>,
    /// Operations under it.
    pub(crate) operations: Vec<(&'a str, &'a Operation)>,
    /// Nodes that need a reboot and are not set aside.
    pub(crate) pending: usize,
    /// Its nodes that were rebooted in this rollout, and when they came back for good; only if somebody asks.
    pub(crate) done: Vec<(&'a str, &'a Node, Instant)>,
    /// When the last of its proven reboots began.
    pub(crate) last_start: Option<Instant>,
    /// The domains in which this rollout has begun, by the first topology key.
    pub(crate) begun: BTreeSet<&'a str>,
    /// What its status must remember.
    pub(crate) state: PolicyState,
    /// The failed nodes that keep its breaker open, for words.
    pub(crate) failed: Arc<[String]>,
    /// The canary's word for those that are none.
    pub(crate) canary: rollout::Canaries,
}

impl<'a> Facts<'a> {
    /// Gathers what this pass needs to know; nothing is allocated for a node that needs no thought.
    pub(crate) fn new(snapshot: &'a Snapshot, now: Instant) -> Self {
        let policies = snapshot.policies.iter().enumerate();
        let mut facts = Self {
            snapshot,
            now,
            own_node: snapshot.own_node.as_ref().and_then(|name| snapshot.nodes.get(name)),
            still_required: now - gate::STILL_REQUIRED,
            policies: policies
                .map(|(place, (name, policy))| PolicyFacts::new(place, name, policy, now))
                .collect(),
            cluster_limit: 0,
            control_plane_down: Vec::new(),
            inside: Vec::new(),
            wanting: Vec::new(),
            missing: Vec::new(),
            untidy: Vec::new(),
            tainted: Vec::new(),
            marked: Vec::new(),
            recheck: None,
        };
        for (rank, (name, node)) in snapshot.nodes.iter().enumerate() {
            let policy = facts.only(&node.policies);
            facts.look(rank, name, node, policy);
        }
        for policy in &mut facts.policies {
            policy.limit = policy.policy.max_in_progress.of(policy.total);
            policy.max_unavailable = policy.policy.max_unavailable.of(policy.total);
            policy.state.breaker = breaker::judge(policy, now);
            if !policy.failures.is_empty() {
                policy.failed = policy.state.breaker.failed.iter().cloned().collect();
            }
            policy.state.rollout = rollout::judge(policy, now);
            policy.canary = rollout::canaries(policy, now);
        }
        let largest = facts.policies.iter().map(|policy| policy.limit).max().unwrap_or(0);
        let cap = snapshot.lock.as_ref().and_then(|lock| lock.max_in_progress);
        facts.cluster_limit = cap.map_or(largest, |cap| cap.of(snapshot.nodes.len()));
        facts
    }

    /// The place of the policy, if it is one.
    fn only(&self, policies: &[PolicyName]) -> Option<usize> {
        match policies {
            [one] => self.place_of(one),
            _ => None,
        }
    }

    /// Takes a node in; `policy` is the place of the one that it is under.
    fn look(&mut self, rank: usize, name: &'a str, node: &'a Node, policy: Option<usize>) {
        let down = why_down(node, self.now);
        if node.control_plane && !(node.ready.ready && node.deletion_taint.is_none()) {
            self.control_plane_down.push(name);
        }
        if !node.ready.ready {
            self.soon(Some(node.created + SETTING_UP));
        }
        self.soon(node.hold.as_ref().and_then(|hold| hold.until));
        if node.cordoned_for.is_some() {
            let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
            self.marked.push((name, node, operation.map(|_| self.inside.len())));
        }
        let pending = if let Some(record) = &node.record {
            let seen = Seen {
                rank,
                name,
                node,
                record,
            };
            self.look_at_record(seen, policy, down.is_some())
        } else {
            self.untidy.push((name, node));
            false
        };
        if let Some(place) = policy {
            self.policies[place].look(name, node, down, pending);
            return;
        }
        for selecting in node.policies.iter() {
            if let Some(place) = self.place_of(selecting) {
                self.policies[place].look(name, node, down, pending);
            }
        }
    }

    /// What its record says of a node; whether its reboot is to come or under way.
    fn look_at_record(&mut self, seen: Seen<'a>, policy: Option<usize>, down: bool) -> bool {
        let Seen { name, node, record, .. } = seen;
        let host = gate::trusted_host(node);
        let wants = node.requested.is_some() || host.is_some_and(|host| host.required);
        let missing = match host {
            Some(_) => None,
            None => gate::agent_missing(node),
        };
        if record.host.is_some() {
            self.soon(missing);
        }
        let prefers = |place: usize| self.policies[place].policy.settings.prefer_updated_nodes;
        if node.taints != Taints::default() || wants && policy.is_some_and(prefers) {
            self.tainted.push(seen);
        }
        if let Some(operation) = &record.operation {
            if self.inside.is_empty() {
                let lock = self.snapshot.lock.as_ref();
                self.inside.reserve(lock.map_or(1, |lock| lock.holders.len()));
            }
            self.inside.push(seen);
            if let Some(place) = self.place_of(&operation.policy) {
                self.policies[place].operation(name, operation);
            }
            return true;
        }
        let named = policy.map(|place| self.policies[place].name);
        if record.order.is_some() || record.command.is_some() || record.policy.as_ref() != named {
            self.untidy.push((name, node));
        }
        if !wants {
            let missing = missing.filter(|since| record.host.is_none() || *since <= self.now);
            self.missing.extend(missing.map(|since| (seen, since)));
            return false;
        }
        if self.wanting.is_empty() {
            // Where one asks, as a rule the others do.
            self.wanting.reserve(self.snapshot.nodes.len() - seen.rank);
        }
        let wanting = self.wanting(seen, host, policy, down);
        let set_aside = wanting.is_set_aside();
        self.wanting.push(wanting);
        !set_aside
    }

    fn wanting(&self, seen: Seen<'a>, host: Option<&'a Host>, policy: Option<usize>, down: bool) -> Wanting<'a> {
        let Seen { node, record, .. } = seen;
        let own = policy.and_then(|place| gate::own(node, host, &self.policies[place], self.now).err());
        let last = record.last_reboot.as_ref();
        // Most nodes have no past that could matter.
        let has_past = record.released.is_some()
            || record.deferred.is_some()
            || last.is_some_and(|last| last.time > self.still_required);
        let past = has_past.then(|| gate::past_of(node, host, record, self.now).err());
        Wanting {
            seen,
            policy,
            own,
            past: past.flatten(),
            down,
            control_plane: node.control_plane,
            since: host.and_then(|host| host.required_since),
            again: record.deferred.is_some() || record.released.is_some(),
            drainable: gate::drainable(node, self.now),
        }
    }

    fn soon(&mut self, time: Option<Instant>) {
        if let Some(time) = time.filter(|time| *time > self.now) {
            self.recheck = Some(self.recheck.map_or(time, |known| known.min(time)));
        }
    }

    /// The facts of the policy with this name.
    pub(crate) fn policy(&self, name: &PolicyName) -> Option<&PolicyFacts<'a>> {
        self.place_of(name).and_then(|place| self.policies.get(place))
    }

    /// The place of the policy with this name.
    #[inline]
    pub(crate) fn place_of(&self, name: &PolicyName) -> Option<usize> {
        self.policies.binary_search_by(|policy| policy.name.cmp(name)).ok()
    }

    /// The name of the one policy that a node belongs to.
    pub(crate) fn named(&self, node: &'a Node) -> Option<&'a PolicyName> {
        gate::policy_of(node, self).ok().map(|policy| policy.name)
    }

    /// The place in `inside` of the node with this name.
    pub(crate) fn inside_at(&self, name: &str) -> Option<usize> {
        self.inside.binary_search_by(|seen| seen.name.cmp(name)).ok()
    }
}

impl Wanting<'_> {
    /// Whether it is left alone until a person, or a day, says otherwise.
    fn is_set_aside(&self) -> bool {
        let held = matches!(self.own.as_ref(), Some(WaitReason::Held { .. }));
        held || matches!(
            self.past.as_ref(),
            Some(WaitReason::Released { .. } | WaitReason::StillRequired { .. })
        )
    }
}

impl<'a> PolicyFacts<'a> {
    fn new(place: usize, name: &'a PolicyName, policy: &'a Policy, now: Instant) -> Self {
        let schedule = policy.schedule.as_ref().map_err(String::as_str);
        let opening = schedule.map(|schedule| schedule.opening(now));
        let late = match (schedule, &opening) {
            (Ok(schedule), Ok(Opening::Open { closes: Some(closes) })) => {
                fit::too_late(schedule, policy.duration_estimate.cordoned, *closes, now)
            }
            _ => None,
        };
        Self {
            place,
            name,
            policy,
            total: 0,
            limit: 0,
            max_unavailable: 0,
            down: BTreeMap::new(),
            opening,
            late,
            failures: Vec::new(),
            operations: Vec::new(),
            pending: 0,
            done: Vec::new(),
            last_start: None,
            begun: BTreeSet::new(),
            state: PolicyState::default(),
            failed: Arc::default(),
            canary: rollout::Canaries::Passed,
        }
    }

    fn look(&mut self, name: &'a str, node: &'a Node, down: Option<&'static str>, pending: bool) {
        self.total += 1;
        self.pending += usize::from(pending);
        if let Some(why) = down {
            self.down.insert(name, why);
        }
        let Some(last) = node.record.as_ref().and_then(|record| record.last_reboot.as_ref()) else {
            return;
        };
        self.last_start = self.last_start.max(Some(last.started));
        let rollout = self.policy.state.rollout.as_ref();
        if rollout.is_some_and(|rollout| last.started >= rollout.started) {
            if let Some(topology) = self.policy.topology.first() {
                self.begun.insert(topology.domain_of(node));
            }
            if self.policy.canary.is_some() && rollout.is_some_and(|rollout| rollout.canary_passed.is_none()) {
                self.done.push((name, node, last.time));
            }
        }
    }

    fn operation(&mut self, name: &'a str, operation: &'a Operation) {
        self.operations.push((name, operation));
        if operation.phase == Phase::Failed && operation.pending_outcome.is_none() {
            let since = operation
                .failure
                .as_ref()
                .map_or(operation.asked, |failure| failure.time);
            self.failures.push((name, since));
        }
    }
}
