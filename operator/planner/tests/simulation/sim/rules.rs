//! The rules that need more than one plan, or look at the end: S7, S9 and L4, as `check` has them, and `recheck_at`.

use std::collections::BTreeMap;

use lockkeeper_planner::*;

use super::cluster::{Cluster, Kind};
use super::mutants;
use super::operator::Operator;
use super::rng::Rng;
use super::view::View;
use super::world::World;

/// Of the passes with several holders, one in so many is judged by S7.
const ONE_IN_SEVERAL: usize = 8;
/// Of the others, one in so many.
const ONE_IN_OTHERS: usize = 64;

impl World {
    /// S7: what has no order is put in another one, and the plan must be the same.
    pub fn order_dependence(&mut self, operator: usize, plan: &Plan, now: Instant) {
        let snapshot = &mut self.operators[operator].view.snapshot;
        let several = snapshot.lock.as_ref().is_some_and(|lock| lock.holders.len() > 1);
        let one_in = if several { ONE_IN_SEVERAL } else { ONE_IN_OTHERS };
        // A generator of its own: the seed's story is the same whoever judges it.
        if Rng::new(self.seed ^ (self.passes << 40)).below(one_in) != 0 {
            return;
        }
        turn_round(snapshot);
        let other = mutants::plan(self.mutant, snapshot, now);
        turn_round(snapshot);
        if let Some(violation) = check::order_dependence(plan, &other) {
            self.judge.violations.push(violation.to_string());
        }
    }

    /// `recheck_at` is when time alone may change the answer: until then, the same snapshot gives the same plan.
    ///
    /// Judged of plans that asked for nothing. A node whose preflight or checks are asked has its place meanwhile, as if it began now,
    /// and those behind it wait for a pace from now on.
    pub fn comes_too_late(&mut self, operator: usize, plan: &Plan, now: Instant) {
        let known = &mut self.operators[operator];
        let changed = std::mem::take(&mut known.view.changed);
        let Some((made, before)) = known.rests_on.take().filter(|_| !changed) else {
            return;
        };
        // The clock may have been set back.
        let due = now < made || before.recheck_at.is_some_and(|at| at <= now);
        if !due && before != *plan {
            let what = format!("the same snapshot gives {plan:?} after {before:?}");
            self.judge.broken("recheck_at", &what);
        }
    }

    /// S9: nothing that was carried out is wanted again; while people and hosts meddle, it may be.
    pub fn repeats(&mut self, operator: usize, plan: &Plan) {
        if self.judge.quiet_since.is_none() {
            return;
        }
        let done = self.operators[operator].carried_out.as_deref();
        let again = done.map(|done| check::repeats(done, plan)).unwrap_or_default();
        self.judge.violations.extend(again.iter().map(Violation::to_string));
    }

    /// L4: the cluster is what it was, but for boot ids and what people did.
    pub fn compare(&mut self) {
        let after = truth(&self.cluster, &self.operators[0]);
        let mut before = after.clone();
        for (object, name) in self.cluster.nodes.iter().zip(&self.cluster.names) {
            if let (Some(object), Some(node)) = (object, before.nodes.get_mut(name)) {
                node.unschedulable = object.cordon.human || object.cordon.hold;
            }
        }
        let left = check::leftovers(&before, &after);
        self.judge.violations.extend(left.iter().map(Violation::to_string));
    }
}

/// All of it as it stands in the API server now.
fn truth(cluster: &Cluster, operator: &Operator) -> Snapshot {
    let mut view = View::new(cluster, operator.view.snapshot.own_node.clone());
    for kind in Kind::ALL {
        view.relist(kind, cluster);
    }
    view.refresh(&BTreeMap::new());
    view.snapshot
}

/// Every list whose order means nothing is put the other way round.
fn turn_round(snapshot: &mut Snapshot) {
    snapshot.unlisted.reverse();
    snapshot.view_gaps.reverse();
    snapshot.lock.iter_mut().for_each(|lock| lock.holders.reverse());
    for node in snapshot.nodes.values_mut().filter(|node| node.policies.len() > 1) {
        node.policies = node.policies.iter().rev().cloned().collect();
    }
}
