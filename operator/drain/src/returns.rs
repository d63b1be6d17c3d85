//! Pods that come straight back: their owner places them on the node in spite of its cordon.
//!
//! Such a pod tolerates the cordon, or its owner sets its node itself. Evicting it again and again helps no one, so after
//! the second return of a pod of one owner the pods of that owner stay, like those of a `DaemonSet`.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::MAX_RETURNS;

/// An owner whose pods return to the node. `Display` is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturningOwner {
    /// The owner, as `kind[.group] namespace/name`.
    pub owner: String,
    /// Whether its pods tolerate the cordon; otherwise they are placed on the node without the scheduler.
    pub tolerates_cordon: bool,
}

/// What is known of pods that came back.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// Owners of pods that have left, or are shutting down.
    departed: BTreeSet<String>,
    /// How many pods of each owner came after that.
    arrivals: BTreeMap<String, u32>,
    /// Owners whose pods stay from now on, and whether they tolerate the cordon.
    found: BTreeMap<String, bool>,
}

impl Returns {
    /// The owners whose pods stay.
    pub(crate) fn owners(&self) -> Vec<ReturningOwner> {
        let owners = self.found.iter();
        owners
            .map(|(owner, tolerates_cordon)| ReturningOwner {
                owner: owner.clone(),
                tolerates_cordon: *tolerates_cordon,
            })
            .collect()
    }

    /// A pod of this owner leaves.
    pub(crate) fn add_departure(&mut self, owner: &str) {
        self.departed.insert(owner.to_owned());
    }

    /// Whether a pod of this owner has left, or is shutting down.
    pub(crate) fn has_departed(&self, owner: &str) -> bool {
        self.departed.contains(owner)
    }

    /// A pod of this owner came after another one had begun to leave. Returns whether the pods of the owner stay from now on.
    pub(crate) fn add_arrival(&mut self, owner: &str, tolerates_cordon: bool) -> bool {
        let arrivals = self.arrivals.entry(owner.to_owned()).or_default();
        *arrivals = arrivals.saturating_add(1);
        let stays = *arrivals >= MAX_RETURNS;
        if stays {
            self.found.insert(owner.to_owned(), tolerates_cordon);
        }
        stays
    }
}
