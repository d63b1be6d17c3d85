//! The processes of Lockkeeper: started, killed without warning, and started again.

use std::sync::Arc;
use std::time::Duration;

use lockkeeper_crds::names;
use lockkeeper_fake_api::FakeApi;
use lockkeeper_kube_util::Clock;
use lockkeeper_node_agent::{AgentConfig, run_agent};
use lockkeeper_operator::client::{Connections, Hooks};
use lockkeeper_operator::election::Pace;
use lockkeeper_operator::health::Health;
use lockkeeper_operator::leadership::Leadership;
use lockkeeper_operator::metrics::Metrics;
use lockkeeper_operator::operator::{Operator, RunningOperator};
use lockkeeper_operator::reconcile::Options;
use lockkeeper_operator::server_clock::ServerClock;
use lockkeeper_operator::tasks::checks::CheckOptions;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::host::SimulatedHost;

/// How long a kubelet takes to start a container again.
pub const RESTART: Duration = Duration::from_secs(1);

/// A process that is started again and again; the name of its client tells its lives apart.
pub struct Process {
    api: FakeApi,
    clock: Clock,
    program: Program,
    lives: usize,
    /// Whether its machine is down.
    is_down: bool,
    /// What it exports in its present life.
    metrics: Option<Arc<Metrics>>,
    task: Option<JoinHandle<()>>,
}

/// What it runs.
#[derive(Clone)]
pub enum Program {
    Operator(Pace),
    Agent(String, SimulatedHost),
}

impl Process {
    /// A process that does not run yet.
    pub fn new(api: &FakeApi, clock: Clock, program: Program) -> Self {
        Self {
            api: api.clone(),
            clock,
            program,
            lives: 0,
            is_down: false,
            metrics: None,
            task: None,
        }
    }

    /// The name of its client in its present life.
    pub fn client_name(&self) -> String {
        match &self.program {
            Program::Operator(_) => format!("operator/{}", self.lives),
            Program::Agent(node, _) => format!("agent-{node}/{}", self.lives),
        }
    }

    /// The metrics that it exports, as a scrape reads them.
    pub fn metrics(&self) -> String {
        let metrics = self.metrics.as_ref().map(|metrics| metrics.text().unwrap());
        metrics.unwrap_or_default()
    }

    /// Starts it; a life before this one ends.
    pub fn start(&mut self) {
        self.kill();
        self.is_down = false;
        self.lives += 1;
        let name = self.client_name();
        let (api, clock) = (self.api.clone(), self.clock);
        self.task = Some(match &self.program {
            Program::Operator(pace) => {
                let pace = *pace;
                let metrics = Arc::new(Metrics::new().unwrap());
                self.metrics = Some(metrics.clone());
                tokio::spawn(run_operator(api, clock, name, pace, metrics))
            }
            Program::Agent(node, host) => {
                let config = AgentConfig {
                    clock,
                    ..AgentConfig::new(node)
                };
                let agent = run_agent(
                    config,
                    api.client(&name, Duration::from_secs(20)),
                    host.clone(),
                    std::future::pending(),
                );
                tokio::spawn(async move { panic!("{name} ended: {:?}", agent.await) })
            }
        });
    }

    /// Starts it unless it was started since the life that had this client.
    pub fn start_again(&mut self, client: &str) {
        if self.client_name() == client && !self.is_down {
            self.start();
        }
    }

    /// Its machine goes down with it.
    pub fn power_off(&mut self) {
        self.kill();
        self.is_down = true;
    }

    /// Ends it between two instructions: nothing that it has asked for is carried out any more.
    pub fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            assert!(!task.is_finished(), "{} has ended by itself", self.client_name());
            self.api.kill(&self.client_name());
            task.abort();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn run_operator(api: FakeApi, clock: Clock, name: String, pace: Pace, metrics: Arc<Metrics>) {
    let begin = Instant::now();
    let hooks = Hooks {
        leadership: Leadership::with_clock(move || begin.elapsed()),
        server_clock: ServerClock::exported(clock, metrics.clone()),
        ..Hooks::new(metrics, &Health::default())
    };
    // With the time-outs of the operator's own clients.
    let connection = |seconds| api.service(&name, Duration::from_secs(seconds));
    let connections = Connections {
        api: connection(15),
        watch: connection(60),
        evict: connection(40),
        lease: connection(2),
    };
    let operator = Operator {
        clients: connections.clients(&hooks, "default"),
        hooks,
        pace,
        max_clock_skew: Some(Duration::from_secs(30)),
        options: Options {
            own_node: None,
            control_plane_labels: names::CONTROL_PLANE_LABELS.map(str::to_owned).into(),
            namespace: names::NAMESPACE.to_owned(),
            plan: lockkeeper_planner::plan,
            // The API server in memory has no admission policies.
            accepts_unconfined_agents: true,
            eviction_requests: false,
            checks: CheckOptions {
                expressions: lockkeeper_checks::Expressions::Here,
                interval: Duration::from_secs(15),
            },
            clock,
        },
        identity: name.clone(),
        name,
    };
    let RunningOperator { mut tasks, mut helpers } = operator.start(&CancellationToken::new());
    let ended = tokio::select! {
        ended = tasks.ended() => ended,
        ended = helpers.ended() => ended,
    };
    panic!("{ended:?}");
}
