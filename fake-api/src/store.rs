//! The objects, their versions and their history.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::resources::Resource;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its kind, as in paths.
    pub plural: &'static str,
    /// Its namespace, if it is in one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The place of an object in no namespace.
    pub fn cluster(plural: &'static str, name: &str) -> Self {
        Self::namespaced(plural, "", name)
    }

    /// The place of an object in a namespace.
    pub fn namespaced(plural: &'static str, namespace: &str, name: &str) -> Self {
        Self {
            plural,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The place of this object.
    pub(crate) fn of(resource: &'static Resource, object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        Self::namespaced(resource.plural, text("namespace"), text("name"))
    }
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    /// The object before; none if it is new.
    pub(crate) before: Option<Value>,
    /// The object after; none if it is gone.
    pub(crate) after: Option<Value>,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// The history begins after this version.
    compacted: u64,
    history: Vec<Arc<Change>>,
    uids: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            // Like a server that has stored something of its own already.
            version: 100,
            compacted: 100,
            history: Vec::new(),
            uids: 0,
        }
    }
}

impl Store {
    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// All objects of a kind, in the order of a list.
    pub fn all<'a>(&'a self, plural: &'a str) -> impl Iterator<Item = &'a Value> {
        let of_kind = self.objects.iter().filter(move |(key, _)| key.plural == plural);
        of_kind.map(|(_, object)| object)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Forgets the history.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
    }

    /// All changes after a version.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = &Arc<Change>> {
        self.history.iter().filter(move |change| change.version > version)
    }

    /// A uid that no object has had.
    pub(crate) fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Stores an object under the next version.
    pub(crate) fn insert(&mut self, key: Key, mut object: Value) -> Arc<Change> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key.clone(), object.clone());
        self.record(key, before, Some(object))
    }

    /// Removes an object.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Change>> {
        let before = self.objects.remove(key)?;
        self.version += 1;
        Some(self.record(key.clone(), Some(before), None))
    }

    fn record(&mut self, key: Key, before: Option<Value>, after: Option<Value>) -> Arc<Change> {
        let change = Arc::new(Change {
            version: self.version,
            key,
            before,
            after,
        });
        self.history.push(change.clone());
        change
    }
}
