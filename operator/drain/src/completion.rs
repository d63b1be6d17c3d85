//! Whether the drain is complete.

use chrono::{DateTime, Utc};

use crate::detach::DetachState;
use crate::limits::MIN_CORDON_AGE;
use crate::state::State;

/// Whether the drain may be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Pods hold the node, or something is not known yet.
    Incomplete,
    /// The cordon is too young, or volumes are still attached: not before this.
    NotBefore(DateTime<Utc>),
    /// As far as the watches show; a fresh list must confirm it.
    Verify,
}

impl State {
    /// Whether the drain may be complete, which a fresh list must confirm.
    pub(crate) fn completion(&self, now: DateTime<Utc>) -> Completion {
        let (Some(0), Some(cordoned_since)) = (self.remaining(), self.cordoned_since) else {
            return Completion::Incomplete;
        };
        let cordon_old_enough = cordoned_since + MIN_CORDON_AGE;
        let not_before = match self.detach_state(now) {
            DetachState::Unknown => return Completion::Incomplete,
            DetachState::Attached(_, until) => until.max(cordon_old_enough),
            DetachState::Detached | DetachState::TimedOut(_) => cordon_old_enough,
        };
        if now < not_before {
            Completion::NotBefore(not_before)
        } else {
            Completion::Verify
        }
    }
}
