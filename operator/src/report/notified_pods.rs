//! Which blocked pods an Event has named: each once, so that nothing is repeated while nothing changes.

use std::collections::BTreeSet;

/// How many are remembered; beyond it some may be named twice.
const MAX_REMEMBERED: usize = 1000;

/// The pods that an Event has named.
#[derive(Debug, Default)]
pub struct NotifiedPods(BTreeSet<String>);

impl NotifiedPods {
    /// Whether an Event about these pods is due, because none has named one of them. They count as named afterwards.
    ///
    /// The first pods need none: the Event of the wait reason names them.
    pub fn needs_event(&mut self, blocked: &BTreeSet<String>) -> bool {
        let news = !self.0.is_empty() && !blocked.is_subset(&self.0);
        if self.0.len() > MAX_REMEMBERED {
            self.0.clear();
        }
        self.0.extend(blocked.iter().cloned());
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_blocked_pod_needs_one_event_and_the_first_ones_none() {
        let mut notified = NotifiedPods::default();
        assert!(!notified.needs_event(&set(&[])));
        assert!(!notified.needs_event(&set(&["a", "b"])));
        assert!(!notified.needs_event(&set(&["a", "b"])), "nothing changed");
        assert!(!notified.needs_event(&set(&["b"])), "a subset needs no Event");
        assert!(notified.needs_event(&set(&["b", "c"])));
        assert!(!notified.needs_event(&set(&["a", "c"])), "named before");
    }

    #[test]
    fn the_number_of_remembered_pods_is_bounded() {
        let mut notified = NotifiedPods::default();
        for number in 0..10 * MAX_REMEMBERED {
            notified.needs_event(&set(&[&number.to_string()]));
        }
        assert!(notified.0.len() <= MAX_REMEMBERED + 1);
    }
}
