//! What an operator does beside its writes: drains, preflights, and the status of its policies.

use chrono::{SubsecRound, TimeDelta};
use lockkeeper_planner::*;

use super::faults::Fault;
use super::operator::Task;
use super::world::{Event, World};

impl World {
    /// Starts the drains that should run and ends the others, as `operator/src/drains.rs` does.
    pub fn tend(&mut self, operator: usize) {
        let (at, now, start) = (self.at, self.now(), self.start);
        let known = &mut self.operators[operator];
        let runs = |node: &Node, operation: &Operation| {
            operation.phase == Phase::Draining
                && operation.pending_outcome.is_none()
                && operation.next_hook(HookPoint::BeforeDrain).is_none()
                && !operation.awaits_notice()
                && node.cordoned_for.as_ref() == Some(&operation.id)
                && node.unschedulable
        };
        let goes_on = |(index, task): &(&usize, &Task)| {
            let operation = known
                .view
                .operation(**index)
                .filter(|(node, operation)| runs(node, operation) && !known.view.is_undecodable(**index));
            operation.is_some_and(|(_, one)| {
                let stage = one.stage.map(|stage| stage.kind);
                (&one.id, one.attempt, stage) == (&task.operation, task.attempt, task.stage)
            })
        };
        let ended = known.drains.iter().filter(|drain| !goes_on(drain));
        let ended: Vec<usize> = ended.map(|(index, _)| *index).collect();
        for index in ended {
            known.drains.remove(&index);
            known.progress.remove(&index);
            known.view.set_drain(index, &Drain::NotStarted);
        }
        let (epoch, skew) = (known.epoch, known.skew);
        let begins = known
            .view
            .in_progress()
            .filter(|(index, node, operation)| runs(node, operation) && !known.drains.contains_key(index))
            .filter(|(index, ..)| !known.view.is_undecodable(*index));
        let task = |(index, _, operation): (usize, &Node, &Operation)| {
            // The clock that recorded it may have been ahead; the cordon is older than the drain in any case.
            let cordoned = operation.cordoned.unwrap_or(operation.started) + TimeDelta::seconds(1) - skew;
            let cordoned = cordoned.min(now);
            let notice = operation
                .notice_ends()
                .map(|ends| (ends - skew - start).num_milliseconds());
            let evict_at = notice.unwrap_or(at);
            let task = Task {
                operation: operation.id.clone(),
                attempt: operation.attempt,
                cordoned: cordoned.trunc_subsecs(0),
                moved: 0,
                stage: operation.stage.map(|stage| stage.kind),
                evict_at,
                since: at.max(evict_at),
            };
            (index, task)
        };
        let begins: Vec<(usize, Task)> = begins.map(task).collect();
        for (index, task) in begins {
            self.operators[operator].drains.insert(index, task);
            if self.faults.often(Fault::Blocked, 150, &mut self.rng) {
                let (from, to) = self.rng.pick(&[(20_000, 400_000), (400_000, 4_000_000)]);
                self.hosts[index].blocked_until = self.at + self.rng.between(from, to);
            }
            let delay = self.rng.between(20, 300);
            self.after(delay, Event::Drain(operator, epoch, index));
        }
    }

    /// Asks whether the pods of those who come next can leave, each at most once at a time.
    pub fn ask(&mut self, operator: usize, plan: &Plan) {
        for name in &plan.preflight {
            let Some(index) = self.cluster.index(name) else {
                continue;
            };
            if self.operators[operator].asked.insert(index) {
                let (epoch, delay) = (self.operators[operator].epoch, self.rng.between(30, 800));
                self.after(delay, Event::Preflight(operator, epoch, index));
            }
        }
    }

