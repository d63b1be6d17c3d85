//! How often the actuator works for an agent that never stops asking.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of tokens: a burst, and then one at a time.
#[derive(Debug)]
pub(crate) struct Pace {
    burst: u32,
    every: Duration,
    tokens: u32,
    /// Since when the next token grows.
    since: Instant,
}

impl Pace {
    /// A full bucket.
    pub(crate) fn new((burst, every): (u32, Duration), now: Instant) -> Self {
        Self {
            burst,
            every,
            tokens: burst,
            since: now,
        }
    }

    /// Takes a token, or returns when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        while self.tokens < self.burst && now >= self.since + self.every {
            self.tokens += 1;
            self.since += self.every;
        }
        if self.tokens == 0 {
            return Err(self.since + self.every);
        }
        if self.tokens == self.burst {
            self.since = now;
        }
        self.tokens -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_one_request_is_served_at_a_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new((2, Duration::from_secs(10)), start);
        assert_eq!([after(0), after(1)].map(|now| pace.take(now)), [Ok(()), Ok(())]);
        assert_eq!(pace.take(after(2)), Err(after(10)));
        assert_eq!(pace.take(after(10)), Ok(()));
        assert_eq!(pace.take(after(11)), Err(after(20)));
    }

    #[test]
    fn a_bucket_that_was_not_used_for_long_holds_one_burst() {
        let start = Instant::now();
        let late = start + Duration::from_hours(1);
        let mut pace = Pace::new((2, Duration::from_secs(10)), start);
        assert_eq!(pace.take(start), Ok(()));
        assert_eq!([late, late].map(|now| pace.take(now)), [Ok(()), Ok(())]);
        assert!(pace.take(late).is_err());
    }
}
