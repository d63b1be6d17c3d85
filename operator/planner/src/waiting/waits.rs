//! Who waits, and why.

use super::Waiting;

/// Nodes that wait and why, by name: a map that is built once and read, as cheap to build for 15,000 as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// All names, one behind the other: one piece of memory instead of thousands.
    names: String,
    /// Where each name ends.
    ends: Vec<usize>,
    /// Why that node waits.
    why: Vec<Waiting>,
}

impl Waits {
    /// Why this node waits, if it does.
    pub fn get(&self, name: &str) -> Option<&Waiting> {
        let (mut from, mut until) = (0, self.ends.len());
        while from < until {
            let middle = usize::midpoint(from, until);
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => until = middle,
                std::cmp::Ordering::Equal => return self.why.get(middle),
            }
        }
        None
    }

    /// Whether this node waits.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Those that wait, by name, and why.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            waits: self,
            place: 0,
            begins: 0,
        }
    }

    /// Those that wait, by name.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// Why they wait.
    pub fn values(&self) -> impl Iterator<Item = &Waiting> {
        self.why.iter()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.why.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.why.is_empty()
    }

    /// Nobody yet, with room for so many whose names have so many bytes together.
    pub(crate) fn with_capacity(count: usize, bytes: usize) -> Self {
        Self {
            names: String::with_capacity(bytes),
            ends: Vec::with_capacity(count),
            why: Vec::with_capacity(count),
        }
    }

    /// One more, whose name comes after all that are there.
    pub(crate) fn push(&mut self, name: &str, why: Waiting) {
        let last = self.ends.len().checked_sub(1);
        debug_assert!(last.is_none_or(|last| self.name(last) < name));
        self.names.push_str(name);
        self.ends.push(self.names.len());
        self.why.push(why);
    }

    fn name(&self, place: usize) -> &str {
        let end = |place: usize| self.ends.get(place).copied().unwrap_or(0);
        let begins = place.checked_sub(1).map_or(0, end);
        self.names.get(begins..end(place)).unwrap_or_default()
    }
}

/// Of several reasons of one node, the last one counts.
impl FromIterator<(String, Waiting)> for Waits {
    fn from_iter<I: IntoIterator<Item = (String, Waiting)>>(all: I) -> Self {
        let all: std::collections::BTreeMap<String, Waiting> = all.into_iter().collect();
        let bytes = all.keys().map(String::len).sum();
        let mut waits = Self::with_capacity(all.len(), bytes);
        for (name, why) in all {
            waits.push(&name, why);
        }
        waits
    }
}

impl<'a> IntoIterator for &'a Waits {
    type Item = (&'a str, &'a Waiting);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Those that wait, by name, and why.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    waits: &'a Waits,
    place: usize,
    begins: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Waiting);

    fn next(&mut self) -> Option<Self::Item> {
        let (end, waiting) = (*self.waits.ends.get(self.place)?, self.waits.why.get(self.place)?);
        let name = self.waits.names.get(self.begins..end).unwrap_or_default();
        (self.place, self.begins) = (self.place + 1, end);
        Some((name, waiting))
    }
}
