//! The Jobs of hooks in progress: created and observed for as long as the planner asks.

use std::time::Duration;

use kube::Client;
use lockkeeper_jobs::{JobRun, Jobs};
use lockkeeper_kube_util::{WatchBackoff, error_chain};
use lockkeeper_planner::{HookJob, JobReport, JobState, Plan};
use lockkeeper_snapshot::Filling;
use tokio::time::Instant;

use super::supervisor::{AnswerSender, Supervisor, WakeUp};

/// The time between two looks at a Job that runs.
const INTERVAL: Duration = Duration::from_secs(5);

/// A first answer that takes longer than this is worth reporting that the node waits for it.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);

/// The Jobs, by node.
#[derive(Debug)]
pub struct HookJobs {
    jobs: Jobs,
    namespace: String,
    tasks: Supervisor<String, HookJob, Option<JobState>>,
}

impl HookJobs {
    /// No Job is observed yet. The client must not retry by itself; `namespace` is that of our own pods.
    pub fn new(client: Client, namespace: String, wake_up: WakeUp) -> Self {
        Self {
            jobs: Jobs::new(client, namespace.clone()),
            namespace,
            tasks: Supervisor::new(wake_up),
        }
    }

    /// Puts what is known of the Jobs into the snapshot.
    pub fn fill(&self, filling: &mut Filling) {
        for (name, task) in self.tasks.iter() {
            if let (Some(node), Some(state)) = (filling.node(name), task.answer().clone()) {
                let id = task.question.id.clone();
                node.hook_job = Some(JobReport { id, state });
            }
        }
    }

    /// Creates and observes the Jobs that the plan names, and no others. A Job that is no longer named goes on by itself.
    pub fn reconcile(&mut self, plan: &Plan) {
        self.tasks.retain(|node| plan.hook_jobs.get(node).cloned());
        for (node, job) in &plan.hook_jobs {
            if self.tasks.get(node).is_none() {
                let (jobs, namespace, run) = (self.jobs.clone(), self.namespace.clone(), job_run(node, job));
                self.tasks.start(node.clone(), job.clone(), None, |answer| {
                    observe(jobs, namespace, run, answer)
                });
            }
        }
    }

    /// When the first answers that are expected soon will have arrived.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let unanswered = self.tasks.iter().filter(|(_, task)| task.answer().is_none());
        unanswered
            .map(|(_, task)| task.started + EXPECTED_WITHIN)
            .filter(|expected| *expected > now)
            .max()
    }

    /// Observes no Job any more: another replica leads.
    pub fn stop(&mut self) {
        self.tasks.stop();
    }
}

fn job_run(node: &str, job: &HookJob) -> JobRun {
    JobRun {
        template: job.template.clone(),
        node: node.to_owned(),
        operation: job.operation_id.clone(),
        purpose: format!("{}.{}", job.point.as_str(), job.hook),
        attempt: job.attempt.unsigned_abs(),
        on_node: job.on_node,
        timeout: job.timeout.to_std().unwrap_or_default(),
    }
}

/// Creates the Job and observes it until it has ended; what fails is tried again, with a backoff.
async fn observe(jobs: Jobs, namespace: String, run: JobRun, answer: AnswerSender<Option<JobState>>) {
    let mut backoff = WatchBackoff::for_operator();
    loop {
        let pause = match jobs.run(&run).await {
            Ok(lockkeeper_jobs::JobState::Running) => {
                backoff = WatchBackoff::for_operator();
                let job = format!("{namespace}/{}", run.name());
                answer.send(Some(JobState::Running { job }));
                INTERVAL
            }
            Ok(lockkeeper_jobs::JobState::Succeeded) => return answer.send(Some(JobState::Succeeded)),
            Ok(lockkeeper_jobs::JobState::Failed { message, .. }) => {
                return answer.send(Some(JobState::Failed { message }));
            }
            Err(error) => {
                let error = error_chain(&error);
                answer.send(Some(JobState::Unavailable { error }));
                backoff.next().unwrap_or(INTERVAL)
            }
        };
        tokio::time::sleep(pause).await;
    }
}
