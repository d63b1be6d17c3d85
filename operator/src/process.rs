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
use crate::client::clients;
use crate::election::{self, LeaseConfig};
use crate::health::Health;
use crate::http;
use crate::logging::{self, Format};
use crate::metrics::Metrics;
use crate::reconcile::{Options, PlanFn, Reconciler};
use crate::report::Reporter;
use crate::report::event_recorder::EventRecorder;
use crate::shutdown::{Ended, Tasks, on_signal};

/// A pass makes at most one write for each node in progress, and each write times out after 15 s.
const MAX_PASS_DURATION: Duration = Duration::from_mins(5);
/// On SIGTERM: short writes end and the Lease is handed over within this.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);

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
    /// The labels of a control-plane node, separated by commas; any of them counts. Control-plane nodes go last, one at a
    /// time, and only while all others of them are up.
    #[arg(long, value_name = "KEY,...", value_delimiter = ',', default_values = names::CONTROL_PLANE_LABELS)]
    control_plane_labels: Vec<String>,
    /// How log lines look; `RUST_LOG` chooses which there are.
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
}

/// Runs until a signal, with the arguments of this process and what decides: [`lockkeeper_planner::plan`]. Another one is
/// for a test of what stands behind it.
pub async fn main(plan: PlanFn) -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = logging::start(arguments.log_format) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match run(arguments, plan).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", lockkeeper_kube_util::error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments, plan: PlanFn) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let clients = clients(arguments.kubeconfig.as_deref(), &metrics).await?;
    let stop = on_signal()?;
    let health = Health::default();
    let cache = SharedCache::counting(metrics.clone());
    let (leading, leads) = watch::channel(false);
    let (events, event_writer) = EventRecorder::new(&clients.api, &arguments.pod_name, metrics.clone());
    let election = LeaseConfig {
        client: clients.lease.clone(),
        watch: clients.watch.clone(),
        namespace: arguments.lease_namespace.clone(),
        name: names::LEASE.to_owned(),
        identity: election::identity(&arguments.pod_name),
    };
    let options = Options {
        own_node: arguments.node_name.filter(|name| !name.is_empty()),
        control_plane_labels: arguments.control_plane_labels,
        namespace: arguments.lease_namespace,
        plan,
    };
    let reporter = Reporter::new(&clients.api, cache.clone(), events, metrics.clone());
    let component = health.component("pass", MAX_PASS_DURATION);
    let listener = http::listen(&arguments.http_address).await?;

    // In this order at the end: grant no more, hand the Lease over, stop answering probes.
    let (reconciling, release) = (
        Reconciler::new(&clients, cache.clone(), options, reporter, component),
        CancellationToken::new(),
    );
    let mut tasks = Tasks::default();
    tasks.spawn(
        "loop",
        run_then_release(reconciling.run(leads, stop.clone()), release.clone()),
    );
    tasks.spawn("election", election::run(election, leading, release));
    tasks.spawn("http", http::serve(listener, metrics, health, stop.clone()));
    let mut helpers = Tasks::default();
    helpers.spawn("watches", feed(cache, clients.watch.clone()));
    helpers.spawn("events", event_writer);

    tokio::select! {
        // First: tasks end because of it, and the Lease is handed over below.
        biased;
        () = stop.cancelled() => {}
        ended = tasks.ended() => return exit_status(ended, stop.is_cancelled()),
        ended = helpers.ended() => return exit_status(ended, stop.is_cancelled()),
    }
    let unfinished = tasks.finish(SHUTDOWN_GRACE).await;
    if !unfinished.is_empty() {
        tracing::warn!("not done in time: {}", unfinished.join(", "));
    }
    Ok(())
}

/// The loop, and then the Lease: no other replica leads while a write of ours is on its way.
async fn run_then_release(reconciling: impl Future<Output = ()>, release: CancellationToken) {
    reconciling.await;
    release.cancel();
}

/// A task that ended by itself takes the process with it; the kubelet starts it again.
fn exit_status(ended: Option<Ended>, stopping: bool) -> anyhow::Result<()> {
    match ended {
        Some(ended) if !stopping || ended.panicked => Err(anyhow::anyhow!("{ended}")),
        Some(_) | None => Ok(()),
    }
}
