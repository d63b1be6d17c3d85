//! The Jobs of checks: objects of the cluster, which all operators observe alike.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::world::World;

/// A Job that failed after a reboot runs again after this time.
const PAUSE: i64 = 120_000;

/// One Job.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// When it ends.
    ends: i64,
    fails: bool,
}

/// The Jobs, each by its node and what it runs for.
pub type Jobs = Vec<((String, CheckJobs), Job)>;

impl World {
    /// Some policies demand Jobs of a node before its start or after its reboot.
    pub fn with_jobs(&mut self, checks: &mut Checks) {
        checks.before_jobs = self.check_rng.chance(500).then(|| TimeDelta::minutes(10));
        checks.after_jobs = checks.after && self.check_rng.chance(500);
        checks.per_node = checks.before_jobs.is_some() || checks.after_jobs;
    }

    /// What the Jobs of a node find; one that is to run and does not exist is created.
    pub fn observe_jobs(&mut self, node: &str, jobs: Option<&CheckJobs>, checks: &Checks) -> Vec<CheckResult> {
        let has = [
            (CheckStage::Before, checks.before_jobs.is_some()),
            (CheckStage::After, checks.after_jobs),
        ];
        let stages = has.into_iter().filter_map(|(stage, has)| has.then_some(stage));
        let mut results = Vec::new();
        for stage in stages {
            // Otherwise it is only verified that the template exists.
            let jobs = jobs.filter(|jobs| jobs.stage == stage);
            results.push(CheckResult {
                stage,
                name: "job".to_owned(),
                job: true,
                verdict: jobs.map_or(CheckVerdict::Passing, |jobs| self.observe_job(node, jobs)),
            });
        }
        results
    }

    fn observe_job(&mut self, node: &str, jobs: &CheckJobs) -> CheckVerdict {
        let ends = self.at + self.check_rng.between(500, 200_000);
        let created = Job {
            ends,
            fails: !self.quiet && self.check_rng.chance(100),
        };
        let key = (node.to_owned(), jobs.clone());
        let at = self.checks.jobs.iter().position(|(known, _)| *known == key);
        let Some(at) = at else {
            self.tell(|_| format!("a job of {node} starts for {jobs:?}"));
            self.checks.jobs.push((key, created));
            return CheckVerdict::Running("job".to_owned());
        };
        let job = &mut self.checks.jobs[at].1;
        let runs_again = job.fails && jobs.stage == CheckStage::After && self.at - job.ends >= PAUSE;
        if runs_again {
            *job = created;
        }
        if self.at < job.ends {
            CheckVerdict::Running("job".to_owned())
        } else if job.fails {
            CheckVerdict::Failing(vec![Finding {
                id: "job".to_owned(),
                text: "the job failed".to_owned(),
            }])
        } else {
            CheckVerdict::Passing
        }
    }

    /// Whether a Job of this node has succeeded for this attempt of its operation.
    pub fn has_succeeded(&self, node: &str, operation: &Operation, stage: CheckStage) -> bool {
        let is_it = |known: &str, jobs: &CheckJobs| {
            known == node && jobs.operation == operation.id && jobs.attempt == operation.attempt && jobs.stage == stage
        };
        let mut jobs = self.checks.jobs.iter();
        jobs.any(|((known, jobs), job)| is_it(known, jobs) && job.ends <= self.at && !job.fails)
    }
}

/// The planner is made to believe that there are no Jobs.
pub fn ignore(seen: &mut Snapshot) {
    for checks in seen.policies.values_mut().filter_map(|policy| policy.checks.as_mut()) {
        checks.before_jobs = None;
        checks.after_jobs = false;
        for results in checks.round.iter_mut().flat_map(|round| round.nodes.values_mut()) {
            results.retain(|result| !result.job);
        }
    }
}

/// The Jobs that ran for earlier operations count for the present one.
pub fn confuse(seen: &mut Snapshot) {
    let operations: BTreeMap<String, Operation> = seen
        .nodes
        .iter()
        .filter_map(|(name, node)| Some((name.clone(), node.operation()?.clone())))
        .collect();
    for checks in seen.policies.values_mut().filter_map(|policy| policy.checks.as_mut()) {
        for (node, operation) in &operations {
            let Some(round) = checks.round.as_mut().filter(|round| round.nodes.contains_key(node)) else {
                continue;
            };
            let stage = if operation.phase == Phase::Preparing {
                CheckStage::Before
            } else {
                CheckStage::After
            };
            let jobs = CheckJobs {
                operation: operation.id.clone(),
                attempt: operation.attempt,
                stage,
            };
            round.jobs.insert(node.clone(), jobs);
        }
    }
}
