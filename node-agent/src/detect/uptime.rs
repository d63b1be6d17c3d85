//! Maximum uptime: a host is rebooted at the latest so many days after its boot.

use std::hash::Hasher;
use std::time::Duration;

use chrono::TimeDelta;
use lockkeeper_channel::watch::Watched;

use super::detector::{BootSpan, Detector, Finding, Look, Scope};

/// Hosts that booted together are due over this part of the time: one tenth of it, before its end.
const SPREAD: u32 = 10;
/// A timer for longer than this is armed again: it does not count the time that the host was suspended.
const LONGEST_TIMER: Duration = Duration::from_hours(6);

/// Requires a reboot once the host has been up for long enough.
#[derive(Debug)]
pub(super) struct MaximumUptime {
    days: u32,
    limit: TimeDelta,
}

impl MaximumUptime {
    /// At most so many days; earlier by up to a tenth, depending on the name of the node.
    pub(super) fn new(days: u32, node: &str) -> Self {
        let limit = Duration::from_hours(24) * days;
        let early = (limit / SPREAD).mul_f64(fraction(node));
        Self {
            days,
            limit: TimeDelta::from_std(limit.saturating_sub(early)).unwrap_or(TimeDelta::MAX),
        }
    }

    fn finding(&self, boot: BootSpan) -> Result<Option<Finding>, Duration> {
        let Some(began) = boot.began else { return Ok(None) };
        let due = began + self.limit;
        if due > boot.now {
            return Err((due - boot.now).to_std().unwrap_or_default());
        }
        Ok(Some(Finding {
            since: due,
            signal: format!("maximum uptime of {} days", self.days),
            file: String::new(),
            reasons: Ok(Vec::new()),
            scope: Scope::Host,
        }))
    }
}

impl Detector for MaximumUptime {
    fn name(&self) -> &'static str {
        "maximum uptime"
    }

    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }

    fn look(&self, boot: BootSpan) -> Look {
        match self.finding(boot) {
            Ok(finding) => Look::one(self.name(), Ok(finding)),
            Err(wait) => Look {
                look_again: Some(wait.min(LONGEST_TIMER)),
                ..Look::one(self.name(), Ok(None))
            },
        }
    }
}

/// A number from 0 to 1 that is always the same for a node.
fn fraction(node: &str) -> f64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(node.as_bytes());
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + 3600 * hours, 0).unwrap()
    }

    fn look(uptime: &MaximumUptime, hours: i64) -> (bool, Option<Duration>) {
        let mut look = uptime.look(BootSpan {
            began: Some(at(0)),
            soft_rebooted: None,
            now: at(hours),
        });
        let finding = look.seen.remove(0).finding.unwrap();
        (finding.is_some(), look.look_again)
    }

    #[test]
    fn a_host_is_due_in_the_last_tenth_of_the_time_each_at_its_own_moment() {
        let due = |node: &str| {
            let uptime = MaximumUptime::new(30, node);
            (0..=30 * 24).find(|hours| look(&uptime, *hours).0).unwrap()
        };
        let all: Vec<i64> = (0..50).map(|number| due(&format!("node-{number}"))).collect();
        assert!(all.iter().all(|hours| (27 * 24..=30 * 24).contains(hours)), "{all:?}");
        assert_eq!(due("node-7"), all[7], "always the same");
        let mut different = all.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 20, "{all:?}");
    }

    #[test]
    fn the_timer_ends_when_the_host_is_due() {
        let uptime = MaximumUptime::new(1, "a");
        let limit = uptime.limit.to_std().unwrap();
        assert_eq!(look(&uptime, 0), (false, Some(LONGEST_TIMER)));
        assert_eq!(
            look(&uptime, 20),
            (false, Some(limit.saturating_sub(Duration::from_hours(20))))
        );
        assert_eq!(look(&uptime, 24), (true, None));
    }

    #[test]
    fn without_a_boot_time_nothing_is_said() {
        let look = MaximumUptime::new(1, "a").look(BootSpan {
            began: None,
            soft_rebooted: None,
            now: at(0),
        });
        assert!(look.seen[0].finding.as_ref().unwrap().is_none() && look.look_again.is_none());
    }
}
