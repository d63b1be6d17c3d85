//! S1, S2 and S6: who goes in, when and beside whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{Violation, violation};
use crate::Instant;
use crate::capacity::why_down;
use crate::operation::Phase;
use crate::snapshot::{Approval, Holder, Node, Policy, Snapshot};

/// What was seen, counted for the rules about starts.
#[derive(Debug)]
pub(super) struct Starts<'a> {
    snapshot: &'a Snapshot,
    now: Instant,
    policies: BTreeMap<&'a str, Count<'a>>,
    /// Control-plane nodes that are not Ready, or about to go.
    control_plane_down: BTreeSet<&'a str>,
}

#[derive(Debug, Default)]
struct Count<'a> {
    total: usize,
    down: BTreeSet<&'a str>,
    failed: Vec<Instant>,
    last_success: Option<Instant>,
}

impl<'a> Starts<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, now: Instant) -> Self {
        let mut policies: BTreeMap<&str, Count> = BTreeMap::new();
        let mut control_plane_down = BTreeSet::new();
        for (name, node) in &snapshot.nodes {
            let down = why_down(node, now).is_some();
            if node.control_plane && (!node.ready.ready || node.leaving.is_some()) {
                control_plane_down.insert(name.as_str());
            }
            let record = node.record.as_ref();
            for policy in &node.policies {
                let count = policies.entry(policy).or_default();
                count.total += 1;
                if down {
                    count.down.insert(name);
                }
                let last = record.and_then(|record| record.last_reboot.as_ref());
                count.last_success = count.last_success.max(last.map(|last| last.started));
            }
            let operation = record.and_then(|record| record.operation.as_ref());
            if let Some(operation) = operation.filter(|one| one.phase == Phase::Failed && one.ending.is_none()) {
                let since = operation
                    .failure
                    .as_ref()
                    .map_or(operation.asked, |failure| failure.time);
                policies.entry(&operation.policy).or_default().failed.push(since);
            }
        }
        Self {
            snapshot,
            now,
            policies,
            control_plane_down,
        }
    }

    /// The nodes that go in, and what the whole list then is.
    pub(super) fn holders(&self, known: &[Holder], holders: &'a [Holder], found: &mut Vec<Violation>) {
        let known: BTreeSet<&str> = known.iter().map(|holder| holder.node.as_str()).collect();
        let in_hand = |holder: &Holder| {
            let record = self
                .snapshot
                .nodes
                .get(&holder.node)
                .and_then(|node| node.record.as_ref());
            known.contains(holder.node.as_str()) || record.is_some_and(|record| record.operation.is_some())
        };
        let added: BTreeSet<&str> = holders
            .iter()
            .filter(|h| !in_hand(h))
            .map(|h| h.node.as_str())
            .collect();
        if added.is_empty() {
            return;
        }
        for name in &added {
            self.node(name, found);
            self.control_plane(name, holders, found);
        }
        let cluster = self.cluster_limit();
        if holders.len() > cluster {
            let what = format!("{} inside over all policies, {cluster} allowed", holders.len());
            found.push(violation("S1", what));
        }
        for (name, policy) in &self.snapshot.policies {
            let of_policy: Vec<&Holder> = holders.iter().filter(|holder| holder.policy == *name).collect();
            let new: Vec<&Holder> = of_policy
                .iter()
                .copied()
                .filter(|h| added.contains(h.node.as_str()))
                .collect();
            if !new.is_empty() {
                self.limits(name, policy, holders, &of_policy, &new, found);
                self.topology(name, policy, &of_policy, &new, found);
            }
        }
        self.own_node_last(holders, &added, found);
    }

    /// S2: nothing starts while it may not.
    pub(super) fn node(&self, name: &str, found: &mut Vec<Violation>) {
        let mut no = |what: String| found.push(violation("S2", what));
        if !self.snapshot.unseen.is_empty() || !self.snapshot.undecodable.is_empty() {
            no(format!("{name} would start although not everything was seen"));
        }
        let Some(node) = self.snapshot.nodes.get(name) else {
            return no(format!("{name} is not there"));
        };
        let [policy_name] = node.policies.as_slice() else {
            return no(format!("{name} is not under exactly one policy"));
        };
        let Some(policy) = self.snapshot.policies.get(policy_name) else {
            return no(format!("policy {policy_name} is not there"));
        };
        if policy.suspend {
            no(format!("{name} would start while {policy_name} is suspended"));
        }
        if !policy
            .schedule
            .as_ref()
            .is_ok_and(|schedule| schedule.is_open(self.now))
        {
            no(format!("{name} would start outside the windows of {policy_name}"));
        }
        if node.hold.as_ref().is_some_and(|hold| hold.holds(self.now)) {
            no(format!("{name} would start while it is held"));
        }
        if policy.approval == Approval::Manual && node.approved.is_none() {
            no(format!("{name} would start without approval"));
        }
        let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
        let retried = operation.is_some_and(|operation| operation.attempt > 0);
        if !retried && self.breaker_is_open(policy_name, policy) {
            no(format!("{name} would start while the breaker of {policy_name} is open"));
        }
    }

    fn breaker_is_open(&self, name: &str, policy: &Policy) -> bool {
        let Some(count) = self
            .policies
            .get(name)
            .filter(|count| count.failed.len() >= policy.breaker.max_failed.max(1))
        else {
            return false;
        };
        let newest = count.failed.iter().max().copied();
        let Some(newest) = newest else { return false };
        let acknowledged = policy
            .acknowledged
            .is_some_and(|time| newest <= time && time <= self.now);
        let cooled = policy
            .breaker
            .cooldown
            .is_some_and(|cooldown| newest + cooldown <= self.now);
        !(acknowledged || cooled || count.last_success > Some(newest))
    }

    /// S1: `maxInProgress`, and no node that is up is added while `maxUnavailable` is reached.
    fn limits(
        &self,
        name: &str,
        policy: &Policy,
        holders: &[Holder],
        of_policy: &[&Holder],
        new: &[&Holder],
        found: &mut Vec<Violation>,
    ) {
        let nobody = Count::default();
        let count = self.policies.get(name).unwrap_or(&nobody);
        let allowed = policy.max_in_progress.of(count.total);
        if of_policy.len() > allowed {
            let what = format!("{} inside under {name}, {allowed} allowed", of_policy.len());
            found.push(violation("S1", what));
        }
        let up = new.iter().any(|holder| !count.down.contains(holder.node.as_str()));
        let selected = |holder: &&Holder| {
            let node = self.snapshot.nodes.get(&holder.node);
            node.is_some_and(|node| node.policies.iter().any(|other| other == name))
        };
        let held = holders
            .iter()
            .filter(selected)
            .filter(|holder| !count.down.contains(holder.node.as_str()));
        let down = count.down.len() + held.count();
        let allowed = policy.max_unavailable.of(count.total);
        if up && down > allowed {
            let what = format!("{down} of {name} would be down, {allowed} allowed");
            found.push(violation("S1", what));
        }
    }

    /// S1: the policy's topology, and its pace.
    fn topology(&self, name: &str, policy: &Policy, all: &[&Holder], new: &[&Holder], found: &mut Vec<Violation>) {
        let is_new = |holder: &&&Holder| new.iter().any(|other| other.node == holder.node);
        let at = |holder: &Holder| self.snapshot.nodes.get(&holder.node);
        for topology in &policy.topology {
            let domain =
                |holder: &&&'_ Holder| at(holder).map_or("", |node: &Node| topology.domain_of(node)).to_owned();
            let mut domains: BTreeMap<String, usize> = BTreeMap::new();
            for holder in all {
                *domains.entry(domain(&holder)).or_default() += 1;
            }
            let before: BTreeSet<String> = all.iter().filter(|h| !is_new(h)).map(|h| domain(&h)).collect();
            for holder in new {
                let own = domain(&holder);
                let inside = domains.get(&own).copied().unwrap_or(0);
                let crowded = topology.max_in_progress_per_domain.is_some_and(|max| inside > max);
                let spread = topology.max_domains.is_some_and(|max| domains.len() > max) && !before.contains(&own);
                if crowded || spread {
                    let what = format!(
                        "{} of {name} goes in, and {} {own:?} is full",
                        holder.node, topology.key
                    );
                    found.push(violation("S1", what));
                }
            }
        }
        let others = |one: &Holder| {
            all.iter()
                .any(|other| other.node != one.node && other.acquired + policy.pace > self.now)
        };
        if policy.pace > chrono::TimeDelta::zero() && new.iter().any(|holder| others(holder)) {
            found.push(violation(
                "S2",
                format!("a node of {name} goes in too soon after another"),
            ));
        }
    }

    /// S1: never two of the control plane, and only while all others of them are Ready.
    fn control_plane(&self, name: &str, holders: &[Holder], found: &mut Vec<Violation>) {
        let is = |name: &str| self.snapshot.nodes.get(name).is_some_and(|node| node.control_plane);
        if !is(name) {
            return;
        }
        let down = self.control_plane_down.iter().find(|other| **other != name);
        let inside = holders
            .iter()
            .map(|holder| holder.node.as_str())
            .find(|other| *other != name && is(other));
        if let Some(other) = down.copied().or(inside) {
            found.push(violation(
                "S1",
                format!("{name} goes in while {other} of the control plane is down"),
            ));
        }
    }

    /// S6: our own node goes in after all others of its policy that go in now.
    fn own_node_last(&self, holders: &[Holder], added: &BTreeSet<&str>, found: &mut Vec<Violation>) {
        let own = self.snapshot.own_node.as_deref();
        let Some(place) = holders
            .iter()
            .position(|h| Some(h.node.as_str()) == own && added.contains(h.node.as_str()))
        else {
            return;
        };
        let policy = &holders[place].policy;
        if holders[place + 1..]
            .iter()
            .any(|h| h.policy == *policy && added.contains(h.node.as_str()))
        {
            let what = format!("{} runs the operator and is not last", holders[place].node);
            found.push(violation("S6", what));
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
