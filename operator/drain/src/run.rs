//! The loop: events in, requests out, progress published.

use std::collections::BTreeSet;
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
use crate::error::Error;
use crate::evict::{Ask, evict};
use crate::intake::Intake;
use crate::left::{claimed, namespace_labels, still_there};
use crate::limits::{LIST_AGAIN_AFTER, READ_AGAIN_AFTER};
use crate::pod::{PodName, Uid};
use crate::progress::Progress;
use crate::report::Emptiness;
use crate::settings::Settings;
use crate::state::State;
use crate::volumes::{Claimed, Detach};
use crate::watches::{self, Seen};

/// Empties the node: runs until nothing is left that has to leave, and publishes how far it is.
///
/// Pods that are bound late are drained too. A fresh call continues where a crashed one stopped, since everything is
/// read from the API; dropping the future stops new requests at once. An API server that is away is waited for, a node
/// that is gone is an error. The client must come from [`crate::eviction_client`].
pub async fn drain(client: Client, settings: Settings, progress: watch::Sender<Progress>) -> Result<(), Error> {
    let mut run = Run::new(client, settings);
    loop {
        let now = run.clock.now();
        run.state.note_emptiness(now);
        run.ask(now);
        publish(&progress, run.state.progress(now));
        if run.step(now).await? == Step::Empty {
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

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something happened.
    Event,
    /// A fresh list shows that the node is empty.
    Empty,
}

/// Something that was looked up once.
enum Read {
    Labels(String, Result<std::collections::BTreeMap<String, String>, Error>),
    Claim(PodName, Result<Claimed, Error>),
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Run {
    client: Client,
    clock: Clock,
    state: State,
    intake: Intake,
    watches: SelectAll<BoxStream<'static, Seen>>,
    /// Namespaces whose budgets are watched.
    watched: BTreeSet<String>,
    /// Whether attachments are watched.
    attachments: bool,
    evictions: FuturesUnordered<Boxed<(Uid, Answer)>>,
    /// What is being looked up, and when the next try may begin.
    reads: FuturesUnordered<Boxed<Read>>,
    reads_from: Option<DateTime<Utc>>,
    list: Option<Boxed<Result<Vec<PodName>, Error>>>,
    list_from: Option<DateTime<Utc>>,
}

impl Run {
    fn new(client: Client, mut settings: Settings) -> Self {
        let clock = Clock::start();
        // Another machine's clock may be ahead of ours: the cordon is older than the drain at any rate.
        settings.cordoned_at = settings.cordoned_at.min(clock.now());
        let watches = [
            watches::pods(&client, &settings.node),
            watches::node(&client, &settings.node),
        ];
        Self {
            client,
            clock,
            state: State::new(settings),
            intake: Intake::default(),
            watches: SelectAll::from_iter(watches),
            watched: BTreeSet::new(),
            attachments: false,
            evictions: FuturesUnordered::new(),
            reads: FuturesUnordered::new(),
            reads_from: None,
            list: None,
            list_from: None,
        }
    }

    /// Sends what may be sent now.
    fn ask(&mut self, now: DateTime<Utc>) {
        for namespace in self.state.namespaces_asked() {
            if self.watched.insert(namespace.clone()) {
                self.watches.push(watches::budgets(&self.client, &namespace));
            }
        }
        for ask in self.state.pick(now) {
            self.evictions.push(Box::pin(send(self.client.clone(), ask)));
        }
        let looks = self.state.left() == Some(0) && self.state.detach(now) == Detach::Look;
        if looks && !self.attachments {
            self.attachments = true;
            let node = &self.state.settings.node;
            self.watches.push(watches::attachments(&self.client, node));
        }
        if self.reads.is_empty() && self.reads_from.is_none_or(|at| now >= at) {
            self.read(looks);
        }
        let early = self.list_from.is_some_and(|at| now < at);
        if self.list.is_none() && !early && self.state.emptiness(now) == Emptiness::Ask {
            let (client, settings) = (self.client.clone(), self.state.settings.clone());
            self.list = Some(Box::pin(async move { still_there(&client, &settings).await }));
        }
    }

    /// Looks up what decisions depend on: labels of namespaces, volumes behind claims.
    fn read(&self, claims: bool) {
        for namespace in self.state.namespaces_unknown() {
            let client = self.client.clone();
            self.reads.push(Box::pin(async move {
                let labels = namespace_labels(&client, &namespace).await;
                Read::Labels(namespace, labels)
            }));
        }
        let claims = claims.then(|| self.state.claims_unknown());
        for claim in claims.into_iter().flatten() {
            let client = self.client.clone();
            self.reads.push(Box::pin(async move {
                let found = claimed(&client, &claim).await;
                Read::Claim(claim, found)
            }));
        }
    }

    /// Waits for the next event and takes it in.
    async fn step(&mut self, now: DateTime<Utc>) -> Result<Step, Error> {
        let later = [self.list_from, self.reads_from];
        let later = later.into_iter().flatten().filter(|at| *at > now);
        let wake_at = self.state.wake_at(now).into_iter().chain(later).min();
        let wake = OptionFuture::from(wake_at.map(|at| tokio::time::sleep(self.clock.until(at))));
        tokio::select! {
            seen = self.watches.next() => {
                let seen = seen.ok_or(Error::WatchEnded)?;
                self.intake.take(&mut self.state, self.clock.now(), seen)?;
            }
            Some((uid, answer)) = self.evictions.next(), if !self.evictions.is_empty() => {
                self.state.answered(self.clock.now(), &uid, answer);
            }
            Some(read) = self.reads.next(), if !self.reads.is_empty() => self.took(read),
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

    /// Something that was looked up came, or did not.
    fn took(&mut self, read: Read) {
        let failed = match read {
            Read::Labels(namespace, Ok(labels)) => {
                self.state.namespace_seen(namespace, labels);
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
            self.state.failed(now, error.words());
            self.reads_from = Some(now + READ_AGAIN_AFTER);
        }
    }
}

async fn send(client: Client, ask: Ask) -> (Uid, Answer) {
    let answer = evict(&client, &ask).await;
    tracing::debug!(pod = %ask.pod, uid = %ask.uid.0, how = ?ask.how, ?answer, "asked to leave");
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
