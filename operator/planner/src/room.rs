//! What the other nodes say: slots, nodes that are down, the canary, domains, the pace, the control plane.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::Instant;
use crate::breaker;
use crate::capacity::{Facts, PolicyFacts, Wanting};
use crate::down::why_down;
use crate::gate;
use crate::repair::Entry;
use crate::snapshot::{Holder, Node};
use lockkeeper_reasons::{LimitScope, WaitReason};

/// Who goes before the next node, counted as they come.
#[derive(Clone, Debug)]
pub(crate) struct Room<'a> {
    facts: &'a Facts<'a>,
    /// Who goes before the next node of each policy, by its place in the facts.
    policies: Vec<Taken<'a>>,
    inside: Vec<&'a str>,
    control_plane: Option<&'a str>,
    /// Those that are inside, in a list that many waiting nodes share until somebody comes.
    names: Option<Arc<[String]>>,
}

/// A node that asks for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    name: &'a str,
    node: &'a Node,
    /// The place of its one policy, if it is known already.
    policy: Option<usize>,
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
    domains: BTreeMap<(usize, &'a str), Domain<'a>>,
    /// The first two, in lists that many waiting nodes share until somebody comes.
    names: Option<Arc<[String]>>,
    down_names: Option<Arc<[(String, String)]>>,
}

/// Who is inside in one domain, and the words for those that wait for that.
#[derive(Clone, Debug, Default)]
struct Domain<'a> {
    inside: Vec<&'a str>,
    names: Option<Arc<[String]>>,
}

impl Domain<'_> {
    fn names(&mut self) -> Arc<[String]> {
        self.names.get_or_insert_with(|| owned(&self.inside)).clone()
    }
}

impl<'a> Room<'a> {
    /// Nobody is inside yet.
    pub(crate) fn new(facts: &'a Facts<'a>) -> Self {
        Self {
            facts,
            policies: vec![Taken::default(); facts.policies.len()],
            inside: Vec::new(),
            control_plane: None,
            names: None,
        }
    }

    /// This node is cordoned without an entry, and goes before all that ask from now on, under each policy that selects it:
    /// nobody knows under which it went in. It begins no domain: another
    /// node must not go in because this one is there.
    pub(crate) fn add_astray(&mut self, name: &'a str, node: &'a Node) {
        self.inside.push(name);
        if node.control_plane && self.control_plane.is_none() {
            self.control_plane = Some(name);
        }
        for place in node.policies.iter().filter_map(|policy| self.facts.place_of(policy)) {
            self.policies[place].inside.push(name);
        }
    }

    /// This entry goes before all that ask from now on.
    pub(crate) fn add(&mut self, entry: Entry<'a>) {
        let Holder {
            node, policy, acquired, ..
        } = entry.holder;
        self.take(node, entry.node, self.facts.place_of(policy), *acquired);
    }

    /// This node goes before all that ask from now on.
    pub(crate) fn take(&mut self, name: &'a str, node: Option<&'a Node>, policy: Option<usize>, started: Instant) {
        self.names = None;
        self.inside.push(name);
        if node.is_some_and(|node| node.control_plane) && self.control_plane.is_none() {
            self.control_plane = Some(name);
        }
        if let Some(place) = policy {
            let (taken, facts) = (&mut self.policies[place], &self.facts.policies[place]);
            taken.names = None;
            taken.inside.push(name);
            taken.last_start = taken.last_start.max(Some(started));
            let topologies = facts.policy.topology.iter().enumerate();
            for (place, domain) in topologies.filter_map(|(place, one)| Some((place, one.domain_of(node?)))) {
                let domain = taken.domains.entry((place, domain)).or_default();
                domain.names = None;
                domain.inside.push(name);
            }
        }
        for selecting in node.iter().flat_map(|node| node.policies.iter()) {
            if let Some(place) = self.facts.place_of(selecting)
                && !self.facts.policies[place].down.contains_key(name)
            {
                self.policies[place].down_names = None;
                self.policies[place].down.push(name);
            }
        }
    }

