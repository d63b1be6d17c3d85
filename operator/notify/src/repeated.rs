//! Notices the same Event about the same object again, as after a status that could not be written.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Event;

/// The same Event about the same object is not sent again for this long, as with Events in the cluster.
const REPEAT_INTERVAL: Duration = Duration::from_mins(10);
/// How many Events are remembered for that; beyond it some may be sent twice.
const MAX_REMEMBERED: usize = 8192;

/// The Events of the last ten minutes.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    seen: BTreeMap<u64, Instant>,
    hasher: RandomState,
}

impl Recent {
    /// Whether this Event was here in the last ten minutes; remembers it.
    pub(crate) fn is_repeated(&mut self, event: &Event, now: Instant) -> bool {
        let Event {
            time: _,
            severity: _,
            reason,
            message,
            policy,
            node,
            operation,
        } = event;
        let key = self.hasher.hash_one((reason, message, policy, node, operation));
        let recent = |time: &Instant| now.saturating_duration_since(*time) < REPEAT_INTERVAL;
        if self.seen.get(&key).is_some_and(recent) {
            return true;
        }
        if self.seen.len() >= MAX_REMEMBERED {
            self.seen.retain(|_, time| recent(time));
        }
        if self.seen.len() < MAX_REMEMBERED {
            self.seen.insert(key, now);
        }
        false
    }
}
