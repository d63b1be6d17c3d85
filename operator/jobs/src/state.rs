//! How far a Job is, and why it failed.

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use lockkeeper_crds::time::from_kubernetes;
use lockkeeper_kube_util::bounded;

/// How long the detail of a failure may be.
const DETAIL: usize = 150;

/// How far the Job of a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It was created, and has not finished.
    Running,
    /// It is complete.
    Succeeded,
    /// It failed for good.
    Failed {
        /// The Job, the reason, and what its last pod reported.
        message: String,
        /// When it failed, by the clock of the Job controller.
        at: Option<DateTime<Utc>>,
    },
}

/// The condition with which a Job finished.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finished<'a> {
    /// `Complete`.
    Complete,
    /// `Failed`.
    Failed {
        reason: &'a str,
        message: &'a str,
        at: Option<DateTime<Utc>>,
    },
}

/// How the Job has finished, if it has.
pub(crate) fn finished(job: &Job) -> Option<Finished<'_>> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |type_: &str| {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    if let Some(failed) = holds("Failed") {
        return Some(Finished::Failed {
            reason: failed.reason.as_deref().unwrap_or("Failed"),
            message: failed.message.as_deref().unwrap_or_default(),
            at: failed.last_transition_time.as_ref().map(from_kubernetes),
        });
    }
    holds("Complete").map(|_| Finished::Complete)
}

/// The failure of a Job in a sentence: what its last pod reported tells more than the message of the condition.
pub(crate) fn failure(job: &str, reason: &str, message: &str, pods: &[Pod]) -> String {
    let detail = last_report(pods).unwrap_or_else(|| message.to_owned());
    let detail = bounded(detail.trim(), DETAIL);
    match detail.as_str() {
        "" => format!("Job {job} failed: {reason}"),
        detail => format!("Job {job} failed: {reason}: {detail}"),
    }
}

/// What the container that failed last reported; if no container did, the message of a pod.
fn last_report(pods: &[Pod]) -> Option<String> {
    let containers = pods.iter().filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let failed = containers.filter_map(|container| Some((container, failed_end(container)?)));
    let last = failed.max_by_key(|(_, end)| end.finished_at.as_ref().map(|at| at.0));
    last.map(|(container, end)| report(container, end))
        .or_else(|| pods.iter().find_map(|pod| pod.status.as_ref()?.message.clone()))
}

/// The last end of a container that failed.
fn failed_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let states = [&container.state, &container.last_state];
    let mut ends = states
        .into_iter()
        .filter_map(|state| state.as_ref()?.terminated.as_ref());
    ends.find(|end| end.exit_code != 0)
}

fn report(container: &ContainerStatus, end: &ContainerStateTerminated) -> String {
    let message = end.message.as_deref().unwrap_or_default().trim();
    if !message.is_empty() {
        return message.to_owned();
    }
    let name = &container.name;
    match end.reason.as_deref() {
        None | Some("" | "Error") => format!("container {name} ended with exit code {}", end.exit_code),
        Some(reason) => format!("container {name} ended with exit code {} ({reason})", end.exit_code),
    }
}