    /// Whether there is room for this node; `before` says how many of its policy wait before it.
    pub(crate) fn ask(&mut self, asking: &Asking, before: usize) -> Result<(), WaitReason> {
        let facts = self.facts;
        let Asking { name, node, .. } = *asking;
        let policy = match asking.policy {
            Some(place) => &facts.policies[place],
            None => gate::policy_of(node, facts)?,
        };
        let taken = &mut self.policies[policy.place];
        let failed = |name: &&str| policy.failures.iter().any(|(failed, _)| failed == name);
        breaker::keeps_others_out(policy, taken.inside.iter().copied().filter(|name| !failed(name)))?;
        policy.canary.word(&taken.inside)?;
        if taken.inside.len() >= policy.limit {
            return Err(WaitReason::NoFreeSlot {
                in_progress: taken.names.get_or_insert_with(|| owned(&taken.inside)).clone(),
                max: policy.limit,
                scope: LimitScope::Policy,
                ahead: before,
            });
        }
        if self.inside.len() >= facts.cluster_limit {
            return Err(WaitReason::NoFreeSlot {
                in_progress: self.names.get_or_insert_with(|| owned(&self.inside)).clone(),
                max: facts.cluster_limit,
                scope: LimitScope::Cluster,
                ahead: before,
            });
        }
        // A target that is down already costs nothing.
        if !asking.down && taken.down.len() + policy.down.len() >= policy.max_unavailable {
            let down = taken.down_names.get_or_insert_with(|| all_down(policy, &taken.down));
            return Err(WaitReason::TooManyUnavailable {
                nodes: down.clone(),
                max: policy.max_unavailable,
            });
        }
        domains(node, policy, taken)?;
        pace(policy, taken, facts.now)?;
        if asking.control_plane {
            let down = facts.control_plane_down.iter().copied().find(|other| *other != name);
            if let Some(other) = down.or(self.control_plane.filter(|other| *other != name)) {
                return Err(WaitReason::ControlPlaneBusy { node: other.to_owned() });
            }
        }
        Ok(())
    }
}

fn all_down(policy: &PolicyFacts, inside: &[&str]) -> Arc<[(String, String)]> {
    let by_themselves = policy
        .down
        .iter()
        .map(|(name, why)| ((*name).to_owned(), (*why).to_owned()));
    let held = inside.iter().map(|name| ((*name).to_owned(), "in progress".to_owned()));
    by_themselves.chain(held).collect()
}

fn owned(names: &[&str]) -> Arc<[String]> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The policy's topology: at most so many domains at once, and so many nodes in one.
fn domains(node: &Node, policy: &PolicyFacts, taken: &mut Taken) -> Result<(), WaitReason> {
    for (place, topology) in policy.policy.topology.iter().enumerate() {
        let own = topology.domain_of(node);
        let here = taken.domains.get(&(place, own)).map_or(0, |domain| domain.inside.len());
        let full = if topology.max_in_progress_per_domain.is_some_and(|max| here >= max) {
            Some(own)
        } else {
            let mut active = taken.domains.range((place, "")..(place + 1, ""));
            let most = topology.max_domains.filter(|_| here == 0);
            let full = most.is_some_and(|max| active.clone().count() >= max);
            full.then(|| active.next().map_or(own, |((_, value), _)| *value))
        };
        if let Some(value) = full {
            let inside = taken
                .domains
                .iter_mut()
                .find(|(domain, _)| **domain == (place, value))
                .map(|(_, domain)| domain.names());
            return Err(WaitReason::TopologyFull {
                key: topology.key.clone(),
                value: value.to_owned(),
                in_progress: inside.unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// The least time between two starts. A node counts from its slot on, and afterwards if it was rebooted. Without a pace
/// nobody waits, even if the last start is ahead of a clock that was set back.
fn pace(policy: &PolicyFacts, taken: &Taken, now: Instant) -> Result<(), WaitReason> {
    let last = taken.last_start.max(policy.last_start);
    let Some(last) = last.filter(|_| policy.policy.pace > TimeDelta::zero()) else {
        return Ok(());
    };
    let until = last + policy.policy.pace;
    if now < until {
        Err(WaitReason::Pacing { until })
    } else {
        Ok(())
    }
}
