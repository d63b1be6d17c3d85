//! `kubectl lockkeeper`: shows the reboots of a cluster and when they will happen, and sends the commands of a person.
//!
//! It talks to the API server alone, with the reader's own rights. `args` reads the command line and `commands` has one
//! file for each command. A command reads objects (`cluster`), concludes what they mean (`view`) and writes lines
//! (`render`); the last two are pure, so that tests need no cluster. It writes the command annotation of a `NodeReboot`,
//! the limit of the `RebootLock` (`pause`, `resume`) and the cordon of its own drains, and nothing else.

// expect-test writes its text with hashes, needed or not.
#![cfg_attr(test, allow(clippy::needless_raw_string_hashes))]

mod args;
mod clock;
mod cluster;
mod commands;
mod failure;
pub mod messages;
mod render;
mod suggest;
mod view;

#[cfg(test)]
mod fixture;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::render::terminal;

/// Reads the command line, runs the command and returns its exit code.
pub async fn run() -> ExitCode {
    match commands::run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::print_error(&failure.message);
            failure.exit.into()
        }
    }
}
