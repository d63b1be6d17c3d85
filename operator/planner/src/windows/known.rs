//! What was found out about schedules, for as long as it stays true.
//!
//! A pass asks each schedule whether it is open, and how long it will be in the next month, and hundreds of passes come
//! between two edges of its windows. So each thread remembers the last answer for as long as it is the same, and the open
//! spans that it has seen. What is remembered is what [`Schedule::look`] and [`Schedule::spans`] say.

use std::cell::RefCell;

use chrono::TimeDelta;

use super::schedule::{Opening, Schedule};
use crate::Instant;

/// More policies than this are looked at anew in each pass.
const MOST: usize = 16;
/// So far past what is asked for is looked at once.
const AHEAD: TimeDelta = TimeDelta::days(16);
/// So many spans of one schedule are remembered: a month of hourly windows.
const MOST_SPANS: usize = 1024;

struct Known {
    schedule: Schedule,
    answer: Option<Answer>,
    spans: Spans,
}

/// The answer for `[from, until)`.
struct Answer {
    from: Instant,
    until: Instant,
    opening: Opening,
}

/// All spans of `[from, until)` in which nodes may start, as long as they are.
#[derive(Default)]
struct Spans {
    from: Instant,
    until: Instant,
    all: Vec<(Instant, Instant)>,
    /// Whether the last one goes on after `until`, for all that is known.
    cut: bool,
}

