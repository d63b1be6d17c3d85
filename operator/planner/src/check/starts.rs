//! S1, S2 and S6: which nodes start or are cordoned, when, and beside which others.

use std::collections::{BTreeMap, BTreeSet};

use super::count::{Failures, PolicyCounts, closed, closed_for, grace_does_not_fit};
use super::policy_checks::refusing_check;
use super::violation::{Violation, violation};
use crate::Instant;
use crate::plan::Plan;
use crate::recorded::unless_ahead;
use crate::snapshot::{Approval, Confinement, Holder, Node, Policy, Snapshot, Topology};

/// What was seen, counted for the rules about starts.
#[derive(Debug)]
pub(super) struct Starts<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Instant,
    pub(super) policies: BTreeMap<&'a str, PolicyCounts<'a>>,
    /// Why a policy starts nothing, if so.
    closed: BTreeMap<&'a str, &'static str>,
    /// Control-plane nodes that are not Ready, or about to go.
    control_plane_down: BTreeSet<&'a str>,
}

/// An entry of the lock as it will be, and the Node that has its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedHolder<'a> {
    pub(super) holder: &'a Holder,
    pub(super) node: Option<&'a Node>,
    /// It starts: it had no operation before.
    pub(super) added: bool,
}

impl<'a> PlannedHolder<'a> {
    fn domain(&self, topology: &Topology) -> &'a str {
        self.node.map_or("", |node| node.domain(&topology.key))
    }
}

