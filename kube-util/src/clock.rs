//! The time of day as a value that is passed down, so that a test decides what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// Tells the time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    /// The clock of the machine, which people and time services may set.
    #[default]
    Machine,
    /// A time that was read once, and goes on with the timers.
    Steady { start: DateTime<Utc>, since: Instant },
    /// The same, until a test sets it.
    Adjustable {
        start: DateTime<Utc>,
        since: Instant,
        offset: ClockOffset,
    },
}

/// How far a test has set a clock ahead of the timers.
#[derive(Clone, Copy, Debug)]
pub struct ClockOffset(&'static AtomicI64);

impl ClockOffset {
    /// Sets the clock so far ahead of the timers, or behind them; in whole milliseconds.
    pub fn set(self, ahead: TimeDelta) {
        self.0.store(ahead.num_milliseconds(), Ordering::SeqCst);
    }

    fn get(self) -> TimeDelta {
        TimeDelta::milliseconds(self.0.load(Ordering::SeqCst))
    }
}

impl PartialEq for ClockOffset {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for ClockOffset {}

impl Clock {
    /// The clock of the machine.
    pub const fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that shows `start` now and goes on with the timers: where a test pauses them, this clock stands still.
    pub fn steady_from(start: DateTime<Utc>) -> Self {
        let since = Instant::now();
        Self(Source::Steady { start, since })
    }

    /// A clock that shows `start` now and goes on with the timers, and what sets it. It is never freed: for tests.
    pub fn adjustable_from(start: DateTime<Utc>) -> (Self, ClockOffset) {
        let offset = ClockOffset(Box::leak(Box::new(AtomicI64::new(0))));
        let since = Instant::now();
        (Self(Source::Adjustable { start, since, offset }), offset)
    }

    /// This clock from now on without the jumps that the clock of a machine makes.
    #[must_use]
    pub fn steady(self) -> Self {
        Self::steady_from(self.now())
    }

    /// The time of day.
    pub fn now(self) -> DateTime<Utc> {
        match self.0 {
            Source::Machine => Utc::now(),
            Source::Steady { start, since } => later(start, since),
            Source::Adjustable { start, since, offset } => later(start, since) + offset.get(),
        }
    }

    /// How long it is until then; zero for a time that has passed.
    pub fn until(self, at: DateTime<Utc>) -> Duration {
        (at - self.now()).to_std().unwrap_or_default()
    }
}

fn later(start: DateTime<Utc>, since: Instant) -> DateTime<Utc> {
    start + TimeDelta::from_std(since.elapsed()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_steady_clock_goes_on_with_the_timers() {
        let start = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let clock = Clock::steady_from(start);
        assert_eq!(clock.now(), start);
        tokio::time::sleep(Duration::from_mins(90)).await;
        assert_eq!(clock.now(), start + TimeDelta::minutes(90));
        assert_eq!(clock.steady().now(), clock.now());
        assert_eq!(clock.until(start), Duration::ZERO);
        assert_eq!(clock.until(start + TimeDelta::minutes(91)), Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_adjustable_clock_is_where_it_was_set_and_goes_on_from_there() {
        let start = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let (clock, offset) = Clock::adjustable_from(start);
        offset.set(TimeDelta::days(30));
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(clock.now(), start + TimeDelta::days(30) + TimeDelta::minutes(1));
        offset.set(TimeDelta::zero());
        assert_eq!(clock.now(), start + TimeDelta::minutes(1));
    }

    #[test]
    fn the_clock_of_the_machine_shows_its_time() {
        let before = Utc::now();
        let now = Clock::default().now();
        assert!(before <= now && now <= Utc::now());
    }
}
