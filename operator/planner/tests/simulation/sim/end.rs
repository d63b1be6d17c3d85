//! After the faults: everything comes to rest (L1, L2, L4), and what waits on time is looked at in time (L3).

use std::fmt::Write as _;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::{Kind, NodeObject};
use super::faults::Fault;
use super::world::{Event, OrderSource, World};

impl World {
    /// Nothing goes wrong any more: one operator leads, people let go, and broken hosts are put right.
    pub fn all_quiet(&mut self) {
        self.tell(|_| "all quiet".to_owned());
        self.quiet = true;
        self.faults.off = true;
        for operator in 0..self.operators.len() {
            self.operators[operator].lags = [0; 4];
            self.after(0, Event::Lead(operator, false));
            // What the watches held back is told.
            for kind in Kind::ALL {
                self.after(400_000, Event::Deliver(operator, kind));
            }
        }
        let leader = self.last_leader();
        self.after(1000, Event::Lead(leader, true));
        for index in 0..self.cluster.policies.len() {
            self.cluster.edit_policy(index, |object| {
                object.value.suspend = false;
                object.groups = 1 << index;
            });
        }
        if self.cluster.policies[0].is_none() {
            let made = super::setup::policy_object(0, &mut self.rng);
            self.cluster.put_policy(0, Some(made));
        }
        let second = self.cluster.policies[1].is_some();
        for node in 0..self.hosts.len() {
            self.hosts[node].blocked_until = 0;
            self.repair(node);
            self.cluster.set_undecodable(node, false);
            self.confine(node, Confinement::Confined);
            self.cluster.edit_node(node, |object| {
                object.value.hold = None;
                object.group = if second && object.group == 2 { 2 } else { 1 };
            });
            self.after(1, Event::Make(node));
            self.after(5_000, Event::Collect(node));
            // A kubelet that was said to be gone speaks again.
            let boot = self.hosts[node].boot;
            self.after(1000, Event::Ready(node, boot));
            self.repair_daemon(node);
            self.after(60_000, Event::Agent(node, OrderSource::Current));
        }
        // The late ones of before have come by then.
        self.after(2_400_000, Event::Round);
    }

    /// A person presses the power button.
    fn repair(&mut self, node: usize) {
        if self.hosts[node].lost {
            let boot = self.hosts[node].boot;
            let new = self.rng.chance(700);
            let delay = self.rng.between(1000, 600_000);
            self.after(delay, Event::Up(node, boot, new));
        }
    }

    /// Every ten minutes a person looks after the nodes that are Failed.
    pub fn round(&mut self) {
        if self.judge.quiet_since.is_none() {
            self.judge.quiet_since = Some(self.at);
            self.wake(self.last_leader(), 0);
        }
        for node in 0..self.hosts.len() {
            let manual = |(_, policy): (usize, &Policy)| policy.approval == Approval::Manual;
            let asks = self
                .cluster
                .record(node)
                .is_some_and(|record| record.operation.is_none());
            if asks && self.cluster.policies_of(node).any(manual) {
                let unapproved = self.cluster.nodes[node]
                    .as_ref()
                    .is_some_and(|node| node.value.approved.is_none());
                let _ = unapproved && self.approves(node);
            }
            if self.never_went_down(node) {
                self.uncordons(node);
            }
            let failed =
                |operation: &Operation| operation.phase == Phase::Failed && operation.pending_outcome.is_none();
            if self.came_back_long_ago(node) {
                let what = format!("{} is back and well, and stays Failed", self.cluster.names[node]);
                self.judge.broken("L1", &what);
            }
            if self.cluster.operation(node).is_some_and(failed) {
                let verb = if self.rng.chance(700) { "retry" } else { "release" };
                self.tell(|world| format!("{}: {verb}", world.cluster.names[node]));
                self.command(node, verb, false);
                // The same words once more are a new command.
                for operator in &mut self.operators {
                    operator.carried_out = None;
                }
            }
        }
        self.after(600_000, Event::Round);
    }

