//! Counts the pods that leave the node and those that come back.

use chrono::{DateTime, Utc};

use crate::limits::MIN_CORDON_AGE;
use crate::pod::{PodView, Tolerance};
use crate::returns::ReturningOwner;
use crate::select::holds_node;
use crate::state::{State, TrackedPod};

impl State {
    /// The owners whose pods are no longer evicted because they return to the node.
    pub(crate) fn returning_owners(&self) -> Vec<ReturningOwner> {
        self.returns.owners()
    }

    /// Records that a pod leaves the node: it shuts down, or is gone.
    pub(crate) fn note_departure(&mut self, pod: &TrackedPod) {
        if let Some(owner) = pod.view.owner.as_ref().filter(|_| holds_node(&pod.decision)) {
            self.returns.add_departure(owner);
        }
    }

    /// Records that a pod which holds the node is new on it. Returns whether the pods of its owner stay from now on.
    ///
    /// The scheduler may know of a young cordon too late; only a pod that tolerates the cordon counts during that time.
    pub(crate) fn note_arrival(&mut self, now: DateTime<Utc>, view: &PodView) -> bool {
        let owner = view.owner.as_ref().filter(|owner| self.returns.has_departed(owner));
        let cordon_is_known = self.cordoned_since.is_some_and(|since| now >= since + MIN_CORDON_AGE);
        let tolerates_cordon = view.tolerance != Tolerance::None;
        let Some(owner) = owner.filter(|_| tolerates_cordon || cordon_is_known) else {
            return false;
        };
        let stays = self.returns.add_arrival(owner, tolerates_cordon);
        if stays {
            self.settings.returning.insert(owner.clone());
        }
        stays
    }
}
