//! Pauses of the agent's watch after an API server that did not answer.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The first pause, and the longest.
///
/// kube's own go up to 60 s: as long as an order may stay unanswered (`requireAgentSeconds`), so that a node would be
/// put back for an outage that is over. At 10 s, five thousand agents ask a server in trouble 700 times a second at most.
const FIRST: Duration = Duration::from_millis(800);
const LONGEST: Duration = Duration::from_secs(10);
/// What went well for so long has recovered; a list that fails begins with an event that says nothing.
const CALM: Duration = Duration::from_secs(30);

/// Pauses that double, each between half of it and all of it, so that a thousand agents do not return at once.
#[derive(Debug, Default)]
pub(crate) struct WatchPauses {
    failures: u32,
    /// When the last pause ends.
    until: Option<Instant>,
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        let random = RandomState::new().build_hasher().finish() % 1000;
        let pause = full.mul_f64(0.5 + random as f64 / 2000.0);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(Instant::now() + pause);
        Some(pause)
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        if self.until.is_some_and(|until| until + CALM <= Instant::now()) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_ten_seconds_and_start_anew_only_after_a_calm() {
        let mut pauses = WatchPauses::default();
        assert!(pauses.next().unwrap() <= FIRST);
        let rest: Vec<Duration> = pauses.by_ref().take(20).collect();
        assert!(rest.iter().all(|pause| *pause <= LONGEST), "{rest:?}");
        assert!(rest[5..].iter().all(|pause| *pause >= LONGEST / 2), "{rest:?}");
        pauses.reset();
        assert!(pauses.next().unwrap() >= LONGEST / 2, "that was no calm");
        tokio::time::advance(LONGEST + CALM).await;
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST);
    }
}
