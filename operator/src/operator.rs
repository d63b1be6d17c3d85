//! One operator: its parts and the tasks that it runs, without its arguments and its HTTP server.

use std::time::Duration;

use lockkeeper_crds::names;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cache::{SharedCache, feed};
use crate::client::{Clients, Hooks};
use crate::election::{self, LeaseConfig, Pace};
use crate::reconcile::{Options, Reconciler};
use crate::report::Reporter;
use crate::report::announcer::Announcer;
use crate::report::event_recorder::EventRecorder;
use crate::shutdown::Tasks;

/// What an operator is made of.
#[derive(Debug)]
pub struct Operator {
    /// Its connections.
    pub clients: Clients,
    /// What it tells, and what it heeds.
    pub hooks: Hooks,
    /// How often it renews its Lease.
    pub pace: Pace,
    /// How much its clock may differ from that of the API server; without it any difference is accepted.
    pub max_clock_skew: Option<Duration>,
    /// How its loop is configured.
    pub options: Options,
    /// Its name in Events.
    pub name: String,
    /// Its name in the Lease, which differs in each process: see [`election::identity`].
    pub identity: String,
}

/// The tasks of an operator that runs; dropping them ends it at once.
#[derive(Debug)]
pub struct RunningOperator {
    /// Those that end in good order: the loop, which grants no more, then the election, which hands the Lease over.
    pub tasks: Tasks,
    /// Those that may end at any time: watches and Events.
    pub helpers: Tasks,
}

impl Operator {
    /// Starts all tasks; `stop` ends them in good order.
    pub fn start(self, stop: &CancellationToken) -> RunningOperator {
        let (clients, hooks, clock) = (self.clients, self.hooks, self.options.clock);
        let server_clock = hooks.server_clock.limited(self.max_clock_skew);
        let cache = SharedCache::counting(hooks.metrics.clone());
        let (leading, leads) = watch::channel(false);
        let (events, event_writer) = EventRecorder::new(&clients.api, &self.name, hooks.metrics.clone(), clock);
        let announcer = Announcer::new(events, hooks.notifier, hooks.silencer, clock);
        let lease = LeaseConfig {
            client: clients.lease.clone(),
            watch: clients.watch.clone(),
            pace: self.pace,
            namespace: self.options.namespace.clone(),
            name: names::LEASE.to_owned(),
            identity: self.identity,
            clock,
            leadership: hooks.leadership,
            server_clock: server_clock.clone(),
            health: hooks.election,
            cache: cache.clone(),
        };
        let reporter = Reporter::new(&clients.api, cache.clone(), announcer, hooks.metrics);
        let reconciler = Reconciler::new(
            &clients,
            cache.clone(),
            self.options,
            reporter,
            server_clock,
            hooks.pass,
        );
        let release = CancellationToken::new();

        let (mut tasks, mut helpers) = (Tasks::default(), Tasks::default());
        tasks.spawn(
            "loop",
            run_then_release(reconciler.run(leads, stop.clone()), release.clone()),
        );
        tasks.spawn("election", election::run(lease, leading, release));
        helpers.spawn("watches", feed(cache, clients.watch));
        helpers.spawn("events", event_writer);
        RunningOperator { tasks, helpers }
    }
}

/// The loop, and then the Lease: no other replica leads while a write of ours is on its way.
async fn run_then_release(reconciling: impl Future<Output = ()>, release: CancellationToken) {
    reconciling.await;
    release.cancel();
}
