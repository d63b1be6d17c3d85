//! `lockkeeper-actuator`: the container of the agent's pod that can reboot the host.

use std::path::PathBuf;

use clap::Parser;
use lockkeeper_actuator::{ActuatorConfig, run_actuator};
use lockkeeper_channel::process::{self, CommonArgs};

/// Publishes logind's answers and reboots when ordered; needs the system bus, no credential.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The socket of the host's system bus; mount its directory, so that a restarted bus is found again.
    #[arg(long, default_value = "/run/dbus/system_bus_socket")]
    bus_socket: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli { bus_socket, common } = Cli::parse();
    let config = ActuatorConfig::new(common.channel_dir, bus_socket, common.boot_id_file);
    process::run(common.log_format, &common.log_level, |shutdown| {
        run_actuator(config, shutdown)
    })
}
