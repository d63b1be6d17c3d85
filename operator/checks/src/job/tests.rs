//! The Job of a check over a pretended API server that stores one Job.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use lockkeeper_jobs::Jobs;
use lockkeeper_kube_util::Clock;
use serde_json::{Value, json};

use super::*;
use crate::expression::Expressions;

/// The server: whether the template exists, and the Job.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(bool, Option<Value>)>>);

impl Server {
    fn with_template() -> Self {
        let server = Self::default();
        server.0.lock().unwrap().0 = true;
        server
    }

    fn job(&self) -> Option<Value> {
        self.0.lock().unwrap().1.clone()
    }

    /// The Job ends with this condition.
    fn end(&self, type_: &str, at: &str) {
        let condition =
            json!({"type": type_, "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at});
        self.0.lock().unwrap().1.as_mut().unwrap()["status"] = json!({"conditions": [condition]});
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let mut stored = self.0.lock().unwrap();
        let missing = (
            404,
            json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"}),
        );
        let found = |object: Option<Value>| object.map_or(missing.clone(), |object| (200, object));
        match (method.as_str(), path.rsplit('/').nth(1)) {
            ("POST", _) => {
                stored.1 = serde_json::from_slice(body).ok();
                (201, stored.1.clone().unwrap())
            }
            ("DELETE", _) => found(stored.1.take()),
            (_, Some("cronjobs")) => found(stored.0.then(|| json!({"metadata": {"name": "fsck"}, "spec": {}}))),
            (_, Some("jobs")) => found(stored.1.clone()),
            _ => (200, json!({"metadata": {}, "items": []})),
        }
    }

    fn sources(&self) -> Sources {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let (code, answer) = server.answer(&parts.method, parts.uri.path(), &body);
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        let client = Client::new(service, "default");
        Sources {
            jobs: Jobs::new(client.clone(), "lockkeeper-system".to_owned()),
            client,
            namespace: "lockkeeper-system".to_owned(),
            outbound: lockkeeper_outbound::Client::default(),
            expressions: Expressions::Here,
            clock: Clock::machine(),
        }
    }

    /// What the check finds as one of this stage, while Jobs run as given.
    async fn verdict(&self, stage: CheckStage, jobs: Option<&CheckJobs>) -> Result<CheckVerdict, String> {
        let check = JobCheck {
            cron_job: "fsck".to_owned(),
            on_node: true,
            timeout_seconds: 600,
        };
        let node = AskedNode { name: "w-01", jobs };
        let verdict = verdict(&self.sources(), stage, "disk", &check, node).await;
        verdict.map_err(|error| error.to_string())
    }
}

fn jobs(stage: CheckStage) -> CheckJobs {
    CheckJobs {
        operation: "7f3c".to_owned(),
        attempt: 0,
        stage,
    }
}

fn is_running(verdict: Result<CheckVerdict, String>, text: &str) {
    match verdict {
        Ok(CheckVerdict::Running(job)) => assert!(job.contains(text), "{job}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_job_whose_turn_has_not_come_only_has_to_have_its_template() {
    let server = Server::with_template();
    let verdict = server.verdict(CheckStage::Before, None).await;
    assert_eq!(verdict, Ok(CheckVerdict::Passing));
    let verdict = server.verdict(CheckStage::After, Some(&jobs(CheckStage::Before))).await;
    assert_eq!(verdict, Ok(CheckVerdict::Passing));
    assert_eq!(server.job(), None);
    let error = Server::default().verdict(CheckStage::After, None).await.unwrap_err();
    assert!(
        error.starts_with("CronJob lockkeeper-system/fsck does not exist"),
        "{error}"
    );
}

#[tokio::test]
async fn a_check_passes_once_its_job_has_succeeded() {
    let server = Server::with_template();
    let before = jobs(CheckStage::Before);
    let verdict = server.verdict(CheckStage::Before, Some(&before)).await;
    is_running(verdict, "Job lockkeeper-system/lockkeeper-check-before-disk-");
    let job = server.job().unwrap();
    assert_eq!(
        job["metadata"]["annotations"]["lockkeeper.dev/purpose"],
        "check-before-disk"
    );
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 600);
    server.end("Complete", "2026-12-01T10:00:00Z");
    let verdict = server.verdict(CheckStage::Before, Some(&before)).await;
    assert_eq!(verdict, Ok(CheckVerdict::Passing));
}

#[tokio::test]
async fn a_job_that_failed_before_the_start_does_not_run_again() {
    let server = Server::with_template();
    let before = jobs(CheckStage::Before);
    server.verdict(CheckStage::Before, Some(&before)).await.unwrap();
    server.end("Failed", "2026-12-01T10:00:00Z");
    let verdict = server.verdict(CheckStage::Before, Some(&before)).await;
    let Ok(CheckVerdict::Failing(findings)) = verdict else {
        panic!("{verdict:?}")
    };
    assert!(
        findings[0].text.ends_with("failed: BackoffLimitExceeded"),
        "{findings:?}"
    );
    assert!(server.job().is_some());
}

#[tokio::test]
async fn a_job_that_failed_after_the_reboot_runs_again_after_a_pause() {
    let server = Server::with_template();
    let after = jobs(CheckStage::After);
    server.verdict(CheckStage::After, Some(&after)).await.unwrap();
    let now = Utc::now();
    server.end("Failed", &now.to_rfc3339());
    let verdict = server.verdict(CheckStage::After, Some(&after)).await;
    assert!(matches!(verdict, Ok(CheckVerdict::Failing(_))), "{verdict:?}");
    server.end("Failed", &(now - PAUSE).to_rfc3339());
    is_running(server.verdict(CheckStage::After, Some(&after)).await, "it runs again");
    assert_eq!(server.job(), None);
    is_running(
        server.verdict(CheckStage::After, Some(&after)).await,
        "has not finished",
    );
    assert!(server.job().is_some());
}
