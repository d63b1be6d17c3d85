//! A pretended API server that knows one Lease, and lines to it that can be cut.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};

use futures::{StreamExt, stream};
use http::header::DATE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::dated::Dated;
use crate::client::layer::Inspected;
use crate::server_clock::ServerClock;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The server; clones are the same one.
#[derive(Clone)]
pub(super) struct Server {
    lease: watch::Sender<Stored>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What the server stores at one moment, as a backup of etcd keeps it.
#[derive(Clone, Default)]
pub(super) struct Stored {
    version: u64,
    lease: Option<Value>,
}

/// How many seconds the clock of an elector's machine is ahead of the server's; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Ahead(Arc<AtomicI64>);

impl Ahead {
    pub(super) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

/// The state of a line between one elector and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Up,
    /// Nothing gets through, in either direction.
    Cut,
    /// Writes are done, and their answers are lost.
    Deaf,
    /// The server refuses everything.
    Refusing,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            lease: watch::Sender::new(Stored {
                version: 1,
                lease: None,
            }),
            requests: Arc::default(),
        }
    }

    /// A client whose line is as `line` says, on a machine whose clock differs from the server's.
    pub(super) fn client(&self, line: &watch::Sender<Line>, ahead: &Ahead, server_clock: &ServerClock) -> Client {
        let (server, line, ahead) = (self.clone(), line.subscribe(), ahead.clone());
        let inner = tower::service_fn(move |request| {
            let (server, line, ahead) = (server.clone(), line.clone(), ahead.clone());
            async move {
                let mut answer = server.answer(request, line).await;
                let now = Utc::now() - TimeDelta::seconds(ahead.0.load(Ordering::Relaxed));
                let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
                answer.headers_mut().insert(DATE, date.parse().unwrap());
                Ok::<_, Infallible>(answer)
            }
        });
        let server_clock = server_clock.clone();
        let inspector = Dated { server_clock };
        Client::new(Inspected { inner, inspector }, "default")
    }

    pub(super) fn backup(&self) -> Stored {
        self.lease.borrow().clone()
    }

    /// Puts a backup in place of what is stored; its versions are used a second time.
    pub(super) fn restore(&self, backup: Stored) {
        self.lease.send_replace(backup);
    }

    pub(super) fn holder(&self) -> Option<String> {
        let stored = self.lease.borrow();
        Some(stored.lease.as_ref()?["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    pub(super) fn spec(&self) -> Value {
        self.lease
            .borrow()
            .lease
            .as_ref()
            .map(|lease| lease["spec"].clone())
            .unwrap_or_default()
    }

    /// As `kubectl delete lease`.
    pub(super) fn delete(&self) {
        self.lease.send_modify(|stored| {
            stored.version += 1;
            stored.lease = None;
        });
    }

    /// The requests since the last call.
    pub(super) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    async fn answer(&self, request: Request<Body>, mut line: watch::Receiver<Line>) -> Answer {
        let (parts, body) = request.into_parts();
        let mode = *line.borrow();
        match mode {
            Line::Refusing => return failure(StatusCode::INTERNAL_SERVER_ERROR),
            Line::Cut => return std::future::pending().await,
            Line::Up | Line::Deaf => (),
        }
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let verb = if query.contains("watch=") {
            "WATCH"
        } else {
            parts.method.as_str()
        };
        self.requests.lock().unwrap().push(verb.to_owned());
        let named = parts.uri.path().ends_with("/leases/lock");
        let body = body.collect_bytes().await.unwrap();
        let response = match parts.method {
            Method::GET if verb == "WATCH" => return self.watch(line),
            Method::GET if named => self.get(),
            Method::GET => self.list(),
            Method::POST => self.write(&body, true),
            Method::PUT => self.write(&body, false),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        };
        // What was on its way when the line went down is lost too.
        if mode == Line::Deaf || line.has_changed().unwrap_or(false) && *line.borrow_and_update() != Line::Up {
            std::future::pending::<()>().await;
        }
        response
    }

    fn get(&self) -> Answer {
        match &self.lease.borrow().lease {
            Some(lease) => success(lease),
            None => failure(StatusCode::NOT_FOUND),
        }
    }

    fn list(&self) -> Answer {
        let stored = self.lease.borrow();
        let items: Vec<_> = stored.lease.iter().cloned().collect();
        success(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList",
            "metadata": {"resourceVersion": stored.version.to_string()}, "items": items,
        }))
    }

    fn write(&self, body: &Bytes, create: bool) -> Answer {
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        let mut status = StatusCode::OK;
        self.lease.send_if_modified(|stored| {
            status = match (&stored.lease, create) {
                (Some(_), true) => StatusCode::CONFLICT,
                (None, false) => StatusCode::NOT_FOUND,
                (Some(known), false)
                    if known["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] =>
                {
                    StatusCode::CONFLICT
                }
                (None, true) | (Some(_), false) => StatusCode::OK,
            };
            if status != StatusCode::OK {
                return false;
            }
            stored.version += 1;
            lease["metadata"]["resourceVersion"] = stored.version.to_string().into();
            stored.lease = Some(lease.clone());
            true
        });
        if status == StatusCode::OK {
            success(&lease)
        } else {
            failure(status)
        }
    }

    /// Streams each state from now on, while the line is up; never a version that is not newer than the last one.
    fn watch(&self, line: watch::Receiver<Line>) -> Answer {
        let from = self.lease.borrow().version;
        let events = stream::unfold(
            (self.lease.subscribe(), line, None, from),
            |(mut lease, mut line, mut last, mut shown)| async move {
                loop {
                    lease.changed().await.ok()?;
                    line.wait_for(|line| *line == Line::Up).await.ok()?;
                    let now = lease.borrow_and_update().clone();
                    if now.version <= shown {
                        continue;
                    }
                    shown = now.version;
                    let event = match (now.lease, last) {
                        (Some(object), _) => json!({"type": "MODIFIED", "object": object}),
                        (None, Some(gone)) => json!({"type": "DELETED", "object": with_version(gone, now.version)}),
                        (None, None) => {
                            last = None;
                            continue;
                        }
                    };
                    let text = format!("{event}\n");
                    return Some((text, (lease, line, Some(event["object"].clone()), shown)));
                }
            },
        );
        let frames = events.map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn with_version(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

fn success(value: &Value) -> Answer {
    Response::new(whole(value))
}

fn failure(code: StatusCode) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""), "message": code.to_string(), "code": code.as_u16(),
    });
    let mut response = Response::new(whole(&status));
    *response.status_mut() = code;
    response
}

fn whole(value: &Value) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::from(value.to_string()).boxed_unsync()
}
