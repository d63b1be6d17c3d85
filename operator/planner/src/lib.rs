//! Who may reboot, when, and why not: pure functions over values.
//!
//! `plan(&Snapshot, now)` returns what to do next, why everybody else waits, and when to look again. Nothing here reads
//! a clock, does I/O, draws a random number or knows a Kubernetes type; `operator/` builds the [`Snapshot`] and carries
//! the [`Plan`] out. [`check`] states the safety rules once; tests and production call the same function.

pub mod action;
mod breaker;
mod capacity;
pub mod check;
mod command;
mod down;
mod fit;
pub mod forecast;
mod gate;
mod grant;
mod inside;
mod names;
pub mod operation;
pub mod plan;
mod queue;
mod repair;
mod rollout;
mod room;
mod sanity;
pub mod snapshot;
mod taints;
mod whole;
pub mod windows;

pub use action::{Action, Change, Finished, RecordChange};
pub use check::{Violation, check};
pub use fit::{MAX_SUCCESSES, Success, estimate_durations};
pub use forecast::{Forecast, Horizon, Span, forecast};
pub use gate::past as check_history;
pub use lockkeeper_reasons::{
    BreakerRecovery, LimitScope, ReasonName, ViewGap, WaitReason, format_duration, format_time,
};
pub use names::{BootId, PolicyName};
pub use operation::{CountedDaemonSet, Failure, Operation, Outcome, PendingOutcome, Phase, Stage, StageKind};
pub use plan::WaitReasons;
pub use plan::{Plan, plan};
pub use sanity::InsufficientWindowTime;
pub use snapshot::{
    AnswerState, Approval, Breaker, BreakerRule, BreakerState, Canary, Command, DaemonSetReadiness, Deferred, Drain,
    DurationEstimate, Hold, Holder, Host, HostAnswer, LastReboot, Limit, Lock, Node, OnTimeout, Order, OrderAction,
    Policy, PolicyState, Preflight, QueueOrder, Ready, Record, Released, Rollout, Settings, Snapshot, Taint, Taints,
    Topology,
};
pub use windows::{Exclusion, OpenSpan, Opening, Schedule, Window, WindowError};

/// An instant in UTC.
pub type Instant = chrono::DateTime<chrono::Utc>;
