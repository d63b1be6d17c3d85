//! The agent's loop over a fake API server and a host in memory, in virtual time.

// Helpers are not tests in clippy's eyes; each test uses its part of the world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    dead_code,
    unreachable_pub
)]

mod confinement;
mod orders;
mod real_files;
mod reports;
mod world;

use std::time::Duration;

use lockkeeper_channel::{AnswerState, HostAnswer};

use world::Api;

/// Virtual time, so no test waits for it. Everything that the agent does by itself is done by then.
const IDLE: Duration = Duration::from_mins(10);

fn reports(api: &Api) -> usize {
    api.held().reports.len()
}

fn rebooting(id: &str) -> HostAnswer {
    answered(id, AnswerState::Rebooting)
}

fn answered(id: &str, state: AnswerState) -> HostAnswer {
    HostAnswer {
        id: id.into(),
        boot_id: "a".into(),
        soft_reboots: None,
        state,
        message: String::new(),
    }
}
