//! The operator's process: arguments, connections, tasks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lockkeeper_crds::names;
use lockkeeper_operator::cache::{SharedCache, feed};
use lockkeeper_operator::client::clients;
use lockkeeper_operator::lease::{self, Lease};
use lockkeeper_operator::run::{Loop, Settings};
use lockkeeper_operator::tell::Teller;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Lets the nodes of a cluster through the reboot lock, one at a time.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// A kubeconfig; without it the service account of this pod, else the user's kubeconfig.
    #[arg(long, env = "KUBECONFIG_FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// The namespace of our Lease and of our own pods, which are never evicted.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::NAMESPACE)]
    lease_namespace: String,
    /// Our name in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "lockkeeper-operator")]
    pod_name: String,
    /// The node that this process runs on; it goes last. Empty on a workstation.
    #[arg(long, env = "NODE_NAME")]
    node_name: Option<String>,
    /// Logs as `text` or as `json`.
    #[arg(long, default_value = "text")]
    log_format: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let clients = clients(arguments.kubeconfig.as_deref()).await?;
    let stop = CancellationToken::new();
    let cache = SharedCache::default();
    let feeding = tokio::spawn(feed(cache.clone(), clients.watch.clone()));
    let (leading, leads) = watch::channel(false);
    let lease = Lease {
        client: clients.lease.clone(),
        watch: clients.watch.clone(),
        namespace: arguments.lease_namespace.clone(),
        name: names::LEASE.to_owned(),
        identity: lease::identity(&arguments.pod_name),
    };
    let electing = tokio::spawn(lease::run(lease, leading, stop.clone()));
    let settings = Settings {
        own_node: arguments.node_name.filter(|name| !name.is_empty()),
        namespace: arguments.lease_namespace,
    };
    let teller = Teller::new(&clients.api, cache.clone());
    let looping = tokio::spawn(Loop::new(&clients, cache, settings, teller).run(leads, stop.clone()));
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = feeding => anyhow::bail!("the watches ended"),
    }
    stop.cancel();
    let _ = looping.await;
    let _ = electing.await;
    Ok(())
}
