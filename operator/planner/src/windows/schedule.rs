//! Windows and exclusions together: whether nodes may start, and when that changes.

use chrono::TimeDelta;

use super::Window;
use crate::Instant;

/// How many adjoining occurrences are followed to find the end of a span: eight days of minutes.
const LONGEST_CHAIN: usize = 12_000;
/// How far the end of a span is followed; a longer one has no known end.
const LONGEST_SPAN: TimeDelta = TimeDelta::days(40);
/// How many closed spans in a row are skipped to find the next open instant; after that there is none.
const LONGEST_SEARCH: usize = 800;

/// When nodes may start: in a window (always if there is none) and outside every exclusion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Nodes may start in each of them; without any, always.
    pub windows: Vec<Window>,
    /// They take precedence over windows.
    pub exclusions: Vec<Exclusion>,
}

/// A span of time in which no node starts, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Once, `[from, until)`.
    Dated {
        /// Its first instant.
        from: Instant,
        /// The first instant after it.
        until: Instant,
        /// Why.
        reason: String,
    },
    /// Repeatedly.
    Recurring {
        /// When.
        when: Box<Window>,
        /// Why.
        reason: String,
    },
}

/// Whether nodes may start, and when that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nodes may start.
    Open {
        /// When they may no longer; `None` if that is far away.
        closes: Option<Instant>,
    },
    /// No window is open.
    Closed {
        /// When nodes may start; `None` if never.
        opens: Option<Instant>,
    },
    /// An exclusion is in force.
    Excluded {
        /// When no exclusion is in force any more; `None` if never.
        until: Option<Instant>,
        /// Why, as the administrator wrote it.
        reason: String,
        /// When nodes may start; `None` if never.
        opens: Option<Instant>,
    },
}

/// A span in which nodes may start, as long as possible: `[opens, closes)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSpan {
    /// Its first instant.
    pub opens: Instant,
    /// The first instant after it.
    pub closes: Instant,
    /// What opens it, for people.
    pub cause: String,
}

impl Schedule {
    /// Whether nodes may start at `now`, and when that changes.
    pub fn opening(&self, now: Instant) -> Opening {
        if self.windows.is_empty() && self.exclusions.is_empty() {
            return Opening::Open { closes: None };
        }
        if let Some((end, reason)) = self.exclusion_at(now) {
            let until = follow(end, |at| self.exclusion_at(at).map(|(end, _)| end));
            return Opening::Excluded {
                until,
                reason: reason.to_owned(),
                opens: until.and_then(|until| self.first_open(until)),
            };
        }
        let excluded = self.next_exclusion(now);
        if self.windows.is_empty() {
            return Opening::Open { closes: excluded };
        }
        match self.window_at(now) {
            None => Opening::Closed {
                opens: self.first_open(now),
            },
            Some((end, _)) => Opening::Open {
                closes: earlier(self.open_until(end, now), excluded),
            },
        }
    }

    /// The end of the open span at `now`, whose first occurrence ends at `first`; `None` if it is too far away.
    fn open_until(&self, first: Instant, now: Instant) -> Option<Instant> {
        if self.windows.iter().any(Window::never_closes) {
            return None;
        }
        let mut end = first;
        for _ in 0..LONGEST_CHAIN {
            if end > now + LONGEST_SPAN {
                return None;
            }
            match self.window_at(end) {
                Some((later, _)) => end = later,
                None => return Some(end),
            }
        }
        None
    }

    /// Whether nodes may start at `now`, without the time at which that changes.
    pub fn is_open(&self, now: Instant) -> bool {
        self.exclusion_at(now).is_none() && (self.windows.is_empty() || self.window_at(now).is_some())
    }

    /// The first `count` spans of `[from, until)` in which nodes may start.
    pub fn openings(&self, from: Instant, until: Instant, count: usize) -> Vec<OpenSpan> {
        let spans = self.spans(from, until).take(count);
        let caused = spans.map(|(opens, closes)| OpenSpan {
            opens,
            closes,
            cause: self.cause(opens),
        });
        caused.collect()
    }

    /// The spans of `[from, until)` in which nodes may start, in order.
    pub(super) fn spans(&self, from: Instant, until: Instant) -> impl Iterator<Item = (Instant, Instant)> {
        let mut at = from;
        std::iter::from_fn(move || {
            let opens = self.first_open(at).filter(|opens| *opens < until)?;
            at = self.closes(opens, until);
            Some((opens, at))
        })
    }

    /// The end of the span that opens at `opens`, or `until` if that comes first.
    fn closes(&self, opens: Instant, until: Instant) -> Instant {
        let until = self.next_exclusion(opens).map_or(until, |begins| begins.min(until));
        let mut end = if self.windows.is_empty() { until } else { opens };
        while let Some((later, _)) = self.window_at(end).filter(|_| end < until) {
            end = later;
        }
        end.min(until)
    }

    /// The first instant at or after `from` at which nodes may start; `None` if never.
    fn first_open(&self, from: Instant) -> Option<Instant> {
        let mut at = from;
        for _ in 0..LONGEST_SEARCH {
            if let Some((end, _)) = self.exclusion_at(at) {
                at = follow(end, |at| self.exclusion_at(at).map(|(end, _)| end))?;
            } else if self.windows.is_empty() || self.window_at(at).is_some() {
                return Some(at);
            } else {
                at = self.windows.iter().filter_map(|window| window.next_start(at)).min()?;
            }
        }
        None
    }

    /// The window whose present occurrence ends last, and that end.
    fn window_at(&self, at: Instant) -> Option<(Instant, &Window)> {
        let ends = self.windows.iter().filter_map(|w| Some((w.open_until(at)?, w)));
        ends.max_by_key(|(end, _)| *end)
    }

    /// The end and the reason of the exclusion whose present occurrence ends last.
    fn exclusion_at(&self, at: Instant) -> Option<(Instant, &str)> {
        let ends = self.exclusions.iter().filter_map(|exclusion| match exclusion {
            Exclusion::Dated { from, until, reason } => {
                (*from <= at && at < *until).then_some((*until, reason.as_str()))
            }
            Exclusion::Recurring { when, reason } => Some((when.open_until(at)?, reason.as_str())),
        });
        ends.max_by_key(|(end, _)| *end)
    }

    fn next_exclusion(&self, now: Instant) -> Option<Instant> {
        let starts = self.exclusions.iter().filter_map(|exclusion| match exclusion {
            Exclusion::Dated { from, until, .. } => (*from > now && from < until).then_some(*from),
            Exclusion::Recurring { when, .. } => when.next_start(now),
        });
        starts.min()
    }

    fn cause(&self, at: Instant) -> String {
        let before = at - TimeDelta::nanoseconds(1);
        let window = self.window_at(at).map(|(_, window)| window.to_string());
        match (self.exclusion_at(before), window) {
            (Some((_, reason)), _) => format!("exclusion ends: {reason}"),
            (None, Some(window)) => window,
            (None, None) => "no windows: always open".to_owned(),
        }
    }
}

/// The end of a span whose first occurrence ends at `first`: half-open spans that adjoin leave no gap.
fn follow(first: Instant, until: impl Fn(Instant) -> Option<Instant>) -> Option<Instant> {
    let mut end = first;
    for _ in 0..LONGEST_CHAIN {
        match until(end) {
            Some(later) if later - first <= LONGEST_SPAN => end = later,
            Some(_) => return None,
            None => return Some(end),
        }
    }
    None
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
