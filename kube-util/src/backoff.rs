//! The backoff of a watch after the API server did not answer.
//!
//! kube's own backoff grows to 30 s, and resets with the first event of a list, even if that list then fails.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// A delay that doubles with each failure up to a maximum. It resets after a time without a failure.
#[derive(Clone, Debug)]
pub struct WatchBackoff {
    first: Duration,
    max: Duration,
    /// How long nothing must fail before the delay starts again from `first`.
    reset_after: Duration,
    /// Whose jitter makes each delay last between half of it and all of it.
    jitter: Option<String>,
    failures: u32,
    /// When the last delay ends.
    delayed_until: Option<Instant>,
}

impl WatchBackoff {
    /// The operator's backoff: 0.2 s to 5 s, without jitter, reset after 10 s without a failure.
    ///
    /// Longer delays would make a drain outlast a short outage, and each write would conflict until the watch is back.
    pub const fn for_operator() -> Self {
        Self::new(
            Duration::from_millis(200),
            Duration::from_secs(5),
            Duration::from_secs(10),
            None,
        )
    }

    /// The backoff of the agent on this node: 0.8 s to 10 s, with jitter, reset after 30 s without a failure.
    ///
    /// An agent has a minute to answer an order (`requireAgentSeconds`); longer delays would defer nodes because of an
    /// outage that is over. With at most 10 s, five thousand agents send at most 700 requests a second.
    pub fn for_agent(node: &str) -> Self {
        Self::new(
            Duration::from_millis(800),
            Duration::from_secs(10),
            Duration::from_secs(30),
            Some(node.to_owned()),
        )
    }

    const fn new(first: Duration, max: Duration, reset_after: Duration, jitter: Option<String>) -> Self {
        Self {
            first,
            max,
            reset_after,
            jitter,
            failures: 0,
            delayed_until: None,
        }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let mut delay = self.first.saturating_mul(1 << self.failures.min(10)).min(self.max);
        if let Some(name) = &self.jitter {
            delay = delay.mul_f64(0.5 + jitter(name, self.failures) / 2.0);
        }
        self.failures = self.failures.saturating_add(1);
        self.delayed_until = Some(Instant::now() + delay);
        Some(delay)
    }
}

/// A number from 0 to 1 for this attempt of this client: clients with different names are spread, and each repeats itself.
pub fn jitter(name: &str, attempt: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (name, attempt).hash(&mut hasher);
    (hasher.finish() % 1000) as f64 / 1000.0
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        if self
            .delayed_until
            .is_some_and(|until| until + self.reset_after <= Instant::now())
        {
            self.failures = 0;
            self.delayed_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_operators_backoff_grows_to_5_s_and_resets_after_10_s_without_failure() {
        let mut backoff = WatchBackoff::for_operator();
        let delays: Vec<u128> = backoff.by_ref().take(7).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(
            backoff.next(),
            Some(Duration::from_secs(5)),
            "no time without failure yet"
        );
        tokio::time::advance(Duration::from_secs(15)).await;
        backoff.reset();
        assert_eq!(backoff.next(), Some(Duration::from_millis(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_agents_backoff_grows_to_10_s_with_jitter() {
        let (first, max) = (Duration::from_millis(800), Duration::from_secs(10));
        let mut backoff = WatchBackoff::for_agent("w-1");
        assert!(backoff.next().unwrap() <= first);
        let rest: Vec<Duration> = backoff.by_ref().take(40).collect();
        assert!(rest.iter().all(|delay| *delay <= max), "{rest:?}");
        assert!(rest[5..].iter().all(|delay| *delay >= max / 2), "{rest:?}");
        assert!(rest[5..].iter().any(|delay| *delay != rest[5]), "{rest:?}");
        let other: Vec<Duration> = WatchBackoff::for_agent("w-2").skip(1).take(40).collect();
        assert_ne!(rest, other, "agents are spread");
        tokio::time::advance(Duration::from_secs(40)).await;
        backoff.reset();
        assert!(backoff.next().unwrap() <= first);
    }
}
