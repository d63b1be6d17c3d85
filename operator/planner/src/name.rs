//! A name that many things have in common.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::Arc;

/// The name of a policy or of a boot: held once for all who have it, and compared by its address before its letters.
///
/// Thousands of nodes name the same policy, and each pass asks every node under which one it is and in which boot. Names
/// that came from elsewhere are compared by their letters: two of them are equal if and only if these are.
#[derive(Clone, Debug, Default, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Its letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are held as one; if not, they may be equal still.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl From<&str> for Name {
    fn from(letters: &str) -> Self {
        Self(letters.into())
    }
}

impl From<String> for Name {
    fn from(letters: String) -> Self {
        Self(letters.into())
    }
}

impl From<&String> for Name {
    fn from(letters: &String) -> Self {
        Self(letters.as_str().into())
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_by_their_letters_wherever_they_are_held() {
        let [one, other, edge] = ["workers", "workers", "edge"].map(Name::from);
        assert!(one == other && !one.is_same(&other));
        assert!(one.clone().is_same(&one));
        assert!(one != edge && one == *"workers");
    }
}
