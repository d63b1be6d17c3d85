//! An operator: it looks, plans, and writes one call after the other; it may die or stall between any two.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::{Kind, Refusal};
use super::execute::Write;
use super::failed_writes::{FailedWrites, Target};
use super::faults::Fault;
use super::mutants;
use super::view::{Seen, View};
use super::world::{Event, World};
use super::writer::{Allowed, Before, Writer};

#[derive(Debug)]
pub struct Operator {
    pub view: View,
    pub leading: bool,
    /// Grows with each crash: messages to the process before it are lost.
    pub epoch: u64,
    /// Which watches show nothing before when.
    pub lags: [i64; 4],
    /// How far its clock is off.
    pub skew: TimeDelta,
    /// When one of its watches last failed or listed everything.
    pub interrupted: i64,
    /// For how long they had shown the cluster without a break when it made its plan.
    watched_for: i64,
    pub drains: BTreeMap<usize, Task>,
    pub progress: BTreeMap<usize, Drain>,
    /// Nodes whose preflight is under way.
    pub asked: BTreeSet<usize>,
    /// Nodes whose `DaemonSet` is looked at, each for an order and a boot, and the look's number.
    pub probes: BTreeMap<usize, ((String, BootId), u64)>,
    seen: Seen,
    /// How much of what was planned is written.
    written: usize,
    pub busy: bool,
    wake: i64,
    /// What its views allowed when it made its plan.
    allowed: Allowed,
    /// The last plan, if all of it was carried out.
    pub carried_out: Option<Rc<Plan>>,
    /// The last plan, if it asked for nothing at all, and when it was made by its own clock.
    pub rests_on: Option<(Instant, Plan)>,
    /// The plan that is being carried out.
    pub planned: Option<Rc<Plan>>,
    /// The uids of the Nodes that it has made a record for.
    made: BTreeSet<String>,
    /// Whether this pass has verified the policies, where once is enough.
    policies_verified: bool,
    /// What it knows of writes that failed.
    pub failed: FailedWrites,
}

/// A drain that runs.
#[derive(Clone, Debug)]
pub struct Task {
    pub operation: String,
    /// A retry drains anew.
    pub attempt: i32,
    pub cordoned: Instant,
    pub moved: usize,
    /// What followed the time-out, if it has; another stage is another drain.
    pub stage: Option<StageKind>,
    /// When this process began to ask for evictions.
    pub since: i64,
}

impl Operator {
    pub fn new(view: View) -> Self {
        Self {
            view,
            leading: false,
            epoch: 0,
            lags: [0; 4],
            skew: TimeDelta::zero(),
            interrupted: 0,
            watched_for: 0,
            drains: BTreeMap::new(),
            progress: BTreeMap::new(),
            asked: BTreeSet::new(),
            probes: BTreeMap::new(),
            seen: Seen::default(),
            written: 0,
            busy: false,
            wake: i64::MAX,
            allowed: Allowed::default(),
            carried_out: None,
            rests_on: None,
            planned: None,
            made: BTreeSet::new(),
            policies_verified: false,
            failed: FailedWrites::default(),
        }
    }
}

impl World {
    /// An operator will look in that many milliseconds, if not earlier.
    pub fn wake(&mut self, operator: usize, delay: i64) {
        let at = self.at + delay.max(0);
        let known = &mut self.operators[operator].wake;
        if at < *known {
            *known = at;
            self.on(at, Event::Wake(operator));
        }
    }

    pub fn woken(&mut self, operator: usize) {
        let known = &mut self.operators[operator];
        if known.wake != self.at {
            return;
        }
        known.wake = i64::MAX;
        if known.leading && !known.busy {
            self.pass(operator);
        }
    }

    pub fn deliver(&mut self, operator: usize, kind: Kind) {
        let coalesced = self.faults.often(Fault::Coalesced, 300, &mut self.rng);
        let relisted = self.faults.strikes(Fault::Relist, &mut self.rng);
        let known = &mut self.operators[operator];
        if relisted && known.view.is_listed(kind) {
            known.view.relist(kind, &self.cluster);
            known.view.changed = true;
            known.interrupted = self.at;
            self.wake(operator, 0);
        } else if known.view.deliver(kind, self.at, coalesced) {
            self.wake(operator, 0);
        }
    }

    pub fn list(&mut self, operator: usize, epoch: u64, kind: Kind) {
        let known = &mut self.operators[operator];
        if known.epoch == epoch {
            known.view.relist(kind, &self.cluster);
            known.view.changed = true;
            known.interrupted = self.at;
            self.wake(operator, 0);
        }
    }

    pub fn lead(&mut self, operator: usize, leads: bool) {
        // Once all is quiet, one operator leads.
        let leads = if self.quiet { operator == 0 } else { leads };
        let known = &mut self.operators[operator];
        if known.leading == leads {
            return;
        }
        known.leading = leads;
        self.tell(|_| format!("operator {operator} {}", if leads { "leads" } else { "leads no more" }));
        if leads {
            self.wake(operator, 0);
        } else {
            let known = &mut self.operators[operator];
            known.view.refresh(&known.progress);
            known.drains.clear();
            known.progress.clear();
            self.update_probes(operator, &[]);
        }
    }

