//! `lockkeeper-node-agent agent` and `lockkeeper-node-agent actuator`: one image, two containers.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use lockkeeper_node_agent::actuator::{ActuatorConfig, run_actuator};
use lockkeeper_node_agent::agent::{AgentConfig, run_agent};
use lockkeeper_node_agent::channel::Channel;
use lockkeeper_node_agent::client;
use lockkeeper_node_agent::directory_host::DirectoryHost;
use lockkeeper_node_agent::facts::FactPaths;
use lockkeeper_node_agent::logging::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};

/// Lockkeeper's node agent.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The format of the log.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "LOG_FORMAT")]
    log_format: LogFormat,
    /// The log filter, such as `info` or `lockkeeper_node_agent=debug`.
    #[arg(long, global = true, default_value = "info", env = "LOG_LEVEL")]
    log_level: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reports the host and decides about orders; needs the API server, no access to the host.
    Agent(AgentArgs),
    /// Publishes logind's answers and reboots when ordered; needs the system bus, no credential.
    Actuator(ActuatorArgs),
}

#[derive(Debug, Args)]
struct Shared {
    /// The directory that both containers share.
    #[arg(long, default_value = "/run/lockkeeper")]
    channel_dir: PathBuf,
    /// The kernel's id of the present boot.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    boot_id_file: PathBuf,
}

#[derive(Debug, Args)]
struct AgentArgs {
    /// This Node's name; in a pod from the downward API, `fieldRef: spec.nodeName`.
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// The host's `/run`, read-only.
    #[arg(long, default_value = "/host/run")]
    host_run: PathBuf,
    /// The host's `os-release`, read-only.
    #[arg(long, default_value = "/host/etc/os-release")]
    host_os_release: PathBuf,
    /// A kubeconfig, for use outside a cluster.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct ActuatorArgs {
    /// The socket of the host's system bus; mount its directory, so that a restarted bus is found again.
    #[arg(long, default_value = "/run/dbus/system_bus_socket")]
    bus_socket: PathBuf,
    #[command(flatten)]
    shared: Shared,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    logging::start(cli.log_format, &cli.log_level)?;
    // One thread is enough for a few events a day.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(run(cli.command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    // First of all: process 1 of a container ignores signals that it does not handle.
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    match command {
        Command::Agent(args) => agent(args, shutdown).await,
        Command::Actuator(args) => {
            let config = ActuatorConfig::new(args.shared.channel_dir, args.bus_socket, args.shared.boot_id_file);
            run_actuator(config, shutdown).await
        }
    }
}

async fn agent(args: AgentArgs, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    anyhow::ensure!(
        !args.node_name.is_empty(),
        "NODE_NAME is empty: set it from the downward API, fieldRef spec.nodeName"
    );
    let paths = FactPaths {
        boot_id: args.shared.boot_id_file,
        os_release: args.host_os_release,
    };
    let host = DirectoryHost::new(args.host_run, Channel::new(args.shared.channel_dir), paths)?;
    let client = client::connect(args.kubeconfig.as_deref()).await?;
    tracing::info!(node = args.node_name, version = env!("CARGO_PKG_VERSION"), "watching");
    run_agent(AgentConfig::new(&args.node_name), client, host, shutdown).await
}
