//! `kubectl lockkeeper`: what the reboots of this cluster are doing and will do, and the three words that a person may
//! say.
//!
//! It talks to the API server alone, with the reader's own rights, and changes one thing: the command annotation of a
//! `NodeReboot`. `args` reads the command line, `objects` the cluster, `view` draws the conclusions, `status` and
//! `explain` write them down, `next`, `forecast` and `history` look ahead and back, `live` follows, `command` sends a word
//! and waits for the answer.

// expect-test writes its text with hashes, needed or not.
#![cfg_attr(test, allow(clippy::needless_raw_string_hashes))]

mod args;
mod close;
mod command;
mod connect;
mod drain;
mod explain;
mod failure;
mod forecast;
mod history;
mod live;
mod moment;
mod next;
mod objects;
mod reasons;
mod report;
mod screen;
mod settle;
mod status;
mod view;

#[cfg(test)]
mod fixture;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, ClusterArgs, Command, HistoryArgs, NextArgs, Output};
use crate::connect::Cluster;
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
    let cluster = async || connect::connect(&args.cluster).await;
    // Without kube's own retries where pods are asked to leave.
    let to_drain = async || connect::connect_to_drain(&args.cluster).await;
    match args.command {
        Command::Status(status) if status.watch => live::follow(&cluster().await?, &status).await,
        Command::Status(status) => {
            let objects = objects::fetch(&cluster().await?).await?;
            let view = view::view(&objects, status.policy.as_deref())?;
            show(status.output, &view, || status::render(&view, &Moment::now()));
            Ok(())
        }
        Command::Explain(node) => explain::explain(&cluster().await?, &node.node).await,
        Command::Next(next) => openings(&args.cluster, &next).await,
        Command::Forecast(forecast) => {
            let view = forecast::look(&cluster().await?, forecast.policy.as_deref()).await?;
            show(forecast.output, &view, || forecast::render(&view, &Moment::now()));
            Ok(())
        }
        Command::History(history) => records(&cluster().await?, &history).await,
        Command::Retry(word) => command::send(&cluster().await?, command::Verb::Retry, &word).await,
        Command::Release(word) => command::send(&cluster().await?, command::Verb::Release, &word).await,
        Command::Cancel(word) => command::send(&cluster().await?, command::Verb::Cancel, &word).await,
        Command::Drain(args) => drain::run(&to_drain().await?, &args).await,
        Command::Report(args) => report::run(&to_drain().await?, &args).await,
        Command::Settle(settle) if settle.undo => settle::undo(&cluster().await?).await,
        Command::Settle(settle) => settle::settle(&cluster().await?, &settle).await,
    }
}

/// A file needs no cluster.
async fn openings(cluster: &ClusterArgs, args: &NextArgs) -> Result<(), Failure> {
    let specs = if let Some(path) = &args.file {
        next::of_file(path)?
    } else {
        let cluster = connect::connect(cluster).await?;
        next::of_cluster(&objects::fetch(&cluster).await?, args.policy.as_deref())?
    };
    let moment = Moment::now();
    let found = next::next(&specs, args, moment.now)?;
    show(args.output, &found, || next::render(&found, &moment));
    Ok(())
}

async fn records(cluster: &Cluster, args: &HistoryArgs) -> Result<(), Failure> {
    let reboots = match &args.node {
        Some(name) => [(name.clone(), explain::find(cluster, name).await?)].into(),
        None => objects::fetch(cluster).await?.reboots,
    };
    let history = history::history(&reboots);
    show(args.output, &history, || history::render(&history, &Moment::now()));
    Ok(())
}

fn show(output: Option<Output>, value: &impl serde::Serialize, lines: impl FnOnce() -> Vec<screen::Line>) {
    match output {
        Some(Output::Json) => screen::print_json(value),
        None => screen::print(&lines()),
    }
}
