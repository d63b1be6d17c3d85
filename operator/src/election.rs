//! Leader election by a Lease: keeps one operator busy, and fences nothing.
//!
//! A write that must not happen twice is guarded by its own resourceVersion; two leaders at once would only waste work.
//! Evictions have no such guard: they heed the [`Leadership`](crate::leadership::Leadership), which ends by itself on a clock that nothing stops.

mod lease;
mod step;

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::{self, Event};
use lockkeeper_crds::time::to_micro;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::lease::{Changes, is_missing_namespace, lease_changes, version};
pub use self::lease::{LeaseConfig, identity};
pub use self::step::Pace;
use self::step::{CLOCK_RETRY, LeaseView, RETRY, State, Step, step};
use crate::client::explain;

/// A request about the Lease that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(2);
/// After a write that was refused because the Lease had changed.
const CONFLICT: Duration = Duration::from_millis(100);
/// No Lease is believed for longer than this, whatever it says.
const LONGEST: Duration = Duration::from_mins(1);

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
    /// The watch of a follower.
    changes: Option<Changes>,
    /// The newest version of the Lease that any answer has shown.
    newest: u64,
    /// Said already; not said again until something else is.
    last_logged: String,
}

impl Elector {
    fn new(lease: LeaseConfig, leading: watch::Sender<bool>) -> Self {
        let api = Api::namespaced(lease.client.clone(), &lease.namespace);
        let state = State {
            pace: lease.pace,
            view: LeaseView::Unknown,
            renewed: None,
            not_before: None,
            clock_error: None,
        };
        lease.health.is_ready();
        Self {
            lease,
            api,
            leading,
            state,
            object: None,
            changes: None,
            newest: 0,
            last_logged: String::new(),
        }
    }

    async fn run(mut self, stop: &CancellationToken) {
        loop {
            if stop.is_cancelled() {
                return self.release().await;
            }
            match step(&self.state, Instant::now()) {
                Step::Read => self.read().await,
                Step::Create | Step::Take | Step::Renew => self.write().await,
                Step::Yield(reason) => self.step_down(&reason),
                Step::HandOver(reason) => self.hand_over(&reason).await,
                Step::Wait(until) if self.state.renewed.is_some() => {
                    // A leader sees each change in the answer to its own write.
                    self.changes = None;
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => (),
                        () = sleep_until(until) => (),
                    }
                }
                Step::Wait(until) => {
                    let changes = self.changes.get_or_insert_with(|| lease_changes(&self.lease));
                    let change = tokio::select! {
                        biased;
                        () = stop.cancelled() => None,
                        Some(change) = changes.next() => Some(change),
                        () = sleep_until(until) => None,
                    };
                    if let Some(change) = change {
                        self.see(change);
                    }
                }
            }
        }
    }

    fn see(&mut self, change: watcher::Result<Event<LeaseObject>>) {
        if let Ok(Event::InitApply(object) | Event::Apply(object) | Event::Delete(object)) = &change {
            // What a watch has shown, a read shows too, or something newer.
            self.newest = version(object).map_or(self.newest, |version| version.max(self.newest));
        }
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
                self.check_answer(object.as_ref());
                self.state.not_before = match &object {
                    _ if self.state.clock_error.is_some() => Some(sent + CLOCK_RETRY),
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
        let patience = self.state.renewed.map_or(REQUEST, |renewed| {
            (renewed + self.lease.pace.deadline - sent).min(REQUEST)
        });
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
                self.check_answer(Some(&object));
                self.object = Some(object);
                self.state.view = LeaseView::Ours;
                self.state.renewed = Some(sent);
                self.state.not_before = None;
                if self.state.clock_error.is_some() {
                    // The next step hands the Lease over, before anything is done as the leader.
                    return;
                }
                self.last_logged.clear();
                self.lease
                    .leadership
                    .renew(sent_by_leadership, self.lease.pace.deadline);
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

    /// Looks at what an answer to a read or a write shows of the server: its clock, and whether its data went back.
    ///
    /// The API server reads the Lease from etcd itself for both, never from a cache that lags. Its version therefore only
    /// grows, in each API server of a cluster, unless etcd was restored from a backup.
    fn check_answer(&mut self, object: Option<&LeaseObject>) {
        self.state.clock_error = self.lease.server_clock.error();
        match self.state.clock_error.clone() {
            None => self.lease.health.is_ready(),
            Some(error) => {
                self.lease.health.is_not_ready(&error);
                if self.state.renewed.is_none() {
                    self.log_once(&format!("not leading: {error}"));
                }
            }
        }
        let Some(version) = object.and_then(version) else {
            return;
        };
        if version < self.newest {
            self.lease.cache.rewind(self.newest, version);
            // It waits for versions of the future.
            self.changes = None;
            self.state.view = LeaseView::Unknown;
        }
        self.newest = version;
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
        spec.lease_duration_seconds = Some(self.lease.pace.duration.as_secs() as i32);
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
                let duration = theirs.clamp(self.lease.pace.duration, LONGEST.max(self.lease.pace.duration));
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

    /// Lets another replica lead at once.
    async fn hand_over(&mut self, reason: &str) {
        let sent = Instant::now();
        if self.set_leading(false) {
            tracing::warn!("leading no more: {reason}");
        }
        self.release_lease().await;
        self.state.renewed = None;
        self.state.view = LeaseView::Unknown;
        self.state.not_before = Some(sent + CLOCK_RETRY);
    }

    async fn release(mut self) {
        self.set_leading(false);
        self.release_lease().await;
    }

    /// Hands the Lease over; who cannot tell the API server lets it run out.
    async fn release_lease(&mut self) {
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

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
