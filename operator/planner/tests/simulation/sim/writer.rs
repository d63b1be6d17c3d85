//! What a writer had seen: a write is judged by the truth, but limits by the views of its plan.

use std::rc::Rc;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::{Cluster, NodeObject};
use super::deadlines::{InForce, in_force};
use super::view::View;

/// What an operator's views allowed at the instant of its plan.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Name, limit, and whether nodes may start by switch and window.
    policies: Vec<(PolicyName, usize, bool)>,
    /// The same policies as they were seen.
    pub seen: Vec<(PolicyName, Policy)>,
    /// What is overridden for single nodes, by name.
    in_force: Vec<(String, InForce)>,
    /// The nodes that were seen to have failed, under each policy.
    pub failed: Vec<(PolicyName, usize)>,
    /// When it planned, by its clock.
    pub planned: Option<Instant>,
    pub all: usize,
    /// Operations that it knew of: it may restore their entries.
    pub in_progress: Vec<String>,
}

/// Who writes, at the instant of the write.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// The time by its clock.
    pub now: Instant,
    /// How far its clock is off.
    pub skew: TimeDelta,
    /// For how long its process has asked for evictions from the node that it writes about.
    pub drained_for: Option<i64>,
    /// For how long its watches had shown the cluster without a break when it planned.
    pub watched_for: i64,
}

/// What stood before a write.
#[derive(Debug, Default)]
pub struct Before {
    pub holders: Vec<Holder>,
    pub node: Option<Rc<NodeObject>>,
    /// The operation of its record.
    pub operation: Option<Box<Operation>>,
}

impl Before {
    pub fn of(cluster: &Cluster, action: &Action) -> Self {
        let index = action.node().and_then(|name| cluster.index(name));
        let holders = match action {
            Action::SetHolders { .. } => cluster.holders().to_vec(),
            _ => vec![],
        };
        Self {
            holders,
            node: index.and_then(|index| cluster.nodes[index].clone()),
            operation: index.and_then(|index| cluster.operation(index).cloned().map(Box::new)),
        }
    }
}

impl Allowed {
    pub fn by(view: &View, now: Instant) -> Self {
        let snapshot = &view.snapshot;
        let open = |policy: &Policy| {
            let open = policy.schedule.as_ref().is_ok_and(|schedule| schedule.is_open(now));
            open && !policy.suspend
        };
        let all = view.policies();
        let policies: Vec<(PolicyName, usize, bool)> = all
            .map(|(name, policy)| {
                let total = view.nodes().filter(|node| node.group & policy.groups != 0).count();
                let limit = policy.value.max_in_progress.of(total);
                (name.clone(), limit, open(&policy.value))
            })
            .collect();
        let cap = snapshot.lock.as_ref().and_then(|lock| lock.max_in_progress);
        let largest = policies.iter().map(|(_, limit, _)| *limit).max().unwrap_or(0);
        let failed = |operation: &Operation| operation.phase == Phase::Failed && operation.pending_outcome.is_none();
        // An operator does not know in which phase a node is whose record it cannot decode.
        let failed = view
            .in_progress()
            .filter(|(index, _, operation)| failed(operation) && !view.is_undecodable(*index));
        Self {
            seen: view
                .policies()
                .map(|(name, policy)| (name.clone(), policy.value.clone()))
                .collect(),
            in_force: in_force(view, now),
            failed: failed
                .map(|(index, _, operation)| (operation.policy.clone(), index))
                .collect(),
            planned: Some(now),
            in_progress: view.in_progress().map(|(.., operation)| operation.id.clone()).collect(),
            policies,
            all: cap.map_or(largest, |cap| cap.of(snapshot.nodes.len())),
        }
    }

    /// What is overridden for this node; `None` if nothing ever is.
    pub fn in_force(&self, node: &str) -> Option<&InForce> {
        let found = self.in_force.iter().find(|(name, _)| name == node);
        found.map(|(_, in_force)| in_force)
    }

    /// Whether this node may start by the switch of its policy, the windows that bind it, and the exclusions.
    pub fn is_open_for(&self, policy: &str, node: &str) -> bool {
        let seen = self.seen.iter().find(|(name, _)| name == policy);
        match (seen, self.in_force(node), self.planned) {
            (Some((_, policy)), Some(in_force), Some(planned)) => {
                let schedule = in_force.schedule.as_ref();
                schedule.is_ok_and(|schedule| schedule.is_open(planned)) && !policy.suspend
            }
            _ => self.of(policy).1,
        }
    }

    pub fn of(&self, policy: &str) -> (usize, bool) {
        let found = self.policies.iter().find(|(name, ..)| name == policy);
        found.map_or((0, false), |(_, limit, open)| (*limit, *open))
    }
}
