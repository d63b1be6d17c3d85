//! What the other nodes say: slots, nodes that are down, the canary, domains, the pace, the control plane.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Instant;
use crate::breaker;
use crate::capacity::{Facts, PolicyFacts, Wanting, why_down};
use crate::gate;
use crate::snapshot::{Holder, Node};
use crate::waiting::{Scope, Waiting};

/// Who goes before the next node, counted as they come.
#[derive(Clone, Debug)]
pub(crate) struct Room<'a> {
    facts: &'a Facts<'a>,
    policies: BTreeMap<&'a str, Taken<'a>>,
    inside: Vec<&'a str>,
    control_plane: Option<&'a str>,
    /// Lists that many waiting nodes share, until somebody comes or goes.
    lists: Lists,
}

/// A node that asks for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    name: &'a str,
    node: &'a Node,
    /// If it is known already.
    policy: Option<&'a str>,
    down: bool,
    control_plane: bool,
}

impl<'a> From<&Wanting<'a>> for Asking<'a> {
    fn from(wanting: &Wanting<'a>) -> Self {
        Self {
            name: wanting.seen.name,
            node: wanting.seen.node,
            policy: wanting.policy,
            down: wanting.down,
            control_plane: wanting.control_plane,
        }
    }
}

impl<'a> Asking<'a> {
    /// A node that is inside and asks once more, before our marks.
    pub(crate) fn again(name: &'a str, node: &'a Node, now: Instant) -> Self {
        Self {
            name,
            node,
            policy: None,
            down: why_down(node, now).is_some(),
            control_plane: node.control_plane,
        }
    }
}

/// Who goes before the next node of one policy.
#[derive(Clone, Debug, Default)]
struct Taken<'a> {
    inside: Vec<&'a str>,
    /// Nodes that the policy selects, that are inside and not down by themselves.
    down: Vec<&'a str>,
    last_start: Option<Instant>,
    /// By topology key (its place in the policy) and domain.
    domains: BTreeMap<(usize, &'a str), Vec<&'a str>>,
}

#[derive(Clone, Debug, Default)]
struct Lists {
    cluster: Option<Arc<[String]>>,
    policies: BTreeMap<String, Arc<[String]>>,
    down: BTreeMap<String, Arc<[(String, String)]>>,
}

impl<'a> Room<'a> {
    /// Nobody is inside yet.
    pub(crate) fn new(facts: &'a Facts<'a>) -> Self {
        Self {
            facts,
            policies: BTreeMap::new(),
            inside: Vec::new(),
            control_plane: None,
            lists: Lists::default(),
        }
    }

    /// `holder` goes before all that ask from now on.
    pub(crate) fn add(&mut self, holder: &'a Holder) {
        self.take(&holder.node, &holder.policy, holder.acquired);
    }

    /// This node goes before all that ask from now on.
    pub(crate) fn take(&mut self, name: &'a str, policy: &'a str, started: Instant) {
        self.lists.clear();
        self.inside.push(name);
        let node = self.facts.snapshot.nodes.get(name);
        if node.is_some_and(|node| node.control_plane) && self.control_plane.is_none() {
            self.control_plane = Some(name);
        }
        let taken = self.policies.entry(policy).or_default();
        taken.inside.push(name);
        taken.last_start = taken.last_start.max(Some(started));
        let Some(node) = node else { return };
        if let Some(facts) = self.facts.policies.get(policy) {
            for (place, topology) in facts.policy.topology.iter().enumerate() {
                let domain = (place, topology.domain_of(node));
                taken.domains.entry(domain).or_default().push(name);
            }
        }
        for selecting in &node.policies {
            let down = |facts: &PolicyFacts| facts.down.contains_key(name);
            if !self.facts.policies.get(selecting.as_str()).is_some_and(down) {
                self.policies.entry(selecting).or_default().down.push(name);
            }
        }
    }

