//! One alert, which the checks of the policies look at before a start and after a reboot.
//!
//! All of it is drawn from a generator of its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::deadlines::InForce;
use super::faults::Fault;
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
}

impl World {
    /// The policies check an alert that comes and goes.
    pub fn with_checks(&mut self) {
        self.checks.there = true;
        for index in 0..self.cluster.policies.len() {
            let Some(object) = self.cluster.policies[index].as_deref().cloned() else {
                continue;
            };
            let mut object = object;
            object.value.checks = Some(lockkeeper_planner::Checks {
                evaluates: true,
                after: self.check_rng.chance(700),
                per_node: false,
                soak: TimeDelta::seconds(self.check_rng.pick(&[0, 0, 40, 400])),
                timeout: TimeDelta::minutes(30),
                round: None,
            });
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
    pub fn update_checks(&mut self, operator: usize, wanted: &BTreeMap<PolicyName, BTreeSet<String>>) {
        let known = &mut self.operators[operator];
        known.checks.retain(|policy, _| wanted.contains_key(policy));
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
            verdict: verdict.clone(),
        };
        let round = CheckRound {
            started,
            cluster: vec![result(CheckStage::Before), result(CheckStage::After)],
            nodes: BTreeMap::new(),
        };
        self.operators[operator].view.set_round(&policy, round);
        self.wake(operator, 0);
        self.after(INTERVAL, Event::CheckRound(operator, number));
    }

    /// The alert has fired for as long as a round counts, so that no round can have found anything else.
    fn certainly_fires(&self) -> bool {
        let fires = |since: i64| self.at - since > CHECKS_FRESH.num_milliseconds();
        self.checks.firing_since.is_some_and(fires)
    }

    /// No plan starts a node, or ends an operation as a success, while its checks certainly fail.
    pub fn judge_checks(&mut self, operator: usize, plan: &Plan) {
        if !self.certainly_fires() {
            return;
        }
        let mut broken = Vec::new();
        for action in &plan.actions {
            let snapshot = &self.operators[operator].view.snapshot;
            let node = action.node().and_then(|name| Some((name, snapshot.nodes.get(name)?)));
            let Some((name, node)) = node else { continue };
            let operation = node.record.as_ref().and_then(|record| record.operation.as_deref());
            let Some(operation) = operation else { continue };
            let policy = snapshot.policies.get(&operation.policy);
            // Without the doctoring of a mutant: by what the policy says.
            let object = self
                .cluster
                .policy_names
                .iter()
                .position(|known| *known == operation.policy);
            let object = object.and_then(|index| self.cluster.policies[index].as_ref());
            let Some(checks) = object
                .and_then(|object| object.value.checks.as_ref())
                .filter(|_| policy.is_some())
            else {
                continue;
            };
            let now = self.start + TimeDelta::milliseconds(self.at) + self.operators[operator].skew;
            let ignored = |policy: &Policy| InForce::of(policy, node, now).has(Override::IgnoreChecks);
            match action {
                // The alert keeps no node from starting whose checks are overridden.
                Action::Cordon { .. } if policy.is_some_and(ignored) => {}
                Action::Cordon { .. } => broken.push(format!("{name} starts while its checks fail")),
                Action::WriteRecord { change, .. } if succeeds(change) => {
                    let is_known = operation.checks_baseline.iter().any(|id| id == ALERT);
                    if checks.after && !is_known {
                        broken.push(format!("{name} succeeds while its checks fail"));
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