    /// The process dies; a new one has observed nothing, and another operator takes over in time.
    pub fn crash(&mut self, operator: usize) {
        self.tell(|_| format!("operator {operator} dies"));
        let own_node = self.operators[operator].view.snapshot.own_node.clone();
        let epoch = self.operators[operator].epoch + 1;
        self.operators[operator] = Operator {
            epoch,
            wake: i64::MAX,
            skew: self.operators[operator].skew,
            interrupted: self.at,
            ..Operator::new(View::new(&self.cluster, own_node))
        };
        for kind in Kind::ALL {
            let delay = self.rng.between(100, 3000);
            self.after(delay, Event::List(operator, epoch, kind));
        }
        if !self.operators.iter().any(|operator| operator.leading) {
            let next = if self.quiet {
                0
            } else {
                self.rng.below(self.operators.len())
            };
            let delay = self.rng.between(1000, 9000);
            self.after(delay, Event::Lead(next, true));
        }
    }

    fn pass(&mut self, operator: usize) {
        self.passes += 1;
        let known = &mut self.operators[operator];
        known.view.denied = known.failed.denied(self.at);
        known.view.refresh(&known.progress);
        if let Some(expiry) = known.failed.next_expiry(self.at) {
            self.wake(operator, expiry - self.at);
        }
        self.perturb(operator);
        let known = &mut self.operators[operator];
        let elapsed = known.drains.iter().map(|(index, task)| (*index, self.at - task.since));
        let elapsed = elapsed.collect();
        known.watched_for = self.at - known.interrupted;
        known.view.set_elapsed(&elapsed, known.watched_for);
        let now = self.start + TimeDelta::milliseconds(self.at) + known.skew;
        let snapshot = &known.view.snapshot;
        let plan = mutants::plan(self.mutant, snapshot, now);
        if self.mutant.is_none_or(mutants::Mutant::is_judged_by_check) {
            self.judge.plan(snapshot, &plan, now);
        }
        self.order_dependence(operator, &plan, now);
        self.repeats(operator, &plan);
        self.comes_too_late(operator, &plan, now);
        self.coverage.plan(&plan);
        self.ask(operator, &plan);
        self.update_probes(operator, &plan.daemon_set_probes);
        let due = self.due(operator, &plan);
        if plan.actions.is_empty() {
            self.rest(operator, plan, now);
        } else if due.is_empty() {
            self.tend(operator);
        } else {
            self.act(operator, Plan { actions: due, ..plan }, now);
        }
    }

    /// There is something to write.
    fn act(&mut self, operator: usize, mut plan: Plan, now: Instant) {
        let known = &mut self.operators[operator];
        let starts = |action: &Action| matches!(action, Action::SetHolders { .. } | Action::Cordon { .. });
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
        known.failed.left_out.clear();
        known.busy = true;
        let epoch = known.epoch;
        self.tend(operator);
        self.call_later(operator, epoch);
    }

    /// The next write is on its way, or the process stands still for a while before it.
    fn call_later(&mut self, operator: usize, epoch: u64) {
        let stalls = self.faults.strikes(Fault::Stall, &mut self.rng);
        let longest = if stalls { 90_000 } else { 25 };
        let delay = self.rng.between(3, longest);
        self.after(delay, Event::Call(operator, epoch));
    }

    /// There is nothing to write: what was decided is published, and time is waited for.
    fn rest(&mut self, operator: usize, plan: Plan, now: Instant) {
        self.operators[operator].planned = None;
        if let Some(at) = plan.recheck_at {
            self.wake(operator, (at - now).num_milliseconds() + 20);
        }
        self.tend(operator);
        let unpublished = self.publish(operator, &plan);
        if self.quiet {
            self.at_rest(operator, &plan);
        }
        let asks = unpublished || !plan.preflight.is_empty();
        self.operators[operator].rests_on = (!asks).then_some((now, plan));
    }

    /// Equal candidates come in another order: a stable one would hide a race.
    fn perturb(&mut self, operator: usize) {
        if !self.faults.often(Fault::Perturbed, 200, &mut self.rng) {
            return;
        }
        let index = self.rng.below(self.cluster.names.len());
        let earlier = TimeDelta::minutes(self.rng.between(0, 600));
        let known = &mut self.operators[operator];
        known.view.age_requirement(index, earlier);
        known.view.refresh(&known.progress);
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
            answers: vec![],
        };
        let result = write.execute(action);
        let answers = std::mem::take(&mut write.answers);
        let index = action.node().and_then(|node| self.cluster.index(node));
        if result.is_ok() {
            let writer = Writer {
                now,
                skew: known.skew,
                drained_for: index.and_then(|index| Some(self.at - known.drains.get(&index)?.since)),
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
            (Change::Set(Some(operation)), None) => match &operation.pending_outcome {
                Some(pending_outcome) => format!(
                    "{:?} ends {:?}: {}",
                    operation.phase, pending_outcome.outcome, pending_outcome.message
                ),
                None => format!("{:?}", operation.phase),
            },
            (change, None) => format!("{change:?}"),
        },
        Action::SetSpec { order, .. } => format!("{:?}", order.as_ref().map(|order| order.action)),
        other => format!("{}", matches!(other, Action::Uncordon { keep_cordon: true, .. })),
    };
    let node = action.node().unwrap_or("lock");
    format!("operator {operator} {node} {} {what} -> {result:?}", action.name())
}
