//! The soft-reboots of a boot: systemd has ended all processes and started again, with the same kernel and the same boot id.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The soft-reboots since the boot, as systemd counts them.
///
/// No process sees two counts: a soft-reboot ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoftReboots {
    /// How many there were.
    pub count: u32,
    /// When the userspace started, in microseconds on the kernel's monotonic clock.
    pub started_micros: u64,
}

impl SoftReboots {
    /// How long ago the userspace started after the last one, not counting a suspend; `None` if there was none.
    pub fn last(self) -> Option<Duration> {
        (self.count > 0).then(|| monotonic().saturating_sub(Duration::from_micros(self.started_micros)))
    }
}

/// The kernel's monotonic clock. It cannot be set.
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_of_the_userspace_is_no_soft_reboot() {
        let started_micros = u64::try_from(monotonic().as_micros())
            .unwrap()
            .saturating_sub(2_000_000);
        let times = |count| SoftReboots { count, started_micros };
        assert_eq!(times(0).last(), None);
        let ago = times(1).last().unwrap();
        assert!((1..60).contains(&ago.as_secs()), "{ago:?}");
    }
}
