//! Events about Nodes and policies: what `kubectl describe` shows.

mod held;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use k8s_openapi::api::core::v1::{Event as ApiEvent, ObjectReference};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use lockkeeper_crds::names::{EVENT_SOURCE, GROUP};
use lockkeeper_crds::time::{to_kubernetes, to_micro};
use lockkeeper_kube_util::{Clock, single_line};
use lockkeeper_reasons::Severity;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use held::HeldEvents;

use super::event::Event;
use crate::client::explain;
use crate::metrics::Metrics;

/// Events that wait to be written; what comes when it is full is dropped and counted.
const QUEUE_CAPACITY: usize = 4096;
/// The same Event about the same object is not written again for this long.
const REPEAT_INTERVAL: Duration = Duration::from_mins(10);
/// How many Events are remembered for that; beyond it some may be written twice.
const MAX_REMEMBERED: usize = 8192;
/// A request that takes longer than this has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses between the attempts to write one Event.
const RETRY_DELAYS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];
/// The API server's limit on a note, in bytes.
const MAX_NOTE_BYTES: usize = 1024;
/// Events about cluster-scoped objects are accepted in this namespace only.
const NAMESPACE: &str = "default";

/// Queues Events for writing; it never blocks and never fails.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    queue: mpsc::Sender<PendingEvent>,
    metrics: Arc<Metrics>,
}

/// The object that an Event is about; the uid must be the object's own, or `kubectl describe` does not show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventTarget {
    /// A Node.
    Node {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// A `RebootPolicy`.
    Policy {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingEvent {
    target: EventTarget,
    event: Event,
}

impl EventRecorder {
    /// A recorder, and the task that writes its Events; `instance` names the replica.
    pub fn new(
        client: &Client,
        instance: &str,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (queue, pending) = mpsc::channel(QUEUE_CAPACITY);
        let writer = EventWriter {
            api: Api::namespaced(client.clone(), NAMESPACE),
            instance: truncate(instance, 128).to_owned(),
            metrics: metrics.clone(),
            clock,
            deduplicator: EventDeduplicator::default(),
            last_error: String::new(),
        };
        (Self { queue, metrics }, writer.run(pending))
    }

    /// Queues an Event; the same one about the same object is written once in ten minutes.
    pub fn record(&self, target: EventTarget, mut event: Event) {
        event.message = single_line(&event.message);
        let length = truncate(&event.message, MAX_NOTE_BYTES).len();
        event.message.truncate(length);
        let pending = PendingEvent { target, event };
        if self.queue.try_send(pending).is_err() {
            self.metrics.count_event("dropped");
        }
    }
}

struct EventWriter {
    api: Api<ApiEvent>,
    instance: String,
    metrics: Arc<Metrics>,
    clock: Clock,
    deduplicator: EventDeduplicator,
    /// The last failure that was logged.
    last_error: String,
}

impl EventWriter {
    /// Writes one Event after the other, some of them as one, until every recorder is dropped.
    async fn run(mut self, mut queue: mpsc::Receiver<PendingEvent>) {
        let mut held = HeldEvents::default();
        loop {
            let next_due = OptionFuture::from(held.next_due().map(sleep_until));
            let due = tokio::select! {
                // In this order, so that the same Events are written in the same way.
                biased;
                pending = queue.recv() => match pending {
                    Some(pending) if self.is_repeated(&pending) => continue,
                    Some(pending) => held.add(pending, Instant::now()),
                    None => break,
                },
                Some(()) = next_due => held.due(Instant::now()),
            };
            self.write_all(due).await;
        }
        self.write_all(held.take()).await;
    }

    fn is_repeated(&mut self, pending: &PendingEvent) -> bool {
        let is_repeated = self.deduplicator.is_repeated(pending, Instant::now());
        if is_repeated {
            self.metrics.count_event("repeated");
        }
        is_repeated
    }

    async fn write_all(&mut self, due: Vec<PendingEvent>) {
        for pending in due {
            let event = self.event(&pending);
            let result = if self.write(&event).await { "posted" } else { "failed" };
            self.metrics.count_event(result);
        }
    }

    /// Retries a few times; the name is fixed, so that a lost answer does not make two events.
    async fn write(&mut self, event: &ApiEvent) -> bool {
        let params = PostParams::default();
        for pause in RETRY_DELAYS.map(Some).into_iter().chain([None]) {
            let (words, again) = match timeout(REQUEST_TIMEOUT, self.api.create(&params, event)).await {
                Ok(Ok(_)) => {
                    self.last_error.clear();
                    return true;
                }
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => return true,
                Ok(Err(error)) => (explain("write an Event", &error), is_retryable(&error)),
                Err(_) => ("write an Event: no answer".to_owned(), true),
            };
            if self.last_error != words {
                tracing::warn!("{words}");
                self.last_error = words;
            }
            match pause {
                Some(pause) if again => sleep(pause).await,
                _ => break,
            }
        }
        false
    }

    fn event(&self, pending: &PendingEvent) -> ApiEvent {
        let now = self.clock.now();
        let reason = pending.event.reason.as_str().to_owned();
        let (api_version, kind, name, uid) = match &pending.target {
            EventTarget::Node { name, uid } => ("v1".to_owned(), "Node", name, uid),
            EventTarget::Policy { name, uid } => (format!("{GROUP}/v1alpha1"), "RebootPolicy", name, uid),
        };
        // `kubectl describe` sorts by `lastTimestamp`, whole seconds, which events.k8s.io refuses to take: hence core/v1.
        // Within a second they stay as they are listed, which is by name: the time comes first in it.
        let time = now.timestamp_nanos_opt().unwrap_or_default();
        let unique = RandomState::new().hash_one(now) & 0xffff;
        ApiEvent {
            metadata: ObjectMeta {
                name: Some(format!("{}.{time:016x}{unique:04x}", truncate(name, 230))),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some(reason.clone()),
            count: Some(1),
            event_time: Some(to_micro(now)),
            first_timestamp: Some(to_kubernetes(now)),
            last_timestamp: Some(to_kubernetes(now)),
            message: Some(pending.event.message.clone()),
            reason: Some(reason.clone()),
            involved_object: ObjectReference {
                api_version: Some(api_version),
                kind: Some(kind.to_owned()),
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            },
            reporting_component: Some(EVENT_SOURCE.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(
                match pending.event.severity {
                    Severity::Normal => "Normal",
                    Severity::Warning => "Warning",
                }
                .to_owned(),
            ),
            ..ApiEvent::default()
        }
    }
}

/// The Events of the last ten minutes.
#[derive(Debug, Default)]
struct EventDeduplicator {
    recorded: BTreeMap<u64, Instant>,
    hasher: RandomState,
}

impl EventDeduplicator {
    fn is_repeated(&mut self, pending: &PendingEvent, now: Instant) -> bool {
        let key = self.hasher.hash_one(pending);
        let recent = |time: &Instant| now.saturating_duration_since(*time) < REPEAT_INTERVAL;
        if self.recorded.get(&key).is_some_and(recent) {
            return true;
        }
        if self.recorded.len() >= MAX_REMEMBERED {
            self.recorded.retain(|_, time| recent(time));
        }
        if self.recorded.len() < MAX_REMEMBERED {
            self.recorded.insert(key, now);
        }
        false
    }
}

/// Whether trying again may help.
fn is_retryable(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

/// At most so many bytes, and no half character.
fn truncate(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests;
