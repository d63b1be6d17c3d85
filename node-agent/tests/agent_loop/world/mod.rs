//! A fake API server that holds one `NodeReboot`, and beside it a host in memory.

mod host;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::Client;
use kube::client::Body;
use lockkeeper_crds::HostReport;
use lockkeeper_node_agent::{AgentConfig, Host, run_agent};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use host::{MemoryHost, capable};

type Stream = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// What the next report gets instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is written.
    Status(u16),
    /// Written, but the reply never comes.
    LostReply,
    /// Nothing is written, and the reply never comes.
    Hang,
}

/// The fake API server; clones are the same one.
#[derive(Clone, Default)]
pub struct Api {
    held: Arc<Mutex<Held>>,
    wrote: Arc<Notify>,
}

pub struct Held {
    object: Option<Value>,
    version: u64,
    watchers: Vec<UnboundedSender<Value>>,
    pub faults: VecDeque<Fault>,
    /// Whether nothing answers.
    pub away: bool,
    /// How many requests came, answered or not.
    pub asked: usize,
    /// What the self-test gets: 403 if the agent is confined, 200 if it is not.
    pub self_test: u16,
    pub self_tests: usize,
    /// Whether a list fails.
    pub unreadable: bool,
    /// Every report that was sent, whatever became of it.
    pub reports: Vec<Value>,
}

impl Api {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    /// Makes the object, as the operator does.
    pub fn make(&self) {
        self.held().put("ADDED", |_| {
            json!({
                "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot",
                "metadata": {"name": "n1", "uid": "uid-1"}, "spec": {},
            })
        });
    }

    pub fn delete(&self) {
        let mut held = self.held();
        let gone = held.object.take().unwrap();
        held.tell("DELETED", &gone);
    }

    /// Nothing answers any more, and every watch ends.
    pub fn go_away(&self) {
        let mut held = self.held();
        held.away = true;
        held.watchers.clear();
    }

    pub fn come_back(&self) {
        self.held().away = false;
    }

    /// Orders as the operator does: the operation first. An order's id is that of the operation with the attempt.
    pub fn order(&self, id: &str, action: &str, boot_id: &str) {
        let phase = if action == "Reboot" { "Rebooting" } else { "Preparing" };
        self.operation(id, phase);
        self.forge_order(id, action, boot_id);
    }

    /// Sets the operation of this order in this phase.
    pub fn operation(&self, order_id: &str, phase: &str) {
        let (id, attempt) = order_id.rsplit_once('-').unwrap();
        let attempt: i32 = attempt.parse().unwrap();
        self.held().put("MODIFIED", |mut object| {
            object["status"]["operation"] = json!({"id": id, "attempt": attempt, "phase": phase});
            object
        });
    }

    /// Orders until a time.
    pub fn order_until(&self, id: &str, action: &str, boot_id: &str, not_after: DateTime<Utc>) {
        self.set_order(&json!({"id": id, "action": action, "bootID": boot_id, "notAfterTime": not_after}));
    }

    /// Orders as anybody may who can write the spec.
    pub fn forge_order(&self, id: &str, action: &str, boot_id: &str) {
        self.set_order(&json!({"id": id, "action": action, "bootID": boot_id}));
    }

    pub fn withdraw(&self) {
        self.set_order(&Value::Null);
    }

    fn set_order(&self, order: &Value) {
        self.held().put("MODIFIED", |mut object| {
            object["spec"]["order"] = order.clone();
            object
        });
    }

    /// The report as the server holds it.
    pub fn report(&self) -> Option<HostReport> {
        let held = self.held();
        let host = held.object.as_ref()?.get("status")?.get("host")?;
        Some(serde_json::from_value(host.clone()).unwrap())
    }

    /// Waits until the report is as expected.
    pub async fn wait(&self, good: impl Fn(&HostReport) -> bool) -> HostReport {
        loop {
            let wrote = self.wrote.notified();
            match self.report() {
                Some(report) if good(&report) => return report,
                _ => wrote.await,
            }
        }
    }

