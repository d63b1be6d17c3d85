//! How far a Job is, and what its failure tells.

use lockkeeper_jobs::JobState;
use serde_json::{Value, json};

use super::run;
use super::server::Server;

async fn state(conditions: &[Value], pods: Vec<Value>) -> JobState {
    let server = Server::new();
    server.jobs().run(&run()).await.unwrap();
    server.set_status(&json!({"conditions": conditions}));
    server.state().pods = pods;
    server.jobs().run(&run()).await.unwrap()
}

async fn failure(pods: Vec<Value>) -> String {
    let failed = json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
        "lastTransitionTime": "2026-12-01T10:00:11Z", "message": "Job has reached the specified backoff limit"});
    match state(&[failed], pods).await {
        JobState::Failed { message, at } => {
            assert_eq!(
                at.map(|at| at.to_rfc3339()).as_deref(),
                Some("2026-12-01T10:00:11+00:00")
            );
            let job = format!("Job lockkeeper-system/{} failed: ", run().name());
            message.strip_prefix(&job).expect(&message).to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn ended(container: &str, at: &str, end: Value) -> Value {
    let mut end = end;
    end["finishedAt"] = json!(at);
    json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": end}})
}

#[tokio::test]
async fn a_job_has_finished_only_with_a_condition_that_is_true() {
    let condition = |type_: &str, status: &str| json!({"type": type_, "status": status});
    assert_eq!(state(&[], vec![]).await, JobState::Running);
    assert_eq!(
        state(&[condition("Complete", "False")], vec![]).await,
        JobState::Running
    );
    // Its pods still shut down.
    assert_eq!(
        state(&[condition("FailureTarget", "True")], vec![]).await,
        JobState::Running
    );
    assert_eq!(
        state(&[condition("SuccessCriteriaMet", "True")], vec![]).await,
        JobState::Running
    );
    assert_eq!(
        state(&[condition("Complete", "True")], vec![]).await,
        JobState::Succeeded
    );
}

#[tokio::test]
async fn a_failure_without_pods_has_the_message_of_the_condition() {
    assert_eq!(
        failure(vec![]).await,
        "BackoffLimitExceeded: Job has reached the specified backoff limit"
    );
}

#[tokio::test]
async fn a_failure_has_the_last_termination_message_of_a_container_that_failed() {
    let pods = vec![
        json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [
            ended("fsck", "2026-12-01T10:00:09Z", json!({"exitCode": 4, "message": "errors on sda1\n"})),
            ended("log", "2026-12-01T10:00:10Z", json!({"exitCode": 0, "message": "all written"})),
        ]}}),
        json!({"metadata": {"name": "b"}, "status": {"initContainerStatuses": [
            ended("wait", "2026-12-01T10:00:01Z", json!({"exitCode": 1, "message": "too early"})),
        ]}}),
    ];
    assert_eq!(failure(pods).await, "BackoffLimitExceeded: errors on sda1");
}

#[tokio::test]
async fn a_container_without_a_message_is_named_with_its_exit_code() {
    let with = |end: Value| {
        let status = ended("fsck", "2026-12-01T10:00:00Z", end);
        vec![json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [status]}})]
    };
    let error = failure(with(json!({"exitCode": 3, "reason": "Error"}))).await;
    assert_eq!(error, "BackoffLimitExceeded: container fsck ended with exit code 3");
    let killed = failure(with(json!({"exitCode": 137, "reason": "OOMKilled"}))).await;
    assert_eq!(
        killed,
        "BackoffLimitExceeded: container fsck ended with exit code 137 (OOMKilled)"
    );
}

#[tokio::test]
async fn a_pod_that_no_container_of_has_started_tells_why() {
    let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Failed", "message": "node had a taint"}});
    assert_eq!(failure(vec![pod]).await, "BackoffLimitExceeded: node had a taint");
}
