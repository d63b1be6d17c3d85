//! A Job is created once, found again, and never confused with another one.

use lockkeeper_jobs::{JobRun, JobState};
use serde_json::json;

use super::run;
use super::server::{Fault, Server};

const CREATE: &str = "POST /apis/batch/v1/namespaces/lockkeeper-system/jobs";

#[tokio::test]
async fn a_run_creates_its_job_once() {
    let server = Server::new();
    for _ in 0..3 {
        assert_eq!(server.jobs().run(&run()).await.unwrap(), JobState::Running);
    }
    assert_eq!(server.count(CREATE), 1);
    let other = JobRun { attempt: 1, ..run() };
    assert_eq!(server.jobs().run(&other).await.unwrap(), JobState::Running);
    assert_eq!(server.state().jobs.len(), 2);
}

#[tokio::test]
async fn a_job_whose_creation_got_no_answer_is_found_again() {
    let server = Server::new();
    server.fails(CREATE, Fault::LostAnswer);
    let error = server.jobs().run(&run()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot create Job lockkeeper-system/lockkeeper-before-drain-"),
        "{error}"
    );
    assert!(error.ends_with(": connection reset by peer"), "{error}");
    assert_eq!(server.jobs().run(&run()).await.unwrap(), JobState::Running);
    assert_eq!(server.count(CREATE), 1);
}

#[tokio::test]
async fn a_job_that_another_leader_has_just_created_is_taken_as_it_is() {
    let server = Server::new();
    server.fails(CREATE, Fault::Race);
    assert_eq!(server.jobs().run(&run()).await.unwrap(), JobState::Running);
    assert_eq!(server.state().jobs.len(), 1);
}

#[tokio::test]
async fn a_job_of_another_origin_with_the_same_name_is_an_error() {
    let server = Server::new();
    let name = run().name();
    let foreign = json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "lockkeeper"}},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}});
    server.state().jobs.insert(name.clone(), foreign);
    let expected = format!(
        "Job lockkeeper-system/{name} has the name of a Job of Lockkeeper, but not its label \
         app.kubernetes.io/component=job; delete it"
    );
    assert_eq!(server.jobs().run(&run()).await.unwrap_err().to_string(), expected);
    assert_eq!(server.jobs().delete(&run()).await.unwrap_err().to_string(), expected);
    assert_eq!(server.state().jobs.len(), 1);
}

#[tokio::test]
async fn a_finished_job_that_a_person_deletes_is_run_again() {
    let server = Server::new();
    server.jobs().run(&run()).await.unwrap();
    server.state().jobs.clear();
    assert_eq!(server.jobs().run(&run()).await.unwrap(), JobState::Running);
    assert_eq!(server.count(CREATE), 2);
}

#[tokio::test]
async fn a_deletion_takes_the_pods_along_and_the_job_may_be_gone() {
    let server = Server::new();
    server.jobs().run(&run()).await.unwrap();
    server.jobs().delete(&run()).await.unwrap();
    assert!(server.state().jobs.is_empty());
    let deletion = server.state().deletion.clone();
    assert_eq!(deletion["propagationPolicy"], "Background");
    assert_eq!(deletion["preconditions"]["uid"], format!("uid-of-{}", run().name()));
    server.jobs().delete(&run()).await.unwrap();
}

#[tokio::test]
async fn a_job_that_was_created_no_longer_needs_its_template() {
    let server = Server::new();
    server.jobs().run(&run()).await.unwrap();
    server.state().cron_jobs.clear();
    assert_eq!(server.jobs().run(&run()).await.unwrap(), JobState::Running);
}
