//! Watches: the changes since the version that was asked for, then each new one, with bookmarks, until the time-out.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::answer::{Refusal, line};
use crate::request::Request;
use crate::resources::Resource;
use crate::selection::Selection;
use crate::store::{Change, Store};

/// Between two bookmarks.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);
/// How long a watch lasts if the client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);

/// How events reach the clients; other than by default it is a fault.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// How late the events of a kind are, by its name in paths.
    pub delays: BTreeMap<&'static str, Duration>,
    /// Whether changes of one object that wait together become one event.
    pub coalesces: bool,
    /// Whether each event comes twice.
    pub repeats: bool,
}

/// All watches.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<(Selection, mpsc::UnboundedSender<Item>)>);

/// What a watch gets.
#[derive(Clone, Debug)]
enum Item {
    Event {
        at: Instant,
        kind: &'static str,
        object: Value,
    },
    /// The connection breaks.
    Broken,
}

/// A watch that begins.
#[derive(Debug)]
pub(crate) struct Subscription {
    resource: &'static Resource,
    items: mpsc::UnboundedReceiver<Item>,
    /// Sent before everything else.
    first: VecDeque<Value>,
    bookmarks: bool,
    /// The last version that was sent, for bookmarks.
    version: u64,
    ends_at: Instant,
}

impl Watchers {
    /// Begins a watch after the version that the client has, or with all objects if it has none.
    pub(crate) fn begin(&mut self, store: &Store, request: &Request) -> Result<Subscription, Refusal> {
        let selection = Selection::of(request)?;
        let mut first = VecDeque::new();
        let since = request.parameter("resourceVersion");
        let sends_all = request.parameter("sendInitialEvents") == "true";
        let mut version = store.version();
        match since.parse::<u64>() {
            Ok(since) if since > 0 && !sends_all => {
                if since < store.compacted() {
                    let oldest = store.compacted();
                    let expired = Refusal::expired(&format!("too old resource version: {since} ({oldest})"));
                    first.push_back(json!({"type": "ERROR", "object": expired.status()}));
                } else {
                    let missed = store.since(since);
                    first.extend(missed.filter_map(|change| event(&selection, change)).map(to_line));
                    version = version.max(since);
                }
            }
            _ => {
                let all = selection.select(store).into_iter();
                first.extend(all.map(|object| to_line(("ADDED", object))));
                if sends_all {
                    first.push_back(bookmark(request.resource, version, true));
                }
            }
        }
        let (sender, items) = mpsc::unbounded_channel();
        let is_over = first.front().is_some_and(|line| line["type"] == "ERROR");
        if !is_over {
            self.0.push((selection, sender));
        }
        let seconds = request.parameter("timeoutSeconds").parse().map(Duration::from_secs);
        Ok(Subscription {
            resource: request.resource,
            items,
            first,
            bookmarks: request.parameter("allowWatchBookmarks") == "true",
            version,
            ends_at: Instant::now() + seconds.unwrap_or(DEFAULT_TIMEOUT),
        })
    }

    /// Tells all watches of a change.
    pub(crate) fn announce(&mut self, change: &Change) {
        self.0.retain(|(selection, items)| match event(selection, change) {
            Some((kind, object)) => {
                let at = Instant::now();
                items.send(Item::Event { at, kind, object }).is_ok()
            }
            None => !items.is_closed(),
        });
    }

    /// Ends all watches of a kind, or of all kinds: with an error, or as if their time were over.
    pub(crate) fn end(&mut self, plural: Option<&str>, broken: bool) {
        self.0.retain(|(selection, items)| {
            let ends = plural.is_none_or(|plural| plural == selection.resource.plural);
            if ends && broken {
                let _ = items.send(Item::Broken);
            }
            !ends
        });
    }
}

impl Subscription {
    /// The lines of the answer's body.
    pub(crate) fn lines(self, delivery: &Delivery) -> BoxStream<'static, io::Result<Frame<Bytes>>> {
        let follower = Follower {
            delay: delivery.delays.get(self.resource.plural).copied().unwrap_or_default(),
            coalesces: delivery.coalesces,
            repeats: delivery.repeats,
            next_bookmark: Instant::now() + BOOKMARK_INTERVAL,
            is_broken: false,
            subscription: self,
        };
        stream::unfold(follower, |mut follower| async move {
            let next = follower.next().await?;
            Some((next, follower))
        })
        .boxed()
    }
}

/// Hands the events of one watch on.
struct Follower {
    subscription: Subscription,
    delay: Duration,
    coalesces: bool,
    repeats: bool,
    next_bookmark: Instant,
    is_broken: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        loop {
            if let Some(value) = self.subscription.first.pop_front() {
                return Some(Ok(line(&value)));
            }
            if self.is_broken {
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let bookmark_at = self.next_bookmark;
            tokio::select! {
                biased;
                item = self.subscription.items.recv() => match item? {
                    Item::Broken => return Some(Err(io::ErrorKind::ConnectionReset.into())),
                    Item::Event { at, kind, object } => {
                        sleep_until(at + self.delay).await;
                        self.take((kind, object));
                    }
                },
                () = sleep_until(self.subscription.ends_at) => return None,
                () = sleep_until(bookmark_at), if self.subscription.bookmarks => {
                    self.next_bookmark += BOOKMARK_INTERVAL;
                    let (resource, version) = (self.subscription.resource, self.subscription.version);
                    self.subscription.first.push_back(bookmark(resource, version, false));
                }
            }
        }
    }

    /// Puts an event into the queue of lines, with those of the same object that wait behind it if they become one.
    fn take(&mut self, event: (&'static str, Value)) {
        let mut events = vec![event];
        while self.coalesces
            && let Ok(item) = self.subscription.items.try_recv()
        {
            match (item, events.last_mut()) {
                (Item::Broken, _) => {
                    self.is_broken = true;
                    break;
                }
                (
                    Item::Event {
                        kind: "MODIFIED",
                        object,
                        ..
                    },
                    Some((_, last)),
                ) if last["metadata"]["uid"] == object["metadata"]["uid"] => {
                    *last = object;
                }
                (Item::Event { kind, object, .. }, _) => events.push((kind, object)),
            }
        }
        for event in events {
            let version = event.1["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            self.subscription.version = version.parse().unwrap_or(self.subscription.version);
            let value = to_line(event);
            if self.repeats {
                self.subscription.first.push_back(value.clone());
            }
            self.subscription.first.push_back(value);
        }
    }
}

/// What a change is for a selection: an object may come into it and leave it.
fn event(selection: &Selection, change: &Change) -> Option<(&'static str, Value)> {
    if !selection.covers(&change.key) {
        return None;
    }
    let before = change.before.as_ref().filter(|object| selection.selects(object));
    let after = change.after.as_ref().filter(|object| selection.selects(object));
    Some(match (before, after) {
        (None, None) => return None,
        (None, Some(after)) => ("ADDED", after.clone()),
        (Some(_), Some(after)) => ("MODIFIED", after.clone()),
        (Some(before), None) => {
            let mut object = before.clone();
            object["metadata"]["resourceVersion"] = json!(change.version.to_string());
            ("DELETED", object)
        }
    })
}

fn to_line((kind, object): (&'static str, Value)) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(resource: &Resource, version: u64, ends_initial_events: bool) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if ends_initial_events {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    json!({"type": "BOOKMARK", "object": {
        "kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata,
    }})
}
