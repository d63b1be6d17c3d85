//! One alert, which the checks of the policies look at before a start and after a reboot.
//!
//! All of it is drawn from a generator of its own.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::deadlines::InForce;
use super::faults::Fault;
use super::jobs::Jobs;
use super::world::{Event, World};

/// What sets its generator apart from the seed's own.
pub const GENERATOR: u64 = 0x6368_6563_6b73_6565;
/// The time between two rounds.
const INTERVAL: i64 = 15_000;
/// What makes the alert the same one each time.
const ALERT: &str = "alert";

/// The alert, and who looks at it.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Whether the policies have checks.
    pub there: bool,
    /// Since when the alert fires, if it does.
    pub firing_since: Option<i64>,
    /// The Jobs that ran for nodes.
    pub jobs: Jobs,
}

/// The nodes that the checks of policies are evaluated for, each with what its Jobs run for.
pub type CheckedNodes = BTreeMap<PolicyName, BTreeMap<String, Option<CheckJobs>>>;

impl World {
    /// The policies check an alert that comes and goes.
    pub fn with_checks(&mut self) {
        self.checks.there = true;
        for index in 0..self.cluster.policies.len() {
            let Some(object) = self.cluster.policies[index].as_deref().cloned() else {
                continue;
            };
            let mut object = object;
            let mut checks = lockkeeper_planner::Checks {
                evaluates: true,
                after: self.check_rng.chance(700),
                per_node: false,
                before_jobs: None,
                after_jobs: false,
                soak: TimeDelta::seconds(self.check_rng.pick(&[0, 0, 40, 400])),
                timeout: TimeDelta::minutes(30),
                round: None,
            };
            self.with_jobs(&mut checks);
            object.value.checks = Some(checks);
            self.cluster.put_policy(index, Some(object));
        }
        self.cluster.news.clear();
        self.after(1_000, Event::Alert);
    }

    /// The alert begins to fire or ends; once all is quiet it ends for good.
    pub fn flip_alert(&mut self) {
        if self.quiet {
            self.checks.firing_since = None;
            return;
        }
        let fires = self.checks.firing_since.is_none() && self.check_rng.chance(700);
        self.checks.firing_since = fires.then_some(self.at);
        self.tell(|_| format!("the alert {}", if fires { "fires" } else { "does not fire" }));
        let longest = if fires { 200_000 } else { 900_000 };
        let longest = if self.check_rng.chance(100) { 4_000_000 } else { longest };
        let delay = self.check_rng.between(1_000, longest);
        self.after(delay, Event::Alert);
    }

    /// Evaluates the checks that the plan names, as `operator/src/tasks/checks.rs` does.
    pub fn update_checks(&mut self, operator: usize, plan: &Plan) {
        let of_node = |node: &String| (node.clone(), plan.check_jobs.get(node).cloned());
        let wanted = plan.checks.iter();
        let wanted = wanted.map(|(policy, nodes)| (policy.clone(), nodes.iter().map(of_node).collect()));
        let wanted: CheckedNodes = wanted.collect();
        let known = &mut self.operators[operator];
        let before = std::mem::replace(&mut known.checked_nodes, wanted.clone());
        // Rounds about other nodes, or other Jobs, begin anew.
        let is_same = |policy: &PolicyName| {
            wanted
                .get(policy)
                .is_some_and(|nodes| before.get(policy) == Some(nodes))
        };
        known.checks.retain(|policy, _| is_same(policy));
        known.view.retain_rounds(|policy| wanted.contains_key(policy));
        for policy in wanted.keys() {
            if !self.operators[operator].checks.contains_key(policy) {
                self.probes += 1;
                let (number, delay) = (self.probes, self.check_rng.between(5, 2_000));
                self.operators[operator].checks.insert(policy.clone(), number);
                self.after(delay, Event::CheckRound(operator, number));
            }
        }
    }