impl<'a> Starts<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, now: Instant) -> Self {
        let mut policies: BTreeMap<&str, PolicyCounts> = BTreeMap::new();
        let mut control_plane_down = BTreeSet::new();
        for (name, node) in &snapshot.nodes {
            let down = node.unavailable_cause(now).is_some();
            if node.is_control_plane_down(now) {
                control_plane_down.insert(name.as_str());
            }
            for policy in &node.policies {
                let spec = snapshot.policies.get(policy);
                policies.entry(policy).or_default().add(name, node, down, spec, now);
            }
            let record = node.record.as_ref();
            if let Some(operation) = record.and_then(|record| record.operation.as_ref()) {
                let cordoned = policies
                    .entry(&operation.policy)
                    .or_default()
                    .add_in_progress(name, node, now);
                if cordoned && !down {
                    count_cordoned(&mut policies, node);
                }
            }
        }
        for holder in snapshot.lock.iter().flat_map(|lock| &lock.holders) {
            let late = holder
                .reboot
                .as_ref()
                .filter(|reboot| now >= snapshot.judged_at(reboot.deadline, now));
            if let Some(reboot) = late.filter(|_| holder.is_deleted(snapshot)) {
                let counts = policies.entry(&holder.policy).or_default();
                counts.failed.push((&holder.node, reboot.deadline));
            }
        }
        let all = snapshot.policies.iter();
        Self {
            snapshot,
            now,
            policies,
            closed: all
                .filter_map(|(name, policy)| Some((name.as_str(), closed(policy, now)?)))
                .collect(),
            control_plane_down,
        }
    }

    /// The nodes that start, and the whole list of holders with them.
    pub(super) fn holders(&self, known: &[Holder], holders: &[Holder], plan: &Plan, found: &mut Vec<Violation>) {
        let known: BTreeSet<(&str, &str)> = known.iter().map(entry).collect();
        let all = holders.iter().map(|holder| {
            let node = self.snapshot.nodes.get(&holder.node);
            let record = node.and_then(|node| node.record.as_ref());
            let in_hand = known.contains(&entry(holder)) || record.is_some_and(|record| record.operation.is_some());
            PlannedHolder {
                holder,
                node,
                added: !in_hand,
            }
        });
        let all: Vec<PlannedHolder> = all.collect();
        let mut added: Vec<PlannedHolder> = all.iter().copied().filter(|one| one.added).collect();
        if added.is_empty() {
            return;
        }
        // What is said of several is said in the order of their names.
        added.sort_unstable_by_key(|one| &one.holder.node);
        added.dedup_by_key(|one| &one.holder.node);
        for one in &added {
            match one.node {
                Some(node) => self.node(&one.holder.node, node, found),
                None => found.push(violation("S2", format!("{} is not there", one.holder.node))),
            }
        }
        self.beside(&all, found);
        self.own_node_last(&all, plan, found);
    }

    /// S1 and the other limits by the nodes in progress for those that are added.
    pub(super) fn beside(&self, all: &[PlannedHolder], found: &mut Vec<Violation>) {
        for one in all.iter().filter(|one| one.added) {
            self.control_plane(*one, all, found);
        }
        let cluster = self.cluster_limit();
        if all.len() > cluster {
            let what = format!("{} in progress over all policies, {cluster} allowed", all.len());
            found.push(violation("S1", what));
        }
        for (name, policy) in &self.snapshot.policies {
            let of_policy = all.iter().copied().filter(|one| one.holder.policy == *name);
            let of_policy: Vec<PlannedHolder> = of_policy.collect();
            if of_policy.iter().any(|one| one.added) {
                let in_progress = of_policy.iter().map(|one| one.holder.node.as_str());
                self.first_ones(name, policy, in_progress, found);
                self.limits(name, policy, all, &of_policy, found);
                self.topology(name, policy, &of_policy, found);
            }
        }
    }

    /// S1 and S2 right before a cordon: what held when the node started may hold no more. It is cordoned
    /// afterwards, for the next one.
    pub(super) fn cordon(&mut self, name: &'a str, node: &'a Node, found: &mut Vec<Violation>) {
        self.node(name, node, found);
        let operation = node.operation();
        let Some((operation, policy)) = operation.and_then(|one| Some((one, self.snapshot.policies.get(&one.policy)?)))
        else {
            let what = format!("{name} would be cordoned without an operation under a policy");
            return found.push(violation("S1", what));
        };
        let cordoned = &mut self.policies.entry(&operation.policy).or_default().cordoned;
        if cordoned.insert(name) && node.unavailable_cause(self.now).is_none() {
            count_cordoned(&mut self.policies, node);
        }
        let count = &self.policies[operation.policy.as_str()];
        self.first_ones(&operation.policy, policy, count.cordoned.iter().copied(), found);
        let all: usize = self.policies.values().map(|count| count.cordoned.len()).sum();
        for (cordoned, allowed, whose) in [
            (
                count.cordoned.len(),
                policy.max_in_progress.of(count.total),
                operation.policy.as_str(),
            ),
            (all, self.cluster_limit(), "all policies"),
        ] {
            if cordoned > allowed {
                let what =
                    format!("{name} would be one of {cordoned} that are cordoned under {whose}, {allowed} allowed");
                found.push(violation("S1", what));
            }
        }
        let down = count.down.len() + count.cordoned_up;
        let allowed = policy.max_unavailable.of(count.total);
        if !count.down.contains(name) && down > allowed {
            let what = format!("{name} would be cordoned while {down} are down, {allowed} allowed");
            found.push(violation("S1", what));
        }
    }

    /// S2: nothing starts while it may not.
    pub(super) fn node(&self, name: &str, node: &Node, found: &mut Vec<Violation>) {
        let mut no = |what: String| found.push(violation("S2", what));
        if !self.snapshot.unlisted.is_empty() || !self.snapshot.view_gaps.is_empty() {
            no(format!("{name} would start although not everything was seen"));
        }
        if node.view_gap.is_some() {
            no(format!("{name} would start although it cannot be decoded"));
        }
        if node.control_plane && self.snapshot.control_plane_gap.is_some() {
            no(format!("{name} would start although its static pods are not known"));
        }
        if let Some(why) = self.distrusted_agent(node) {
            no(format!("{name} would start although {why}"));
        }
        let [policy_name] = &*node.policies else {
            return no(format!("{name} is not under exactly one policy"));
        };
        let Some(policy) = self.snapshot.policies.get(policy_name) else {
            return no(format!("policy {policy_name} is not there"));
        };
        let closed = self.closed.get(policy_name.as_str());
        if let Some(why) = closed.and_then(|_| closed_for(policy, node, self.now)) {
            no(format!("{name} would start under {policy_name} although {why}"));
        } else if grace_does_not_fit(node, policy, self.now) {
            no(format!(
                "{name} would start although the grace periods of its pods do not fit what is left of the window"
            ));
        }
        if node.hold.as_ref().is_some_and(|hold| hold.holds(self.now)) {
            no(format!("{name} would start while it is held"));
        }
        if node.deletion.is_some() {
            no(format!("{name} would start while it is being deleted"));
        }
        if let Some(why) = refusing_check(policy, name, node, self.now) {
            no(format!("{name} would start although {why}"));
        }
        if policy.approval == Approval::Manual && node.approved.is_none() {
            no(format!("{name} would start without approval"));
        }
        let operation = node.operation();
        let retried = operation.is_some_and(|operation| operation.attempt > 0);
        let count = self.policies.get(policy_name.as_str());
        if !retried && count.is_some_and(|count| count.failures(policy, self.now) == Failures::Stop) {
            no(format!("{name} would start while the breaker of {policy_name} is open"));
        }
    }

    /// Why the reports of the agents cannot be trusted, if so.
    fn distrusted_agent(&self, node: &Node) -> Option<String> {
        if self.snapshot.accepts_unconfined_agents {
            return None;
        }
        let confinement = |node: &'a Node| node.trusted_host().map(|host| &host.confinement);
        let mut others = self.snapshot.nodes.iter();
        let unconfined = others.find(|(_, other)| matches!(confinement(other), Some(Confinement::NotConfined(_))));
        if let Some((other, _)) = unconfined {
            return Some(format!("the agent of {other} is not confined"));
        }
        let silent = node
            .trusted_host()
            .is_some_and(|host| matches!(host.confinement, Confinement::Unreported(_)));
        silent.then(|| "its agent does not say whether it is confined".to_owned())
    }

    /// S2: before the canary has passed, no more than the canary; while the breaker waits for a probe, no more than
    /// one.
    fn first_ones<'n>(
        &self,
        name: &str,
        policy: &Policy,
        in_progress: impl Iterator<Item = &'n str> + Clone,
        found: &mut Vec<Violation>,
    ) {
        let empty = PolicyCounts::default();
        let count = self.policies.get(name).unwrap_or(&empty);
        if let Some(most) = count.canaries(policy, self.now) {
            let in_progress = in_progress.clone().count();
            if in_progress > most {
                let what = format!("{in_progress} of {name} would be in progress, {most} until the canary has passed");
                found.push(violation("S2", what));
            }
        }
        if count.failures(policy, self.now) == Failures::OneProbe {
            let failed = |name: &&str| count.failed.iter().any(|(failed, _)| failed == name);
            let probes = in_progress.filter(|name| !failed(name)).count();
            if probes > 1 {
                let what = format!("{probes} of {name} would be in progress while its breaker waits for one probe");
                found.push(violation("S2", what));
            }
        }
    }

    /// S1: `maxInProgress`, and no node that is up is added while `maxUnavailable` is reached.
    fn limits(
        &self,
        name: &str,
        policy: &Policy,
        all: &[PlannedHolder],
        of_policy: &[PlannedHolder],
        found: &mut Vec<Violation>,
    ) {
        let empty = PolicyCounts::default();
        let count = self.policies.get(name).unwrap_or(&empty);
        let allowed = policy.max_in_progress.of(count.total);
        if of_policy.len() > allowed {
            let what = format!("{} in progress under {name}, {allowed} allowed", of_policy.len());
            found.push(violation("S1", what));
        }
        let is_up = |one: &PlannedHolder| !count.down.contains(one.holder.node.as_str());
        let up = of_policy.iter().any(|one| one.added && is_up(one));
        let selected = |one: &&PlannedHolder| {
            one.node
                .is_some_and(|node| node.policies.iter().any(|other| other == name))
        };
        let held = all.iter().filter(selected).filter(|one| is_up(one));
        let down = count.down.len() + held.count();
        let allowed = policy.max_unavailable.of(count.total);
        if up && down > allowed {
            let what = format!("{down} of {name} would be down, {allowed} allowed");
            found.push(violation("S1", what));
        }
    }

    /// S1: the policy's topology, and its pace.
    fn topology(&self, name: &str, policy: &Policy, all: &[PlannedHolder], found: &mut Vec<Violation>) {
        for topology in &policy.topology {
            let mut domains: BTreeMap<&str, usize> = BTreeMap::new();
            for one in all {
                *domains.entry(one.domain(topology)).or_default() += 1;
            }
            let before: BTreeSet<&str> = all
                .iter()
                .filter(|one| !one.added)
                .map(|one| one.domain(topology))
                .collect();
            for one in all.iter().filter(|one| one.added) {
                let own = one.domain(topology);
                let in_progress = domains.get(own).copied().unwrap_or(0);
                let crowded = topology.max_in_progress_per_domain.is_some_and(|max| in_progress > max);
                let spread = topology.max_domains.is_some_and(|max| domains.len() > max) && !before.contains(own);
                if crowded || spread {
                    let what = format!(
                        "{} of {name} starts, although {} {own:?} is full",
                        one.holder.node, topology.key
                    );
                    found.push(violation("S1", what));
                }
            }
        }
        if policy.pace <= chrono::TimeDelta::zero() {
            return;
        }
        let is_recent =
            |began: Instant| unless_ahead(began, self.now).is_some_and(|began| began + policy.pace > self.now);
        let recent = |one: &&PlannedHolder| is_recent(one.holder.acquired);
        let recent: BTreeSet<&str> = all.iter().filter(recent).map(|one| one.holder.node.as_str()).collect();
        let last = self.policies.get(name).and_then(|count| count.last_success);
        let rebooted = last.is_some_and(|last| last + policy.pace > self.now);
        let too_soon =
            |one: &PlannedHolder| rebooted || recent.len() > usize::from(recent.contains(one.holder.node.as_str()));
        if all.iter().any(|one| one.added && too_soon(one)) {
            found.push(violation(
                "S2",
                format!("a node of {name} starts too soon after another"),
            ));
        }
    }

    /// S1: never two of the control plane, and only while all others of them are Ready.
    fn control_plane(&self, one: PlannedHolder, all: &[PlannedHolder], found: &mut Vec<Violation>) {
        // While the static pods are not known, any node may be one of the control plane.
        let any = self.snapshot.control_plane_gap.is_some();
        let is = |one: &&PlannedHolder| any || one.node.is_none_or(|node| node.control_plane);
        if !is(&&one) {
            return;
        }
        let name = one.holder.node.as_str();
        let down = self.control_plane_down.iter().find(|other| **other != name);
        let in_progress = all.iter().filter(is).map(|one| one.holder.node.as_str());
        if let Some(other) = down
            .copied()
            .or_else(|| in_progress.into_iter().find(|other| *other != name))
        {
            found.push(violation(
                "S1",
                format!("{name} starts while {other} of the control plane is down"),
            ));
        }
    }

    fn cluster_limit(&self) -> usize {
        let of = |name: &str, policy: &Policy| {
            policy
                .max_in_progress
                .of(self.policies.get(name).map_or(0, |count| count.total))
        };
        let largest = self
            .snapshot
            .policies
            .iter()
            .map(|(name, policy)| of(name, policy))
            .max();
        let cap = self.snapshot.lock.as_ref().and_then(|lock| lock.max_in_progress);
        cap.map_or_else(|| largest.unwrap_or(0), |cap| cap.of(self.snapshot.nodes.len()))
    }
}

/// What makes an entry this one and no other.
fn entry(holder: &Holder) -> (&str, &str) {
    (&holder.node, &holder.operation_id)
}

/// One more unavailable node for the policies that select it now, whichever policy it started under.
fn count_cordoned<'a>(policies: &mut BTreeMap<&'a str, PolicyCounts<'a>>, node: &'a Node) {
    for policy in &node.policies {
        policies.entry(policy).or_default().cordoned_up += 1;
    }
}
