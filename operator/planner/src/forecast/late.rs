//! Which nodes a deadline will not be met for, by a forecast.

use std::collections::BTreeMap;

use super::Forecast;
use crate::Instant;
use crate::names::PolicyName;
use crate::snapshot::{Node, Snapshot};

/// A node that will be overdue before it is rebooted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LateNode {
    /// When it is overdue.
    pub overdue: Instant,
    /// Its name.
    pub name: String,
    /// When it will be done, if that is known and not too far away.
    pub done: Option<Instant>,
}

impl Forecast {
    /// The nodes of each policy that will be overdue before they are rebooted, the first one first; those that are overdue
    /// already are not among them.
    pub fn late_nodes(&self, snapshot: &Snapshot, now: Instant) -> BTreeMap<PolicyName, Vec<LateNode>> {
        let mut late: BTreeMap<PolicyName, Vec<LateNode>> = BTreeMap::new();
        for (name, node) in &snapshot.nodes {
            let [policy] = &*node.policies else { continue };
            if let Some((overdue, done)) = self.late(snapshot, policy, name, node, now) {
                let name = name.clone();
                let found = LateNode { overdue, name, done };
                late.entry(policy.clone()).or_default().push(found);
            }
        }
        for nodes in late.values_mut() {
            nodes.sort_unstable();
        }
        late
    }

    /// When this node will be overdue, and done, if it is done later than that, or never.
    fn late(
        &self,
        snapshot: &Snapshot,
        policy: &PolicyName,
        name: &str,
        node: &Node,
        now: Instant,
    ) -> Option<(Instant, Option<Instant>)> {
        let overdue = snapshot.policies.get(policy)?.overdue_at(node, now)?;
        let done = self.done(policy, name);
        (now < overdue && done.is_none_or(|done| done > overdue)).then_some((overdue, done))
    }

    /// When this node will be done. One beyond the end of a forecast that was cut is done when its policy is.
    fn done(&self, policy: &PolicyName, name: &str) -> Option<Instant> {
        match self.nodes.get(name) {
            Some(span) => Some(span.end),
            None if self.never.contains_key(name) || !self.cut => None,
            None => self.policies.get(policy.as_str()).copied(),
        }
    }
}
