//! A fake API server in memory: lists, watches, evictions under budgets, and faults on demand.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::TimeDelta;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::with;
use super::world::{Death, ResponderApi, Stream, World, answer, full_name, status};

/// The fake API server; clones are the same server.
#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<World>>);

/// What one request is answered instead of the truth.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The connection breaks before the request is carried out.
    Reset,
    /// The connection breaks after the request was carried out.
    LostReply,
    /// No answer ever.
    Hang,
    /// This answer.
    Answer {
        code: u16,
        retry_after: Option<u64>,
        body: Value,
    },
}

impl Fake {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(World::new())))
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let answer = fake.serve(request).await;
                if let Some(death) = fake.dies_here() {
                    fake.die(death).await?;
                }
                answer
            }
        });
        Client::new(service, "default")
    }

    pub(super) fn put_pod(&self, pod: Value) {
        self.world().put("pods", pod);
    }

    pub(super) fn put_budget(&self, budget: Value) {
        self.world().put("poddisruptionbudgets", budget);
    }

    /// Changes a stored pod as a merge patch would.
    pub(super) fn change_pod(&self, uid: &str, change: &Value) {
        let mut world = self.world();
        let pod = with(world.pods[uid].clone(), change);
        world.put("pods", pod);
    }

    pub(super) fn change_budget(&self, name: &str, change: &Value) {
        let mut world = self.world();
        let budget = with(world.budgets[name].clone(), change);
        world.put("poddisruptionbudgets", budget);
    }

    pub(super) fn remove_pod(&self, uid: &str) {
        self.world().remove("pods", uid);
    }

    /// Changes the node as a merge patch would.
    pub(super) fn change_node(&self, change: &Value) {
        let mut world = self.world();
        let node = with(world.nodes["n1"].clone(), change);
        world.put("nodes", node);
    }

    /// A client that cannot watch, as one with a read timeout cannot.
    pub(super) fn client_without_watches(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let query = request.uri().query().unwrap_or_default();
                if query.contains("watch=true") {
                    return Err(reset());
                }
                fake.serve(request).await
            }
        });
        Client::new(service, "default")
    }

    /// Breaks every watch and every later request.
    pub(super) fn go_down(&self) {
        self.world().down = true;
        self.break_watches();
    }

    /// Breaks every watch.
    pub(super) fn break_watches(&self) {
        let mut world = self.world();
        for (_, watcher) in world.watchers.drain(..) {
            let _ = watcher.send(None);
        }
    }

    /// Lists alone fail from now on.
    pub(super) fn go_down_for_lists(&self) {
        self.world().lists_fail = true;
    }

    pub(super) fn come_back(&self) {
        let mut world = self.world();
        world.down = false;
        world.lists_fail = false;
    }

    /// How long the server has been there.
    pub(super) fn age(&self) -> Duration {
        self.world().age()
    }

    /// How many requests so far begin with this.
    pub(super) fn count(&self, prefix: &str) -> usize {
        self.world()
            .requests
            .iter()
            .filter(|(_, request)| request.starts_with(prefix))
            .count()
    }

    /// When the requests that begin with this were made, in whole milliseconds.
    pub(super) fn times(&self, prefix: &str) -> Vec<u128> {
        let world = self.world();
        world
            .requests
            .iter()
            .filter(|(_, text)| text.starts_with(prefix))
            .map(|(at, _)| at.as_millis())
            .collect()
    }

    /// Who dies with this request, if anybody does.
    fn dies_here(&self) -> Option<Death> {
        let mut world = self.world();
        let requests = world.requests.len();
        world
            .dies_after
            .take_if(|(after, _)| requests >= *after)
            .map(|(_, death)| death)
    }

    /// The request was carried out; its answer is lost.
    async fn die(&self, death: Death) -> Result<(), std::io::Error> {
        self.world().died.clone().notify_one();
        match death {
            Death::Process => std::future::pending().await,
            Death::Server => {
                self.go_down();
                Err(reset())
            }
        }
    }

    async fn serve(&self, request: Request<Body>) -> Result<Response<Stream>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if self.world().down {
            return Err(reset());
        }
        if path.starts_with("/apis/lifecycle.k8s.io/")
            && let Some(answer) = self.responders(&parts.method, &path, &body)
        {
            return answer;
        }
        if path.ends_with("/eviction") {
            return self.leave(&path, &query, &body, "POST").await;
        }
        if parts.method == http::Method::DELETE {
            return self.leave(&path, &query, &body, "DELETE").await;
        }
        let Some(kind) = watched(&path) else {
            return Ok(self.named(&path));
        };
        let field = match kind {
            "pods" => "fieldSelector=spec.nodeName%3Dn1",
            "nodes" => "fieldSelector=metadata.name%3Dn1",
            _ => "",
        };
        assert!(query.contains(field), "{query}");
        let mut world = self.world();
        if query.contains("watch=true") {
            world.note(format!("WATCH {kind}"));
            return Ok(world.watch(kind, &query));
        }
        world.note(format!("LIST {kind}"));
        if world.lists_fail {
            return Err(reset());
        }
        let list = world.list(kind, &path);
        if kind == "pods"
            && let Some(pod) = world.after_list.take()
        {
            world.put("pods", pod);
        }
        Ok(answer(200, None, &list))
    }

    /// What the API of responders answers; `None` to a list or watch where it is served.
    fn responders(
        &self,
        method: &http::Method,
        path: &str,
        body: &[u8],
    ) -> Option<Result<Response<Stream>, std::io::Error>> {
        let mut world = self.world();
        if world.responders == ResponderApi::Absent {
            world.note(format!("{method} not served"));
            // As plain text, as for each group that a server does not know.
            return Some(Ok(answer(404, None, &json!("404 page not found"))));
        }
        if method == http::Method::GET {
            let fails = world.responders == ResponderApi::WithoutEvictions && path.ends_with("/evictions");
            return fails.then(|| Ok(status(403, "evictions is forbidden")));
        }
        if method == http::Method::DELETE {
            return Some(Ok(world.withdraw(path, body)));
        }
        let request: Value = serde_json::from_slice(body).unwrap();
        world.note(format!("ASK {}", full_name(&request)));
        match world.faults.pop_front() {
            Some(Fault::Answer {
                code,
                retry_after,
                body,
            }) => Some(Ok(answer(code, retry_after, &body))),
            Some(Fault::Reset | Fault::Hang) => Some(Err(reset())),
            Some(Fault::LostReply) => {
                world.ask(request);
                Some(Err(reset()))
            }
            None => Some(Ok(world.ask(request))),
        }
    }

    fn named(&self, path: &str) -> Response<Stream> {
        let parts: Vec<&str> = path.rsplitn(3, '/').collect();
        let name = format!("{}/{}", parts[1], parts[0]);
        let mut world = self.world();
        world.note(format!("GET {name}"));
        match world.named.get(&name) {
            Some(object) => answer(200, None, object),
            None => answer(
                404,
                None,
                &json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}),
            ),
        }
    }

    /// An eviction or a deletion.
    async fn leave(
        &self,
        path: &str,
        query: &str,
        body: &[u8],
        verb: &str,
    ) -> Result<Response<Stream>, std::io::Error> {
        let dry_run = query == "fieldValidation=Strict&dryRun=All";
        assert!(dry_run || query == "fieldValidation=Strict", "{query}");
        let name = path
            .trim_start_matches("/api/v1/namespaces/")
            .trim_end_matches("/eviction")
            .replace("/pods/", "/");
        let body: Value = serde_json::from_slice(body).unwrap();
        let fault = {
            let mut world = self.world();
            world.note(format!("{} {name}", if dry_run { "DRY" } else { verb }));
            world.evictions.push(body.clone());
            world.faults.pop_front()
        };
        match fault {
            Some(Fault::Reset) => Err(reset()),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Answer {
                code,
                retry_after,
                body,
            }) => Ok(answer(code, retry_after, &body)),
            Some(Fault::LostReply) => {
                self.leave_now(&name, &body, verb);
                Err(reset())
            }
            None if dry_run => Ok(status(201, "")),
            None => Ok(self.leave_now(&name, &body, verb)),
        }
    }

    fn leave_now(&self, name: &str, body: &Value, verb: &str) -> Response<Stream> {
        let mut world = self.world();
        let options = if verb == "POST" { &body["deleteOptions"] } else { body };
        let uid = options["preconditions"]["uid"].as_str().unwrap().to_owned();
        let named = world.pods.values().find(|pod| full_name(pod) == name).cloned();
        let Some(pod) = named else {
            return status(404, "pods not found");
        };
        if pod["metadata"]["uid"] != uid {
            return status(
                409,
                "Operation cannot be fulfilled: the UID in the precondition does not match",
            );
        }
        if verb == "POST"
            && let Err(response) = world.spend_budget(&pod)
        {
            return *response;
        }
        world.granted.push(uid.clone());
        let grace = options["gracePeriodSeconds"].as_i64().unwrap_or(30);
        if pod["metadata"]["deletionTimestamp"].is_null() {
            let until = (world.now() + TimeDelta::seconds(grace)).to_rfc3339();
            let mark = json!({"metadata": {"deletionTimestamp": until, "deletionGracePeriodSeconds": grace}});
            world.put("pods", with(pod, &mark));
        }
        if let Some(after) = world.shutdown {
            let fake = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                fake.remove_pod(&uid);
            });
        }
        status(201, "")
    }
}

/// The kind of a list or watch; none where one object is read.
fn watched(path: &str) -> Option<&'static str> {
    let kinds = [
        "pods",
        "poddisruptionbudgets",
        "nodes",
        "volumeattachments",
        "evictionrequests",
        "evictions",
    ];
    kinds.into_iter().find(|kind| path.ends_with(&format!("/{kind}")))
}

pub(super) fn reset() -> std::io::Error {
    std::io::Error::other("connection reset by peer")
}
