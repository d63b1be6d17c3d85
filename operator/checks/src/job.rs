//! A check that is a Job: it runs for the operation of a node, and passes if it succeeds.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_crds::JobCheck;
use lockkeeper_jobs::{JobRun, JobState};
use lockkeeper_planner::{CheckJobs, CheckStage, CheckVerdict};

use crate::asked_node::AskedNode;
use crate::error::Error;
use crate::finding::finding;
use crate::sources::Sources;

/// A Job that failed after a reboot runs again after this time.
const PAUSE: TimeDelta = TimeDelta::seconds(120);

/// What the Job of a check finds. While it is not its turn, it only has to be certain that it can be made.
pub(crate) async fn verdict(
    sources: &Sources,
    stage: CheckStage,
    check: &str,
    job: &JobCheck,
    node: AskedNode<'_>,
) -> Result<CheckVerdict, Error> {
    let Some(jobs) = node.jobs.filter(|jobs| jobs.stage == stage) else {
        sources.jobs.verify(&job.cron_job).await?;
        return Ok(CheckVerdict::Passing);
    };
    let run = run(check, job, node.name, jobs);
    let message = match sources.jobs.run(&run).await? {
        JobState::Running => {
            let name = sources.jobs.full_name(&run.name());
            return Ok(CheckVerdict::Running(format!("Job {name} has not finished")));
        }
        JobState::Succeeded => return Ok(CheckVerdict::Passing),
        JobState::Failed { message, at } if stage == CheckStage::After && is_due(at, sources.clock.now()) => {
            // The next round creates it anew.
            sources.jobs.delete(&run).await?;
            return Ok(CheckVerdict::Running(format!("{message}; it runs again")));
        }
        JobState::Failed { message, .. } => message,
    };
    Ok(CheckVerdict::Failing(vec![finding(check, "", &message)]))
}

fn run(check: &str, job: &JobCheck, node: &str, jobs: &CheckJobs) -> JobRun {
    let stage = match jobs.stage {
        CheckStage::Before => "before",
        CheckStage::After => "after",
    };
    JobRun {
        template: job.cron_job.clone(),
        node: node.to_owned(),
        operation: jobs.operation.clone(),
        purpose: format!("check-{stage}-{check}"),
        attempt: jobs.attempt.unsigned_abs(),
        on_node: job.on_node,
        timeout: Duration::from_secs(u64::from(job.timeout_seconds.unsigned_abs())),
    }
}

/// Whether a Job that failed at this time runs again. One without a time, or with one ahead of now, does so at once: there
/// is nothing to wait for.
fn is_due(failed: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    failed.is_none_or(|at| at > now || now - at >= PAUSE)
}

#[cfg(test)]
mod tests;
