//! All objects of one kind, as the newest of what a watch and our own writes have shown.

use std::collections::{BTreeMap, BTreeSet};

use kube::{Resource, ResourceExt};

/// Objects by name, fed by a watch and by the answers to our own writes.
///
/// The two race: a watch may deliver what was before our write after the write was answered. resourceVersions of one
/// kind are numbers that only grow, so the larger one is the newer state.
#[derive(Clone, Debug)]
pub struct Table<T> {
    entries: BTreeMap<String, Entry<T>>,
    /// What a list in progress has shown so far.
    listing: Option<Listing<T>>,
    listed: bool,
    /// The newest resourceVersion that the watch has delivered: what it has not shown up to there does not exist.
    delivered: u64,
}

/// A value and the version of the object it was made of.
#[derive(Clone, Debug)]
struct Entry<T> {
    version: u64,
    value: T,
}

#[derive(Clone, Debug)]
struct Listing<T> {
    entries: BTreeMap<String, Entry<T>>,
    /// Names that we wrote while the list was on its way; it may be older than our writes.
    absorbed: BTreeSet<String>,
}

/// The name and version under which an object is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    name: String,
    version: u64,
}

impl Key {
    /// Reads them off an object; a version that is no number counts as older than everything. The name of an object in a
    /// namespace is `namespace/name`.
    pub fn of<K: Resource>(object: &K) -> Self {
        let name = object.name_any();
        Self {
            name: match object.namespace() {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name,
            },
            version: object
                .resource_version()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        }
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            listing: None,
            listed: false,
            delivered: 0,
        }
    }
}

impl<T> Table<T> {
    /// Whether all objects have been listed once.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// The object with this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.entries.get(name).map(|entry| &entry.value)
    }

    /// All objects in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), &entry.value))
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The list cannot be had: what we knew is no longer known.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl<T> Table<T> {
    /// A watch showed an object.
    pub(super) fn apply(&mut self, key: Key, value: T) -> Applied {
        self.delivered = self.delivered.max(key.version);
        match self.entries.get(&key.name) {
            Some(known) if known.version >= key.version => Applied::Stale,
            _ => {
                self.insert(key, value);
                Applied::Stored
            }
        }
    }

    /// A watch showed that an object is gone; answers whether that was news.
    pub(super) fn delete(&mut self, key: &Key) -> bool {
        self.delivered = self.delivered.max(key.version);
        self.remove(key)
    }

    /// The object is gone that had this version last; answers whether that was news.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        // An object made again under the same name has a larger version than the end of the former.
        let gone = self
            .entries
            .get(&key.name)
            .is_some_and(|known| known.version <= key.version);
        if gone {
            self.entries.remove(&key.name);
        }
        gone
    }

    /// A list begins.
    pub(super) fn start_list(&mut self) {
        self.listing = Some(Listing {
            entries: BTreeMap::new(),
            absorbed: BTreeSet::new(),
        });
    }

    /// A list showed an object.
    pub(super) fn list(&mut self, key: Key, value: T) {
        if let Some(listing) = &mut self.listing {
            listing.entries.insert(
                key.name,
                Entry {
                    version: key.version,
                    value,
                },
            );
        }
    }

    /// A list is complete: what it did not show is gone, but for what we wrote meanwhile.
    ///
    /// The list wins over larger versions that we knew before: the cluster may have been restored from a backup.
    pub(super) fn end_list(&mut self) {
        let Some(Listing { mut entries, absorbed }) = self.listing.take() else {
            return;
        };
        self.delivered = entries.values().map(|entry| entry.version).max().unwrap_or(0);
        for name in absorbed {
            let Some(ours) = self.entries.remove(&name) else {
                continue;
            };
            if entries.get(&name).is_none_or(|theirs| theirs.version < ours.version) {
                entries.insert(name, ours);
            }
        }
        self.entries = entries;
        self.listed = true;
    }

    /// The API server answered a write of ours with this object.
    pub(super) fn absorb(&mut self, key: Key, value: T) {
        if let Some(listing) = &mut self.listing {
            listing.absorbed.insert(key.name.clone());
        }
        let newest = self.entries.get(&key.name).map_or(0, |known| known.version);
        // What the watch has already gone past was either shown or deleted again.
        if key.version > newest.max(self.delivered) {
            self.insert(key, value);
        }
    }

    fn insert(&mut self, key: Key, value: T) {
        let entry = Entry {
            version: key.version,
            value,
        };
        self.entries.insert(key.name, entry);
    }
}

