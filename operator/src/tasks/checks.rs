//! The checks of policies, evaluated in rounds for as long as the planner asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use kube::Client;
use lockkeeper_checks::{AskedNode, Evaluator, Expressions};
use lockkeeper_crds as api;
use lockkeeper_kube_util::Clock;
use lockkeeper_planner::{CheckJobs, CheckResult, CheckRound, CheckStage, CheckVerdict, Plan, PolicyName};
use lockkeeper_snapshot::{Filling, ObservedObjects};
use tokio::time::Instant;

use super::supervisor::{AnswerSender, Supervisor, Task, WakeUp};

/// How many checks of one policy are evaluated at a time.
const MAX_CONCURRENT: usize = 4;
/// A first round that takes longer than this is worth reporting that nodes wait for it.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);

/// How checks are evaluated.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// How expressions are.
    pub expressions: Expressions,
    /// The time between two rounds, at most half of [`lockkeeper_planner::CHECKS_FRESH`].
    pub interval: Duration,
}

/// The rounds, by policy.
#[derive(Debug)]
pub struct Checks {
    evaluator: Evaluator,
    interval: Duration,
    clock: Clock,
    tasks: Supervisor<PolicyName, Question, Option<CheckRound>>,
}

/// What the rounds of a policy must answer.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    checks: Arc<api::Checks>,
    /// The nodes, each with what its Jobs run for.
    nodes: BTreeMap<String, Option<CheckJobs>>,
}

impl Checks {
    /// No round runs yet. The client must not retry by itself; `namespace` is that of our own pods.
    pub fn new(client: Client, namespace: String, options: CheckOptions, clock: Clock, wake_up: WakeUp) -> Self {
        Self {
            evaluator: Evaluator::new(client, namespace, options.expressions, clock),
            interval: options.interval,
            clock,
            tasks: Supervisor::new(wake_up),
        }
    }

    /// Puts the last rounds into the snapshot; a round of checks that have changed since does not count.
    pub fn fill(&self, filling: &mut Filling, observed: &ObservedObjects) {
        for (name, task) in self.tasks.iter() {
            let policy = filling.policy(name);
            let Some(checks) = policy.and_then(|policy| policy.checks.as_mut()) else {
                continue;
            };
            if defined(name, observed).is_some_and(|defined| *defined == *task.question.checks) {
                checks.round.clone_from(&task.answer());
            }
        }
    }

    /// Evaluates the checks that the plan names, and no others.
    pub fn reconcile(&mut self, plan: &Plan, observed: &ObservedObjects) {
        self.tasks.retain_keys(|name| plan.checks.contains_key(name));
        for (name, nodes) in &plan.checks {
            let Some(defined) = defined(name, observed) else {
                continue;
            };
            let nodes: BTreeMap<String, Option<CheckJobs>> = nodes
                .iter()
                .map(|node| (node.clone(), plan.check_jobs.get(node).cloned()))
                .collect();
            let (task, is_same) = match self.tasks.get(name) {
                Some(task) => (Some(task), *task.question.checks == *defined),
                None => (None, false),
            };
            if is_same && task.is_some_and(|task| task.question.nodes == nodes) {
                continue;
            }
            // The rounds go on with the other nodes: what does not depend on them is still known.
            let last = task.filter(|_| is_same).and_then(|task| task.answer().clone());
            let checks = match task.filter(|_| is_same) {
                Some(task) => task.question.checks.clone(),
                None => Arc::new(defined.clone()),
            };
            let question = Question { checks, nodes };
            let rounds = Rounds {
                evaluator: self.evaluator.clone(),
                interval: self.interval,
                clock: self.clock,
                policy: name.clone(),
                question: question.clone(),
            };
            let initial = last.clone();
            self.tasks
                .start(name.clone(), question, initial, |answer| rounds.run(last, answer));
        }
    }

    /// When the first rounds that are expected soon will have been made.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let unanswered = self.tasks.iter().filter(|(_, task)| is_unanswered(task));
        unanswered
            .map(|(_, task)| task.started + EXPECTED_WITHIN)
            .filter(|expected| *expected > now)
            .max()
    }

    /// Ends all rounds: another replica leads.
    pub fn stop(&mut self) {
        self.tasks.stop();
    }
}

/// Whether a node that is asked about has no answer yet.
fn is_unanswered(task: &Task<Question, Option<CheckRound>>) -> bool {
    let answer = task.answer();
    let Some(round) = answer.as_ref() else {
        return true;
    };
    task.question.nodes.keys().any(|node| !round.nodes.contains_key(node))
}

/// The checks of a policy, if it has any.
fn defined<'a>(name: &PolicyName, observed: &'a ObservedObjects) -> Option<&'a api::Checks> {
    observed.policies.get(name.as_str())?.spec.checks.as_ref()
}

