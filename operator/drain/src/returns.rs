//! Pods that come straight back: their owner places them on the node in spite of its cordon.
//!
//! Such a pod tolerates the cordon, or its owner sets its node itself. Evicting it again and again helps no one, so after
//! the second return of a pod of one owner the pods of that owner stay, like those of a `DaemonSet`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::limits::{MAX_RETURNS, MIN_CORDON_AGE};
use crate::pod::PodView;
use crate::select::holds_node;
use crate::state::{State, TrackedPod};

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
    /// Owners of pods that have left.
    departed: BTreeSet<String>,
    /// How many pods of each owner came after that.
    arrivals: BTreeMap<String, u32>,
    /// Owners whose pods stay from now on, and whether they tolerate the cordon.
    found: BTreeMap<String, bool>,
}

impl State {
    /// The owners whose pods are no longer evicted because they return to the node.
    pub(crate) fn returning_owners(&self) -> Vec<ReturningOwner> {
        let found = self.returns.found.iter();
        found
            .map(|(owner, tolerates_cordon)| ReturningOwner {
                owner: owner.clone(),
                tolerates_cordon: *tolerates_cordon,
            })
            .collect()
    }

    /// Records that a pod has left the node.
    pub(crate) fn note_departure(&mut self, pod: &TrackedPod) {
        if let Some(owner) = pod.view.owner.as_ref().filter(|_| holds_node(&pod.decision)) {
            self.returns.departed.insert(owner.clone());
        }
    }

    /// Records that a pod which holds the node is new on it. Returns whether the pods of its owner stay from now on.
    ///
    /// The scheduler may know of a young cordon too late; only a pod that tolerates the cordon counts during that time.
    pub(crate) fn note_arrival(&mut self, now: DateTime<Utc>, view: &PodView) -> bool {
        let Some(owner) = view
            .owner
            .as_ref()
            .filter(|owner| self.returns.departed.contains(*owner))
        else {
            return false;
        };
        let cordon_is_known = self.cordoned_since.is_some_and(|since| now >= since + MIN_CORDON_AGE);
        if !view.tolerates_cordon && !cordon_is_known {
            return false;
        }
        let arrivals = self.returns.arrivals.entry(owner.clone()).or_default();
        *arrivals = arrivals.saturating_add(1);
        let stays = *arrivals >= MAX_RETURNS;
        if stays {
            self.returns.found.insert(owner.clone(), view.tolerates_cordon);
            self.settings.returning.insert(owner.clone());
        }
        stays
    }
}
