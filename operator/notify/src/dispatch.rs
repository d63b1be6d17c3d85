//! Hands each Event to the receivers that want it, and starts and ends their tasks as the file changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{Config, KnownEvents, Receiver};
use crate::deliver::{Delivery, Transport, flush_deadline};
use crate::event::Event;
use crate::observer::{Observer, Outcome, SharedObserver};
use crate::repeated::Recent;

/// Events that wait for the dispatcher, which never waits itself.
const QUEUE: usize = 4096;
/// Events that wait for one receiver.
const RECEIVER_QUEUE: usize = 5000;
/// The file is read again with an Event, at most this often.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// Takes Events; clones feed the same dispatcher. Without receivers it drops them.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    queue: Option<mpsc::Sender<Event>>,
    observer: Option<SharedObserver>,
}

impl Notifier {
    /// Hands an Event over; never waits and never fails.
    pub fn notify(&self, event: Event) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(event).is_err()
            && let Some(observer) = &self.observer
        {
            observer.count("all", Outcome::Dropped, 1);
        }
    }

    /// Whether anything is done with an Event.
    pub fn is_active(&self) -> bool {
        self.queue.is_some()
    }
}

/// The task between the operator and the receivers.
#[derive(Debug)]
pub struct Dispatcher<T> {
    path: PathBuf,
    known: KnownEvents,
    transport: T,
    observer: SharedObserver,
    queue: mpsc::Receiver<Event>,
    config: Config,
    read: Option<Instant>,
    senders: BTreeMap<String, mpsc::Sender<Event>>,
    deliveries: JoinSet<()>,
    deadline: watch::Sender<Option<Instant>>,
    recent: Recent,
}

impl<T: Transport> Dispatcher<T> {
    /// The dispatcher of the receivers in this file, and what feeds it.
    pub fn new(path: PathBuf, known: KnownEvents, transport: T, observer: Arc<dyn Observer>) -> (Notifier, Self) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let notifier = Notifier {
            queue: Some(sender),
            observer: Some(observer.clone()),
        };
        let dispatcher = Self {
            path,
            known,
            transport,
            observer,
            queue,
            config: Config::default(),
            read: None,
            senders: BTreeMap::new(),
            deliveries: JoinSet::new(),
            deadline: watch::Sender::new(None),
            recent: Recent::default(),
        };
        (notifier, dispatcher)
    }

    /// Runs until all notifiers are dropped and the receivers got what was left, or had no time for it.
    pub async fn run(mut self) {
        self.read();
        while let Some(event) = self.queue.recv().await {
            self.read();
            if !self.recent.is_repeated(&event, Instant::now()) {
                self.dispatch(&event);
            }
        }
        self.deadline.send_replace(Some(flush_deadline()));
        // Without a sender each receiver sends what is left.
        self.senders.clear();
        while self.deliveries.join_next().await.is_some() {}
    }

    fn dispatch(&self, event: &Event) {
        for receiver in self.config.receivers.iter().filter(|receiver| receiver.wants(event)) {
            let sender = self.senders.get(&receiver.name);
            if sender.is_none_or(|sender| sender.try_send(event.clone()).is_err()) {
                self.observer.count(&receiver.name, Outcome::Dropped, 1);
            }
        }
    }

    /// Reads the file again if that was not done a moment ago. A receiver that did not change keeps its task.
    fn read(&mut self) {
        while self.deliveries.try_join_next().is_some() {}
        if self.read.is_some_and(|read| read.elapsed() < READ_INTERVAL) {
            return;
        }
        let is_first = self.read.is_none();
        self.read = Some(Instant::now());
        let config = Config::read(&self.path, &self.known);
        if !is_first && config == self.config {
            return;
        }
        for error in &config.errors {
            tracing::warn!("configuration of notifications: {error}");
        }
        let names: Vec<&str> = config.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        tracing::info!("notifications go to {} receivers [{}]", names.len(), names.join(", "));
        self.observer.configured(&names, config.errors.len());
        let mut senders = BTreeMap::new();
        for receiver in &config.receivers {
            let unchanged = self.config.cluster == config.cluster && self.config.receivers.contains(receiver);
            let kept = self
                .senders
                .remove(&receiver.name)
                .filter(|sender| unchanged && !sender.is_closed());
            let sender = kept.unwrap_or_else(|| self.start(receiver.clone(), config.cluster.clone()));
            senders.insert(receiver.name.clone(), sender);
        }
        (self.senders, self.config) = (senders, config);
    }

    fn start(&mut self, receiver: Receiver, cluster: String) -> mpsc::Sender<Event> {
        let (sender, queue) = mpsc::channel(RECEIVER_QUEUE);
        let (transport, observer) = (self.transport.clone(), self.observer.clone());
        let delivery = Delivery {
            receiver,
            cluster,
            transport,
            observer,
            queue,
            deadline: self.deadline.subscribe(),
        };
        self.deliveries.spawn(delivery.run());
        sender
    }
}
