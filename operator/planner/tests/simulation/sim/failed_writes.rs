//! Writes that failed: each object is tried again after a pause, and the planner learns of lasting refusals; as in
//! `operator/src/failed_writes.rs`.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_planner::*;

use super::cluster::{Cluster, Refusal};
use super::faults::Fault;
use super::world::World;

/// From so many denials in a row on, the planner learns of them.
const LASTING: u32 = 2;
/// A denial is valid for this long after the next attempt was due.
const DENIED_FOR: i64 = 10_000;

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Lock,
    Node(usize),
    /// A node that is gone.
    Gone,
}

impl Target {
    pub fn of(action: &Action, cluster: &Cluster) -> Self {
        let index = action.node().map(|node| cluster.index(node));
        index.map_or(Self::Lock, |index| index.map_or(Self::Gone, Self::Node))
    }
}

/// What an operator knows of writes that failed.
#[derive(Debug, Default)]
pub struct FailedWrites {
    by_target: BTreeMap<Target, FailedWrite>,
    /// What has a write that failed in this pass, or needs one: its other actions are left out.
    pub left_out: BTreeSet<Target>,
}

#[derive(Clone, Copy, Debug)]
struct FailedWrite {
    /// How often in a row.
    count: u32,
    retry_at: i64,
    denied: bool,
}

impl FailedWrites {
    pub fn clear(&mut self, target: Target) {
        self.by_target.remove(&target);
    }

    /// What is denied again and again. A denial expires: what is not tried again for it would never be.
    pub fn denied(&self, at: i64) -> BTreeSet<Target> {
        self.lasting(at).map(|(target, _)| target).collect()
    }

    /// When the next denial expires.
    pub fn next_expiry(&self, at: i64) -> Option<i64> {
        self.lasting(at).map(|(_, until)| until).min()
    }

    fn lasting(&self, at: i64) -> impl Iterator<Item = (Target, i64)> {
        let denied = self.by_target.iter();
        let denied = denied.filter(|(_, failed)| failed.denied && failed.count >= LASTING);
        let until = denied.map(|(target, failed)| (*target, failed.retry_at + DENIED_FOR));
        until.filter(move |(_, until)| at < *until)
    }

    /// Records a failure; returns the pause before the next attempt.
    fn record(&mut self, target: Target, refusal: Refusal, at: i64) -> i64 {
        let count = self.by_target.get(&target).map_or(0, |failed| failed.count) + 1;
        let pause = match refusal {
            Refusal::Conflict => (200 << (count - 1).min(5)).min(5000),
            Refusal::Stale | Refusal::NotEmpty => 1000,
            Refusal::Trouble => 2000,
            Refusal::Denied => 2000 << count.min(7),
        };
        let failed = FailedWrite {
            count,
            retry_at: at + pause,
            denied: refusal == Refusal::Denied,
        };
        self.by_target.insert(target, failed);
        self.left_out.insert(target);
        pause
    }
}

impl World {
    /// The actions without those about objects whose last write failed a moment ago, and without those that follow such a
    /// write of the lock; wakes when the first of them is due.
    pub fn due(&mut self, operator: usize, plan: &Plan) -> Vec<Action> {
        let retry_at = |target: Target| {
            let failed = self.operators[operator].failed.by_target.get(&target)?;
            (failed.retry_at > self.at).then_some(failed.retry_at)
        };
        let lock_at = retry_at(Target::Lock);
        let awaiting = self.awaiting_lock(operator, &plan.actions);
        let until = |action: &Action| {
            let target = Target::of(action, &self.cluster);
            retry_at(target).or_else(|| lock_at.filter(|_| awaiting.contains(&target)))
        };
        let due = plan.actions.iter().filter(|action| until(action).is_none());
        let due = due.cloned().collect();
        if let Some(first) = plan.actions.iter().filter_map(until).min() {
            self.wake(operator, first - self.at);
        }
        due
    }

    /// The nodes whose holder the lock does not have like this.
    fn awaiting_lock(&self, operator: usize, actions: &[Action]) -> BTreeSet<Target> {
        let lock = self.operators[operator].view.snapshot.lock.as_ref();
        let known = lock.map(|lock| &lock.holders);
        let holders = actions.iter().filter_map(|action| match action {
            Action::SetHolders { holders, .. } => Some(holders),
            _ => None,
        });
        let changed = holders
            .flatten()
            .filter(|holder| known.is_none_or(|known| !known.contains(holder)));
        changed
            .filter_map(|holder| self.cluster.index(&holder.node))
            .map(Target::Node)
            .collect()
    }

    /// A write about the lock ends the pass, unless it is denied; one about a node leaves out the other actions about that
    /// node.
    pub fn refused(&mut self, operator: usize, action: &Action, refusal: Refusal) {
        self.coverage.refused(refusal);
        let target = Target::of(action, &self.cluster);
        let awaiting = self.awaiting_lock(operator, std::slice::from_ref(action));
        let known = &mut self.operators[operator];
        if let (Refusal::NotEmpty, Target::Node(index)) = (refusal, target) {
            known.drains.remove(&index);
            known.progress.remove(&index);
            known.view.set_drain(index, &Drain::NotStarted);
        }
        let pause = known.failed.record(target, refusal, self.at);
        if target == Target::Lock && refusal != Refusal::Denied {
            known.failed.clear(target);
            known.busy = false;
            known.planned = None;
            known.carried_out = None;
            return self.wake(operator, pause);
        }
        known.failed.left_out.extend(awaiting);
        self.go_on(operator);
    }

    /// Whether the API server denies all writes about this object: it does so for a while.
    pub fn is_denied(&mut self, target: Target) -> bool {
        if self.faults.off || target == Target::Gone {
            return false;
        }
        if self.denied.get(&target).is_some_and(|until| *until > self.at) {
            return true;
        }
        if self.faults.often(Fault::Denied, 10, &mut self.rng) {
            let longest = self.rng.pick(&[5_000, 60_000, 1_800_000]);
            let until = self.at + self.rng.between(1000, longest);
            self.denied.insert(target, until);
            return true;
        }
        false
    }
}
