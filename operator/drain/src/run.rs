//! The loop of a drain: it applies events, sends requests and publishes the progress.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, Utc};
use futures::future::OptionFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use kube::Client;
use lockkeeper_kube_util::Clock;
use tokio::sync::watch;

use crate::answer::EvictionAnswer;
use crate::clients::DrainClients;
use crate::completion::Completion;
use crate::detach::DetachState;
use crate::error::Error;
use crate::evict::{RemovalRequest, evict};
use crate::fresh_reads::{claimed_volume, namespace_labels, remaining_pods};
use crate::limits::{LIST_RETRY, READ_RETRY};
use crate::pod::{PodName, Uid};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::state::State;
use crate::volumes::ClaimedVolume;
use crate::watch_intake::WatchIntake;
use crate::watches::{self, WatchEvent};

/// Drains the node: runs until every pod that has to leave has left, and publishes the progress.
///
/// Pods that are bound late are drained too. A fresh call continues where a crashed one stopped, since everything is
/// read from the API server; dropping the future stops new requests at once. The drain outlasts an unavailable API
/// server; a deleted node is an error. A single client for both purposes comes from [`crate::eviction_client`].
pub async fn drain(
    clients: impl Into<DrainClients>,
    settings: Settings,
    progress: watch::Sender<Progress>,
) -> Result<(), Error> {
    let mut run = Run::new(clients.into(), settings);
    loop {
        let now = run.clock.now();
        run.state.end_opt_outs(now);
        run.state.note_last_pod(now);
        run.state.end_requests(now);
        run.send_requests(now);
        publish(&progress, run.state.progress(now));
        if run.step(now).await? == Step::Complete {
            publish(&progress, run.state.done(run.clock.now()));
            return Ok(());
        }
    }
}

fn publish(progress: &watch::Sender<Progress>, next: Progress) {
    progress.send_if_modified(|shown| {
        let changed = *shown != next;
        *shown = next;
        changed
    });
}

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The drain continues.
    Continue,
    /// A fresh list shows that the drain is complete.
    Complete,
}

/// The result of a single read.
enum Read {
    Labels(String, Result<BTreeMap<String, String>, Error>),
    Claim(PodName, Result<ClaimedVolume, Error>),
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Run {
    clients: DrainClients,
    /// Without jumps while the drain runs.
    clock: Clock,
    state: State,
    intake: WatchIntake,
    watches: SelectAll<BoxStream<'static, WatchEvent>>,
    /// Namespaces whose budgets are watched.
    watched_namespaces: BTreeSet<String>,
    /// Namespaces whose responders are watched.
    asked_namespaces: BTreeSet<String>,
    /// Whether attachments are watched.
    attachments_watched: bool,
    evictions: FuturesUnordered<BoxFuture<(Uid, EvictionAnswer)>>,
    /// Reads without an answer, and when failed ones may be repeated.
    reads: FuturesUnordered<BoxFuture<Read>>,
    reads_from: Option<DateTime<Utc>>,
    /// The fresh list that confirms the end, and when the next one may start.
    list: Option<BoxFuture<Result<Vec<PodName>, Error>>>,
    list_from: Option<DateTime<Utc>>,
}

impl Run {
    fn new(clients: DrainClients, mut settings: Settings) -> Self {
        let clock = settings.clock.steady();
        // The clock of the machine that wrote the time may be ahead; the cordon is older than the drain in any case.
        settings.cordoned_at = settings.cordoned_at.min(clock.now());
        let watches = [
            watches::pods(&clients.watches, &settings.node),
            watches::node(&clients.watches, &settings.node),
        ];
        Self {
            clients,
            clock,
            state: State::new(settings),
            intake: WatchIntake::default(),
            watches: SelectAll::from_iter(watches),
            watched_namespaces: BTreeSet::new(),
            asked_namespaces: BTreeSet::new(),
            attachments_watched: false,
            evictions: FuturesUnordered::new(),
            reads: FuturesUnordered::new(),
            reads_from: None,
            list: None,
            list_from: None,
        }
    }

