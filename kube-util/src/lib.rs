//! Pauses of a watch after an API server that did not answer, for operator, drain engine and node agent alike.
//!
//! kube's own go up to 30 s, and begin anew with the first event of a list, which comes also before one that then fails.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// Pauses that double, from the first to the longest; they begin anew only after a calm.
#[derive(Clone, Debug)]
pub struct WatchBackoff {
    first: Duration,
    longest: Duration,
    calm: Duration,
    spread: bool,
    failures: u32,
    /// When the last pause ends.
    until: Option<Instant>,
}

impl WatchBackoff {
    /// For the few who hold up a rollout while they wait: 0.2 s to 5 s, anew after 10 s without a failure.
    ///
    /// With longer ones a drain would outlast a short outage, and a write would meet a newer object each time until the
    /// watch is back.
    pub const fn for_operator() -> Self {
        Self::new(
            Duration::from_millis(200),
            Duration::from_secs(5),
            Duration::from_secs(10),
            false,
        )
    }

    /// For one of thousands: 0.8 s to 10 s, each between half of it and all of it, anew after 30 s without a failure.
    ///
    /// An order may stay unanswered for a minute (`requireAgentSeconds`): with pauses as long as that a node would be
    /// deferred for an outage that is over. At 10 s, five thousand agents ask a server in trouble 700 times a second at most.
    pub const fn for_agent() -> Self {
        Self::new(
            Duration::from_millis(800),
            Duration::from_secs(10),
            Duration::from_secs(30),
            true,
        )
    }

    const fn new(first: Duration, longest: Duration, calm: Duration, spread: bool) -> Self {
        Self {
            first,
            longest,
            calm,
            spread,
            failures: 0,
            until: None,
        }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let mut pause = self.first.saturating_mul(1 << self.failures.min(10)).min(self.longest);
        if self.spread {
            let random = RandomState::new().build_hasher().finish() % 1000;
            pause = pause.mul_f64(0.5 + random as f64 / 2000.0);
        }
        self.failures = self.failures.saturating_add(1);
        self.until = Some(Instant::now() + pause);
        Some(pause)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        if self.until.is_some_and(|until| until + self.calm <= Instant::now()) {
            self.failures = 0;
            self.until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_operators_grow_to_five_seconds_and_start_anew_only_after_a_calm() {
        let mut pauses = WatchBackoff::for_operator();
        let first: Vec<u128> = pauses.by_ref().take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(first, [200, 400, 800, 1600, 3200, 5000, 5000]);
        pauses.reset();
        assert_eq!(pauses.next(), Some(Duration::from_secs(5)), "that was no calm");
        tokio::time::advance(Duration::from_secs(15)).await;
        pauses.reset();
        assert_eq!(pauses.next(), Some(Duration::from_millis(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_agents_grow_to_ten_seconds_and_are_spread() {
        let (first, longest) = (Duration::from_millis(800), Duration::from_secs(10));
        let mut pauses = WatchBackoff::for_agent();
        assert!(pauses.next().unwrap() <= first);
        let rest: Vec<Duration> = pauses.by_ref().take(40).collect();
        assert!(rest.iter().all(|pause| *pause <= longest), "{rest:?}");
        assert!(rest[5..].iter().all(|pause| *pause >= longest / 2), "{rest:?}");
        assert!(rest[5..].iter().any(|pause| *pause != rest[5]), "{rest:?}");
        tokio::time::advance(Duration::from_secs(40)).await;
        pauses.reset();
        assert!(pauses.next().unwrap() <= first);
    }
}
