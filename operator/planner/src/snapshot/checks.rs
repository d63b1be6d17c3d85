//! The checks of a policy, and what their last round found.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::Instant;

/// A round counts for so long; the operator evaluates the checks several times within it.
pub const CHECKS_FRESH: TimeDelta = TimeDelta::seconds(60);

/// How many findings a baseline holds; more of them count as new after the reboot.
pub(crate) const MAX_BASELINE: usize = 256;

/// What a policy checks before a node starts, and after it has rebooted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether there are checks of one kind"
)]
pub struct Checks {
    /// Whether anything is to be evaluated before a node starts: also the checks after the reboot, for their baseline.
    pub evaluates: bool,
    /// Whether there are checks after the reboot.
    pub after: bool,
    /// Whether some of them ask about the node itself.
    pub per_node: bool,
    /// The longest time-out of the Jobs that must succeed before a node starts, if there are any.
    pub before_jobs: Option<TimeDelta>,
    /// Whether there are Jobs that must succeed after the reboot.
    pub after_jobs: bool,
    /// How long a rebooted node must stay healthy before its slot is freed.
    pub soak: TimeDelta,
    /// The time from the uncordon within which it must have stayed healthy for so long.
    pub timeout: TimeDelta,
    /// The last round, if there was one.
    pub round: Option<CheckRound>,
}

/// One evaluation of all checks of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckRound {
    /// When it began: nothing that it found is older.
    pub started: Instant,
    /// What it found that does not depend on a node.
    pub cluster: Vec<CheckResult>,
    /// What it found about single nodes, by name; a node that was not asked about is not in here.
    pub nodes: BTreeMap<String, Vec<CheckResult>>,
    /// For which operations it observed Jobs, by node.
    pub jobs: BTreeMap<String, CheckJobs>,
}

/// For what the Jobs of a policy's checks run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckJobs {
    /// The id of the node's operation.
    pub operation: String,
    /// How often its order was given again.
    pub attempt: i32,
    /// Which of the checks run.
    pub stage: CheckStage,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// When the policy makes the check.
    pub stage: CheckStage,
    /// Its name.
    pub name: String,
    /// Whether it is a Job, which runs for one operation.
    pub job: bool,
    /// What it found.
    pub verdict: CheckVerdict,
}

/// When a policy makes a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStage {
    /// Before a node starts.
    Before,
    /// After it has rebooted.
    After,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// What it demands holds.
    Passing,
    /// Its Job has not finished; for people.
    Running(String),
    /// What it demands does not hold.
    Failing(Vec<Finding>),
    /// It could not be evaluated.
    Unavailable {
        /// The error with its source, and the remedy.
        error: String,
        /// The policy lets nodes start nevertheless.
        ignored: bool,
    },
}

/// One thing that fails a check, such as an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A short id of what fails, the same in each round and with each operator.
    pub id: String,
    /// What fails, for people.
    pub text: String,
}
