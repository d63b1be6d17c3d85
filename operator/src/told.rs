//! Which blocked pods people were told about: each once, so that nothing is repeated while nothing changes.

use std::collections::BTreeSet;

/// How many are remembered; beyond it some may be told twice.
const REMEMBERED: usize = 1000;

/// The pods that were spoken of.
#[derive(Debug, Default)]
pub struct Told(BTreeSet<String>);

impl Told {
    /// Whether one of these pods was not spoken of before; now it is.
    ///
    /// The first ones are no news: they are spoken of when the reason to wait begins.
    pub fn is_news(&mut self, blocked: &BTreeSet<String>) -> bool {
        let news = !self.0.is_empty() && !blocked.is_subset(&self.0);
        if self.0.len() > REMEMBERED {
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
        let mut told = Told::default();
        assert!(!told.is_news(&set(&[])));
        assert!(!told.is_news(&set(&["a", "b"])));
        assert!(!told.is_news(&set(&["a", "b"])), "nothing changed");
        assert!(!told.is_news(&set(&["b"])), "one less is no news");
        assert!(told.is_news(&set(&["b", "c"])));
        assert!(!told.is_news(&set(&["a", "c"])), "back again, as was said before");
    }

    #[test]
    fn pods_that_come_and_go_for_ever_fill_no_memory() {
        let mut told = Told::default();
        for number in 0..10 * REMEMBERED {
            told.is_news(&set(&[&number.to_string()]));
        }
        assert!(told.0.len() <= REMEMBERED + 1);
    }
}
