//! A configuration, Events, and a network without a network.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use lockkeeper_notify::{Config, Dispatcher, Event, KnownEvents, Notifier, Observer, Outcome, Severity, Transport};
use lockkeeper_outbound::{Error, Target};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What one attempt meets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Ok,
    Status(u16, Option<u64>),
    Hangs,
}

/// Time, host, content type and body.
type Attempt = (Duration, String, String, String);

/// Receivers that answer as they are told, in turn; then with 200.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    answers: Arc<Mutex<BTreeMap<String, VecDeque<Answer>>>>,
    received: Arc<Mutex<Vec<Attempt>>>,
    start: Option<Instant>,
}

impl Transport for Network {
    async fn post(&self, target: &Target, content_type: &str, body: Bytes) -> Result<(), Error> {
        let (url, host) = (target.url().clone(), target.url().host().to_owned());
        let answer = self
            .answers
            .lock()
            .unwrap()
            .get_mut(&host)
            .and_then(VecDeque::pop_front);
        let text = String::from_utf8(body.to_vec()).unwrap();
        let time = self.start.unwrap().elapsed();
        self.received
            .lock()
            .unwrap()
            .push((time, host, content_type.to_owned(), text));
        match answer.unwrap_or(Answer::Ok) {
            Answer::Ok => Ok(()),
            Answer::Status(status, retry_after) => Err(Error::Status {
                url,
                status: StatusCode::from_u16(status).unwrap(),
                body: String::new(),
                retry_after: retry_after.map(Duration::from_secs),
            }),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) events: Mutex<BTreeMap<(String, Outcome), u64>>,
    pub(crate) configured: Mutex<Vec<(Vec<String>, usize)>>,
}

impl Observer for Counts {
    fn count(&self, receiver: &str, outcome: Outcome, events: u64) {
        *self
            .events
            .lock()
            .unwrap()
            .entry((receiver.to_owned(), outcome))
            .or_default() += events;
    }

    fn configured(&self, receivers: &[&str], errors: usize) {
        let names = receivers.iter().map(|&name| name.to_owned()).collect();
        self.configured.lock().unwrap().push((names, errors));
    }
}

/// The dispatcher that runs, and what it meets.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) network: Network,
    pub(crate) counts: Arc<Counts>,
    notifier: Option<Notifier>,
    task: JoinHandle<()>,
}

pub(crate) fn known() -> KnownEvents {
    KnownEvents {
        all: vec![
            "RolloutStarted",
            "RolloutFinished",
            "RebootSucceeded",
            "Failed",
            "ClusterRestored",
        ],
        default: vec!["RolloutStarted", "RolloutFinished", "Failed", "ClusterRestored"],
    }
}

impl World {
    pub(crate) fn new(config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("notifications.yaml");
        std::fs::write(&path, config).unwrap();
        let network = Network {
            start: Some(Instant::now()),
            ..Network::default()
        };
        let counts = Arc::new(Counts::default());
        let (notifier, dispatcher) = Dispatcher::new(path, known(), network.clone(), counts.clone());
        Self {
            directory,
            network,
            counts,
            notifier: Some(notifier),
            task: tokio::spawn(dispatcher.run()),
        }
    }

    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.directory.path().join("notifications.yaml"), config).unwrap();
    }

    /// The next attempts at this host meet these answers.
    pub(crate) fn answers(&self, host: &str, answers: &[Answer]) {
        let mut all = self.network.answers.lock().unwrap();
        all.entry(host.to_owned()).or_default().extend(answers);
    }

    pub(crate) fn notify(&self, event: Event) {
        self.notifier.as_ref().unwrap().notify(event);
    }

    /// The time, the host and the text of each attempt.
    pub(crate) fn received(&self) -> Vec<(u64, String, String)> {
        let received = self.network.received.lock().unwrap();
        received
            .iter()
            .map(|(time, host, _, body)| (time.as_secs(), host.clone(), short(body)))
            .collect()
    }

    /// Content type and body of each attempt.
    pub(crate) fn bodies(&self) -> Vec<(String, String)> {
        let received = self.network.received.lock().unwrap();
        received
            .iter()
            .map(|(_, _, content_type, body)| (content_type.clone(), body.clone()))
            .collect()
    }

    pub(crate) fn count(&self, receiver: &str, outcome: Outcome) -> u64 {
        let counts = self.counts.events.lock().unwrap();
        counts.get(&(receiver.to_owned(), outcome)).copied().unwrap_or_default()
    }

    /// The operator ends; how long the rest takes.
    pub(crate) async fn end(&mut self) -> Duration {
        let begin = Instant::now();
        self.notifier = None;
        (&mut self.task).await.unwrap();
        begin.elapsed()
    }
}

/// The text of a Slack message.
fn short(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    value["text"].as_str().unwrap_or(body).to_owned()
}

/// An Event about a node of policy workers.
pub(crate) fn event(reason: &'static str, node: &str, message: &str) -> Event {
    Event {
        time: "2026-11-24T22:10:00Z".parse().unwrap(),
        severity: if reason == "Failed" {
            Severity::Warning
        } else {
            Severity::Normal
        },
        reason,
        message: message.to_owned(),
        policy: Some("workers".to_owned()),
        node: Some(node.to_owned()),
        operation: Some("7f3c".to_owned()),
    }
}

/// What a file says, and the errors in it.
pub(crate) fn parsed(text: &str) -> Config {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notifications.yaml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(directory.path().join("url"), "https://hooks.example.com/hunter2\n").unwrap();
    read(&path)
}

pub(crate) fn read(path: &Path) -> Config {
    Config::read(path, &known())
}
