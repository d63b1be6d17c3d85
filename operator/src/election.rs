//! Leader election by a Lease: keeps one operator busy, and fences nothing.
//!
//! A write that must not happen twice is guarded by its own resourceVersion; two leaders at once would only waste work.
//! Evictions have no such guard: they heed the [`Leadership`], which ends by itself on a clock that nothing stops.

mod step;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use lockkeeper_crds::time::to_micro;
use lockkeeper_kube_util::{Clock, WatchBackoff};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::step::{DURATION, LeaseView, RENEW_DEADLINE, RETRY, State, Step, step};
use crate::client::explain;
use crate::leadership::Leadership;

/// A request about the Lease that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(2);
/// After a write that was refused because the Lease had changed.
const CONFLICT: Duration = Duration::from_millis(100);
/// No Lease is believed for longer than this, whatever it says.
const LONGEST: Duration = Duration::from_mins(1);

/// The Lease to hold, and as whom.
#[derive(Clone)]
pub struct LeaseConfig {
    /// Reads and writes; must not retry by itself.
    pub client: Client,
    /// Watches.
    pub watch: Client,
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who we are; different in each process, even of one pod: see [`identity`].
    pub identity: String,
    /// What the times in the Lease are taken from; people read them, no elector trusts them.
    pub clock: Clock,
    /// Extended by each renewal: what writes heeds it.
    pub leadership: Leadership,
}

impl std::fmt::Debug for LeaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease {}/{} as {}", self.namespace, self.name, self.identity)
    }
}

/// Who this process is: the pod's name, or another one, and a number that its next start does not have.
pub fn identity(name: &str) -> String {
    format!("{name}_{:016x}", RandomState::new().hash_one(name))
}

/// Tries to lead until `stop`, and says in `leading` whether it does.
///
/// On `stop` it says that it leads no more and hands the Lease over at once. Cancel it only when no write is on its way.
pub async fn run(lease: LeaseConfig, leading: watch::Sender<bool>, stop: CancellationToken) {
    Elector::new(lease, leading).run(&stop).await;
}

struct Elector {
    lease: LeaseConfig,
    api: Api<LeaseObject>,
    leading: watch::Sender<bool>,
    state: State,
    /// The Lease as last seen, to be written back with our changes.
    object: Option<LeaseObject>,
    /// Said already; not said again until something else is.
    last_logged: String,
}

type Changes = BoxStream<'static, watcher::Result<Event<LeaseObject>>>;

impl Elector {
    fn new(lease: LeaseConfig, leading: watch::Sender<bool>) -> Self {
        let api = Api::namespaced(lease.client.clone(), &lease.namespace);
        let state = State {
            view: LeaseView::Unknown,
            renewed: None,
            not_before: None,
        };
        Self {
            lease,
            api,
            leading,
            state,
            object: None,
            last_logged: String::new(),
        }
    }

    async fn run(mut self, stop: &CancellationToken) {
        let mut changes: Option<Changes> = None;
        loop {
            if stop.is_cancelled() {
                return self.release().await;
            }
            match step(&self.state, Instant::now()) {
                Step::Read => self.read().await,
                Step::Create | Step::Take | Step::Renew => self.write().await,
                Step::Yield(reason) => self.step_down(&reason),
                Step::Wait(until) if self.state.renewed.is_some() => {
                    // A leader sees each change in the answer to its own write.
                    changes = None;
                    tokio::select! {
                        () = sleep_until(until) => (),
                        () = stop.cancelled() => (),
                    }
                }
                Step::Wait(until) => {
                    let changes = changes.get_or_insert_with(|| self.changes());
                    tokio::select! {
                        Some(change) = changes.next() => self.see(change),
                        () = sleep_until(until) => (),
                        () = stop.cancelled() => (),
                    }
                }
            }
        }
    }

