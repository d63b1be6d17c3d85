//! An operator: it looks and plans. What it writes is in `calls.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::TimeDelta;
use lockkeeper_planner::preconditions::Proven;
use lockkeeper_planner::*;

use super::checks::CheckedNodes;
use super::cluster::Kind;
use super::failed_writes::FailedWrites;
use super::faults::Fault;
use super::mutants;
use super::view::{Seen, View};
use super::world::{Event, World};
use super::writer::Allowed;

#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts, each changed by its own event"
)]
pub struct Operator {
    pub view: View,
    pub leading: bool,
    /// Grows with each crash: messages to the process before it are lost.
    pub epoch: u64,
    /// Which watches show nothing before when.
    pub lags: [i64; 4],
    /// How far its clock is off.
    pub skew: TimeDelta,
    /// Its clock is behind by days, for good.
    pub stays_behind: bool,
    /// When one of its watches last failed or listed everything.
    pub interrupted: i64,
    /// For how long they had shown the cluster without a break when it made its plan.
    pub watched_for: i64,
    pub drains: BTreeMap<usize, Task>,
    pub progress: BTreeMap<usize, Drain>,
    /// Nodes whose preflight is under way.
    pub asked: BTreeSet<usize>,
    /// Nodes whose `DaemonSet` is looked at, each for an order and a boot, and the look's number.
    pub probes: BTreeMap<usize, ((String, BootId), u64)>,
    /// Nodes whose evicted workload is probed, likewise.
    pub workload_probes: BTreeMap<usize, ((String, BootId), u64)>,
    /// Nodes with the Job of a hook, each with the id of its run and the number of the requests.
    pub hook_jobs: BTreeMap<usize, (String, u64)>,
    /// Policies whose checks are evaluated, each with the number of its rounds.
    pub checks: BTreeMap<PolicyName, u64>,
    /// The nodes that they are evaluated for, with what their Jobs run for.
    pub checked_nodes: CheckedNodes,
    pub seen: Seen,
    /// How much of what was planned is written.
    pub written: usize,
    pub busy: bool,
    pub wake: i64,
    /// What its views allowed when it made its plan.
    pub allowed: Allowed,
    /// The last plan, if all of it was carried out.
    pub carried_out: Option<Rc<Plan>>,
    /// The last plan, if it asked for nothing at all, and when it was made by its own clock.
    pub rests_on: Option<(Instant, Plan)>,
    /// The plan that is being carried out.
    pub planned: Option<Rc<Plan>>,
    /// The uids of the Nodes that it has made a record for.
    pub made: BTreeSet<String>,
    /// Whether this pass has verified the policies, where once is enough.
    pub policies_verified: bool,
    /// When this pass wrote the lock, in milliseconds of the simulation.
    pub lock_written: Option<i64>,
    /// What it has proven with its own writes.
    pub proven: Proven,
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
    /// When evictions may start.
    pub evict_at: i64,
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
            stays_behind: false,
            interrupted: 0,
            watched_for: 0,
            drains: BTreeMap::new(),
            progress: BTreeMap::new(),
            asked: BTreeSet::new(),
            probes: BTreeMap::new(),
            workload_probes: BTreeMap::new(),
            hook_jobs: BTreeMap::new(),
            checks: BTreeMap::new(),
            checked_nodes: CheckedNodes::new(),
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
            lock_written: None,
            proven: Proven::default(),
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

    /// An operator whose clock differs from that of the API server does not lead.
    pub fn may_lead(&self, operator: usize) -> bool {
        !self.operators[operator].stays_behind || self.leads_with_any_clock()
    }

    /// The operator that leads once all is quiet.
    pub fn last_leader(&self) -> usize {
        usize::from(!self.may_lead(0))
    }

    pub fn lead(&mut self, operator: usize, leads: bool) {
        let operator = if leads && !self.may_lead(operator) {
            1 - operator
        } else {
            operator
        };
        // Once all is quiet, one operator leads.
        let leads = if self.quiet {
            operator == self.last_leader()
        } else {
            leads
        };
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
            known.proven = Proven::default();
            known.drains.clear();
            known.progress.clear();
            self.update_probes(operator, &[]);
            self.update_workload_probes(operator, &[]);
            self.update_checks(operator, &Plan::default());
            self.update_hook_jobs(operator, &BTreeMap::new());
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
            stays_behind: self.operators[operator].stays_behind,
            interrupted: self.at,
            ..Operator::new(View::new(&self.cluster, own_node))
        };
        for kind in Kind::ALL {
            let delay = self.rng.between(100, 3000);
            self.after(delay, Event::List(operator, epoch, kind));
        }
        if !self.operators.iter().any(|operator| operator.leading) {
            let next = if self.quiet {
                self.last_leader()
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
        let elapsed = known
            .drains
            .iter()
            .map(|(index, task)| (*index, (self.at - task.since).max(0)));
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
        self.update_workload_probes(operator, &plan.workload_probes);
        self.update_checks(operator, &plan);
        self.update_hook_jobs(operator, &plan.hook_jobs);
        self.judge_checks(operator, &plan);
        let due = self.due(operator, &plan);
        if plan.actions.is_empty() {
            self.rest(operator, plan, now);
        } else if due.is_empty() {
            self.tend(operator);
        } else {
            self.act(operator, Plan { actions: due, ..plan }, now);
        }
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
        let checked = |why: &WaitReason| why.name() == ReasonName::ChecksPending;
        let asks = unpublished || !plan.preflight.is_empty() || plan.wait_reasons.values().any(checked);
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
}
