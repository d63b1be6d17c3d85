//! Which blocked pods people were told about: each once, so that nothing is repeated while nothing changes.

use std::collections::BTreeSet;

/// How many are remembered; beyond it some may be told twice.
const MAX_REMEMBERED: usize = 1000;

/// The pods that were spoken of.
#[derive(Debug, Default)]
pub struct NotifiedPods(BTreeSet<String>);

impl NotifiedPods {
    /// Whether one of these pods was not spoken of before; now it is.
    ///
    /// The first ones are no news: they are spoken of when the reason to wait begins.
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
    fn each_pod_is_news_once_and_the_first_ones_are_not() {
        let mut notified = NotifiedPods::default();
        assert!(!notified.needs_event(&set(&[])));
        assert!(!notified.needs_event(&set(&["a", "b"])));
        assert!(!notified.needs_event(&set(&["a", "b"])), "nothing changed");
        assert!(!notified.needs_event(&set(&["b"])), "one less is no news");
        assert!(notified.needs_event(&set(&["b", "c"])));
        assert!(
            !notified.needs_event(&set(&["a", "c"])),
            "back again, as was said before"
        );
    }

    #[test]
    fn pods_that_come_and_go_for_ever_fill_no_memory() {
        let mut notified = NotifiedPods::default();
        for number in 0..10 * MAX_REMEMBERED {
            notified.needs_event(&set(&[&number.to_string()]));
        }
        assert!(notified.0.len() <= MAX_REMEMBERED + 1);
    }
}
