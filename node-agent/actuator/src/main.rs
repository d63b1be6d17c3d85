//! `lockkeeper-actuator`: the container of the agent's pod that can reboot the host, or a service of the host in its place.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use lockkeeper_actuator::reboot_command::RebootCommand;
use lockkeeper_actuator::{ActuatorConfig, run_actuator};
use lockkeeper_channel::process::{self, CommonArgs};

/// Publishes logind's answers and reboots when ordered; needs the system bus, no credential.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The socket of the host's system bus; mount its directory, so that a restarted bus is found again.
    #[arg(long, default_value = "/run/dbus/system_bus_socket")]
    bus_socket: PathBuf,
    /// A command that reboots the host in place of logind, for hosts without it, such as `/sbin/openrc-shutdown --reboot now`.
    /// It is split at spaces and runs without a shell. Inhibitor locks of logind are not looked at then.
    #[arg(long, value_name = "COMMAND")]
    reboot_command: Option<RebootCommand>,
    /// For how many seconds after a boot of the host a reboot is refused, so that whoever controls the agent cannot keep the
    /// host rebooting; 0 for none.
    #[arg(long, default_value_t = 600)]
    min_uptime_seconds: u64,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli {
        bus_socket,
        reboot_command,
        min_uptime_seconds,
        common,
    } = Cli::parse();
    let config = ActuatorConfig {
        reboot_command,
        min_uptime: Duration::from_secs(min_uptime_seconds),
        uptime: common.uptime_file,
        ..ActuatorConfig::new(common.channel_dir, bus_socket, common.boot_id_file)
    };
    process::run(common.log_format, &common.log_level, |shutdown| {
        run_actuator(config, shutdown)
    })
}
