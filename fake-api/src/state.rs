//! The server's state, and the one place where an object is stored.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use lockkeeper_kube_util::Clock;
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::fields::{Owner, Owners};
use crate::list::Pages;
use crate::request::{Request, Verb};
use crate::store::{Key, Store};
use crate::watch::Watchers;

/// The name under which the rest of the cluster writes.
pub(crate) const CLUSTER: &str = "cluster";

/// A change that was stored, as an observer sees it.
#[derive(Debug)]
pub struct Written {
    /// Who made it.
    pub client: String,
    /// What was asked.
    pub verb: Verb,
    /// Where.
    pub key: Key,
    /// Through which subresource.
    pub subresource: String,
    /// The object before; none if it is new.
    pub before: Option<Value>,
    /// The object after; none if it is gone.
    pub after: Option<Value>,
}

/// The server's state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) watchers: Watchers,
    pub(crate) pages: Pages,
    pub(crate) clock: Clock,
    /// What was stored since it was last taken.
    pub(crate) written: Vec<Written>,
}

impl State {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            store: Store::default(),
            watchers: Watchers::default(),
            pages: Pages::default(),
            clock,
            written: Vec::new(),
        }
    }

    /// The object that a request names.
    pub(crate) fn existing(&self, request: &Request) -> Result<&Value, Refusal> {
        let key = Key::namespaced(request.resource.plural, &request.namespace, &request.name);
        self.store.get(&key).ok_or_else(|| Refusal::not_found(request))
    }

    /// Stores what a request makes of an object, unless it is a dry run or changes nothing.
    pub(crate) fn store(&mut self, request: &Request, mut after: Value, by_apply: bool) -> Value {
        let key = Key::of(request.resource, &after);
        let before = self.store.get(&key).cloned();
        let owner = Owner {
            manager: request.manager().to_owned(),
            by_apply,
            subresource: request.subresource.clone(),
        };
        if !by_apply {
            let mut owners = before.as_ref().map(Owners::of).unwrap_or_default();
            owners.update(owner, before.as_ref().unwrap_or(&Value::Null), &after);
            owners.write(&mut after);
        }
        self.stamp(before.as_ref(), &mut after);
        if request.is_dry_run() || before.as_ref() == Some(&after) {
            return after;
        }
        let is_finalized = !after["metadata"]["deletionTimestamp"].is_null()
            && after["metadata"]["deletionGracePeriodSeconds"].is_null()
            && finalizers(&after) == 0;
        if is_finalized {
            self.remove(request, &key);
            return after;
        }
        let change = self.store.insert(key, after);
        self.announce(request, &change);
        change.after.clone().unwrap_or_default()
    }

    /// Removes an object, and then those that it owns.
    pub(crate) fn remove(&mut self, request: &Request, key: &Key) {
        let Some(change) = self.store.remove(key) else { return };
        self.announce(request, &change);
        let uid = change.before.as_ref().map(|object| object["metadata"]["uid"].clone());
        let is_owned = |object: &&Value| {
            let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.any(|owner| Some(&owner["uid"]) == uid.as_ref())
        };
        let kinds = crate::RESOURCES.iter();
        let owned: Vec<Key> = kinds
            .flat_map(|resource| {
                let objects = self.store.all(resource.plural).filter(is_owned);
                objects.map(|object| Key::of(resource, object)).collect::<Vec<_>>()
            })
            .collect();
        for key in owned {
            self.remove(request, &key);
        }
    }

    /// Sets what the server sets: uid, time of creation and generation.
    fn stamp(&mut self, before: Option<&Value>, after: &mut Value) {
        let Some(before) = before else {
            let uid = self.store.next_uid();
            let now = time(self.clock.now());
            let metadata = &mut after["metadata"];
            if metadata["uid"].is_null() {
                metadata["uid"] = json!(uid);
            }
            metadata["creationTimestamp"] = json!(now);
            metadata["generation"] = json!(1);
            return;
        };
        for field in ["uid", "creationTimestamp", "resourceVersion"] {
            after["metadata"][field] = before["metadata"][field].clone();
        }
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
        let is_changed = before["spec"] != after["spec"];
        after["metadata"]["generation"] = json!(generation + i64::from(is_changed));
    }

    fn announce(&mut self, request: &Request, change: &crate::store::Change) {
        self.watchers.announce(change);
        self.written.push(Written {
            client: request.client.clone(),
            verb: request.verb,
            key: change.key.clone(),
            subresource: request.subresource.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
        });
    }

    /// A time some seconds from now.
    pub(crate) fn in_seconds(&self, seconds: i64) -> String {
        time(self.clock.now() + TimeDelta::seconds(seconds))
    }
}

/// How many finalizers an object has.
pub(crate) fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

/// A time as objects have it.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
