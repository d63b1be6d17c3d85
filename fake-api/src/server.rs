//! The server: takes requests from clients in the same process, without a socket.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::{Body as RequestBody, DynBody};
use lockkeeper_kube_util::{Clock, HttpService};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceExt};

use crate::answer::{self, Body, Refusal};
use crate::fault::{Fault, FaultFn};
use crate::handle::{Reply, handle};
use crate::merge::merged;
use crate::request::{Request, Verb};
use crate::resources::Resource;
use crate::state::{CLUSTER, State, Written};
use crate::store::{Key, Store};
use crate::watch::Delivery;

/// How long a request is on its way, and its answer.
const LATENCY: Duration = Duration::from_millis(1);

/// Sees each change that is stored, with all objects as they are after it.
pub type Observer = Box<dyn FnMut(&Written, &Store) + Send>;

type Admission = Box<dyn Fn(&Request) -> Option<Refusal> + Send>;

type Spectator = Box<dyn Fn(&Request) + Send>;

/// Which writes count towards a crash.
pub type CrashFilter = Box<dyn Fn(&Request) -> bool + Send>;

/// The API server; clones are the same one.
#[derive(Clone)]
pub struct FakeApi(Arc<Inner>);

struct Inner {
    clock: Clock,
    state: Mutex<State>,
    control: Mutex<Control>,
    version: watch::Sender<u64>,
    crashed: Notify,
}

#[derive(Default)]
struct Control {
    faults: Option<FaultFn>,
    admission: Vec<Admission>,
    spectators: Vec<Spectator>,
    observers: Vec<Observer>,
    delivery: Delivery,
    /// Clients whose process is gone: nothing of theirs is carried out any more.
    dead: BTreeSet<String>,
    crash: Option<(CrashFilter, usize)>,
    crashed: Option<String>,
    log: Vec<String>,
}

impl std::fmt::Debug for FakeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeApi")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeApi {
    /// A server without objects.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            state: Mutex::new(State::new(clock)),
            control: Mutex::default(),
            version: watch::Sender::new(0),
            crashed: Notify::new(),
        }))
    }

    /// A client of this name; an answer that does not begin within `patience` is an error.
    pub fn client(&self, name: &str, patience: Duration) -> Client {
        Client::new(self.service(name, patience), "default")
    }

    /// What such a client sends its requests through.
    pub fn service(&self, name: &str, patience: Duration) -> HttpService {
        let (server, name) = (self.clone(), name.to_owned());
        let service = tower::service_fn(move |request| {
            let (server, name) = (server.clone(), name.clone());
            async move {
                let answer = timeout(patience, server.serve(&name, request)).await??;
                Ok(answer.map(|body| Box::new(body.map_err(BoxError::from)) as Box<DynBody>))
            }
        });
        service.boxed()
    }

    async fn serve(&self, client: &str, request: http::Request<RequestBody>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(io::Error::other)?;
        sleep(LATENCY).await;
        let answer = match Request::parse(client, &parts, &body) {
            Ok(request) => self.serve_parsed(&request).await?,
            Err(refusal) => refusal.response(self.0.clock.now()),
        };
        sleep(LATENCY).await;
        Ok(answer)
    }

    async fn serve_parsed(&self, request: &Request) -> io::Result<Response<Body>> {
        if self.is_dead(&request.client) {
            return std::future::pending().await;
        }
        for spectator in &lock(&self.0.control).spectators {
            spectator(request);
        }
        let fault = self.fault(request);
        match &fault {
            Some(Fault::Reset) => return Err(reset(self, request, "reset")),
            Some(Fault::Hang) => {
                self.log(request, "hangs");
                return std::future::pending().await;
            }
            Some(Fault::Late(delay)) => sleep(*delay).await,
            Some(Fault::Refused(_) | Fault::LostReply | Fault::Silence) | None => {}
        }
        let result = match &fault {
            Some(Fault::Refused(refusal)) => Err(refusal.clone()),
            _ => self.carry_out(request),
        };
        let code = match &result {
            Ok(Reply::Object(code, _)) => *code,
            Ok(Reply::Watch(_)) => 200,
            Err(refusal) => refusal.code,
        };
        self.log(request, &code.to_string());
        if result.is_ok() && request.verb.writes() && !request.is_dry_run() && self.crashes(request) {
            return std::future::pending().await;
        }
        match fault {
            Some(Fault::LostReply) => Err(reset(self, request, "reply lost")),
            Some(Fault::Silence) => std::future::pending().await,
            _ => Ok(self.response(result)),
        }
    }

    fn is_dead(&self, client: &str) -> bool {
        lock(&self.0.control).dead.contains(client)
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        lock(&self.0.control).faults.as_mut()?(request)
    }

    fn carry_out(&self, request: &Request) -> Result<Reply, Refusal> {
        let refusal = lock(&self.0.control).admission.iter().find_map(|admit| admit(request));
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let reply = handle(&mut lock(&self.0.state), request);
        self.observe();
        reply
    }

    fn response(&self, result: Result<Reply, Refusal>) -> Response<Body> {
        let now = self.0.clock.now();
        match result {
            Ok(Reply::Object(code, object)) => answer::object(code, &object, now),
            Ok(Reply::Watch(subscription)) => {
                let delivery = lock(&self.0.control).delivery.clone();
                answer::stream(subscription.lines(&delivery), now)
            }
            Err(refusal) => refusal.response(now),
        }
    }

    /// Shows the observers what was stored.
    fn observe(&self) {
        let mut state = lock(&self.0.state);
        let written = std::mem::take(&mut state.written);
        if written.is_empty() {
            return;
        }
        let mut control = lock(&self.0.control);
        for change in &written {
            for observer in &mut control.observers {
                observer(change, &state.store);
            }
        }
        self.0.version.send_replace(state.store.version());
    }

    /// Counts a write towards the crash; whether its client is gone now.
    fn crashes(&self, request: &Request) -> bool {
        let mut control = lock(&self.0.control);
        let Some((counts, left)) = &mut control.crash else {
            return false;
        };
        if !counts(request) {
            return false;
        }
        *left -= 1;
        if *left > 0 {
            return false;
        }
        control.crash = None;
        control.dead.insert(request.client.clone());
        control.crashed = Some(request.client.clone());
        self.0.crashed.notify_one();
        true
    }

    fn log(&self, request: &Request, outcome: &str) {
        let line = format!("{} {request}: {outcome}", self.0.clock.now().format("%H:%M:%S%.3f"));
        lock(&self.0.control).log.push(line);
    }
}