/// The rounds of one policy.
struct Rounds {
    evaluator: Evaluator,
    interval: Duration,
    clock: Clock,
    policy: PolicyName,
    question: Question,
}

impl Rounds {
    /// Makes rounds until the task ends. The last round of the same checks counts for the cluster until the next one is due.
    async fn run(self, last: Option<CheckRound>, answer: AnswerSender<Option<CheckRound>>) {
        let age = |round: &CheckRound| (self.clock.now() - round.started).to_std().unwrap_or(self.interval);
        let mut last = last.filter(|round| age(round) < self.interval);
        let mut logged = BTreeMap::new();
        loop {
            let round = match last.take() {
                Some(round) => self.add_nodes(round).await,
                None => self.round().await,
            };
            let next = self.interval.saturating_sub(age(&round));
            self.log(&round, &mut logged);
            answer.send(Some(round));
            tokio::time::sleep(next).await;
        }
    }

    /// Evaluates everything.
    async fn round(&self) -> CheckRound {
        let started = self.clock.now();
        let cluster = self.evaluate(None).await;
        let round = CheckRound {
            started,
            cluster,
            nodes: BTreeMap::new(),
            jobs: BTreeMap::new(),
        };
        self.add_nodes(round).await
    }

    /// Evaluates what is missing in a round about single nodes.
    async fn add_nodes(&self, mut round: CheckRound) -> CheckRound {
        let CheckRound { nodes, jobs: known, .. } = &mut round;
        let asked = &self.question.nodes;
        nodes.retain(|node, _| asked.get(node).is_some_and(|jobs| jobs.as_ref() == known.get(node)));
        known.retain(|node, _| nodes.contains_key(node));
        for (name, jobs) in asked {
            if !nodes.contains_key(name) {
                let jobs = jobs.as_ref();
                let results = self.evaluate(Some(AskedNode { name, jobs })).await;
                nodes.insert(name.clone(), results);
                known.extend(jobs.map(|jobs| (name.clone(), jobs.clone())));
            }
        }
        round
    }

    /// The checks about the cluster, or those about a node. A check that stands before and after the reboot is evaluated
    /// once.
    async fn evaluate(&self, node: Option<AskedNode<'_>>) -> Vec<CheckResult> {
        let checks = &self.question.checks;
        let before = checks.before.iter().map(|check| (CheckStage::Before, check));
        let after = checks.after.iter().map(|check| (CheckStage::After, check));
        let all = before
            .chain(after)
            .filter(|(_, check)| check.is_about_node() == node.is_some());
        let all: Vec<(CheckStage, &api::Check)> = all.collect();
        // A Job before the reboot is not the one after it.
        let is_same = |one: &(CheckStage, &api::Check), other: &(CheckStage, &api::Check)| {
            one.1 == other.1 && (one.0 == other.0 || one.1.job.is_none())
        };
        let mut distinct: Vec<(CheckStage, &api::Check)> = Vec::new();
        for one in &all {
            if !distinct.iter().any(|known| is_same(known, one)) {
                distinct.push(*one);
            }
        }
        let evaluations: Vec<_> = distinct
            .iter()
            .map(|(stage, check)| self.evaluator.evaluate(*stage, check, node))
            .collect();
        let verdicts: Vec<CheckVerdict> = stream::iter(evaluations).buffered(MAX_CONCURRENT).collect().await;
        let verdict = |stage: CheckStage, check: &api::Check| {
            let index = distinct.iter().position(|known| is_same(known, &(stage, check)))?;
            verdicts.get(index).cloned()
        };
        let results = all.into_iter().filter_map(|(stage, check)| {
            Some(CheckResult {
                stage,
                name: check.name.clone(),
                job: check.job.is_some(),
                verdict: verdict(stage, check)?,
            })
        });
        results.collect()
    }

    /// Logs the error of each check when it begins or changes.
    fn log(&self, round: &CheckRound, logged: &mut BTreeMap<String, String>) {
        let all = round.cluster.iter().chain(round.nodes.values().flatten());
        let errors = all.filter_map(|result| match &result.verdict {
            CheckVerdict::Unavailable { error, .. } => Some((result.name.clone(), error.clone())),
            CheckVerdict::Passing | CheckVerdict::Running(_) | CheckVerdict::Failing(_) => None,
        });
        let errors: BTreeMap<String, String> = errors.collect();
        for (check, error) in errors.iter().filter(|(check, error)| logged.get(*check) != Some(error)) {
            let policy = &self.policy;
            tracing::warn!("check {check} of policy {policy} could not be evaluated: {error}; tried again");
        }
        *logged = errors;
    }
}