    /// Waits until the answer to an order is this state, and returns its words.
    pub async fn answer(&self, id: &str, state: &str) -> String {
        let good = |report: &HostReport| {
            let answer = report.order.as_ref();
            answer.is_some_and(|answer| answer.id == id && format!("{:?}", answer.state) == state)
        };
        self.wait(good).await.order.unwrap().message
    }

    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.serve(request).await }
        });
        Client::new(service, "default")
    }

    async fn serve(&self, request: Request<Body>) -> io::Result<Response<Stream>> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        {
            let mut held = self.held();
            held.asked += 1;
            if held.away {
                return Err(io::Error::other("connection refused"));
            }
        }
        if parts.method == Method::PATCH {
            assert_eq!(parts.uri.path(), "/apis/lockkeeper.dev/v1alpha1/nodereboots/n1/status");
            if query.contains("dryRun=All") {
                let mut held = self.held();
                held.self_tests += 1;
                return Ok(match held.self_test {
                    200 => answer(200, held.object.as_ref().unwrap()),
                    code => refusal(code),
                });
            }
            assert!(
                query.contains("fieldManager=lockkeeper-agent") && query.contains("force=true"),
                "{query}"
            );
            let body = body.collect_bytes().await.unwrap();
            return self.patch(&serde_json::from_slice(&body).unwrap()).await;
        }
        assert!(query.contains("fieldSelector=metadata.name%3Dn1"), "{query}");
        let mut held = self.held();
        if query.contains("watch=true") {
            return Ok(held.watch(query));
        }
        if held.unreadable {
            return Ok(refusal(500));
        }
        let items: Vec<&Value> = held.object.iter().collect();
        Ok(answer(
            200,
            &json!({
                "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeRebootList",
                "metadata": {"resourceVersion": held.version.to_string()}, "items": items,
            }),
        ))
    }

    async fn patch(&self, body: &Value) -> io::Result<Response<Stream>> {
        let fault = {
            let mut held = self.held();
            held.reports.push(body["status"]["host"].clone());
            held.faults.pop_front()
        };
        match fault {
            Some(Fault::Status(code)) => return Ok(refusal(code)),
            Some(Fault::Hang) => return pending().await,
            Some(Fault::LostReply) | None => {}
        }
        if self.held().object.is_none() {
            return Ok(refusal(404));
        }
        self.held().put("MODIFIED", |mut object| {
            object["status"]["host"] = body["status"]["host"].clone();
            object
        });
        self.wrote.notify_waiters();
        if fault == Some(Fault::LostReply) {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        let object = self.held().object.clone().unwrap();
        Ok(answer(200, &object))
    }
}

impl Default for Held {
    fn default() -> Self {
        Self {
            object: None,
            version: 0,
            watchers: Vec::new(),
            faults: VecDeque::new(),
            away: false,
            asked: 0,
            self_test: 403,
            self_tests: 0,
            unreadable: false,
            reports: Vec::new(),
        }
    }
}

impl Held {
    /// The watch delivers what does not stand any more: an order of an operation in phase Rebooting.
    pub fn deliver_stale_order(&mut self, id: &str, attempt: i32, boot_id: &str) {
        let mut object = self.object.clone().unwrap();
        object["spec"]["order"] = json!({"id": format!("{id}-{attempt}"), "action": "Reboot", "bootID": boot_id});
        object["status"]["operation"] = json!({"id": id, "attempt": attempt, "phase": "Rebooting"});
        self.tell("MODIFIED", &object);
    }

    fn put(&mut self, event: &str, change: impl FnOnce(Value) -> Value) {
        self.version += 1;
        let mut object = change(self.object.take().unwrap_or_default());
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(event, &object);
        self.object = Some(object);
    }

    fn tell(&mut self, event: &str, object: &Value) {
        let event = json!({"type": event, "object": object});
        self.watchers
            .retain(|watcher| watcher.unbounded_send(event.clone()).is_ok());
    }

    fn watch(&mut self, query: &str) -> Response<Stream> {
        let (sender, receiver) = unbounded();
        // What happened between the list and the watch is not lost.
        if let Some(object) = &self.object
            && !query.contains(&format!("resourceVersion={}", self.version))
        {
            let event = json!({"type": "MODIFIED", "object": object});
            sender.unbounded_send(event).unwrap();
        }
        self.watchers.push(sender);
        let lines = receiver.map(|event: Value| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
        Response::new(StreamBody::new(lines.boxed()))
    }
}

fn answer(code: u16, body: &Value) -> Response<Stream> {
    let frame = Ok(Frame::data(Bytes::from(body.to_string())));
    let body = StreamBody::new(stream::iter([frame]).boxed());
    Response::builder().status(code).body(body).unwrap()
}

fn refusal(code: u16) -> Response<Stream> {
    answer(
        code,
        &json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": "a fault", "reason": "Fault", "code": code,
        }),
    )
}

/// Starts an agent; aborting the task is a kill.
pub fn start(api: &Api, host: impl Host + 'static) -> JoinHandle<anyhow::Result<()>> {
    start_with(AgentConfig::new("n1"), api, host)
}

/// Starts an agent with settings of its own.
pub fn start_with(config: AgentConfig, api: &Api, host: impl Host + 'static) -> JoinHandle<anyhow::Result<()>> {
    tokio::spawn(run_agent(config, api.client(), host, pending().boxed()))
}
