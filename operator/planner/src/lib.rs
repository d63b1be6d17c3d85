//! Who may reboot, when, and why not: pure functions over values.
//!
//! [`plan()`] returns what to do next, why each node waits, and when to plan again. Nothing here reads a clock, does I/O,
//! draws a random number or knows a Kubernetes type; `operator/` builds the [`Snapshot`] and carries the [`Plan`] out.
//! [`check()`] states the safety rules once; tests and production call the same function.
//!
//! A pass runs through the modules in this order: [`snapshot`] -> `overrides` -> `context` -> `assessment` -> `recovery` -> `eligibility`
//! -> `policy_checks` -> `queue` -> `slots` -> `admission` -> `lifecycle` -> `housekeeping` -> [`action`]. None imports a later one.
//! [`preconditions()`] then returns what must still hold when an action is written.

#![warn(missing_docs)]

pub mod action;
mod admission;
mod assessment;
pub mod check;
mod commands;
mod context;
mod durations;
mod eligibility;
pub mod forecast;
mod history;
mod housekeeping;
mod lifecycle;
mod names;
mod overrides;
pub mod plan;
mod policy_checks;
pub mod preconditions;
mod queue;
mod recorded;
mod recovery;
mod short_id;
mod slots;
pub mod snapshot;
mod soft_reboot;
pub mod windows;

pub use action::{Action, Change, Finished, RecordChange};
pub use check::{Violation, check};
pub use commands::command_answer_samples;
pub use durations::{MAX_SUCCESSES, Success, estimate_durations};
pub use forecast::{Forecast, Horizon, LateNode, Span, forecast};
pub use history::check_history;
pub use lifecycle::deadline::{Deadline, OnDeadline, SHUTDOWN_DELAY, deadline};
pub use lifecycle::first_wait_reason;
pub use lockkeeper_reasons::{
    BreakerRecovery, ConfinementGap, LimitScope, ReasonName, ViewGap, WaitReason, format_duration, format_time,
};
pub use names::{BootId, PolicyName};
pub use overrides::{Overrides, RUNG_NOTICE};
pub use plan::{Plan, WaitReasons, plan};
pub use preconditions::{Precondition, preconditions};
pub use recorded::is_ahead;
pub use snapshot::{
    AnswerState, Approval, BootBefore, Breaker, BreakerRule, BreakerState, CHECKS_FRESH, Canary, CheckJobs,
    CheckResult, CheckRound, CheckStage, CheckVerdict, Checks, Command, Confinement, CountedWorkload, CurrentHook,
    DaemonSetReadiness, Deferred, Deletion, Drain, DrainDetails, DurationEstimate, EndedHook, EvictedWorkload, Failure,
    Finding, GivenNotice, Handshake, HandshakeKeys, Hold, Holder, Hook, HookJob, HookKind, HookPoint, Hooks, Host,
    HostAnswer, JobReport, JobState, LastReboot, Limit, Lock, MAX_GRACE_WAIT, Node, NoticeCondition, OBSERVATION_GRACE,
    OnTimeout, Operation, Order, OrderAction, OrderedReboot, Outcome, Overridden, Override, PendingDeadline,
    PendingOutcome, Phase, Policy, PolicyState, Preflight, QueueOrder, Ready, RebootMethod, RebootSeries, Record,
    Released, Rollout, Rung, SCHEDULER_GRACE, Settings, Snapshot, SoftReboots, Stage, StageKind, Taint, Taints,
    Topology, Urgent, WorkloadReadiness,
};
pub use windows::{Exclusion, InsufficientWindowTime, OpenSpan, Opening, Schedule, Window, WindowError};

/// An instant in UTC.
pub type Instant = chrono::DateTime<chrono::Utc>;