    pub fn preflight(&mut self, operator: usize, epoch: u64, index: usize) {
        let at = self.now() + self.operators[operator].skew;
        if self.operators[operator].epoch != epoch {
            return;
        }
        let preflight = if self.faults.often(Fault::Undrainable, 200, &mut self.rng) {
            let (pod, why) = (
                "shop/db-0".to_owned(),
                "its budget never allows a disruption".to_owned(),
            );
            Preflight::Blocked { pod, why, at }
        } else {
            Preflight::Clear { at }
        };
        let known = &mut self.operators[operator];
        known.asked.remove(&index);
        known.view.refresh(&known.progress);
        known.view.set_preflight(index, &preflight);
        self.wake(operator, 0);
    }

    /// What the policies' statuses must remember, once there is nothing more urgent. Says whether some do not yet.
    pub fn publish(&mut self, operator: usize, plan: &Plan) -> bool {
        if self.faults.strikes(Fault::ServerTrouble, &mut self.rng) {
            return true;
        }
        let mut differs = false;
        for (name, state) in &plan.policies {
            let known = &mut self.operators[operator];
            let seen = known.view.snapshot.policies.get(name).map(|policy| &policy.state);
            if seen == Some(state) {
                continue;
            }
            differs = true;
            let Some(index) = self.cluster.policy_names.iter().position(|known| known == name) else {
                continue;
            };
            if known.view.has_newest_policy(index, &self.cluster) {
                let answer = self
                    .cluster
                    .edit_policy(index, |object| object.value.state = state.clone());
                if let Some(answer) = answer {
                    known.view.absorb(&answer);
                }
                self.coverage.published += 1;
                // Two leaders whose clocks differ by days write against each other for as long as both lead.
                self.wake(operator, 300);
            }
        }
        differs
    }

    /// One look of a drain.
    pub fn drain(&mut self, operator: usize, epoch: u64, index: usize) {
        let known = &mut self.operators[operator];
        let Some(task) = known.drains.get_mut(&index).filter(|_| known.epoch == epoch) else {
            return;
        };
        let (evict_at, moved) = (task.evict_at, task.moved);
        if let Some(delay) = self.await_notice(index, evict_at) {
            self.after(delay, Event::Drain(operator, epoch, index));
            return self.show_drain(operator, index, Drain::Running { moved, waiting: None });
        }
        let known = &mut self.operators[operator];
        let Some(task) = known.drains.get_mut(&index) else {
            return;
        };
        let now = self.start + TimeDelta::milliseconds(self.at);
        let (blocked, steady) = (self.hosts[index].blocked_until, task.cordoned + TimeDelta::seconds(3));
        let deletes = task.stage == Some(StageKind::Delete);
        let (drain, again) = if self.cluster.pods[index] > 0 && blocked > self.at && !deletes {
            let waiting = WaitReason::EvictionBlocked {
                message: "pod shop/db-0: budget shop/db allows 0".to_owned(),
            };
            let drain = Drain::Running {
                moved: task.moved,
                waiting: Some(waiting),
            };
            (drain, Some((blocked - self.at).min(300_000)))
        } else if self.cluster.pods[index] > 0 {
            let order = format!("{}-{}", task.operation, task.attempt);
            self.judge.evicts(&self.cluster, index, &order, now, known.skew);
            self.cluster.pods[index] -= 1;
            task.moved += 1;
            let moved = task.moved;
            (
                Drain::Running { moved, waiting: None },
                Some(self.rng.between(100, 2500)),
            )
        } else if now < steady {
            let left = (steady - now).num_milliseconds();
            let moved = task.moved;
            (Drain::Running { moved, waiting: None }, Some(left))
        } else {
            (Drain::Done { moved: task.moved }, None)
        };
        if let Some(delay) = again {
            self.after(delay, Event::Drain(operator, epoch, index));
        }
        self.show_drain(operator, index, drain);
    }

    fn show_drain(&mut self, operator: usize, index: usize, drain: Drain) {
        let known = &mut self.operators[operator];
        if known.progress.get(&index) != Some(&drain) {
            known.view.set_drain(index, &drain);
            known.progress.insert(index, drain);
            self.wake(operator, 0);
        }
    }
}
