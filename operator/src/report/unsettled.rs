//! The statuses of nodes in progress that differ from what is stored in words only: one write says what several would.

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper_planner::Node;
use tokio::time::Instant;

/// A difference that is no other phase is written once it is this old. With the pause after a write, nothing that is shown
/// is older than 2 s.
const WRITTEN_AFTER: Duration = Duration::from_millis(1500);

/// Since when the status of a node differs, by its name.
#[derive(Debug, Default)]
pub(super) struct Unsettled(BTreeMap<String, Instant>);

impl Unsettled {
    /// Forgets nodes that are gone.
    pub(super) fn retain(&mut self, nodes: &BTreeMap<String, Node>) {
        self.0.retain(|name, _| nodes.contains_key(name));
    }

    /// Whether a status is to be written now: it differs, by its phase or for long enough.
    pub(super) fn is_due(&mut self, name: &str, differs: bool, is_phase: bool, now: Instant) -> bool {
        if !differs {
            self.0.remove(name);
            return false;
        }
        let since = *self.0.entry(name.to_owned()).or_insert(now);
        is_phase || now >= since + WRITTEN_AFTER
    }

    /// When the next status is due.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let due = self.0.values().map(|since| *since + WRITTEN_AFTER);
        due.filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_once_they_differ_for_a_while_and_a_phase_at_once() {
        let (mut unsettled, start) = (Unsettled::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!unsettled.is_due("w-01", true, false, at(0)));
        assert_eq!(unsettled.next_due(at(0)), Some(at(1500)));
        assert!(!unsettled.is_due("w-01", true, false, at(1000)), "other words");
        assert!(unsettled.is_due("w-01", true, false, at(1500)));
        assert!(!unsettled.is_due("w-01", false, false, at(1600)), "it is written");
        assert_eq!(unsettled.next_due(at(1600)), None);
        assert!(!unsettled.is_due("w-01", true, false, at(1700)));
        assert!(unsettled.is_due("w-01", true, true, at(1800)), "another phase");
    }
}
