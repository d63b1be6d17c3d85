//! What a detector is, and what it answers.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_channel::watch::Watched;
use lockkeeper_crds::time::whole_seconds;

/// One source of the fact that the host requires a reboot.
pub trait Detector: Debug + Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// The directories and names whose changes it must see.
    fn watched(&self) -> Vec<Watched>;

    /// Looks at the host.
    fn look(&self, boot: BootSpan) -> Look;
}

/// What a detector saw.
#[derive(Debug)]
pub struct Look {
    /// Whether a reboot is required, by each source that the detector reads; an error if that is not known.
    pub seen: Vec<Seen>,
    /// When it must look again although no file changes; `None` if only a change matters.
    pub look_again: Option<Duration>,
}

impl Look {
    /// One source, and no time.
    pub fn one(source: &str, finding: io::Result<Option<Finding>>) -> Self {
        Self {
            seen: vec![Seen {
                source: source.to_owned(),
                finding,
            }],
            look_again: None,
        }
    }
}

/// What one source of a detector says.
#[derive(Debug)]
pub struct Seen {
    /// The name of the source.
    pub source: String,
    /// `None` if no reboot is required.
    pub finding: io::Result<Option<Finding>>,
}

/// A source that requires a reboot.
#[derive(Debug)]
pub struct Finding {
    /// Since when, as far as the source knows.
    pub since: DateTime<Utc>,
    /// The reason if the source names no other.
    pub signal: String,
    /// The name of the file that has the reasons.
    pub file: String,
    /// Why.
    pub reasons: io::Result<Vec<String>>,
    /// How much of the host must be rebooted.
    pub scope: Scope,
}

/// How much of a host must be rebooted for what a source requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All programs are to start again: a soft-reboot is enough.
    Userspace {
        /// When the source changed last. A later soft-reboot has fulfilled it.
        latest: DateTime<Utc>,
    },
    /// The kernel or the firmware, or it is not known.
    Host,
}

/// When the present boot began, if that is known, and the present time. A file that was written outside of them was dated by
/// a wrong clock, or by hand.
#[derive(Clone, Copy, Debug)]
pub struct BootSpan {
    /// When the host booted.
    pub began: Option<DateTime<Utc>>,
    /// When the userspace started after the last soft-reboot of this boot, if there was one.
    pub soft_rebooted: Option<DateTime<Utc>>,
    /// The present time.
    pub now: DateTime<Utc>,
}

impl BootSpan {
    /// The time of a file, or the present time if the file's time is not one of this boot.
    pub fn credible(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let credible = self.began.is_some_and(|began| began <= time) && time <= self.now;
        whole_seconds(if credible { time } else { self.now })
    }

    /// Whether a soft-reboot has fulfilled what a source requires. `/run` outlives it, and so do sentinels.
    pub fn is_fulfilled(&self, scope: Scope) -> bool {
        match scope {
            Scope::Userspace { latest } => self
                .soft_rebooted
                .is_some_and(|started| latest < whole_seconds(started)),
            Scope::Host => false,
        }
    }
}
