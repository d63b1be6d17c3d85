//! The operator's process: arguments, connections, tasks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use lockkeeper_checks::Expressions;
use lockkeeper_crds::names;
use lockkeeper_kube_util::Clock;
use lockkeeper_notify::Dispatcher;
use lockkeeper_outbound as outbound;
use lockkeeper_silences::Keeper;

use crate::client::{Hooks, clients};
use crate::election::{self, Pace};
use crate::health::Health;
use crate::http;
use crate::logging::{self, Format};
use crate::metrics::Metrics;
use crate::operator::{Operator, RunningOperator};
use crate::reconcile::{Options, PlanFn};
use crate::report::announcer::known_events;
use crate::shutdown::{Ended, on_signal};
use crate::tasks::checks::CheckOptions;

/// On SIGTERM: short writes end and the Lease is handed over within this.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);

/// The only argument of the process that evaluates one expression of a check.
const EVALUATE: &str = "evaluate-expression";

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
    /// How much the clock of this machine may differ from the clock of the API server. With a larger difference this
    /// replica does not lead, because windows and recorded times would be wrong. 0 accepts any difference.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    max_clock_skew_seconds: u64,
    /// How often the checks of a policy are evaluated while a node waits for them.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=30))]
    check_interval_seconds: u64,
    /// Start nodes although agents are not confined to their own nodes: one stolen agent token can then have other nodes
    /// drained and rebooted.
    #[arg(long)]
    accept_unconfined_agents: bool,
    /// Ask the eviction responders of pods (spec.evictionResponders, an alpha API of Kubernetes 1.37) instead of evicting
    /// these pods: see docs/drain.md.
    #[arg(long)]
    eviction_requests: bool,
    /// A YAML file with the receivers of notifications: see docs/notifications.md. It is read again when it changes.
    #[arg(long, value_name = "FILE")]
    notifications_config: Option<PathBuf>,
    /// A YAML file that names an Alertmanager, which silences the alerts of nodes while they are rebooted: see
    /// docs/silences.md. It is read again each time.
    #[arg(long, value_name = "FILE")]
    alertmanager_config: Option<PathBuf>,
    /// How log lines look; `RUST_LOG` chooses which there are.
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
}

/// Runs until a signal, with the arguments of this process and what decides: [`lockkeeper_planner::plan`]. Another one is
/// for a test of what stands behind it.
pub async fn main(plan: PlanFn) -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(EVALUATE) {
        return lockkeeper_checks::evaluate_from_stdin();
    }
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
    let health = Health::default();
    let mut hooks = Hooks::new(metrics.clone(), &health);
    let dispatcher = arguments.notifications_config.map(|path| {
        let (notifier, dispatcher) =
            Dispatcher::new(path, known_events(), outbound::Client::default(), metrics.clone());
        hooks.notifier = notifier;
        dispatcher
    });
    let keeper = arguments.alertmanager_config.map(|path| {
        // The list has all silences of five days, at about 500 bytes each.
        let client = outbound::Client::new(outbound::Limits {
            body: 32 * 1024 * 1024,
            ..outbound::Limits::default()
        });
        let clock = Clock::machine();
        let (silencer, keeper) = Keeper::new(path, client, move || clock.now(), metrics.clone());
        hooks.silencer = silencer;
        keeper
    });
    let clients = clients(arguments.kubeconfig.as_deref(), &hooks).await?;
    let stop = on_signal()?;
    let listener = http::listen(&arguments.http_address).await?;
    let operator = Operator {
        clients,
        hooks,
        pace: Pace::default(),
        max_clock_skew: Some(arguments.max_clock_skew_seconds)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        options: Options {
            own_node: arguments.node_name.filter(|name| !name.is_empty()),
            control_plane_labels: arguments.control_plane_labels,
            accepts_unconfined_agents: arguments.accept_unconfined_agents,
            namespace: arguments.lease_namespace,
            eviction_requests: arguments.eviction_requests,
            checks: CheckOptions {
                expressions: expressions()?,
                interval: Duration::from_secs(arguments.check_interval_seconds),
            },
            plan,
            clock: Clock::machine(),
        },
        identity: election::identity(&arguments.pod_name),
        name: arguments.pod_name,
    };
    // In this order at the end: grant no more, hand the Lease over, stop answering probes.
    let RunningOperator { mut tasks, mut helpers } = operator.start(&stop);
    if let Some(dispatcher) = dispatcher {
        // It ends after the loop, once what the loop told is sent.
        tasks.spawn("notifications", dispatcher.run());
    }
    if let Some(keeper) = keeper {
        tasks.spawn("silences", keeper.run());
    }
    tasks.spawn("http", http::serve(listener, metrics, health, stop.clone()));

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

/// Expressions are evaluated by this program in a process of its own.
fn expressions() -> anyhow::Result<Expressions> {
    Ok(Expressions::Process {
        program: std::env::current_exe().context("finding the program of this process")?,
        arguments: vec![EVALUATE.to_owned()],
    })
}

/// A task that ended by itself takes the process with it; the kubelet starts it again.
fn exit_status(ended: Option<Ended>, stopping: bool) -> anyhow::Result<()> {
    match ended {
        Some(ended) if !stopping || ended.panicked => Err(anyhow::anyhow!("{ended}")),
        Some(_) | None => Ok(()),
    }
}