fn reset(server: &FakeApi, request: &Request, outcome: &str) -> io::Error {
    server.log(request, outcome);
    io::ErrorKind::ConnectionReset.into()
}

/// What a test does with the server beside its clients.
impl FakeApi {
    /// Creates an object or puts it in the place of one, with its status, as the rest of the cluster does.
    ///
    /// # Panics
    /// If the object is of no known kind.
    pub fn put(&self, object: Value) {
        let resource = Resource::of(&object);
        #[expect(clippy::expect_used, reason = "a mistake in a test")]
        let resource = resource.expect("an object of a known kind");
        let key = Key::of(resource, &object);
        let request = cluster_request(&key, Verb::Replace);
        lock(&self.0.state).store(&request, object, false);
        self.observe();
    }

    /// Changes an object and its status by a merge patch; nothing happens if it is not there.
    pub fn change(&self, key: &Key, change: &Value) {
        if let Some(object) = self.get(key) {
            self.put(merged(object, change));
        }
    }

    /// Removes an object whatever its finalizers, as a kubelet does at the end of a pod.
    pub fn remove(&self, key: &Key) {
        let request = cluster_request(key, Verb::Delete);
        lock(&self.0.state).remove(&request, key);
        self.observe();
    }

    /// An object as it is now.
    pub fn get(&self, key: &Key) -> Option<Value> {
        lock(&self.0.state).store.get(key).cloned()
    }

    /// All objects of a kind, by its name in paths.
    pub fn all(&self, plural: &str) -> Vec<Value> {
        lock(&self.0.state).store.all(plural).cloned().collect()
    }

    /// Changes with each write; the value is the version.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Lets each request that the function names go wrong, until it is replaced.
    pub fn set_faults(&self, faults: Option<FaultFn>) {
        lock(&self.0.control).faults = faults;
    }

    /// How watches that begin from now on deliver their events.
    pub fn set_delivery(&self, delivery: Delivery) {
        lock(&self.0.control).delivery = delivery;
    }

    /// Refuses requests for ever, as an admission policy does.
    pub fn add_admission(&self, admit: impl Fn(&Request) -> Option<Refusal> + Send + 'static) {
        lock(&self.0.control).admission.push(Box::new(admit));
    }

    /// Shows each request to a spectator, whatever becomes of it. It must not call the server.
    pub fn add_spectator(&self, spectator: impl Fn(&Request) + Send + 'static) {
        lock(&self.0.control).spectators.push(Box::new(spectator));
    }

    /// Shows each change to an observer, which must not call the server.
    pub fn add_observer(&self, observer: Observer) {
        lock(&self.0.control).observers.push(observer);
    }

    /// Ends the watches of a kind, or of all: with a broken connection, or in good order.
    pub fn end_watches(&self, plural: Option<&str>, broken: bool) {
        lock(&self.0.state).watchers.end(plural, broken);
    }

    /// Forgets the history, so that a watch cannot go on from an older version, nor a list from an older page.
    pub fn compact(&self) {
        let mut state = lock(&self.0.state);
        state.store.compact();
        state.pages.clear();
    }

    /// Carries nothing of this client out any more: its process is gone.
    pub fn kill(&self, client: &str) {
        lock(&self.0.control).dead.insert(client.to_owned());
    }

    /// Kills the client that makes this write, counted from 1 among those that the filter names: the write is carried out
    /// and never answered. [`FakeApi::crashed`] then returns.
    pub fn crash_at(&self, number: usize, counts: CrashFilter) {
        lock(&self.0.control).crash = Some((counts, number));
    }

    /// Waits for the crash; returns the client.
    pub async fn crashed(&self) -> String {
        loop {
            if let Some(client) = lock(&self.0.control).crashed.take() {
                return client;
            }
            self.0.crashed.notified().await;
        }
    }

    /// Every request so far, with its time and its outcome.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.control).log)
    }
}

fn cluster_request(key: &Key, verb: Verb) -> Request {
    #[expect(clippy::expect_used, reason = "keys name known kinds only")]
    let resource = Resource::named(key.plural).expect("a known kind");
    Request {
        client: CLUSTER.to_owned(),
        verb,
        resource,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        subresource: String::new(),
        query: [].into(),
        body: json!({}),
    }
}
