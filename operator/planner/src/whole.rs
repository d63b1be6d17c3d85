//! All that are inside, counted once more right before a cordon.

use std::sync::Arc;

use crate::capacity::Facts;
use crate::names::PolicyName;
use crate::repair::{Entry, Repaired};
use crate::snapshot::Node;
use lockkeeper_reasons::{LimitScope, WaitReason};

/// Everybody who has an entry, or is cordoned without one, whoever is seen to be cordoned already.
///
/// A view of the Nodes that lags hides marks. The lock is looked at afresh before a cordon and hides nobody: while all of
/// its list fits into the limits, all that are cordoned do.
#[derive(Debug)]
pub(crate) struct Whole<'a> {
    facts: &'a Facts<'a>,
    inside: Vec<&'a str>,
    /// Those of each policy.
    of_policy: Vec<Vec<&'a str>>,
    control_plane: Vec<&'a str>,
}

impl<'a> Whole<'a> {
    pub(crate) fn new(facts: &'a Facts<'a>, known: &[Entry<'a>], repaired: &'a Repaired<'a>) -> Self {
        let mut whole = Self {
            facts,
            inside: Vec::with_capacity(known.len()),
            of_policy: vec![Vec::new(); facts.policies.len()],
            control_plane: Vec::new(),
        };
        let restored = repaired.entries().skip(repaired.kept.len());
        for entry in known.iter().copied().chain(restored) {
            whole.add(
                &entry.holder.node,
                entry.node,
                std::slice::from_ref(&entry.holder.policy),
            );
        }
        for (name, node) in &repaired.astray {
            whole.add(name, Some(node), &node.policies);
        }
        whole
    }

    fn add(&mut self, name: &'a str, node: Option<&'a Node>, policies: &[PolicyName]) {
        self.inside.push(name);
        for place in policies.iter().filter_map(|policy| self.facts.place_of(policy)) {
            self.of_policy[place].push(name);
        }
        if node.is_some_and(|node| node.control_plane) {
            self.control_plane.push(name);
        }
    }

    /// Whether all fit, this node of this policy among them.
    pub(crate) fn fits(&self, name: &str, node: &Node, policy: &PolicyName) -> Result<(), WaitReason> {
        if let Some(place) = self.facts.place_of(policy) {
            full(
                name,
                &self.of_policy[place],
                self.facts.policies[place].limit,
                LimitScope::Policy,
            )?;
        }
        full(name, &self.inside, self.facts.cluster_limit, LimitScope::Cluster)?;
        let mut others = self.control_plane.iter().filter(|other| **other != name);
        match others.next().filter(|_| node.control_plane) {
            Some(other) => Err(WaitReason::ControlPlaneBusy {
                node: (*other).to_owned(),
            }),
            None => Ok(()),
        }
    }
}

fn full(name: &str, inside: &[&str], max: usize, scope: LimitScope) -> Result<(), WaitReason> {
    if inside.len() <= max {
        return Ok(());
    }
    let others = inside.iter().filter(|other| **other != name);
    let inside: Arc<[String]> = others.map(|other| (*other).to_owned()).collect();
    Err(WaitReason::NoFreeSlot {
        in_progress: inside,
        max,
        scope,
        ahead: 0,
    })
}