    /// A node that failed because time ran out has been Ready in its new boot for minutes.
    fn came_back_long_ago(&self, node: usize) -> bool {
        let Some(operation) = self.cluster.operation(node) else {
            return false;
        };
        let timed_out = operation.failure.as_ref().is_some_and(|failure| failure.timed_out);
        let object = self.cluster.nodes[node].as_ref();
        let record = self.cluster.record(node);
        let is_well = |seen: &NodeObject| {
            let host = record.and_then(|record| record.host.as_ref());
            let reported = host.is_some_and(|host| host.boot_id == seen.value.boot_id);
            let since = self.now() - seen.value.ready.since;
            let new = self.cluster.has_rebooted(node, &seen.value.boot_id, operation);
            seen.value.ready.ready && reported && new && since > TimeDelta::minutes(5)
        };
        timed_out
            && operation.pending_outcome.is_none()
            && operation.daemon_sets.is_empty()
            && object.is_some_and(|object| is_well(object))
    }

    /// The cordon stays on a node whose operation only its agent knows: the host accepted a reboot. It came back in the
    /// same boot; a runbook says to look at it.
    fn never_went_down(&self, node: usize) -> bool {
        let Some(object) = self.cluster.nodes[node].as_ref() else {
            return false;
        };
        let host = self.cluster.record(node).and_then(|record| record.host.as_ref());
        let host = host.filter(|host| host.boot_id == object.value.boot_id);
        let answer = host.and_then(|host| host.answer.as_ref());
        let accepted = answer.is_some_and(|answer| answer.state == AnswerState::Rebooting);
        let left = object.value.cordoned_for.is_some() && self.cluster.operation(node).is_none();
        left && object.value.ready.ready && accepted
    }

    /// An operator has nothing to do: either all is done, or it is waiting for something that will come.
    pub fn at_rest(&mut self, operator: usize, plan: &Plan) {
        if self.judge.quiet_since.is_none() || !self.cluster.holders().is_empty() {
            return;
        }
        if !(0..self.hosts.len()).all(|node| self.is_over(node)) {
            return;
        }
        let (seen, skew) = (&self.operators[operator].view.snapshot, self.operators[operator].skew);
        for (name, why) in &plan.wait_reasons {
            let asks_no_more = || {
                let node = seen.nodes.get(name);
                node.is_some_and(|node| asks_no_more(node, self.now() + skew))
            };
            if !is_final(why) && !asks_no_more() {
                return;
            }
        }
        self.done = true;
        self.compare();
    }

    /// L1, L2: nothing of ours is left on the node, and it does not wait for us.
    fn is_over(&self, node: usize) -> bool {
        let Some(object) = self.cluster.nodes[node].as_ref() else {
            return true;
        };
        let Some(record) = self.cluster.record(node) else {
            return false;
        };
        object.value.cordoned_for.is_none()
            && !object.cordon.ours
            && record.operation.is_none()
            && record.order.is_none()
    }

    pub fn never_ends(&mut self) {
        // An operator whose clock is off by days would not lead; here it may look again and again.
        if !self.quiet && self.faults.counts[Fault::ClockFarOff as usize] > 0 {
            self.done = true;
            return;
        }
        let leader = self.last_leader();
        let last = &mut self.operators[leader];
        last.view.refresh(&last.progress);
        let (snapshot, skew) = (&last.view.snapshot, last.skew);
        let now = self.start + TimeDelta::milliseconds(self.at) + skew;
        let plan = lockkeeper_planner::plan(snapshot, now);
        let seconds = |time: TimeDelta| time.as_seconds_f64();
        let mut what = format!(
            "no rest after {} passes and {} s: {:?}; the next look is due in {:?} s (clock off by {} s)\n",
            self.passes,
            self.at / 1000,
            plan.actions,
            plan.recheck_at.map(|at| seconds(at - now)),
            seconds(skew),
        );
        for (name, why) in &plan.wait_reasons {
            let _ = writeln!(what, "  {name} {}: {why}", why.name());
        }
        self.judge.broken("L1", &what);
    }
}

/// It needs no reboot, or its past keeps it out: that it is outside its window as well is said first.
fn asks_no_more(node: &Node, now: Instant) -> bool {
    let past = node.record.as_ref().map(|record| check_history(node, record, now));
    !node.requires_reboot() || past.is_some_and(|past| past.is_err_and(|why| is_final(&why)))
}

/// What only a person, or a day, changes: the planner has said who must act.
fn is_final(why: &WaitReason) -> bool {
    matches!(why, WaitReason::Released { .. } | WaitReason::StillRequired { .. })
}
