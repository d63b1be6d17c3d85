//! Pauses of a broken watch, for the drain's watches and the operator's.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Pauses after a failed list or watch, from 0.2 s to 5 s.
///
/// kube's own go up to 30 s, by which a drain would outlast a short outage, and a write would meet a newer object each
/// time until the watch is back.
#[derive(Debug, Default)]
pub struct WatchPauses {
    failures: u32,
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        const FIRST: Duration = Duration::from_millis(200);
        const LONGEST: Duration = Duration::from_secs(5);
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        Some(pause)
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
