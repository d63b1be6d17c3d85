//! `kubectl lockkeeper`: what the reboots of this cluster are doing, and the three words that a person may say.
//!
//! It talks to the API server alone, with the reader's own rights, and changes one thing: the command annotation of a
//! `NodeReboot`. `args` reads the command line, `objects` the cluster, `view` draws the conclusions, `status` and
//! `explain` write them down, `live` follows them, `command` sends a word and waits for the answer.

// expect-test writes its text with hashes, needed or not.
#![cfg_attr(test, allow(clippy::needless_raw_string_hashes))]

mod args;
mod close;
mod command;
mod connect;
mod drain;
mod explain;
mod failure;
mod live;
mod moment;
mod objects;
mod policy_file;
mod reasons;
mod report;
mod screen;
mod status;
mod view;

#[cfg(test)]
mod fixture;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command, Output};
use crate::failure::Failure;
use crate::moment::Moment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen::complain(&failure.message);
            failure.exit.into()
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    // Without kube's own retries where pods are asked to leave.
    let cluster = match args.command {
        Command::Drain(_) | Command::Report(_) => connect::connect_to_drain(&args.cluster).await?,
        _ => connect::connect(&args.cluster).await?,
    };
    match args.command {
        Command::Status(status) if status.watch => live::follow(&cluster, &status).await,
        Command::Status(status) => {
            let objects = objects::fetch(&cluster).await?;
            let view = view::view(&objects, status.policy.as_deref())?;
            match status.output {
                Some(Output::Json) => screen::print_json(&view),
                None => screen::print(&status::render(&view, &Moment::now())),
            }
            Ok(())
        }
        Command::Explain(node) => explain::explain(&cluster, &node.node).await,
        Command::Retry(word) => command::send(&cluster, command::Verb::Retry, &word).await,
        Command::Release(word) => command::send(&cluster, command::Verb::Release, &word).await,
        Command::Cancel(word) => command::send(&cluster, command::Verb::Cancel, &word).await,
        Command::Drain(args) => drain::run(&cluster, &args).await,
        Command::Report(args) => report::run(&cluster, &args).await,
    }
}
