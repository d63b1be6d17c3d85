//! Until when this process may write as the leader, known without asking anybody.
//!
//! A process that was paused or whose machine was suspended still believes that it leads when it wakes up, until it has
//! asked for the Lease again. The end of its leadership is therefore a time on the clock that runs on during a suspend,
//! and every request that changes something compares with it right before it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockkeeper_kube_util::Opaque;
use rustix::time::{ClockId, clock_gettime};

/// Until when this process leads; clones are the same one. It leads from the first renewal on.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// Milliseconds on `clock`; 0 while this process does not lead.
    until: Arc<AtomicU64>,
    clock: Opaque<Arc<MonotonicClock>>,
}

/// A clock that nothing sets or stops.
type MonotonicClock = dyn Fn() -> Duration + Send + Sync;

impl Default for Leadership {
    fn default() -> Self {
        Self::with_clock(since_boot)
    }
}

impl Leadership {
    /// A leadership on this clock, which must go on while the process is paused and the machine is suspended.
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            until: Arc::default(),
            clock: Opaque(Arc::new(clock)),
        }
    }

    /// The time on the clock of the leadership.
    pub fn now(&self) -> Duration {
        (self.clock.0)()
    }

    /// The Lease was renewed: this process leads for `length` from when the request was sent.
    pub fn renew(&self, sent: Duration, length: Duration) {
        let until = (sent + length).as_millis().try_into().unwrap_or(u64::MAX);
        self.until.store(until, Ordering::Release);
    }

    /// This process leads no more.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Whether this process leads at this moment.
    pub fn holds(&self) -> bool {
        self.now().as_millis() < u128::from(self.until.load(Ordering::Acquire))
    }
}

/// The time since the machine was started, with the time for which it was suspended.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = time.tv_sec.try_into().unwrap_or_default();
    Duration::new(seconds, time.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leadership_ends_by_itself_without_any_message() {
        thread_local! {
            static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(1000) };
        }
        let leadership = Leadership::with_clock(|| Duration::from_secs(NOW.get()));
        assert!(!leadership.holds(), "it has not begun");
        leadership.renew(leadership.now(), Duration::from_secs(6));
        assert!(leadership.holds());
        NOW.set(1005);
        assert!(leadership.holds());
        // The process was paused, or its machine suspended: nothing of it ran.
        NOW.set(1006);
        assert!(!leadership.holds());
        leadership.renew(leadership.now(), Duration::from_secs(6));
        assert!(leadership.holds());
        leadership.end();
        assert!(!leadership.holds());
    }

    #[test]
    fn the_clock_runs_since_the_start_of_the_machine() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((since_boot().as_secs_f64() - uptime).abs() < 60.0, "{uptime}");
    }
}
