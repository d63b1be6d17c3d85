//! `hollow-agents`: our real agent on every hollow node, in one process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lockkeeper_channel::logging::{self, LogFormat};
use lockkeeper_e2e::control_plane;
use lockkeeper_e2e::hollow_agents::{HOST_USER_AGENT, HollowAgentsOptions, run};
use tokio::signal::unix::{SignalKind, signal};

/// Runs our real agent on every hollow node, in one process.
#[derive(Debug, Parser)]
struct Cli {
    /// Holds `<node>.kubeconfig` for each node that shall have an agent; files may be added later.
    #[arg(long)]
    kubeconfig_dir: PathBuf,
    /// For the fake hosts: reads Nodes and writes their annotations.
    #[arg(long)]
    admin_kubeconfig: PathBuf,
    /// How long an agent waits for its actuator.
    #[arg(long, default_value_t = 10)]
    facts_seconds: u64,
    /// What is logged.
    #[arg(long, default_value = "info")]
    log_level: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    logging::start(LogFormat::Text, &cli.log_level)?;
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let admin = control_plane::client(&cli.admin_kubeconfig, HOST_USER_AGENT).await?;
    let options = HollowAgentsOptions {
        kubeconfig_dir: cli.kubeconfig_dir,
        facts_within: Duration::from_secs(cli.facts_seconds),
    };
    run(options, admin, async move {
        terminate.recv().await;
    })
    .await
}
