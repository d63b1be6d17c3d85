//! Silences in Alertmanager: one for each node that is rebooted, for as long as its operation is in progress.
//!
//! What there should be follows from the operations, and what there is follows from Alertmanager's own list, so nothing is
//! remembered that a crash could lose. A silence ends by itself a bounded time after the operator last extended it. No
//! operation waits for Alertmanager.

#![warn(missing_docs)]

mod api;
mod config;
mod keeper;
mod plan;

pub use api::Silence;
pub use config::{Config, Matcher};
pub use keeper::{Keeper, Observer, Outcome, Silencer, Transport};
pub use plan::{Desired, InProgress, Step, next_due, steps};
