//! Which nodes a deadline will not be met for, by a forecast.

use std::collections::BTreeMap;

use super::Forecast;
use crate::Instant;
use crate::names::PolicyName;
use crate::snapshot::{Node, Snapshot};

/// Nodes of one policy that will be overdue before they are rebooted; those that are overdue already are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateNodes {
    /// How many there are.
    pub count: usize,
    /// The one that is overdue first.
    pub first: String,
    /// When that one is overdue.
    pub overdue: Instant,
    /// When that one will be done, if that is known and not too far away.
    pub done: Option<Instant>,
}

impl Forecast {
    /// The nodes of each policy that will be overdue before they are rebooted, as far as this forecast tells.
    pub fn late_nodes(&self, snapshot: &Snapshot, now: Instant) -> BTreeMap<PolicyName, LateNodes> {
        let mut late: BTreeMap<PolicyName, LateNodes> = BTreeMap::new();
        for (name, node) in &snapshot.nodes {
            let [policy] = &*node.policies else { continue };
            let Some((overdue, done)) = self.late(snapshot, policy, name, node, now) else {
                continue;
            };
            let found = late.entry(policy.clone()).or_insert_with(|| LateNodes {
                count: 0,
                first: name.clone(),
                overdue,
                done,
            });
            found.count += 1;
            if overdue < found.overdue {
                (found.first, found.overdue, found.done) = (name.clone(), overdue, done);
            }
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
