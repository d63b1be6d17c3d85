//! A list of node names that thousands of messages have in common.

use std::cell::OnceCell;
use std::sync::Arc;

/// Names in the order in which they were added. The messages of all nodes that wait for the same list share one copy of it,
/// which is made when the first of them is.
#[derive(Clone, Debug, Default)]
pub(super) struct Names<'a> {
    all: Vec<&'a str>,
    message: OnceCell<Arc<[String]>>,
}

impl<'a> Names<'a> {
    pub(super) fn push(&mut self, name: &'a str) {
        self.all.push(name);
        self.message.take();
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.all.iter().copied()
    }

    /// The list for a message.
    pub(super) fn for_message(&self) -> Arc<[String]> {
        let copy = || self.iter().map(str::to_owned).collect();
        self.message.get_or_init(copy).clone()
    }
}