thread_local! {
    /// The one that was asked for last comes first.
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// Whether nodes may start at `now`, and when that changes.
pub(super) fn opening(schedule: &Schedule, now: Instant) -> Opening {
    known(schedule, |known| {
        if let Some(answer) = known
            .answer
            .as_ref()
            .filter(|answer| answer.from <= now && now < answer.until)
        {
            return answer.opening.clone();
        }
        let (opening, until) = schedule.look(now);
        if let Some(until) = until {
            let (from, opening) = (now, opening.clone());
            known.answer = Some(Answer { from, until, opening });
        }
        opening
    })
}

/// Shows the spans of `[from, until)` in which nodes may start, in order, as long as `wanted` wants more; whether it did
/// until the last.
pub(super) fn spans(
    schedule: &Schedule,
    from: Instant,
    until: Instant,
    mut wanted: impl FnMut(Instant, Instant) -> bool,
) -> bool {
    known(schedule, |Known { spans, .. }| {
        if from < spans.from || spans.until < from || spans.all.len() >= MOST_SPANS {
            *spans = Spans::default();
            (spans.from, spans.until) = (from, from);
        }
        let mut place = spans.all.partition_point(|(_, closes)| *closes < from);
        while let Some((opens, closes)) = spans.get(place, schedule, until) {
            place += 1;
            let (opens, closes) = (opens.max(from), closes.min(until));
            if opens < closes && !wanted(opens, closes) {
                return false;
            }
        }
        true
    })
}

impl Spans {
    /// The span at this place, if it opens before `until`; it closes where it is said to, or not before `until`.
    fn get(&mut self, place: usize, schedule: &Schedule, until: Instant) -> Option<(Instant, Instant)> {
        if self.cut && place + 1 == self.all.len() && self.until < until {
            self.cut = false;
            if schedule.first_open(self.until) == Some(self.until) {
                let closes = self.follow(self.until, schedule, until);
                self.all.last_mut()?.1 = closes;
            }
        } else if place == self.all.len() {
            let opens = schedule.first_open(self.until).filter(|opens| *opens < until)?;
            let closes = self.follow(opens, schedule, until);
            self.all.push((opens, closes));
        }
        self.all.get(place).copied().filter(|(opens, _)| *opens < until)
    }

    /// The end of what is open at `opens`, looked for some way past `until`: the next passes ask for later ones.
    fn follow(&mut self, opens: Instant, schedule: &Schedule, until: Instant) -> Instant {
        let far = until + AHEAD;
        self.until = schedule.closes(opens, far);
        self.cut = self.until == far;
        self.until
    }
}

/// Asks what is known of this schedule, which must not ask for another one meanwhile.
fn known<T>(schedule: &Schedule, ask: impl FnOnce(&mut Known) -> T) -> T {
    KNOWN.with_borrow_mut(|all| {
        if let Some(place) = all.iter().position(|known| known.schedule == *schedule) {
            all[..=place].rotate_right(1);
        } else {
            all.truncate(MOST - 1);
            let new = Known {
                schedule: schedule.clone(),
                answer: None,
                spans: Spans::default(),
            };
            all.insert(0, new);
        }
        ask(&mut all[0])
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::windows::{Exclusion, Window};

    fn window(cron: &str, seconds: i64, zone: &str) -> Window {
        Window::parse(cron, seconds, zone).unwrap()
    }

    fn recurring(cron: &str, seconds: i64, zone: &str) -> Exclusion {
        let (when, reason) = (Box::new(window(cron, seconds, zone)), cron.to_owned());
        Exclusion::Recurring { when, reason }
    }

    fn at(time: &str) -> Instant {
        DateTime::parse_from_rfc3339(time).unwrap().to_utc()
    }

    fn schedules() -> Vec<Schedule> {
        let dated = Exclusion::Dated {
            from: at("2026-10-25T03:10:00Z"),
            until: at("2026-11-01T09:00:00Z"),
            reason: "fair".to_owned(),
        };
        let make = |windows, exclusions| Schedule { windows, exclusions };
        vec![
            make(vec![], vec![]),
            make(vec![], vec![recurring("10 * * * FRI", 900, "UTC")]),
            make(vec![window("30 * * * *", 3600, "Europe/Berlin")], vec![]),
            make(
                vec![window("30 * * * *", 3600, "America/New_York")],
                vec![dated.clone()],
            ),
            make(vec![window("30 * * * *", 1200, "Asia/Kolkata")], vec![dated]),
            make(
                vec![
                    window("30 2 * * *", 14_400, "Europe/Berlin"),
                    window("0 5 * * *", 7200, "UTC"),
                ],
                vec![
                    recurring("0 */6 * * *", 600, "UTC"),
                    recurring("5 */4 * * *", 900, "UTC"),
                ],
            ),
            // Open for some 40 days from about now on: an end that is too far away at first.
            make(
                vec![window("0 * * OCT,NOV *", 3600, "UTC"), window("* * * * *", 60, "UTC")],
                vec![recurring("0 0 6 12 *", 3600, "UTC")],
            ),
            make(
                vec![window("0 * * OCT,NOV *", 3600, "UTC")],
                vec![recurring("0 0 6 12 *", 3600, "UTC")],
            ),
        ]
    }

    #[test]
    fn what_is_remembered_is_what_is_looked_for() {
        let mut step = 7_u64;
        let mut now = at("2026-10-15T00:00:00Z");
        let end = at("2026-11-03T00:00:00Z");
        let schedules = schedules();
        while now < end {
            for schedule in &schedules {
                assert_eq!(schedule.opening(now), schedule.look(now).0, "{schedule:?} at {now}");
                let (until, most) = (
                    now + TimeDelta::days((step >> 40) as i64 % 12),
                    (step >> 50) as usize % 40,
                );
                let mut known = vec![];
                spans(schedule, now, until, |opens, closes| {
                    known.push((opens, closes));
                    known.len() <= most
                });
                let sought: Vec<_> = schedule.spans(now, until).take(most + 1).collect();
                assert_eq!(known, sought, "{schedule:?} from {now} until {until}");
            }
            step = step
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Mostly small steps, some to the second, some back: two operators' clocks differ.
            let seconds = [1, 59, 3601, 7213, 20_000, 50_000, -40, -5000][(step >> 33) as usize % 8];
            now += TimeDelta::seconds(seconds);
        }
    }

    #[test]
    fn more_schedules_than_are_remembered_are_answered_all_the_same() {
        let now = at("2026-10-15T00:30:00Z");
        let schedules: Vec<Schedule> = (0..MOST as u32 * 2)
            .map(|minute| Schedule {
                windows: vec![window(&format!("{minute} * * * *"), 60, "UTC")],
                exclusions: vec![],
            })
            .collect();
        for _ in 0..2 {
            for schedule in &schedules {
                assert_eq!(schedule.opening(now), schedule.look(now).0);
            }
        }
    }
}