    /// Sends the requests that may be sent now.
    fn send_requests(&mut self, now: DateTime<Utc>) {
        for namespace in self.state.namespaces_with_evictions() {
            if self.watched_namespaces.insert(namespace.clone()) {
                self.watches.push(watches::budgets(&self.clients.watches, &namespace));
            }
        }
        for namespace in self.state.namespaces_asked() {
            if self.asked_namespaces.insert(namespace.clone()) {
                let node = &self.state.settings.node;
                self.watches
                    .extend(watches::responders(&self.clients.watches, &namespace, node));
            }
        }
        for request in self.state.pick(now) {
            self.evictions
                .push(Box::pin(send(self.clients.requests.clone(), request)));
        }
        let volumes_unknown = self.state.remaining() == Some(0) && self.state.detach_state(now) == DetachState::Unknown;
        if volumes_unknown && !self.attachments_watched {
            self.attachments_watched = true;
            let node = &self.state.settings.node;
            self.watches.push(watches::attachments(&self.clients.watches, node));
        }
        if self.reads.is_empty() && self.reads_from.is_none_or(|at| now >= at) {
            self.start_reads(volumes_unknown);
        }
        let too_early = self.list_from.is_some_and(|at| now < at);
        if self.list.is_none() && !too_early && self.state.completion(now) == Completion::Verify {
            let (client, settings) = (self.clients.requests.clone(), self.state.settings.clone());
            self.list = Some(Box::pin(async move { remaining_pods(&client, &settings).await }));
        }
    }

    /// Reads what decisions depend on: labels of namespaces, volumes of claims.
    fn start_reads(&self, claims: bool) {
        for namespace in self.state.namespaces_unknown() {
            let client = self.clients.requests.clone();
            self.reads.push(Box::pin(async move {
                let labels = namespace_labels(&client, &namespace).await;
                Read::Labels(namespace, labels)
            }));
        }
        let claims = claims.then(|| self.state.claims_unknown());
        for claim in claims.into_iter().flatten() {
            let client = self.clients.requests.clone();
            self.reads.push(Box::pin(async move {
                let found = claimed_volume(&client, &claim).await;
                Read::Claim(claim, found)
            }));
        }
    }

    /// Waits for the next event and applies it.
    async fn step(&mut self, now: DateTime<Utc>) -> Result<Step, Error> {
        let retries = [self.list_from, self.reads_from];
        let retries = retries.into_iter().flatten().filter(|at| *at > now);
        let wake_at = self.state.wake_at(now).into_iter().chain(retries).min();
        let wake = OptionFuture::from(wake_at.map(|at| tokio::time::sleep(self.clock.until(at))));
        tokio::select! {
            // In this order, so that the same events make the same drain. The list comes last: it proves the end only if the
            // watches have shown nothing new.
            biased;
            Some((uid, answer)) = self.evictions.next(), if !self.evictions.is_empty() => {
                self.state.record_answer(self.clock.now(), &uid, answer);
            }
            Some(read) = self.reads.next(), if !self.reads.is_empty() => self.handle_read(read),
            Some(()) = wake => {}
            event = self.watches.next() => {
                let event = event.ok_or(Error::WatchEnded)?;
                self.intake.apply(&mut self.state, self.clock.now(), event)?;
            }
            Some(pods) = OptionFuture::from(self.list.as_mut()) => return Ok(self.handle_list(pods)),
        }
        Ok(Step::Continue)
    }

    /// The drain is complete if the fresh list is empty and the watch has shown nothing new in the meantime.
    fn handle_list(&mut self, pods: Result<Vec<PodName>, Error>) -> Step {
        self.list = None;
        let now = self.clock.now();
        match pods {
            Ok(pods) if pods.is_empty() && self.state.completion(now) == Completion::Verify => return Step::Complete,
            Ok(_) => {}
            Err(error) => self.state.record_failure(now, error.full_message()),
        }
        self.list_from = Some(now + LIST_RETRY);
        Step::Continue
    }

    fn handle_read(&mut self, read: Read) {
        let failed = match read {
            Read::Labels(namespace, Ok(labels)) => {
                self.state.namespace_read(self.clock.now(), namespace, labels);
                None
            }
            Read::Claim(claim, Ok(found)) => {
                self.state.volumes.claims.insert(claim, found);
                None
            }
            Read::Labels(_, Err(error)) | Read::Claim(_, Err(error)) => Some(error),
        };
        if let Some(error) = failed {
            let now = self.clock.now();
            self.state.record_failure(now, error.full_message());
            self.reads_from = Some(now + READ_RETRY);
        }
    }
}

async fn send(client: Client, request: RemovalRequest) -> (Uid, EvictionAnswer) {
    let answer = evict(&client, &request).await;
    let (pod, uid, method) = (&request.pod, &request.uid.0, request.method);
    tracing::debug!(%pod, uid, ?method, ?answer, "eviction requested");
    (request.uid, answer)
}