    /// One round is made.
    pub fn check_round(&mut self, operator: usize, number: u64) {
        let known = &self.operators[operator];
        let policy = known.checks.iter().find(|(_, known)| **known == number);
        let Some(policy) = policy.map(|(policy, _)| policy.clone()) else {
            return;
        };
        let started = self.start + TimeDelta::milliseconds(self.at) + known.skew;
        let trouble = self.faults.on(Fault::ServerTrouble) && self.check_rng.chance(self.faults.rate);
        let verdict = if trouble {
            CheckVerdict::Unavailable {
                error: "no answer".to_owned(),
                ignored: false,
            }
        } else if self.checks.firing_since.is_some() {
            CheckVerdict::Failing(vec![Finding {
                id: ALERT.to_owned(),
                text: "alert fires".to_owned(),
            }])
        } else {
            CheckVerdict::Passing
        };
        let result = |stage| CheckResult {
            stage,
            name: "alerts".to_owned(),
            job: false,
            verdict: verdict.clone(),
        };
        let mut round = CheckRound {
            started,
            cluster: vec![result(CheckStage::Before), result(CheckStage::After)],
            ..CheckRound::default()
        };
        let checks = self.defined_checks(&policy);
        let nodes = self.operators[operator].checked_nodes.get(&policy);
        for (node, jobs) in nodes.cloned().unwrap_or_default() {
            if let Some(checks) = &checks {
                let results = self.observe_jobs(&node, jobs.as_ref(), checks);
                round.nodes.insert(node.clone(), results);
            }
            round.jobs.extend(jobs.map(|jobs| (node, jobs)));
        }
        self.operators[operator].view.set_round(&policy, round);
        self.wake(operator, 0);
        self.after(INTERVAL, Event::CheckRound(operator, number));
    }

    /// The alert has fired for as long as a round counts, so that no round can have found anything else.
    fn certainly_fires(&self) -> bool {
        let fires = |since: i64| self.at - since > CHECKS_FRESH.num_milliseconds();
        self.checks.firing_since.is_some_and(fires)
    }

    /// The checks of a policy, by what the cluster holds: without the doctoring of a mutant.
    fn defined_checks(&self, policy: &PolicyName) -> Option<lockkeeper_planner::Checks> {
        let index = self.cluster.policy_names.iter().position(|known| known == policy)?;
        self.cluster.policies[index].as_ref()?.value.checks.clone()
    }

    /// No plan starts a node, or ends an operation as a success, while its checks certainly fail, or without the success of
    /// its Jobs.
    pub fn judge_checks(&mut self, operator: usize, plan: &Plan) {
        let fires = self.certainly_fires();
        let mut broken = Vec::new();
        for action in &plan.actions {
            let snapshot = &self.operators[operator].view.snapshot;
            let node = action.node().and_then(|name| Some((name, snapshot.nodes.get(name)?)));
            let Some((name, node)) = node else { continue };
            let operation = node.record.as_ref().and_then(|record| record.operation.as_deref());
            let Some(operation) = operation else { continue };
            if !snapshot.policies.contains_key(&operation.policy) {
                continue;
            }
            let Some(checks) = self.defined_checks(&operation.policy) else {
                continue;
            };
            let now = self.start + TimeDelta::milliseconds(self.at) + self.operators[operator].skew;
            let ignored = |policy: &Policy| InForce::of(policy, node, now).has(Override::IgnoreChecks);
            let jobs = |stage| self.has_succeeded(name, operation, stage);
            match action {
                // Nothing that is checked keeps a node from starting whose checks are overridden.
                Action::Cordon { .. } if snapshot.policies.get(&operation.policy).is_some_and(ignored) => {}
                Action::Cordon { .. } => {
                    if fires {
                        broken.push(format!("{name} starts while its checks fail"));
                    }
                    if checks.before_jobs.is_some() && !jobs(CheckStage::Before) {
                        broken.push(format!("{name} starts without the success of its jobs"));
                    }
                }
                Action::WriteRecord { change, .. } if succeeds(change) => {
                    let is_known = operation.checks_baseline.iter().any(|id| id == ALERT);
                    if fires && checks.after && !is_known {
                        broken.push(format!("{name} succeeds while its checks fail"));
                    }
                    if checks.after_jobs && !jobs(CheckStage::After) {
                        broken.push(format!("{name} succeeds without the success of its jobs"));
                    }
                }
                _ => {}
            }
        }
        for what in broken {
            self.judge.broken("checks", &what);
        }
    }
}

fn succeeds(change: &RecordChange) -> bool {
    change
        .finished
        .as_ref()
        .is_some_and(|finished| finished.outcome == Outcome::Succeeded)
}
