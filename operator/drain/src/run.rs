//! The loop: events in, requests out, progress published.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::OptionFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::budget::BudgetView;
use crate::error::Error;
use crate::evict::{Ask, evict};
use crate::left::{namespace_labels, still_there};
use crate::limits::{LABELS_AGAIN_AFTER, LIST_AGAIN_AFTER};
use crate::pod::{PodName, PodView, Uid};
use crate::progress::Progress;
use crate::report::Emptiness;
use crate::settings::Settings;
use crate::state::State;
use crate::watches::{self, Seen};

/// Empties the node: runs until nothing is left that has to leave, and publishes how far it is.
///
/// Pods that are bound late are drained too. A fresh call continues where a crashed one stopped, since everything is
/// read from the API; dropping the future stops new requests at once. An API server that is away is waited for. The
/// client must come from [`crate::eviction_client`].
pub async fn drain(client: Client, settings: Settings, progress: watch::Sender<Progress>) -> Result<(), Error> {
    let mut run = Run::new(client, settings);
    loop {
        let now = run.clock.now();
        run.ask(now);
        publish(&progress, run.state.progress(now));
        if run.step(now).await? == Step::Empty {
            publish(&progress, run.state.done());
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

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something happened.
    Event,
    /// A fresh list shows that the node is empty.
    Empty,
}

type List = Pin<Box<dyn Future<Output = Result<Vec<PodName>, Error>> + Send>>;
type Labels = Pin<Box<dyn Future<Output = (String, Result<BTreeMap<String, String>, Error>)> + Send>>;
type Eviction = Pin<Box<dyn Future<Output = (Uid, Answer)> + Send>>;

struct Run {
    client: Client,
    clock: Clock,
    state: State,
    watches: SelectAll<BoxStream<'static, Seen>>,
    /// Namespaces whose budgets are watched.
    watched: BTreeSet<String>,
    evictions: FuturesUnordered<Eviction>,
    /// Namespaces whose labels are being read, and when the next try may begin.
    labels: FuturesUnordered<Labels>,
    labels_from: Option<DateTime<Utc>>,
    list: Option<List>,
    list_from: Option<DateTime<Utc>>,
    listing: Listing,
}

/// Objects of lists that are not complete yet.
#[derive(Default)]
struct Listing {
    pods: Vec<PodView>,
    budgets: BTreeMap<String, Vec<BudgetView>>,
}

impl Run {
    fn new(client: Client, mut settings: Settings) -> Self {
        let clock = Clock::start();
        // Another machine's clock may be ahead of ours: the cordon is older than the drain at any rate.
        settings.cordoned_at = settings.cordoned_at.min(clock.now());
        let pods = watches::pods(&client, &settings.node);
        Self {
            client,
            clock,
            state: State::new(settings),
            watches: SelectAll::from_iter([pods]),
            watched: BTreeSet::new(),
            evictions: FuturesUnordered::new(),
            labels: FuturesUnordered::new(),
            labels_from: None,
            list: None,
            list_from: None,
            listing: Listing::default(),
        }
    }

    /// Sends what may be sent now.
    fn ask(&mut self, now: DateTime<Utc>) {
        for namespace in self.state.namespaces_asked() {
            if self.watched.insert(namespace.clone()) {
                self.watches.push(watches::budgets(&self.client, &namespace));
            }
        }
        if self.labels.is_empty() && self.labels_from.is_none_or(|at| now >= at) {
            for namespace in self.state.namespaces_unknown() {
                let client = self.client.clone();
                self.labels.push(Box::pin(async move {
                    let labels = namespace_labels(&client, &namespace).await;
                    (namespace, labels)
                }));
            }
        }
        for ask in self.state.pick(now) {
            self.evictions.push(Box::pin(send(self.client.clone(), ask)));
        }
        let early = self.list_from.is_some_and(|at| now < at);
        if self.list.is_none() && !early && self.state.emptiness(now) == Emptiness::Ask {
            let (client, settings) = (self.client.clone(), self.state.settings.clone());
            self.list = Some(Box::pin(async move { still_there(&client, &settings).await }));
        }
    }

    /// Waits for the next event and takes it in, with all others that are there already.
    async fn step(&mut self, now: DateTime<Utc>) -> Result<Step, Error> {
        let wake_at = self
            .state
            .wake_at(now)
            .into_iter()
            .chain(self.list_from.filter(|at| *at > now))
            .chain(self.labels_from.filter(|at| *at > now))
            .min();
        let wake = OptionFuture::from(wake_at.map(|at| tokio::time::sleep(self.clock.until(at))));
        tokio::select! {
            seen = self.watches.next() => self.seen(seen.ok_or(Error::WatchEnded)?),
            Some((uid, answer)) = self.evictions.next(), if !self.evictions.is_empty() => {
                self.state.answered(self.clock.now(), &uid, answer);
            }
            Some((namespace, labels)) = self.labels.next(), if !self.labels.is_empty() => self.labelled(namespace, labels),
            Some(left) = OptionFuture::from(self.list.as_mut()) => return Ok(self.listed(left)),
            Some(()) = wake => {}
        }
        Ok(Step::Event)
    }

    /// A fresh list came back: only an empty one, with nothing new on the watch meanwhile, is the end.
    fn listed(&mut self, left: Result<Vec<PodName>, Error>) -> Step {
        self.list = None;
        let now = self.clock.now();
        match left {
            Ok(left) if left.is_empty() && self.state.emptiness(now) == Emptiness::Ask => return Step::Empty,
            Ok(_) => {}
            Err(error) => self.state.failed(now, error.words()),
        }
        self.list_from = Some(now + LIST_AGAIN_AFTER);
        Step::Event
    }

    /// The labels of a namespace came, or did not.
    fn labelled(&mut self, namespace: String, labels: Result<BTreeMap<String, String>, Error>) {
        match labels {
            Ok(labels) => self.state.namespace_seen(namespace, labels),
            Err(error) => {
                let now = self.clock.now();
                self.state.failed(now, error.words());
                self.labels_from = Some(now + LABELS_AGAIN_AFTER);
            }
        }
    }

    fn seen(&mut self, seen: Seen) {
        let now = self.clock.now();
        match seen {
            Seen::PodListing(None) => self.listing.pods.clear(),
            Seen::PodListing(Some(pod)) => self.listing.pods.push(pod),
            Seen::PodsListed => self.state.pods_listed(std::mem::take(&mut self.listing.pods)),
            Seen::Pod(pod) => self.state.pod_applied(pod),
            Seen::PodGone(uid) => self.state.pod_deleted(&uid),
            Seen::PodsFailed(message) => self.state.failed(now, message),
            Seen::BudgetListing(namespace, None) => {
                self.listing.budgets.remove(&namespace);
            }
            Seen::BudgetListing(namespace, Some(budget)) => {
                self.listing.budgets.entry(namespace).or_default().push(budget);
            }
            Seen::BudgetsListed(namespace) => {
                let budgets = self.listing.budgets.remove(&namespace).unwrap_or_default();
                self.state.budgets_listed(&namespace, budgets);
            }
            Seen::Budget(budget) => self.state.budget_applied(budget),
            Seen::BudgetGone(name) => self.state.budget_deleted(&name),
            Seen::BudgetsFailed(namespace, message) => {
                self.state.budgets_unseen(&namespace);
                self.state.failed(now, message);
            }
        }
    }
}

async fn send(client: Client, ask: Ask) -> (Uid, Answer) {
    let answer = evict(&client, &ask).await;
    tracing::debug!(pod = %ask.pod, uid = %ask.uid.0, ?answer, "eviction");
    (ask.uid, answer)
}

/// Wall time that never jumps while a drain runs: read once, then counted by the monotonic clock.
struct Clock {
    started: DateTime<Utc>,
    at: Instant,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: SystemTime::now().into(),
            at: Instant::now(),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.started + TimeDelta::from_std(self.at.elapsed()).unwrap_or_default()
    }

    fn until(&self, at: DateTime<Utc>) -> Duration {
        (at - self.now()).to_std().unwrap_or_default()
    }
}
