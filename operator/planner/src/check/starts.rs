//! S1, S2 and S6: who goes in or is cordoned, when and beside whom.

use std::collections::{BTreeMap, BTreeSet};

use super::count::{Count, Failures, closed};
use super::{Violation, violation};
use crate::Instant;
use crate::capacity::why_down;
use crate::plan::Plan;
use crate::snapshot::{Approval, Holder, Node, Policy, Snapshot};

/// What was seen, counted for the rules about starts.
#[derive(Debug)]
pub(super) struct Starts<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Instant,
    pub(super) policies: BTreeMap<&'a str, Count<'a>>,
    /// Why a policy starts nothing, if so.
    closed: BTreeMap<&'a str, &'static str>,
    /// Control-plane nodes that are not Ready, or about to go.
    control_plane_down: BTreeSet<&'a str>,
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
            for policy in &node.policies {
                let spec = snapshot.policies.get(policy);
                policies.entry(policy).or_default().add(name, node, down, spec);
            }
            let record = node.record.as_ref();
            if let Some(operation) = record.and_then(|record| record.operation.as_ref()) {
                policies.entry(&operation.policy).or_default().inside(name, node);
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

    /// The nodes that go in, and what the whole list then is.
    pub(super) fn holders(&self, known: &[Holder], holders: &[Holder], plan: &Plan, found: &mut Vec<Violation>) {
        let known: BTreeSet<(&str, &str)> = known.iter().map(entry).collect();
        let in_hand = |holder: &Holder| {
            let node = self.snapshot.nodes.get(&holder.node);
            let record = node.and_then(|node| node.record.as_ref());
            known.contains(&entry(holder)) || record.is_some_and(|record| record.operation.is_some())
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
        }
        self.beside(holders, &added, found);
        self.own_node_last(holders, &added, plan, found);
    }

    /// S1 and the rest of what those who are inside say to those who are `added`.
    pub(super) fn beside(&self, holders: &[Holder], added: &BTreeSet<&str>, found: &mut Vec<Violation>) {
        for name in added {
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
                let inside: Vec<&str> = of_policy.iter().map(|holder| holder.node.as_str()).collect();
                self.first_ones(name, policy, &inside, found);
                self.limits(name, policy, holders, &of_policy, &new, found);
                self.topology(name, policy, &of_policy, &new, found);
            }
        }
    }

    /// S1 and S2 right before a cordon: what stood when the node went in may stand no more. It stands cordoned
    /// afterwards, for the next one.
    pub(super) fn cordon(&mut self, name: &'a str, found: &mut Vec<Violation>) {
        self.node(name, found);
        let Some(node) = self.snapshot.nodes.get(name) else {
            return;
        };
        let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
        let Some((operation, policy)) = operation.and_then(|one| Some((one, self.snapshot.policies.get(&one.policy)?)))
        else {
            let what = format!("{name} would be cordoned without an operation under a policy");
            return found.push(violation("S1", what));
        };
        let count = self.policies.entry(&operation.policy).or_default();
        if !count.cordoned.contains(&name) {
            count.cordoned.push(name);
        }
        let count = &self.policies[operation.policy.as_str()];
        self.first_ones(&operation.policy, policy, &count.cordoned, found);
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
        let others = count
            .cordoned
            .iter()
            .filter(|other| !count.down.contains(**other))
            .count();
        let allowed = policy.max_unavailable.of(count.total);
        if !count.down.contains(name) && count.down.len() + others > allowed {
            let what = format!(
                "{name} would be cordoned while {} are down, {allowed} allowed",
                count.down.len() + others
            );
            found.push(violation("S1", what));
        }
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
        if let Some(why) = self.closed.get(policy_name.as_str()) {
            no(format!("{name} would start under {policy_name} although {why}"));
        }
        if node.hold.as_ref().is_some_and(|hold| hold.holds(self.now)) {
            no(format!("{name} would start while it is held"));
        }
        if policy.approval == Approval::Manual && node.approved.is_none() {
            no(format!("{name} would start without approval"));
        }
        let operation = node.record.as_ref().and_then(|record| record.operation.as_ref());
        let retried = operation.is_some_and(|operation| operation.attempt > 0);
        let count = self.policies.get(policy_name.as_str());
        if !retried && count.is_some_and(|count| count.failures(policy, self.now) == Failures::Stop) {
            no(format!("{name} would start while the breaker of {policy_name} is open"));
        }
    }

    /// S2: before the canary has passed, no more than the canary; while the breaker waits for a probe, no more than
    /// one.
    fn first_ones(&self, name: &str, policy: &Policy, inside: &[&str], found: &mut Vec<Violation>) {
        let nobody = Count::default();
        let count = self.policies.get(name).unwrap_or(&nobody);
        if let Some(most) = count.canaries(policy, self.now).filter(|most| inside.len() > *most) {
            let what = format!(
                "{} of {name} would be inside, {most} until the canary has passed",
                inside.len()
            );
            found.push(violation("S2", what));
        }
        let failed = |name: &&&str| count.failed.iter().any(|(failed, _)| failed == *name);
        let probes = inside.len() - inside.iter().filter(failed).count();
        if probes > 1 && count.failures(policy, self.now) == Failures::OneProbe {
            let what = format!("{probes} of {name} would be inside while its breaker waits for one probe");
            found.push(violation("S2", what));
        }
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