    /// Whether there is room for this node; `before` says how many of its policy wait before it.
    pub(crate) fn ask(&mut self, asking: &Asking, before: usize) -> Result<(), Waiting> {
        let facts = self.facts;
        let Asking { name, node, .. } = *asking;
        let policy = match asking.policy.and_then(|policy| facts.policies.get(policy)) {
            Some(policy) => policy,
            None => gate::policy_of(node, facts)?,
        };
        let nobody = Taken::default();
        let taken = self.policies.get(policy.name).unwrap_or(&nobody);
        let failed = |name: &&str| policy.failures.iter().any(|(failed, _)| failed == name);
        breaker::keeps_others_out(policy, taken.inside.iter().copied().filter(|name| !failed(name)))?;
        policy.canary.word(&taken.inside)?;
        if taken.inside.len() >= policy.limit {
            return Err(Waiting::NoFreeSlot {
                inside: self.lists.of_policy(policy.name, &taken.inside),
                max: policy.limit,
                scope: Scope::Policy,
                before,
            });
        }
        if self.inside.len() >= facts.cluster_limit {
            let all = &self.inside;
            return Err(Waiting::NoFreeSlot {
                inside: self.lists.cluster.get_or_insert_with(|| owned(all)).clone(),
                max: facts.cluster_limit,
                scope: Scope::Cluster,
                before,
            });
        }
        // A target that is down already costs nothing.
        if !asking.down && taken.down.len() + policy.down.len() >= policy.max_unavailable {
            return Err(Waiting::TooManyUnavailable {
                down: self.lists.down(policy, &taken.down),
                max: policy.max_unavailable,
            });
        }
        domains(node, policy, taken)?;
        pace(policy, taken, facts.now)?;
        if asking.control_plane {
            let down = facts.control_plane_down.iter().copied().find(|other| *other != name);
            if let Some(other) = down.or(self.control_plane.filter(|other| *other != name)) {
                return Err(Waiting::ControlPlaneBusy { node: other.to_owned() });
            }
        }
        Ok(())
    }
}

impl Lists {
    fn clear(&mut self) {
        self.cluster = None;
        self.policies.clear();
        self.down.clear();
    }

    fn of_policy(&mut self, policy: &str, inside: &[&str]) -> Arc<[String]> {
        if let Some(known) = self.policies.get(policy) {
            return known.clone();
        }
        let list = owned(inside);
        self.policies.insert(policy.to_owned(), list.clone());
        list
    }

    fn down(&mut self, policy: &PolicyFacts, inside: &[&str]) -> Arc<[(String, String)]> {
        if let Some(known) = self.down.get(policy.name) {
            return known.clone();
        }
        let by_themselves = policy
            .down
            .iter()
            .map(|(name, why)| ((*name).to_owned(), (*why).to_owned()));
        let held = inside.iter().map(|name| ((*name).to_owned(), "inside".to_owned()));
        let list: Arc<[_]> = by_themselves.chain(held).collect();
        self.down.insert(policy.name.to_owned(), list.clone());
        list
    }
}

fn owned(names: &[&str]) -> Arc<[String]> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The policy's topology: at most so many domains at once, and so many nodes in one.
fn domains(node: &Node, policy: &PolicyFacts, taken: &Taken) -> Result<(), Waiting> {
    for (place, topology) in policy.policy.topology.iter().enumerate() {
        let own = topology.domain_of(node);
        let full = |value: &str, inside: &[&str]| Waiting::TopologyFull {
            key: topology.key.clone(),
            value: value.to_owned(),
            inside: owned(inside),
        };
        let here = taken.domains.get(&(place, own)).map_or(&[][..], Vec::as_slice);
        if topology.max_in_progress_per_domain.is_some_and(|max| here.len() >= max) {
            return Err(full(own, here));
        }
        let mut active = taken.domains.range((place, "")..(place + 1, ""));
        let count = active.clone().count();
        if here.is_empty() && topology.max_domains.is_some_and(|max| count >= max) {
            return Err(match active.next() {
                Some(((_, value), inside)) => full(value, inside),
                None => full(own, here),
            });
        }
    }
    Ok(())
}

/// The least time between two starts. A node counts from its slot on, and afterwards if it was rebooted.
fn pace(policy: &PolicyFacts, taken: &Taken, now: Instant) -> Result<(), Waiting> {
    let Some(last) = taken.last_start.max(policy.last_start) else {
        return Ok(());
    };
    let until = last + policy.policy.pace;
    if now < until {
        Err(Waiting::Pacing { until })
    } else {
        Ok(())
    }
}
