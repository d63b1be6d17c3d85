//! What the fake API server holds, and how it lists, watches and counts budgets.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::Response;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::fake::{Fault, reset};
use super::{merge, view, with};
use crate::Phase;

/// Who dies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Death {
    /// The process that asks.
    Process,
    /// The server, until it comes back.
    Server,
}

/// What there is of the API of responders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponderApi {
    Served,
    /// No client may read evictions.
    WithoutEvictions,
    Absent,
}

pub(super) struct World {
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) budgets: BTreeMap<String, Value>,
    pub(super) nodes: BTreeMap<String, Value>,
    pub(super) attachments: BTreeMap<String, Value>,
    /// Requests to responders, and what these do.
    pub(super) eviction_requests: BTreeMap<String, Value>,
    pub(super) pod_evictions: BTreeMap<String, Value>,
    pub(super) responders: ResponderApi,
    /// What is read by name: namespaces, claims, volumes, by the last two parts of their path.
    pub(super) named: BTreeMap<String, Value>,
    /// Every request as `METHOD what`, with the time since the start.
    pub(super) requests: Vec<(Duration, String)>,
    /// Bodies of the evictions.
    pub(super) evictions: Vec<Value>,
    /// Uids whose eviction or deletion was granted.
    pub(super) granted: Vec<String>,
    /// Faults for the next evictions, in order.
    pub(super) faults: VecDeque<Fault>,
    /// What happens after this many requests: the last one is carried out and never answered.
    pub(super) dies_after: Option<(usize, Death)>,
    pub(super) died: Arc<Notify>,
    /// Whether nothing answers.
    pub(super) down: bool,
    /// Whether changes are kept from the watches.
    pub(super) silent: bool,
    /// Whether lists fail.
    pub(super) lists_fail: bool,
    /// How long a pod takes to shut down; none = for ever.
    pub(super) shutdown: Option<Duration>,
    /// Puts this pod on the node when the next list has been answered.
    pub(super) after_list: Option<Value>,
    pub(super) watchers: Vec<(&'static str, mpsc::UnboundedSender<Option<Bytes>>)>,
    /// Every change of a watched object, which a resumed watch gets.
    history: Vec<(u64, &'static str, Bytes)>,
    version: u64,
    started: (DateTime<Utc>, Instant),
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            pods: BTreeMap::new(),
            budgets: BTreeMap::new(),
            nodes: BTreeMap::from([("n1".to_owned(), super::node())]),
            attachments: BTreeMap::new(),
            eviction_requests: BTreeMap::new(),
            pod_evictions: BTreeMap::new(),
            responders: ResponderApi::Served,
            named: BTreeMap::new(),
            requests: Vec::new(),
            evictions: Vec::new(),
            granted: Vec::new(),
            faults: VecDeque::new(),
            dies_after: None,
            died: Arc::new(Notify::new()),
            down: false,
            lists_fail: false,
            silent: false,
            shutdown: Some(Duration::from_secs(2)),
            after_list: None,
            watchers: Vec::new(),
            history: Vec::new(),
            version: 1,
            started: (SystemTime::now().into(), Instant::now()),
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.started.1.elapsed()
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.started.0 + TimeDelta::from_std(self.started.1.elapsed()).unwrap()
    }

    pub(super) fn note(&mut self, request: String) {
        self.requests.push((self.started.1.elapsed(), request));
    }

    pub(super) fn put(&mut self, kind: &'static str, mut object: Value) {
        self.version += 1;
        merge(
            &mut object,
            &json!({"metadata": {"resourceVersion": self.version.to_string()}}),
        );
        let key = object["metadata"][if kind == "pods" { "uid" } else { "name" }]
            .as_str()
            .unwrap()
            .to_owned();
        let all = self.store(kind);
        let change = if all.insert(key, object.clone()).is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.announce(kind, change, &object);
    }

    fn store(&mut self, kind: &str) -> &mut BTreeMap<String, Value> {
        match kind {
            "pods" => &mut self.pods,
            "poddisruptionbudgets" => &mut self.budgets,
            "nodes" => &mut self.nodes,
            "volumeattachments" => &mut self.attachments,
            "evictionrequests" => &mut self.eviction_requests,
            "evictions" => &mut self.pod_evictions,
            other => panic!("{other}"),
        }
    }

    pub(super) fn remove(&mut self, kind: &'static str, key: &str) {
        if let Some(mut object) = self.store(kind).remove(key) {
            self.version += 1;
            merge(
                &mut object,
                &json!({"metadata": {"resourceVersion": self.version.to_string()}}),
            );
            self.announce(kind, "DELETED", &object);
        }
    }

    fn announce(&mut self, kind: &'static str, change: &str, object: &Value) {
        let elsewhere = kind == "pods" && object["spec"]["nodeName"] != "n1";
        if !elsewhere && !self.silent {
            let line = Bytes::from(json!({"type": change, "object": object}).to_string() + "\n");
            self.history.push((self.version, kind, line.clone()));
            self.watchers
                .retain(|(watched, to)| *watched != kind || to.send(Some(line.clone())).is_ok());
        }
    }

    /// A resumed watch first gets what it missed. (Namespaces are told apart by the lists alone.)
    pub(super) fn watch(&mut self, kind: &'static str, query: &str) -> Response<Stream> {
        let (to, from) = mpsc::unbounded_channel();
        let since = query
            .split("resourceVersion=")
            .nth(1)
            .and_then(|rest| rest.split('&').next()?.parse().ok());
        let since: u64 = since.unwrap_or_default();
        for (_, _, line) in self.history.iter().filter(|(at, of, _)| *at > since && *of == kind) {
            let _ = to.send(Some(line.clone()));
        }
        self.watchers.push((kind, to));
        Response::new(Stream(from))
    }

    pub(super) fn list(&self, kind: &str, path: &str) -> Value {
        let items: Vec<&Value> = match kind {
            "pods" => self
                .pods
                .values()
                .filter(|pod| pod["spec"]["nodeName"] == "n1")
                .collect(),
            "nodes" => self.nodes.values().collect(),
            "volumeattachments" => self.attachments.values().collect(),
            "evictionrequests" => self.eviction_requests.values().collect(),
            "evictions" => self.pod_evictions.values().collect(),
            _ => self
                .budgets
                .values()
                .filter(|budget| path.contains(&format!("/{}/", text(budget, "namespace"))))
                .collect(),
        };
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    /// Creates a request to responders, once.
    pub(super) fn ask(&mut self, mut request: Value) -> Response<Stream> {
        let name = text(&request, "name").to_owned();
        if self.eviction_requests.contains_key(&name) {
            let body = json!({"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "already exists"});
            return answer(409, None, &body);
        }
        merge(&mut request, &json!({"metadata": {"uid": format!("uid-of-{name}")}}));
        self.put("evictionrequests", request);
        status(201, "")
    }

    /// Deletes a request to responders, if it is the one that is meant.
    pub(super) fn withdraw(&mut self, path: &str, body: &[u8]) -> Response<Stream> {
        let options: Value = serde_json::from_slice(body).unwrap();
        let name = path.rsplit('/').next().unwrap().to_owned();
        self.note(format!("WITHDRAW {name}"));
        let uid = &options["preconditions"]["uid"];
        assert!(uid.is_string(), "{options}");
        match self.eviction_requests.get(&name) {
            Some(request) if request["metadata"]["uid"] == *uid => {
                self.remove("evictionrequests", &name);
                answer(200, None, &json!({"kind": "Status", "status": "Success"}))
            }
            Some(_) => status(409, "the UID in the precondition does not match"),
            None => status(404, "not found"),
        }
    }

    /// As the API server does: no budget for what does not run, one that has room, or a refusal.
    pub(super) fn spend_budget(&mut self, pod: &Value) -> Result<(), Box<Response<Stream>>> {
        let seen = view(pod.clone());
        if seen.phase != Phase::Running || seen.shutdown.is_some() {
            return Ok(());
        }
        let budgets: Vec<Value> = self
            .budgets
            .values()
            .filter(|budget| selects(budget, pod))
            .cloned()
            .collect();
        let [budget] = budgets.as_slice() else {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return if budgets.is_empty() {
                Ok(())
            } else {
                Err(Box::new(status(500, message)))
            };
        };
        if !seen.ready && budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" {
            return Ok(());
        }
        let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap();
        if allowed < 1 {
            let cause = format!("The disruption budget {} needs more healthy pods", text(budget, "name"));
            return Err(Box::new(exhausted(&cause, None)));
        }
        let name = text(pod, "name").to_owned();
        let change =
            json!({"status": {"disruptionsAllowed": allowed - 1, "disruptedPods": {name: "2026-11-21T12:00:00Z"}}});
        let budget = with(budget.clone(), &change);
        self.put("poddisruptionbudgets", budget);
        Ok(())
    }
}

/// The answer of an exhausted budget.
fn exhausted(cause: &str, retry_after: Option<u64>) -> Response<Stream> {
    answer(429, retry_after, &exhausted_body(cause))
}

/// The body of an exhausted budget's answer.
pub(super) fn exhausted_body(cause: &str) -> Value {
    json!({
        "kind": "Status", "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": cause}]},
    })
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let app = &budget["spec"]["selector"]["matchLabels"]["app"];
    text(budget, "namespace") == text(pod, "namespace") && *app == pod["metadata"]["labels"]["app"]
}

pub(super) fn full_name(object: &Value) -> String {
    format!("{}/{}", text(object, "namespace"), text(object, "name"))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap()
}

pub(super) fn status(code: u16, message: &str) -> Response<Stream> {
    answer(code, None, &json!({"kind": "Status", "message": message}))
}

pub(super) fn answer(code: u16, retry_after: Option<u64>, body: &Value) -> Response<Stream> {
    let (to, from) = mpsc::unbounded_channel();
    to.send(Some(Bytes::from(body.to_string()))).unwrap();
    let response = Response::builder().status(code);
    let response = match retry_after {
        Some(seconds) => response.header("Retry-After", seconds),
        None => response,
    };
    response.body(Stream(from)).unwrap()
}

/// A response body: it ends with its sender and breaks at a `None`.
pub(super) struct Stream(mpsc::UnboundedReceiver<Option<Bytes>>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|chunk| match chunk {
            Some(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(None) => Some(Err(reset())),
            None => None,
        })
    }
}
