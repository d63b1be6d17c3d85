//! Who waits, and why.

use super::Waiting;

/// Nodes that wait and why, by name: a map that is built once and read, as cheap to build for 15,000 as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(Vec<(String, Waiting)>);

impl Waits {
    /// Why this node waits, if it does.
    pub fn get(&self, name: &str) -> Option<&Waiting> {
        let place = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        self.0.get(place).map(|(_, waiting)| waiting)
    }

    /// Whether this node waits.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Those that wait, by name, and why.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Waiting)> {
        self.0.iter().map(|(name, waiting)| (name, waiting))
    }

    /// Those that wait, by name.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Why they wait.
    pub fn values(&self) -> impl Iterator<Item = &Waiting> {
        self.0.iter().map(|(_, waiting)| waiting)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From what is sorted by name already, each name once.
    pub(crate) fn sorted(all: Vec<(String, Waiting)>) -> Self {
        debug_assert!(all.is_sorted_by(|(one, _), (other, _)| one < other));
        Self(all)
    }
}

/// Of several reasons of one node, the last one counts.
impl FromIterator<(String, Waiting)> for Waits {
    fn from_iter<I: IntoIterator<Item = (String, Waiting)>>(all: I) -> Self {
        let all: std::collections::BTreeMap<String, Waiting> = all.into_iter().collect();
        Self(all.into_iter().collect())
    }
}

impl IntoIterator for Waits {
    type Item = (String, Waiting);
    type IntoIter = std::vec::IntoIter<(String, Waiting)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Waits {
    type Item = (&'a String, &'a Waiting);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (String, Waiting)>, fn(&'a (String, Waiting)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, waiting)| (name, waiting))
    }
}
