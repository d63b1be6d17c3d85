//! Jobs over a pretended API server that knows `CronJob`s, Jobs and pods of one namespace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod creation;
mod errors;
mod manifest;
mod server;
mod states;

use std::time::Duration;

use lockkeeper_jobs::JobRun;

/// The template `fsck` for node `w-01`, on the node.
fn run() -> JobRun {
    JobRun {
        template: "fsck".to_owned(),
        node: "w-01".to_owned(),
        operation: "7f3c".to_owned(),
        purpose: "before-drain".to_owned(),
        attempt: 0,
        on_node: true,
        timeout: Duration::from_mins(5),
    }
}
