//! An Alertmanager in memory, and the operations of an operator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use lockkeeper_outbound::{Error, Target};
use lockkeeper_silences::{Desired, InProgress, Keeper, Observer, Outcome, Silencer, Transport};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What Alertmanager holds and what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Alertmanager {
    silences: Arc<Mutex<Vec<Value>>>,
    requests: Arc<Mutex<Vec<String>>>,
    is_down: Arc<Mutex<bool>>,
    begin: Instant,
}

impl Alertmanager {
    pub(crate) fn new() -> Self {
        Self {
            silences: Arc::default(),
            requests: Arc::default(),
            is_down: Arc::default(),
            begin: Instant::now(),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        let begin: DateTime<Utc> = "2026-11-24T22:00:00Z".parse().unwrap();
        begin + self.begin.elapsed()
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        *self.is_down.lock().unwrap() = is_down;
    }

    /// What a person or another program makes there.
    pub(crate) fn add(&self, created_by: &str, comment: &str) {
        let end = self.now() + Duration::from_hours(1);
        self.silences.lock().unwrap().push(json!({
            "id": format!("foreign-{created_by}"), "status": {"state": "active"}, "matchers": [],
            "startsAt": self.now(), "endsAt": end, "createdBy": created_by, "comment": comment,
        }));
    }

    /// The node or the comment of each silence that is active, and for how many seconds more.
    pub(crate) fn active(&self) -> Vec<(String, i64)> {
        let silences = self.silences.lock().unwrap();
        let left = |silence: &Value| {
            let end: DateTime<Utc> = silence["endsAt"].as_str().unwrap().parse().unwrap();
            (end - self.now()).num_seconds()
        };
        let name = |silence: &Value| match silence["matchers"][0]["value"].as_str() {
            Some(node) => node.to_owned(),
            None => silence["comment"].as_str().unwrap().to_owned(),
        };
        silences
            .iter()
            .map(|silence| (name(silence), left(silence)))
            .filter(|(_, left)| *left > 0)
            .collect()
    }

    pub(crate) fn documents(&self) -> Vec<Value> {
        self.silences.lock().unwrap().clone()
    }

    /// Method and path of each request until now.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    fn post(&self, mut document: Value) {
        let mut silences = self.silences.lock().unwrap();
        document["status"] = json!({"state": "active"});
        match document["id"].as_str().map(str::to_owned) {
            None => {
                document["id"] = json!(format!("id-{}", silences.len()));
                silences.push(document);
            }
            Some(id) => {
                let known = silences.iter_mut().find(|silence| silence["id"] == id.as_str());
                *known.unwrap() = document;
            }
        }
    }
}

impl Transport for Alertmanager {
    async fn send(&self, method: Method, target: &Target, body: Bytes) -> Result<Bytes, Error> {
        let url = target.url().clone();
        let path = url.to_string().replace("http://alerts/", "");
        self.requests.lock().unwrap().push(format!("{method} {path}"));
        if *self.is_down.lock().unwrap() {
            let (status, body) = (StatusCode::SERVICE_UNAVAILABLE, String::new());
            return Err(Error::Status {
                url,
                status,
                body,
                retry_after: None,
            });
        }
        match (method, path.strip_prefix("api/v2/silence/")) {
            (Method::GET, _) => Ok(json!(*self.silences.lock().unwrap()).to_string().into()),
            (Method::POST, _) => {
                self.post(serde_json::from_slice(&body).unwrap());
                Ok(Bytes::new())
            }
            (Method::DELETE, Some(id)) => {
                let mut silences = self.silences.lock().unwrap();
                let silence = silences.iter_mut().find(|silence| silence["id"] == id).unwrap();
                silence["endsAt"] = json!(self.now());
                silence["status"]["state"] = json!("expired");
                Ok(Bytes::new())
            }
            (method, _) => unreachable!("{method}"),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<Outcome, usize>>);

impl Observer for Counts {
    fn count_silence(&self, outcome: Outcome) {
        *self.0.lock().unwrap().entry(outcome).or_default() += 1;
    }
}

/// An operator that leads.
pub(crate) struct Operator {
    _directory: TempDir,
    counts: Arc<Counts>,
    silencer: Silencer,
    task: JoinHandle<()>,
}

impl Operator {
    pub(crate) fn new(alertmanager: &Alertmanager, config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("alertmanager.yaml");
        std::fs::write(&path, config).unwrap();
        let counts = Arc::new(Counts::default());
        let clock = alertmanager.clone();
        let (silencer, keeper) = Keeper::new(path, alertmanager.clone(), move || clock.now(), counts.clone());
        Self {
            _directory: directory,
            counts,
            silencer,
            task: tokio::spawn(keeper.run()),
        }
    }

    /// These nodes are in progress, and those failed; their operations are called op-NODE.
    pub(crate) async fn has(&self, in_progress: &[&str], failed: &[&str]) {
        let id = |node: &&str| format!("op-{node}");
        let entry = |node: &&str| {
            let (node, policy) = ((*node).to_owned(), "workers".to_owned());
            (format!("op-{node}"), InProgress { node, policy })
        };
        self.silencer.set(Some(Desired {
            cluster: "c1".to_owned(),
            in_progress: in_progress.iter().map(entry).collect(),
            failed: failed.iter().map(id).collect(),
        }));
        sleep(Duration::from_millis(1)).await;
    }

    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.counts.0.lock().unwrap().get(&outcome).copied().unwrap_or_default()
    }

    pub(crate) fn stops_leading(&self) {
        self.silencer.set(None);
    }

    /// Ends like a process that is killed.
    pub(crate) fn crashes(self) {
        self.task.abort();
    }

    /// Ends in good order.
    pub(crate) async fn ends(self) -> Duration {
        let begin = Instant::now();
        drop(self.silencer);
        self.task.await.unwrap();
        begin.elapsed()
    }
}
