//! When the next pass is due: a delay, a time of the calendar, or whichever comes first.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// The calendar is read again after this: a timer stands still while the machine is suspended, and a clock may be set. A
/// window then opens this much late at most.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// A little later than the time of the calendar: a timer that fires early would cause two passes.
const MARGIN: Duration = Duration::from_millis(20);

/// After a conflict: as a rule, the watch delivers the other write sooner than this. Doubled with each conflict in a row,
/// up to [`MAX_CONFLICT_BACKOFF`]: a watch that lags must not cause five writes a second.
const FIRST_CONFLICT_BACKOFF: Duration = Duration::from_millis(200);
/// The longest pause after conflicts; a change that the watch delivers ends it.
const MAX_CONFLICT_BACKOFF: Duration = Duration::from_secs(5);

/// When the next pass is due if nothing changes before; by default at no time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextPass {
    timer: Option<Instant>,
    calendar: Option<DateTime<Utc>>,
}

impl NextPass {
    /// Due at this instant, however clocks are set.
    pub fn at(timer: Instant) -> Self {
        Self {
            timer: Some(timer),
            calendar: None,
        }
    }

    /// Due when the clock shows this time.
    pub fn when(calendar: Option<DateTime<Utc>>) -> Self {
        Self { timer: None, calendar }
    }

    /// Due at the same time, or at this instant if that is earlier.
    #[must_use]
    pub fn or_at(self, timer: Option<Instant>) -> Self {
        Self {
            timer: self.timer.into_iter().chain(timer).min(),
            ..self
        }
    }

    /// Waits until the pass is due, by the timers of the runtime and by what `clock` shows.
    pub async fn wait(self, clock: impl Fn() -> DateTime<Utc>) {
        while let Some(rest) = self.remaining(Instant::now(), clock()) {
            tokio::time::sleep(rest.min(MAX_SLEEP)).await;
        }
    }

    /// How long it is until then; nothing if it is due.
    fn remaining(&self, now: Instant, time: DateTime<Utc>) -> Option<Duration> {
        let timer = self.timer.map(|at| at.saturating_duration_since(now));
        let calendar = self.calendar.map(|at| match (at - time).to_std() {
            Ok(rest) if !rest.is_zero() => rest + MARGIN,
            Ok(_) | Err(_) => Duration::ZERO,
        });
        let rest = timer.into_iter().chain(calendar).min().unwrap_or(Duration::MAX);
        (!rest.is_zero()).then_some(rest)
    }
}

/// How long to wait after so many conflicts in a row.
pub fn conflict_backoff(conflicts: u32) -> Duration {
    let doubled = 1u32.checked_shl(conflicts.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_CONFLICT_BACKOFF.saturating_mul(doubled).min(MAX_CONFLICT_BACKOFF)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use chrono::TimeDelta;

    use super::*;

    const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn hour(hours: i64) -> DateTime<Utc> {
        START + TimeDelta::hours(hours)
    }

    /// Seconds until a pass is due whose clock shows `clock` after each so many seconds of the timer.
    async fn waits(next: NextPass, clock: impl Fn(Duration) -> DateTime<Utc>) -> u64 {
        let begin = Instant::now();
        next.wait(|| clock(begin.elapsed())).await;
        begin.elapsed().as_secs()
    }

    fn right(elapsed: Duration) -> DateTime<Utc> {
        START + TimeDelta::from_std(elapsed).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_is_noticed_at_its_time() {
        assert_eq!(waits(NextPass::when(Some(hour(2))), right).await, 7200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_opened_while_the_machine_was_suspended_is_noticed_within_30_s() {
        // The timer stands still for an hour after 10 minutes.
        let suspended = |elapsed: Duration| match elapsed.as_secs() {
            0..600 => right(elapsed),
            _ => right(elapsed) + TimeDelta::hours(1),
        };
        let waited = waits(NextPass::when(Some(hour(1))), suspended).await;
        assert!((600..=630).contains(&waited), "{waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_delays_the_window_and_causes_no_hot_loop() {
        let reads = Cell::new(0);
        let set_back = |elapsed: Duration| {
            reads.set(reads.get() + 1);
            match elapsed.as_secs() {
                0..600 => right(elapsed),
                _ => right(elapsed) - TimeDelta::hours(1),
            }
        };
        assert_eq!(waits(NextPass::when(Some(hour(1))), set_back).await, 7200);
        assert!(reads.get() <= 250, "{} reads in two hours", reads.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_does_not_depend_on_the_clock() {
        let next = NextPass::when(Some(hour(5))).or_at(Some(Instant::now() + Duration::from_secs(90)));
        assert_eq!(waits(next, |_| START).await, 90);
        let earlier = next.or_at(Some(Instant::now() + Duration::from_secs(7)));
        assert_eq!(waits(earlier, |_| START).await, 0, "due already");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_is_not_due_at_any_time_waits() {
        let never = NextPass::default().wait(|| START);
        assert!(tokio::time::timeout(Duration::from_hours(24), never).await.is_err());
    }

    #[test]
    fn the_pause_after_conflicts_doubles_up_to_a_limit() {
        assert_eq!(conflict_backoff(1), Duration::from_millis(200));
        assert_eq!(conflict_backoff(3), Duration::from_millis(800));
        assert_eq!(conflict_backoff(6), MAX_CONFLICT_BACKOFF);
        assert_eq!(conflict_backoff(u32::MAX), MAX_CONFLICT_BACKOFF);
    }
}