    fn changes(&self) -> Changes {
        let api = Api::namespaced(self.lease.watch.clone(), &self.lease.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.lease.name));
        watcher(api, config).backoff(WatchBackoff::for_operator()).boxed()
    }

    fn see(&mut self, change: watcher::Result<Event<LeaseObject>>) {
        match change {
            // A read may have been ahead of the watch.
            Ok(Event::InitApply(object) | Event::Apply(object)) if self.is_newer(&object) => self.observe(Some(object)),
            Ok(Event::Delete(object)) if self.is_newer(&object) => self.observe(None),
            Ok(Event::Init | Event::InitDone | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)) => (),
            // A dead watch costs nothing but reads: silence makes us look.
            Err(error) => tracing::debug!("watch Lease: {error}"),
        }
    }

    fn is_newer(&self, object: &LeaseObject) -> bool {
        version(object) > self.object.as_ref().and_then(version)
    }

    async fn read(&mut self) {
        let sent = Instant::now();
        match timeout(REQUEST, self.api.get_opt(&self.lease.name)).await {
            Ok(Ok(object)) => {
                self.state.not_before = match &object {
                    // Nothing new: the next look is a while off.
                    Some(object) if version(object) == self.object.as_ref().and_then(version) => Some(sent + RETRY),
                    _ => None,
                };
                self.observe(object);
            }
            Ok(Err(error)) => self.failed("read", sent, &error),
            Err(_) => self.timed_out("read", sent),
        }
    }

    /// Writes us into the Lease; that it is still as we saw it is checked by the API server.
    async fn write(&mut self) {
        let (sent, sent_by_leadership) = (Instant::now(), self.lease.leadership.now());
        let patience = self
            .state
            .renewed
            .map_or(REQUEST, |renewed| (renewed + RENEW_DEADLINE - sent).min(REQUEST));
        let object = self.with_us();
        let params = PostParams::default();
        let request = async {
            match &self.object {
                Some(_) => self.api.replace(&self.lease.name, &params, &object).await,
                None => self.api.create(&params, &object).await,
            }
        };
        match timeout(patience, request).await {
            Ok(Ok(object)) => {
                self.object = Some(object);
                self.state = State {
                    view: LeaseView::Ours,
                    renewed: Some(sent),
                    not_before: None,
                };
                self.last_logged.clear();
                self.lease.leadership.renew(sent_by_leadership, RENEW_DEADLINE);
                if self.set_leading(true) {
                    tracing::info!(identity = self.lease.identity, "leading");
                }
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) && !is_missing_namespace(&status) => {
                // Another replica was faster, or our own write succeeded and its reply was lost; the next read shows which.
                self.state.view = LeaseView::Unknown;
                self.state.not_before = Some(Instant::now() + CONFLICT);
            }
            Ok(Err(error)) => self.failed("write", sent, &error),
            Err(_) => self.timed_out("write", sent),
        }
    }

    fn with_us(&self) -> LeaseObject {
        let now = to_micro(self.lease.clock.now());
        let mut object = self.object.clone().unwrap_or_else(|| LeaseObject {
            metadata: ObjectMeta {
                name: Some(self.lease.name.clone()),
                namespace: Some(self.lease.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        object.metadata.managed_fields = None;
        let spec = object.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.lease.identity) {
            spec.holder_identity = Some(self.lease.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.lease_duration_seconds = Some(DURATION.as_secs() as i32);
        spec.renew_time = Some(now);
        object
    }

    /// Takes in the Lease as it is; the time counts from when a state is first seen.
    fn observe(&mut self, object: Option<LeaseObject>) {
        let known = !matches!(self.state.view, LeaseView::Unknown | LeaseView::Absent);
        let unchanged = object.is_some() && object.as_ref().and_then(version) == self.object.as_ref().and_then(version);
        if known && unchanged {
            return;
        }
        let view = self.view(object.as_ref());
        self.object = object;
        if let LeaseView::Theirs { holder, .. } = &view {
            let words = format!("following {holder}");
            self.log_once(&words);
        }
        self.state.view = view;
    }

    fn view(&self, object: Option<&LeaseObject>) -> LeaseView {
        let Some(object) = object else { return LeaseView::Absent };
        let default = LeaseSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&default);
        match spec.holder_identity.as_deref() {
            None | Some("") => LeaseView::Free,
            Some(holder) if holder == self.lease.identity => LeaseView::Ours,
            Some(holder) => {
                let theirs = Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).try_into().unwrap_or(0));
                let duration = theirs.clamp(DURATION, LONGEST);
                LeaseView::Theirs {
                    holder: holder.to_owned(),
                    seen: Instant::now(),
                    duration,
                }
            }
        }
    }

    fn step_down(&mut self, reason: &str) {
        self.state.renewed = None;
        self.state.view = LeaseView::Unknown;
        self.set_leading(false);
        tracing::warn!("leading no more: {reason}");
    }

    /// Hands the Lease over; who cannot tell the API server lets it run out.
    async fn release(mut self) {
        self.set_leading(false);
        let (Some(_), Some(mut object)) = (self.state.renewed, self.object.take()) else {
            return;
        };
        object.metadata.managed_fields = None;
        let spec = object.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(to_micro(self.lease.clock.now()));
        let params = PostParams::default();
        match timeout(REQUEST, self.api.replace(&self.lease.name, &params, &object)).await {
            Ok(Ok(_)) => tracing::info!("released the Lease"),
            Ok(Err(error)) => tracing::warn!("{}; it runs out in 8 s", explain("release the Lease", &error)),
            Err(_) => tracing::warn!("release the Lease: no answer; it runs out in 8 s"),
        }
    }

    /// Says whether we lead, to whom it is news, and answers whether it is.
    fn set_leading(&self, leads: bool) -> bool {
        if !leads {
            self.lease.leadership.end();
        }
        self.leading
            .send_if_modified(|leading| std::mem::replace(leading, leads) != leads)
    }

    fn failed(&mut self, verb: &str, sent: Instant, error: &kube::Error) {
        let what = format!("{verb} Lease {}/{}", self.lease.namespace, self.lease.name);
        self.pause(sent, &explain(&what, error));
    }

    fn timed_out(&mut self, verb: &str, sent: Instant) {
        let seconds = REQUEST.as_secs();
        let words = format!(
            "{verb} Lease {}/{}: no answer in {seconds} s",
            self.lease.namespace, self.lease.name
        );
        self.pause(sent, &words);
    }

    /// The next try counts from when the last one was sent: waiting for an answer was pause enough.
    fn pause(&mut self, sent: Instant, words: &str) {
        self.state.not_before = Some(sent + RETRY);
        self.log_once(words);
    }

    fn log_once(&mut self, words: &str) {
        if self.last_logged != words {
            tracing::info!("{words}");
            words.clone_into(&mut self.last_logged);
        }
    }
}

fn version(object: &LeaseObject) -> Option<u64> {
    object.metadata.resource_version.as_ref()?.parse().ok()
}

/// A 404 for a create is about the namespace, and looking again would not help.
fn is_missing_namespace(status: &kube::core::Status) -> bool {
    status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "namespaces")
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
