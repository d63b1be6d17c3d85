//! The task of one receiver: gathers Events, makes one message of them, and sends it until it is received.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lockkeeper_outbound::{Client, Error, Target};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Receiver;
use crate::event::Event;
use crate::format::{Body, bodies};
use crate::observer::{Outcome, SharedObserver};

/// After the first Event of a message, others are gathered for this long.
const GATHER: Duration = Duration::from_secs(2);
/// The most Events of one message; the rest follows in the next.
const MAX_EVENTS: usize = 5000;
/// The first pause before a request is sent again; doubled each time, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// A message that was not received for this long is counted as failed, and the next one is sent.
const RETRY_FOR: Duration = Duration::from_mins(10);
/// At the end of the process, what is left is sent once, and all of it within this.
const FLUSH: Duration = Duration::from_secs(2);

/// Sends requests; in production a [`Client`].
pub trait Transport: Clone + Send + Sync + 'static {
    /// Sends one request and waits for its answer.
    fn post(&self, target: &Target, content_type: &str, body: Bytes) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Transport for Client {
    async fn post(&self, target: &Target, content_type: &str, body: Bytes) -> Result<(), Error> {
        Client::post(self, target, content_type, body).await.map(drop)
    }
}

/// The time until which requests may still be sent, once the process ends.
pub(crate) type Deadline = watch::Receiver<Option<Instant>>;

/// The end of the process: what is left may be sent until the deadline in the result.
pub(crate) fn flush_deadline() -> Instant {
    Instant::now() + FLUSH
}

/// What the task of a receiver has.
pub(crate) struct Delivery<T> {
    pub(crate) receiver: Receiver,
    pub(crate) cluster: String,
    pub(crate) transport: T,
    pub(crate) observer: SharedObserver,
    pub(crate) queue: mpsc::Receiver<Event>,
    pub(crate) deadline: Deadline,
}

impl<T: Transport> Delivery<T> {
    /// Sends messages until the queue is closed, and then what is left of it.
    pub(crate) async fn run(mut self) {
        let mut next = Instant::now();
        let mut last_error = None;
        while let Some(first) = self.queue.recv().await {
            let mut events = vec![first];
            let due = next.max(Instant::now() + GATHER);
            self.gather(&mut events, due).await;
            let left = AtomicU64::new(length(&events));
            let is_over = tokio::select! {
                () = self.send(&events, &left, &mut last_error) => false,
                () = over(self.deadline.clone()) => true,
            };
            if is_over {
                self.abandon(left.into_inner());
                return;
            }
            next = Instant::now() + self.receiver.pause;
        }
    }

    /// Takes what comes until then, or until the queue is closed.
    async fn gather(&mut self, events: &mut Vec<Event>, due: Instant) {
        loop {
            let room = events.len() < MAX_EVENTS;
            tokio::select! {
                biased;
                event = self.queue.recv(), if room => match event {
                    Some(event) => events.push(event),
                    None => return,
                },
                () = sleep_until(due) => return,
            }
        }
    }

    async fn send(&self, events: &[Event], left: &AtomicU64, last_error: &mut Option<String>) {
        let name = &self.receiver.name;
        let receiver = &self.receiver;
        let bodies = match bodies(receiver.format, receiver.template.as_ref(), &self.cluster, events) {
            Ok(bodies) => bodies,
            Err(error) => {
                self.observer.count(name, Outcome::Failed, length(events));
                tracing::warn!(
                    receiver = name,
                    "the template of notifications {error}; the message is not sent"
                );
                return;
            }
        };
        for body in &bodies {
            match self.send_patiently(body).await {
                Ok(()) => {
                    left.fetch_sub(body.events, Ordering::Relaxed);
                    self.observer.count(name, Outcome::Sent, body.events);
                    if last_error.take().is_some() {
                        tracing::info!(receiver = name, "notifications are received again");
                    }
                }
                Err(error) => {
                    // A receiver that refuses one document or does not answer is spared the rest of the message.
                    let left = left.load(Ordering::Relaxed);
                    self.observer.count(name, Outcome::Failed, left);
                    let text = error.to_string();
                    if last_error.as_ref() != Some(&text) {
                        tracing::warn!(receiver = name, "{left} notifications were not received: {text}");
                    }
                    *last_error = Some(text);
                    return;
                }
            }
        }
    }

    /// Sends again after a failure that may end by itself, until the process ends.
    async fn send_patiently(&self, body: &Body) -> Result<(), Error> {
        let end = Instant::now() + RETRY_FOR;
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(error) = self.post(body).await else {
                return Ok(());
            };
            let wait = retry_after(&error).map_or(pause, |asked| asked.max(pause));
            // A closed queue means that the process ends: there is no time for another attempt.
            if !error.is_temporary() || self.queue.is_closed() || Instant::now() + wait > end {
                return Err(error);
            }
            tracing::debug!(
                receiver = self.receiver.name,
                "{error}; sent again in {} s",
                wait.as_secs()
            );
            sleep(wait).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn post(&self, body: &Body) -> Result<(), Error> {
        let sent = self
            .transport
            .post(&self.receiver.target, body.content_type, body.bytes.clone());
        sent.await
    }

    /// The process ends before these and the rest of the queue were received.
    fn abandon(&mut self, mut left: u64) {
        while self.queue.try_recv().is_ok() {
            left += 1;
        }
        self.observer.count(&self.receiver.name, Outcome::Failed, left);
        let name = &self.receiver.name;
        tracing::warn!(
            receiver = name,
            "{left} notifications were not received before the process ended"
        );
    }
}

/// Returns once no request may be sent any more.
async fn over(mut deadline: Deadline) {
    let set = deadline.wait_for(Option::is_some).await.map(|deadline| *deadline);
    // Without a dispatcher there is no one to wait for.
    if let Ok(Some(deadline)) = set {
        sleep_until(deadline).await;
    }
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Status { retry_after, .. } => *retry_after,
        Error::Resolve { .. }
        | Error::Address { .. }
        | Error::Connect { .. }
        | Error::Tls { .. }
        | Error::Credential { .. }
        | Error::Timeout { .. }
        | Error::Protocol { .. }
        | Error::Redirect { .. }
        | Error::BodyTooLarge { .. } => None,
    }
}

fn length(events: &[Event]) -> u64 {
    events.len().try_into().unwrap_or(u64::MAX)
}