/// What became of an object that a watch showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is in the table.
    Stored,
    /// The same or a newer state was there already.
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, version: u64) -> Key {
        Key {
            name: name.into(),
            version,
        }
    }

    fn listed(objects: &[(&str, u64, &'static str)]) -> Table<&'static str> {
        let mut table = Table::default();
        relist(&mut table, objects);
        table
    }

    fn relist(table: &mut Table<&'static str>, objects: &[(&str, u64, &'static str)]) {
        table.start_list();
        for (name, version, value) in objects {
            table.list(key(name, *version), value);
        }
        table.end_list();
    }

    fn contents(table: &Table<&'static str>) -> Vec<(String, &'static str)> {
        table.iter().map(|(name, value)| (name.to_owned(), *value)).collect()
    }

    #[test]
    fn nothing_counts_as_listed_before_the_list_is_complete() {
        let mut table = Table::default();
        table.start_list();
        table.list(key("a", 5), "a5");
        assert!(!table.is_listed());
        assert!(table.is_empty());
        table.end_list();
        assert!(table.is_listed());
        assert_eq!(table.get("a"), Some(&"a5"));
    }

    #[test]
    fn a_late_event_does_not_overwrite_the_answer_to_our_write() {
        let mut table = listed(&[("a", 5, "a5")]);
        table.absorb(key("a", 8), "a8");
        assert_eq!(table.apply(key("a", 7), "a7"), Applied::Stale);
        assert_eq!(table.get("a"), Some(&"a8"));
        assert_eq!(table.apply(key("a", 9), "a9"), Applied::Stored);
    }

    #[test]
    fn versions_are_numbers_and_not_text() {
        let mut table = listed(&[("a", 9, "a9")]);
        table.absorb(key("a", 10), "a10");
        assert_eq!(table.get("a"), Some(&"a10"));
    }

    #[test]
    fn a_late_answer_does_not_bring_back_what_is_deleted() {
        let mut table = listed(&[("a", 5, "a5")]);
        assert!(table.delete(&key("a", 9)));
        table.absorb(key("a", 8), "a8");
        assert_eq!(table.get("a"), None);
    }

    #[test]
    fn a_late_answer_does_not_overwrite_a_newer_event() {
        let mut table = listed(&[("a", 5, "a5")]);
        table.apply(key("a", 9), "a9");
        table.absorb(key("a", 8), "a8");
        assert_eq!(table.get("a"), Some(&"a9"));
    }

    #[test]
    fn the_end_of_the_former_object_leaves_the_one_made_again() {
        let mut table = listed(&[("a", 5, "a5")]);
        table.absorb(key("a", 12), "again");
        assert!(!table.delete(&key("a", 11)));
        assert_eq!(table.get("a"), Some(&"again"));
    }

    #[test]
    fn an_object_that_we_deleted_is_gone_and_answers_to_other_writes_still_count() {
        let mut table = listed(&[("a", 5, "a5"), ("b", 6, "b6")]);
        table.absorb(key("a", 9), "a9");
        assert!(!table.remove(&key("a", 5)), "it was changed meanwhile");
        assert!(table.remove(&key("a", 9)));
        table.absorb(key("b", 8), "b8");
        assert_eq!(contents(&table), [("b".to_owned(), "b8")]);
    }

    #[test]
    fn a_list_drops_what_it_does_not_show() {
        let mut table = listed(&[("a", 5, "a5"), ("b", 6, "b6")]);
        relist(&mut table, &[("b", 7, "b7")]);
        assert_eq!(contents(&table), [("b".to_owned(), "b7")]);
    }

    #[test]
    fn a_list_keeps_what_we_wrote_while_it_was_on_its_way() {
        let mut table = listed(&[("a", 5, "a5")]);
        table.start_list();
        table.list(key("a", 6), "a6");
        table.absorb(key("a", 8), "a8");
        table.absorb(key("new", 9), "new9");
        table.end_list();
        assert_eq!(contents(&table), [("a".to_owned(), "a8"), ("new".to_owned(), "new9")]);
    }

    #[test]
    fn a_list_after_a_restore_wins_although_its_versions_are_smaller() {
        let mut table = listed(&[("a", 500, "after the backup")]);
        relist(&mut table, &[("a", 50, "restored")]);
        assert_eq!(table.get("a"), Some(&"restored"));
        assert_eq!(table.apply(key("a", 51), "next"), Applied::Stored);
        table.absorb(key("a", 52), "ours");
        assert_eq!(table.get("a"), Some(&"ours"));
    }
}
