//! When a failed request is repeated.

use std::time::Duration;

use lockkeeper_kube_util::jitter;
use tokio::time::Instant;

/// When to repeat a request that failed.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) at: Option<Instant>,
    wait: Duration,
    first: Duration,
    longest: Duration,
    failures: u32,
    /// The node, which spreads the retries of a thousand agents.
    node: String,
}

impl Retry {
    /// No request has failed yet.
    pub(super) fn new((first, longest): (Duration, Duration), node: &str) -> Self {
        Self {
            at: None,
            wait: Duration::ZERO,
            first,
            longest,
            failures: 0,
            node: node.to_owned(),
        }
    }

    /// A request has succeeded.
    pub(super) fn reset(&mut self) {
        self.at = None;
        self.wait = Duration::ZERO;
        self.failures = 0;
    }

    /// How many requests in a row have failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a request may be sent now.
    pub(super) fn is_due(&self) -> bool {
        self.at.is_none_or(|at| at <= Instant::now())
    }

    /// Doubles the delay, with jitter, so that a thousand agents do not retry at the same time.
    pub(super) fn back_off(&mut self) -> Duration {
        self.wait = (self.wait * 2).clamp(self.first, self.longest);
        self.failures = self.failures.saturating_add(1);
        let wait = self.wait.mul_f64(0.5 + jitter(&self.node, self.failures));
        self.at = Some(Instant::now() + wait);
        wait
    }
}
