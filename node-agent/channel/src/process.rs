//! What both programs of the agent's pod do at their start: arguments, log, signals.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};

use crate::logging::{self, LogFormat};

/// The arguments of both programs.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// The directory that both containers share.
    #[arg(long, default_value = "/run/lockkeeper")]
    pub channel_dir: PathBuf,
    /// The kernel's id of the present boot.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    pub boot_id_file: PathBuf,
    /// For how long the host has been up.
    #[arg(long, default_value = "/proc/uptime")]
    pub uptime_file: PathBuf,
    /// The format of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "LOG_FORMAT")]
    pub log_format: LogFormat,
    /// The log filter, such as `info` or `info,lockkeeper_node_agent=debug,lockkeeper_actuator=debug`.
    #[arg(long, default_value = "info", env = "LOG_LEVEL")]
    pub log_level: String,
}

/// Runs a program on one thread, which is enough for a few events a day. It gets a future that ends at SIGTERM or SIGINT.
pub fn run<P, R>(log: LogFormat, level: &str, program: P) -> anyhow::Result<()>
where
    P: FnOnce(BoxFuture<'static, ()>) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    logging::start(log, level)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        // First of all: process 1 of a container ignores signals that it does not handle.
        let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        program(shutdown.boxed()).await
    })
}
