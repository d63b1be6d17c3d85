//! Pauses of a broken watch, for the drain's watches and the operator's.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The first pause after a failed list or watch.
const FIRST: Duration = Duration::from_millis(200);
/// The longest: kube's own go up to 60 s, by which a drain would outlast a short outage, and a write would meet a newer
/// object each time until the watch is back.
const LONGEST: Duration = Duration::from_secs(5);
/// What went well for so long has recovered. Each list, also one that then fails, begins with an event that says nothing.
const CALM: Duration = Duration::from_secs(10);

/// Pauses after a failed list or watch, from 0.2 s to 5 s.
#[derive(Debug, Default)]
pub struct WatchPauses {
    failures: u32,
    /// When the last pause ends.
    until: Option<Instant>,
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
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
    async fn pauses_grow_to_five_seconds_and_start_anew_only_after_a_calm() {
        let mut pauses = WatchPauses::default();
        let first: Vec<u128> = pauses.by_ref().take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(first, [200, 400, 800, 1600, 3200, 5000, 5000]);
        pauses.reset();
        assert_eq!(pauses.next(), Some(LONGEST), "that was no calm");
        tokio::time::advance(LONGEST + CALM).await;
        pauses.reset();
        assert_eq!(pauses.next(), Some(FIRST));
    }
}
