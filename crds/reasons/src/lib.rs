//! The reason table: why a node is not rebooted now, who must act, and what to do.
//!
//! [`ReasonName`] is the closed list of names, in the order in which the planner checks them. Each name is the same in
//! `status.waiting.reason`, in Events, in the metric label `reason` and in the plugin. [`WaitReason`] is a name with its
//! data; its `Display` is the message that people read. To add a reason, add it to both enums; the compiler lists the rest.

#![warn(missing_docs)]

mod advice;
mod installation;
mod message;
mod reason_name;
mod samples;
mod table;
mod text;
mod view_gap;
mod wait_reason;
mod wait_until;

pub use installation::Installation;
pub use reason_name::ReasonName;
pub use samples::samples;
pub use table::{Actor, Severity};
pub use text::{format_duration, format_time, names, plural};
pub use view_gap::ViewGap;
pub use wait_reason::{BreakerRecovery, ConfinementGap, LimitScope, WaitReason};

/// An instant in UTC.
pub type Instant = chrono::DateTime<chrono::Utc>;
