//! The operator's process: arguments, connections, tasks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lockkeeper_crds::names;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cache::{SharedCache, feed};
use crate::client::{self, clients};
use crate::events::Events;
use crate::health::Health;
use crate::http;
use crate::lease::{self, Lease};
use crate::logging::{self, Format};
use crate::metrics::Metrics;
use crate::run::{Loop, Planner, Settings};
use crate::shutdown::{Ended, Tasks, on_signal};
use crate::tell::Teller;

/// A pass makes at most one write for each node that is inside, and each write gives up after 15 s.
const LONGEST_PASS: Duration = Duration::from_mins(5);
/// On SIGTERM: short writes end and the Lease is handed over within this.
const FAREWELL: Duration = Duration::from_secs(4);

/// Lets the nodes of a cluster through the reboot lock, one at a time.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// A kubeconfig; without it the service account of this pod, else the user's kubeconfig.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    http_address: String,
    /// The namespace of our Lease and of our own pods, which are never evicted.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::NAMESPACE)]
    lease_namespace: String,
    /// Our name in the Lease and in Events.
    #[arg(long, env = "POD_NAME", default_value = "lockkeeper-operator")]
    pod_name: String,
    /// The node that this process runs on; it goes last. None on a workstation.
    #[arg(long, env = "NODE_NAME")]
    node_name: Option<String>,
    /// How log lines look; `RUST_LOG` chooses which there are.
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
}

/// Runs until a signal, with the arguments of this process and what decides: [`lockkeeper_planner::plan`]. Another one is
/// for a test of what stands behind it.
pub async fn main(plan: Planner) -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = logging::start(arguments.log_format) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match run(arguments, plan).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", client::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments, plan: Planner) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let clients = clients(arguments.kubeconfig.as_deref(), &metrics).await?;
    let stop = on_signal()?;
    let health = Health::default();
    let cache = SharedCache::counting(metrics.clone());
    let (leading, leads) = watch::channel(false);
    let (events, writing) = Events::new(&clients.api, &arguments.pod_name, metrics.clone());
    let lease = Lease {
        client: clients.lease.clone(),
        watch: clients.watch.clone(),
        namespace: arguments.lease_namespace.clone(),
        name: names::LEASE.to_owned(),
        identity: lease::identity(&arguments.pod_name),
    };
    let settings = Settings {
        own_node: arguments.node_name.filter(|name| !name.is_empty()),
        namespace: arguments.lease_namespace,
        plan,
    };
    let teller = Teller::new(&clients.api, cache.clone(), events, metrics.clone());
    let part = health.part("pass", LONGEST_PASS);
    let listener = http::listen(&arguments.http_address).await?;

    // In this order at the end: grant no more, hand the Lease over, stop answering probes.
    let (granting, release) = (
        Loop::new(&clients, cache.clone(), settings, teller, part),
        CancellationToken::new(),
    );
    let mut tasks = Tasks::default();
    tasks.spawn("loop", finish_first(granting.run(leads, stop.clone()), release.clone()));
    tasks.spawn("election", lease::run(lease, leading, release));
    tasks.spawn("http", http::serve(listener, metrics, health, stop.clone()));
    let mut helpers = Tasks::default();
    helpers.spawn("watches", feed(cache, clients.watch.clone()));
    helpers.spawn("events", writing);

    tokio::select! {
        // First: tasks end because of it, and the Lease is handed over below.
        biased;
        () = stop.cancelled() => {}
        ended = tasks.ended() => return gone(ended, stop.is_cancelled()),
        ended = helpers.ended() => return gone(ended, stop.is_cancelled()),
    }
    let late = tasks.finish(FAREWELL).await;
    if !late.is_empty() {
        tracing::warn!("not done in time: {}", late.join(", "));
    }
    Ok(())
}

/// The loop, and then the Lease: nobody else leads while a write of ours is on its way.
async fn finish_first(granting: impl Future<Output = ()>, release: CancellationToken) {
    granting.await;
    release.cancel();
}

/// A task that ended by itself takes the process with it; the kubelet starts it again.
fn gone(ended: Option<Ended>, stopping: bool) -> anyhow::Result<()> {
    match ended {
        Some(ended) if !stopping || ended.panicked => Err(anyhow::anyhow!("{ended}")),
        Some(_) | None => Ok(()),
    }
}
