//! The pretended API server.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use lockkeeper_jobs::Jobs;
use serde_json::{Value, json};

const NAMESPACE: &str = "lockkeeper-system";

/// The server; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

/// What it stores, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) cron_jobs: BTreeMap<String, Value>,
    pub(crate) jobs: BTreeMap<String, Value>,
    pub(crate) pods: Vec<Value>,
    /// Each request as `VERB path`, with its query if it has one.
    pub(crate) requests: Vec<String>,
    /// The body of the last deletion.
    pub(crate) deletion: Value,
    /// What requests that begin so are answered.
    pub(crate) faults: Vec<(&'static str, Fault)>,
}

/// What one request is answered instead.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The connection breaks after the request was carried out.
    LostAnswer,
    /// The Job is created by another client just before.
    Race,
    /// This status.
    Status(u16, &'static str, String),
}

impl Server {
    /// A server with the template `fsck`.
    pub(crate) fn new() -> Self {
        let server = Self::default();
        server.state().cron_jobs.insert("fsck".to_owned(), cron_job());
        server
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn jobs(&self) -> Jobs {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.serve(request).await }
        });
        Jobs::new(Client::new(service, "default"), NAMESPACE.to_owned())
    }

    /// The next request that begins like this meets this fault.
    pub(crate) fn fails(&self, request: &'static str, fault: Fault) {
        self.state().faults.push((request, fault));
    }

    pub(crate) fn count(&self, request: &str) -> usize {
        let state = self.state();
        state.requests.iter().filter(|one| one.starts_with(request)).count()
    }

    /// The status of the only Job.
    pub(crate) fn set_status(&self, status: &Value) {
        for job in self.state().jobs.values_mut() {
            job["status"] = status.clone();
        }
    }

    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(io::Error::other)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path_and_query().unwrap().as_str();
        let asked = format!("{} {path}", parts.method);
        let fault = {
            let mut state = self.state();
            state.requests.push(asked.clone());
            let at = state.faults.iter().position(|(request, _)| asked.starts_with(request));
            at.map(|at| state.faults.remove(at).1)
        };
        match fault {
            Some(Fault::Status(code, reason, message)) => Ok(status(code, reason, &message)),
            Some(Fault::LostAnswer) => {
                self.carry_out(&parts.method, parts.uri.path(), &body);
                Err(io::Error::other("connection reset by peer"))
            }
            Some(Fault::Race) => {
                self.carry_out(&parts.method, parts.uri.path(), &body);
                Ok(self.carry_out(&parts.method, parts.uri.path(), &body))
            }
            None => Ok(self.carry_out(&parts.method, parts.uri.path(), &body)),
        }
    }

    fn carry_out(&self, method: &Method, path: &str, body: &Value) -> Response<Body> {
        let mut state = self.state();
        let path = path.strip_prefix("/apis/batch/v1").or(path.strip_prefix("/api/v1"));
        let path = path
            .unwrap()
            .strip_prefix(&format!("/namespaces/{NAMESPACE}/"))
            .unwrap();
        let (kind, name) = path.split_once('/').unwrap_or((path, ""));
        match (method.as_str(), kind, name) {
            ("GET", "cronjobs", name) => found(state.cron_jobs.get(name), "cronjobs.batch", name),
            ("GET", "jobs", name) => found(state.jobs.get(name), "jobs.batch", name),
            ("GET", "pods", "") => answer(200, &json!({"kind": "PodList", "metadata": {}, "items": state.pods})),
            ("POST", "jobs", "") => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                if state.jobs.contains_key(&name) {
                    let message = format!("jobs.batch \"{name}\" already exists");
                    return status(409, "AlreadyExists", &message);
                }
                let mut job = body.clone();
                job["metadata"]["uid"] = json!(format!("uid-of-{name}"));
                state.jobs.insert(name, job.clone());
                answer(201, &job)
            }
            ("DELETE", "jobs", name) => {
                state.deletion = body.clone();
                let deleted = state.jobs.remove(name);
                found(deleted.as_ref(), "jobs.batch", name)
            }
            other => panic!("no such request: {other:?}"),
        }
    }
}

fn found(object: Option<&Value>, kind: &str, name: &str) -> Response<Body> {
    match object {
        Some(object) => answer(200, object),
        None => status(404, "NotFound", &format!("{kind} \"{name}\" not found")),
    }
}

fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message});
    answer(code, &body)
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(body).unwrap());
    Response::builder().status(code).body(body).unwrap()
}

/// A template with a bit of everything that is kept or overridden.
pub(crate) fn cron_job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"namespace": NAMESPACE, "name": "fsck", "uid": "cron"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {
            "metadata": {"labels": {"team": "storage"}},
            "spec": {"backoffLimit": 1, "template": {
                "metadata": {"labels": {"app.kubernetes.io/component": "operator"}},
                "spec": {
                    "restartPolicy": "Never",
                    "fieldOfANewerKubernetes": true,
                    "initContainers": [{"name": "wait", "image": "wait"}],
                    "containers": [{"name": "fsck", "image": "fsck", "env": [
                        {"name": "LOCKKEEPER_NODE", "value": "none"},
                        {"name": "TARGET", "value": "$(LOCKKEEPER_NODE)"},
                    ]}],
                },
            }},
        }},
    })
}
