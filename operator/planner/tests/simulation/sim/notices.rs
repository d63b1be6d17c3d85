//! Advance notice: policies that ask for it, pods that leave by themselves meanwhile, and whether it was kept.
//!
//! All of it is drawn from a generator of its own.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::judge::Judge;
use super::world::World;
use super::writer::Writer;

/// What sets its generator apart from the seed's own.
pub const GENERATOR: u64 = 0x6e6f_7469_6365_7365;

/// A notice that was given, by a clock that is right.
#[derive(Clone, Debug)]
pub struct Given {
    id: String,
    at: Instant,
    /// How far the clock was off by which it was given.
    skew: TimeDelta,
}

impl World {
    /// Some policies ask for notice.
    pub fn with_notices(&mut self) {
        for index in 0..self.cluster.policies.len() {
            let Some(object) = self.cluster.policies[index].as_deref().cloned() else {
                continue;
            };
            let mut object = object;
            let seconds = self.notice_rng.pick(&[0, 30, 300, 900]);
            object.value.settings.notice = (seconds > 0).then(|| TimeDelta::seconds(seconds));
            self.cluster.put_policy(index, Some(object));
        }
        self.cluster.news.clear();
    }

    /// A drain that waits for the end of the notice looks at its pods: when it looks again. A pod may have left by itself.
    pub fn await_notice(&mut self, index: usize, evict_at: i64) -> Option<i64> {
        let rest = evict_at - self.at;
        if rest <= 0 || self.cluster.pods[index] == 0 {
            return None;
        }
        if self.notice_rng.chance(100) {
            self.cluster.pods[index] -= 1;
        }
        Some(rest.min(self.notice_rng.between(1_000, 60_000)))
    }
}

impl Judge {
    /// S5: a notice takes the place of no other client's condition, and is given for a node that is cordoned for the operation.
    pub fn gives_notice(&mut self, cluster: &Cluster, node: usize, id: &str, writer: &Writer) {
        let cordoned = cluster.nodes[node]
            .as_ref()
            .and_then(|node| node.value.cordoned_for.clone());
        let name = &cluster.names[node];
        self.demand(
            cordoned.is_some_and(|operation| id.starts_with(&operation)),
            "S5",
            || format!("{name} gets a notice for an operation for which it is not cordoned"),
        );
        self.notices.insert(
            node,
            Given {
                id: id.to_owned(),
                at: writer.now - writer.skew,
                skew: writer.skew,
            },
        );
    }

    /// A pod is evicted only once the notice that the operation asks for has lasted, by the clocks that measured it.
    ///
    /// A drain whose operator does not know yet that its operation has ended is none of the present one.
    pub fn evicts(&mut self, cluster: &Cluster, node: usize, order: &str, now: Instant, skew: TimeDelta) {
        let drains = |operation: &&Operation| {
            operation.order_id() == order && operation.phase == Phase::Draining && operation.pending_outcome.is_none()
        };
        // A clock that was set by days and back, between the record and the drain, measures nothing.
        let Some(operation) = cluster
            .operation(node)
            .filter(drains)
            .filter(|_| !self.history.clock_was_wrong)
        else {
            return;
        };
        let Some(length) = operation.settings.notice else {
            return;
        };
        let given = self.notices.get(&node).filter(|given| given.id == order);
        let lasted = given.is_some_and(|given| {
            let differ = given.skew.abs() + skew.abs() + TimeDelta::seconds(1);
            now - given.at + differ >= length
        });
        let name = &cluster.names[node];
        self.demand(lasted, "notice", || {
            format!("a pod of {name} is evicted before its notice has lasted {length}")
        });
    }
}
