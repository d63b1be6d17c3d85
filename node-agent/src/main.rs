//! `lockkeeper-node-agent`: the container of the agent's pod that talks to the API server.

use std::path::PathBuf;

use clap::Parser;
use lockkeeper_channel::Channel;
use lockkeeper_channel::process::{self, CommonArgs};
use lockkeeper_node_agent::agent::{AgentConfig, run_agent};
use lockkeeper_node_agent::client;
use lockkeeper_node_agent::detect::{DetectorName, DetectorSettings};
use lockkeeper_node_agent::directory_host::{DirectoryHost, HostPaths};
use lockkeeper_node_agent::facts::FactPaths;
use lockkeeper_node_agent::sandbox;

/// Reports the host and decides about orders; needs the API server, no access to the host.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// This Node's name; in a pod from the downward API, `fieldRef: spec.nodeName`.
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// The host's `/run`, read-only.
    #[arg(long, default_value = "/host/run")]
    host_run: PathBuf,
    /// The host's `/lib/modules`, read-only.
    #[arg(long, default_value = "/host/lib/modules")]
    host_modules: PathBuf,
    /// The host's RPM database, a directory, read-only.
    #[arg(long, default_value = "/host/var/lib/rpm")]
    host_rpm: PathBuf,
    /// The host's `os-release`, read-only.
    #[arg(long, default_value = "/host/etc/os-release")]
    host_os_release: PathBuf,
    /// The detectors that run, separated by commas. `auto` stands for all that fit the host.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auto")]
    detectors: Vec<DetectorName>,
    /// A further sentinel file below the host's `/run`, such as `/run/my-reboot-required`; may be repeated.
    #[arg(long = "sentinel", value_name = "FILE")]
    sentinels: Vec<PathBuf>,
    /// Require a reboot at the latest so many days after the boot; each node at another moment of the last tenth.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    max_uptime_days: Option<u32>,
    /// A kubeconfig, for use outside a cluster.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let (format, level) = (cli.common.log_format, cli.common.log_level.clone());
    process::run(format, &level, |shutdown| agent(cli, shutdown))
}

async fn agent(args: Cli, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    anyhow::ensure!(
        !args.node_name.is_empty(),
        "NODE_NAME is empty: set it from the downward API, fieldRef spec.nodeName"
    );
    // Also on a kernel without such filters the agent has to work.
    if let Err(error) = sandbox::forbid_local_sockets() {
        tracing::warn!(
            error = format!("{error:#}"),
            "sockets of the host below /run can be reached"
        );
    }
    let paths = HostPaths {
        run: args.host_run,
        modules: args.host_modules,
        rpm: args.host_rpm,
        facts: FactPaths {
            boot_id: args.common.boot_id_file,
            uptime: args.common.uptime_file,
            os_release: args.host_os_release,
        },
    };
    let settings = DetectorSettings {
        names: args.detectors,
        sentinels: args.sentinels,
        max_uptime_days: args.max_uptime_days,
        node: args.node_name.clone(),
    };
    let host = DirectoryHost::new(paths, Channel::new(args.common.channel_dir), &settings)?;
    let client = client::connect(args.kubeconfig.as_deref()).await?;
    tracing::info!(node = args.node_name, version = env!("CARGO_PKG_VERSION"), "watching");
    run_agent(AgentConfig::new(&args.node_name), client, host, shutdown).await
}
