//! One file for each command.

pub(crate) mod command;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod forecast;
mod history;
pub(crate) mod next;
pub(crate) mod pause;
pub(crate) mod release_deleted;
pub(crate) mod report;
pub(crate) mod status;
pub(crate) mod urgent;

use crate::args::{Args, ClusterArgs, Command, CommandArgs, HistoryArgs, NextArgs, Output, StatusArgs};
use crate::clock::DisplayClock;
use crate::cluster::{Cluster, connect, connect_to_drain, find, objects};
use crate::failure::Failure;
use crate::render::{Line, terminal};
use crate::view::view;

use self::command::Verb;

/// Runs the command of the command line.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let cluster = async || connect(&args.cluster).await;
    // Without kube's own retries where pods are evicted.
    let drain_cluster = async || connect_to_drain(&args.cluster).await;
    match args.command {
        Command::Status(args) if args.watch => status::watch::follow(&cluster().await?, &args).await,
        Command::Status(args) => show_status(&cluster().await?, &args).await,
        Command::Explain(args) => explain::explain(&cluster().await?, &args.node).await,
        Command::Next(next) => show_next(&args.cluster, &next).await,
        Command::Forecast(args) => {
            let view = forecast::fetch(&cluster().await?, args.policy.as_deref()).await?;
            show(args.output, &view, || forecast::render(&view, &DisplayClock::now()));
            Ok(())
        }
        Command::History(args) => show_history(&cluster().await?, &args).await,
        Command::Retry(args) => command::send(&cluster().await?, Verb::Retry, &args).await,
        Command::Release(args) => release(&cluster().await?, &args).await,
        Command::Cancel(args) => command::send(&cluster().await?, Verb::Cancel, &args).await,
        Command::Drain(args) => drain::run(drain_cluster().await, &args).await,
        Command::Report(args) => report::run(drain_cluster().await, &args).await,
        Command::Pause(args) => pause::pause(&cluster().await?, &args).await,
        Command::Resume => pause::resume(&cluster().await?).await,
        Command::Urgent(args) => urgent::urgent(&cluster().await?, &args).await,
    }
}

async fn show_status(cluster: &Cluster, args: &StatusArgs) -> Result<(), Failure> {
    let objects = objects::fetch(cluster).await?;
    let view = view(&objects, args.policy.as_deref())?;
    show(args.output, &view, || status::render(&view, &DisplayClock::now()));
    Ok(())
}

/// A file needs no cluster.
async fn show_next(cluster: &ClusterArgs, args: &NextArgs) -> Result<(), Failure> {
    let specs = if let Some(path) = &args.file {
        next::of_file(path)?
    } else {
        let cluster = connect(cluster).await?;
        next::of_cluster(&objects::fetch(&cluster).await?, args.policy.as_deref())?
    };
    let clock = DisplayClock::now();
    let found = next::next(&specs, args, clock.now)?;
    show(args.output, &found, || next::render(&found, &clock));
    Ok(())
}

/// Releases a node; of one whose Node was deleted while it rebooted only the lock knows.
async fn release(cluster: &Cluster, args: &CommandArgs) -> Result<(), Failure> {
    if release_deleted::release(cluster, args).await? {
        return Ok(());
    }
    command::send(cluster, Verb::Release, args).await
}

async fn show_history(cluster: &Cluster, args: &HistoryArgs) -> Result<(), Failure> {
    let reboots = match &args.node {
        Some(name) => [(name.clone(), find::reboot(cluster, name).await?)].into(),
        None => objects::fetch(cluster).await?.reboots,
    };
    let history = history::history(&reboots);
    show(args.output, &history, || {
        history::render(&history, &DisplayClock::now())
    });
    Ok(())
}

fn show(output: Option<Output>, value: &impl serde::Serialize, lines: impl FnOnce() -> Vec<Line>) {
    match output {
        Some(Output::Json) => terminal::print_json(value),
        None => terminal::print(&lines()),
    }
}
