//! The time of day as a value that is passed down, so that a test decides what time it is.

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
}

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

    /// This clock from now on without the jumps that the clock of a machine makes.
    #[must_use]
    pub fn steady(self) -> Self {
        Self::steady_from(self.now())
    }

    /// The time of day.
    pub fn now(self) -> DateTime<Utc> {
        match self.0 {
            Source::Machine => Utc::now(),
            Source::Steady { start, since } => start + TimeDelta::from_std(since.elapsed()).unwrap_or_default(),
        }
    }

    /// How long it is until then; zero for a time that has passed.
    pub fn until(self, at: DateTime<Utc>) -> Duration {
        (at - self.now()).to_std().unwrap_or_default()
    }
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

    #[test]
    fn the_clock_of_the_machine_shows_its_time() {
        let before = Utc::now();
        let now = Clock::default().now();
        assert!(before <= now && now <= Utc::now());
    }
}
