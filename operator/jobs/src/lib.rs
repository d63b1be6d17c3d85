//! Runs a Job for a node, from a template that an administrator wrote: a CronJob in the operator's own namespace.
//!
//! A policy only names the template, so whoever may write policies cannot start pods of their choice. The name of a Job is
//! derived from what it runs for, so the same run finds its Job again after a crash, and no run is started twice.
//!
//! The Job has no owner. A CronJob would delete it by its own history limits, perhaps before its result was read; a
//! `NodeReboot` would delete it together with the node, while it may still clean up after that node. It is deleted some time
//! after it has finished instead (`ttlSecondsAfterFinished`).

#![warn(missing_docs)]

mod error;
mod jobs;
mod manifest;
mod run;
mod state;

pub use error::Error;
pub use jobs::Jobs;
pub use run::JobRun;
pub use state::JobState;
