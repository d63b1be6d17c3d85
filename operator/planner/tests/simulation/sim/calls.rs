//! The writes of an operator, one call after the other; it may die or stall between any two.

use std::rc::Rc;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Refusal;
use super::execute::Write;
use super::failed_writes::Target;
use super::faults::Fault;
use super::mutants;
use super::world::{Event, World};
use super::writer::{Allowed, Before, Writer};

impl World {
    /// There is something to write.
    pub fn act(&mut self, operator: usize, mut plan: Plan, now: Instant) {
        let known = &mut self.operators[operator];
        let begins = |change: &RecordChange| match &change.operation {
            Change::Set(Some(operation)) => operation.phase == Phase::Preparing && operation.overridden.is_some(),
            Change::Set(None) | Change::Keep => false,
        };
        let starts = |action: &Action| match action {
            Action::SetHolders { .. } | Action::Cordon { .. } => true,
            Action::WriteRecord { change, .. } => begins(change),
            _ => false,
        };
        if plan.actions.iter().any(starts) {
            known.allowed = Allowed::by(&known.view, now);
        }
        known.seen.see(&known.view);
        // Records are made last; else the order stays.
        plan.actions
            .sort_by_key(|action| matches!(action, Action::CreateRecord { .. }));
        known.planned = Some(Rc::new(plan));
        known.written = 0;
        known.policies_verified = false;
        known.lock_written = None;
        known.failed.left_out.clear();
        known.busy = true;
        let epoch = known.epoch;
        self.tend(operator);
        self.call_later(operator, epoch);
    }

    /// The next write is on its way, or the process stands still for a while before it.
    pub fn call_later(&mut self, operator: usize, epoch: u64) {
        let stalls = self.faults.strikes(Fault::Stall, &mut self.rng);
        let longest = if stalls { 90_000 } else { 25 };
        let delay = self.rng.between(3, longest);
        self.after(delay, Event::Call(operator, epoch));
    }

    /// The next write of the plan.
    pub fn call(&mut self, operator: usize, epoch: u64) {
        if self.operators[operator].epoch != epoch || !self.operators[operator].busy {
            return;
        }
        if self.faults.strikes(Fault::Crash, &mut self.rng) {
            return self.crash(operator);
        }
        let known = &mut self.operators[operator];
        let Some(planned) = known.planned.clone() else { return };
        let Some(action) = planned.actions.get(known.written) else {
            return;
        };
        known.written += 1;
        let target = Target::of(action, &self.cluster);
        if self.operators[operator].failed.left_out.contains(&target) {
            return self.go_on(operator);
        }
        if self.is_out() || self.faults.strikes(Fault::ServerTrouble, &mut self.rng) {
            return self.refused(operator, action, Refusal::Trouble);
        }
        if self.is_denied(target) {
            return self.refused(operator, action, Refusal::Denied);
        }
        let known = &mut self.operators[operator];
        let halved = matches!(action, Action::Uncordon { keep_cordon: true, .. })
            && self.faults.often(Fault::CrashInRelease, 300, &mut self.rng);
        let before = Before::of(&self.cluster, action);
        let now = self.start + TimeDelta::milliseconds(self.at) + known.skew;
        let mut write = Write {
            cluster: &mut self.cluster,
            seen: &mut known.seen,
            without: mutants::without(self.mutant),
            now,
            halved,
            made: &mut known.made,
            policies_verified: &mut known.policies_verified,
            lock_written: &mut known.lock_written,
            at: self.at,
            proven: &mut known.proven,
            answers: vec![],
        };
        let result = write.execute(action);
        let answers = std::mem::take(&mut write.answers);
        let index = action.node().and_then(|node| self.cluster.index(node));
        if result.is_ok() {
            let writer = Writer {
                now,
                skew: known.skew,
                drained_for: index.and_then(|index| Some((self.at - known.drains.get(&index)?.since).max(0))),
                watched_for: known.watched_for,
            };
            self.judge
                .wrote(&self.cluster, &before, action, &known.allowed, &writer, self.at);
            self.coverage.wrote(action);
            if matches!(action, Action::WriteRecord { change, .. } if change.finished.is_some()) {
                self.ended = self.at;
            }
        }
        self.tell(|_| story(operator, action, result));
        if halved {
            return self.crash(operator);
        }
        if self.faults.strikes(Fault::ReplyLost, &mut self.rng) {
            return self.refused(operator, action, Refusal::Trouble);
        }
        let known = &mut self.operators[operator];
        for answer in &answers {
            known.view.absorb(answer);
        }
        match result {
            Ok(()) => {
                known.failed.clear(target);
                self.go_on(operator);
            }
            Err(refusal) => self.refused(operator, action, refusal),
        }
    }

    pub fn go_on(&mut self, operator: usize) {
        let epoch = self.operators[operator].epoch;
        let known = &mut self.operators[operator];
        let actions = |plan: &Option<Rc<Plan>>| plan.as_ref().map_or(0, |plan| plan.actions.len());
        if known.written < actions(&known.planned) {
            return self.call_later(operator, epoch);
        }
        known.busy = false;
        let before = std::mem::replace(&mut known.carried_out, known.planned.take());
        let after = &known.carried_out;
        if !known.failed.left_out.is_empty() {
            known.carried_out = None;
            return self.wake(operator, 1);
        }
        let repeated = before
            .zip(after.as_ref())
            .is_some_and(|(one, other)| one.actions == other.actions);
        self.wake(operator, if repeated { 2000 } else { 1 });
    }
}

fn story(operator: usize, action: &Action, result: Result<(), Refusal>) -> String {
    let what = match action {
        Action::SetHolders { because, holders } => format!("{because}; in progress: {}", holders.len()),
        Action::WriteRecord { change, .. } => match (&change.operation, &change.finished) {
            (_, Some(finished)) => format!("{:?} {}", finished.outcome, finished.message),
            (Change::Set(Some(operation)), None) => {
                let pending = operation.pending_outcome.as_ref();
                let end = pending.map(|pending| format!("ends {:?}: {}", pending.outcome, pending.message));
                let failure = operation.failure.as_ref().map(|failure| failure.message.clone());
                format!("{:?} {}", operation.phase, end.or(failure).unwrap_or_default())
            }
            (change, None) => format!("{change:?}"),
        },
        Action::SetSpec { order, .. } => format!("{:?}", order.as_ref().map(|order| order.action)),
        other => format!("{}", matches!(other, Action::Uncordon { keep_cordon: true, .. })),
    };
    let node = action.node().unwrap_or("lock");
    format!("operator {operator} {node} {} {what} -> {result:?}", action.name())
}
