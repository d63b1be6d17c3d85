//! Windows and exclusions together: whether nodes may start, and when that changes.

use chrono::TimeDelta;

use super::{Window, known};
use crate::Instant;

/// The end of an open or excluded span is followed over so many occurrences in a row (eight days of minutes) ...
const LONGEST_CHAIN: usize = 12_000;
/// ... and for so long; one that lasts longer has no known end.
const LONGEST_SPAN: TimeDelta = TimeDelta::days(40);
/// So many closed spans in a row are looked past for the next open instant; after that there is none.
const LONGEST_SEARCH: usize = 800;

/// When nodes may start: inside a window (none = always) and outside every exclusion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The union of them is open; none at all is always open.
    pub windows: Vec<Window>,
    /// They win over windows.
    pub exclusions: Vec<Exclusion>,
}

/// A span of time in which nothing starts, and why.
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
    /// Again and again.
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
        /// When they may no longer; absent = not for long.
        closes: Option<Instant>,
    },
    /// No window is open.
    Closed {
        /// When nodes may start; absent = never.
        opens: Option<Instant>,
    },
    /// An exclusion is in force.
    Excluded {
        /// When none is any more; absent = never.
        until: Option<Instant>,
        /// Why, as its author wrote it.
        reason: String,
        /// When nodes may start; absent = never.
        opens: Option<Instant>,
    },
}

/// A span in which nodes may start, as long as it is: `[opens, closes)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSpan {
    /// Its first instant.
    pub opens: Instant,
    /// The first instant after it.
    pub closes: Instant,
    /// What opens it.
    pub cause: String,
}

impl Schedule {
    /// Whether nodes may start at `now`, and when that changes.
    pub fn opening(&self, now: Instant) -> Opening {
        if self.windows.is_empty() && self.exclusions.is_empty() {
            return Opening::Open { closes: None };
        }
        known::opening(self, now)
    }

    /// The same, looked for, and until when it stays the same, if that is sure.
    pub(super) fn look(&self, now: Instant) -> (Opening, Option<Instant>) {
        if let Some((end, reason)) = self.exclusion_at(now) {
            let until = carried_on(end, |at| self.exclusion_at(at).map(|(end, _)| end));
            let excluded = Opening::Excluded {
                until,
                reason: reason.to_owned(),
                opens: until.and_then(|until| self.first_open(until)),
            };
            // The reason is another one as soon as another exclusion lasts longest.
            return (excluded, None);
        }
        let excluded = self.next_exclusion(now);
        if self.windows.is_empty() {
            return (Opening::Open { closes: excluded }, excluded);
        }
        match self.window_at(now) {
            None => {
                let opens = self.first_open(now);
                (Opening::Closed { opens }, opens.and(earlier(opens, excluded)))
            }
            Some((end, _)) => {
                let (end, sure) = self.runs_until(end, now);
                let until = sure.and_then(|sure| earlier(Some(sure), excluded));
                let closes = earlier(end, excluded);
                (Opening::Open { closes }, until)
            }
        }
    }

    /// The end of what is open at `now`, whose first occurrence ends at `first`, if that is not too far away; and until
    /// when the answer stays the same, if that is sure.
    fn runs_until(&self, first: Instant, now: Instant) -> (Option<Instant>, Option<Instant>) {
        if self.windows.iter().any(Window::never_closes) {
            return (None, Some(Instant::MAX_UTC));
        }
        // Twice as far as needs be, so that the next passes need not look.
        let (near, far) = (now + LONGEST_SPAN, now + LONGEST_SPAN * 2);
        let mut end = first;
        for _ in 0..LONGEST_CHAIN {
            match self.window_at(end).filter(|_| end <= far) {
                Some((later, _)) => end = later,
                None if end <= near => return (Some(end), Some(end)),
                None => break,
            }
        }
        (None, (end > near).then(|| end - LONGEST_SPAN))
    }

    /// Whether nodes may start at `now`; cheaper than [`Self::opening`].
    pub fn is_open(&self, now: Instant) -> bool {
        self.exclusion_at(now).is_none() && (self.windows.is_empty() || self.window_at(now).is_some())
    }

    /// The longest spans of `[from, until)` in which nodes may start, in order; at most `most`.
    pub fn openings(&self, from: Instant, until: Instant, most: usize) -> Vec<OpenSpan> {
        let spans = self.spans(from, until).take(most);
        let caused = spans.map(|(opens, closes)| OpenSpan {
            opens,
            closes,
            cause: self.cause(opens),
        });
        caused.collect()
    }

    pub(super) fn spans(&self, from: Instant, until: Instant) -> impl Iterator<Item = (Instant, Instant)> {
        let mut at = from;
        std::iter::from_fn(move || {
            let opens = self.first_open(at).filter(|opens| *opens < until)?;
            at = self.closes(opens, until);
            Some((opens, at))
        })
    }

    /// Shows the same spans, without their causes, as long as `wanted` wants more; whether it did until the last.
    pub(crate) fn each_span(
        &self,
        from: Instant,
        until: Instant,
        wanted: impl FnMut(Instant, Instant) -> bool,
    ) -> bool {
        known::spans(self, from, until, wanted)
    }

    /// The end of what is open at `opens`, or `until` if that comes first, however many occurrences it is made of.
    pub(super) fn closes(&self, opens: Instant, until: Instant) -> Instant {
        let until = self.next_exclusion(opens).map_or(until, |begins| begins.min(until));
        let mut end = if self.windows.is_empty() { until } else { opens };
        while let Some((later, _)) = self.window_at(end).filter(|_| end < until) {
            end = later;
        }
        end.min(until)
    }

    /// The first instant at or after `from` at which nodes may start; absent = never.
    pub(super) fn first_open(&self, from: Instant) -> Option<Instant> {
        let mut at = from;
        for _ in 0..LONGEST_SEARCH {
            if let Some((end, _)) = self.exclusion_at(at) {
                at = carried_on(end, |at| self.exclusion_at(at).map(|(end, _)| end))?;
            } else if self.windows.is_empty() || self.window_at(at).is_some() {
                return Some(at);
            } else {
                at = self.windows.iter().filter_map(|window| window.next_start(at)).min()?;
            }
        }
        None
    }

    /// The window that is open longest from `at` on, by its own occurrence alone.
    fn window_at(&self, at: Instant) -> Option<(Instant, &Window)> {
        let ends = self.windows.iter().filter_map(|w| Some((w.open_until(at)?, w)));
        ends.max_by_key(|(end, _)| *end)
    }

    /// The exclusion that lasts longest from `at` on, by its own occurrence alone, and its reason.
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

/// The end of a span whose first occurrence ends at `end`: half-open spans that touch leave no gap.
fn carried_on(first: Instant, until: impl Fn(Instant) -> Option<Instant>) -> Option<Instant> {
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
