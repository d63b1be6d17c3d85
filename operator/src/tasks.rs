//! What runs beside the reconcile loop: drains, withdrawals, preflights, checks, probes, Jobs of hooks and forecasts.

pub mod checks;
pub mod drains;
pub mod forecasts;
pub mod hooks;
pub mod preflights;
pub mod probes;
pub mod supervisor;
pub mod withdrawals;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lockkeeper_drain::{DrainClients, EmptyNode};
use lockkeeper_planner::{Plan, Snapshot};
use lockkeeper_snapshot::{Filling, ObservedObjects};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::checks::{CheckOptions, Checks};
use self::drains::Drains;
use self::forecasts::{Forecasts, Outlook};
use self::hooks::HookJobs;
use self::preflights::Preflights;
use self::probes::{DaemonSetProbe, Probes, WorkloadProbe};
use self::supervisor::WakeUp;
use self::withdrawals::Withdrawals;
use crate::client::Clients;
use crate::drain_settings::DrainOptions;
use crate::report::event::Event;

/// All tasks of the leader. They run only while it leads, and each pass brings them in line with its plan.
#[derive(Debug)]
pub struct Tasks {
    drains: Drains,
    withdrawals: Withdrawals,
    preflights: Preflights,
    checks: Checks,
    daemon_sets: Probes<DaemonSetProbe>,
    workloads: Probes<WorkloadProbe>,
    hook_jobs: HookJobs,
    forecasts: Forecasts,
    wake_ups: mpsc::UnboundedReceiver<()>,
}

impl Tasks {
    /// No task runs yet.
    pub fn new(clients: &Clients, options: &DrainOptions, checks: CheckOptions) -> Self {
        let (namespace, eviction_requests) = (&options.namespace, options.eviction_requests);
        let (wake_up, wake_ups) = WakeUp::channel();
        let client = &clients.evict;
        let drain_clients = DrainClients {
            requests: client.clone(),
            watches: clients.watch.clone(),
        };
        Self {
            checks: Checks::new(
                client.clone(),
                namespace.clone(),
                checks,
                options.clock,
                wake_up.clone(),
            ),
            drains: Drains::new(drain_clients.clone(), options, wake_up.clone()),
            withdrawals: Withdrawals::new(eviction_requests.then(|| client.clone()), wake_up.clone()),
            preflights: Preflights::new(client.clone(), options, wake_up.clone()),
            daemon_sets: Probes::new(drain_clients.clone(), wake_up.clone()),
            workloads: Probes::new(drain_clients.clone(), wake_up.clone()),
            hook_jobs: HookJobs::new(client.clone(), namespace.clone(), wake_up.clone()),
            forecasts: Forecasts::new(wake_up),
            wake_ups,
        }
    }

    /// Puts the answers into the snapshot.
    pub fn fill(&mut self, filling: &mut Filling, observed: &ObservedObjects) {
        self.drains.fill(filling);
        self.preflights.fill(filling, observed);
        self.checks.fill(filling, observed);
        self.daemon_sets.fill(filling);
        self.workloads.fill(filling);
        self.hook_jobs.fill(filling);
    }

    /// Starts the tasks that the plan needs and ends those that it does not.
    pub fn reconcile(&mut self, plan: &Plan, snapshot: &Snapshot, observed: &ObservedObjects) {
        self.drains.reconcile(snapshot, observed, &plan.actions);
        if snapshot.unlisted.is_empty() {
            self.withdrawals.reconcile(self.drains.nodes());
        }
        self.preflights.reconcile(&plan.preflight, snapshot, observed);
        self.checks.reconcile(plan, observed);
        self.daemon_sets.reconcile(&plan.daemon_set_probes, snapshot);
        self.workloads.reconcile(&plan.workload_probes, snapshot);
        self.hook_jobs.reconcile(plan);
    }

    /// Starts a forecast if one is due. Returns when the next one is due, if that is known.
    pub fn forecast(&mut self, snapshot: &Snapshot, plan: &Plan, now: DateTime<Utc>) -> Option<Instant> {
        self.forecasts.reconcile(snapshot, plan, now)
    }

    /// What the last forecast says about each policy.
    pub fn outlook(&self) -> Outlook {
        self.forecasts.outlook()
    }

    /// The Events that are due, each with its node. None is returned twice.
    pub fn take_events(&mut self) -> Vec<(String, Event)> {
        let mut events = self.drains.take_events();
        events.extend(self.preflights.take_events());
        events
    }

    /// When the answers that are expected soon will have arrived; until then it is not worth reporting that nodes wait for
    /// them.
    pub fn expected_by(&self, now: Instant) -> Option<Instant> {
        let probes = self.daemon_sets.expected_by(now).max(self.workloads.expected_by(now));
        let preflights = self.preflights.expected_by(now);
        let forecast = self.forecasts.expected_by(now);
        let jobs = self.hook_jobs.expected_by(now);
        let checks = self.checks.expected_by(now);
        preflights.max(probes).max(checks).max(jobs).max(forecast)
    }

    /// These nodes were found to be empty when their cordon was recorded, each for this order.
    pub fn expect_empty(&mut self, nodes: BTreeMap<String, (String, EmptyNode)>) {
        self.drains.expect_empty(nodes);
    }

    /// Ends the drain of a node; the next pass starts it anew.
    pub fn restart_drain(&mut self, node: &str) {
        self.drains.restart(node);
    }

    /// Waits until an answer changes.
    pub async fn changed(&mut self) {
        if self.wake_ups.recv().await.is_none() {
            // Each kind of task keeps a sender, so that this does not happen.
            std::future::pending::<()>().await;
        }
        while self.wake_ups.try_recv().is_ok() {}
    }

    /// Ends all tasks: another replica leads.
    pub fn stop(&mut self) {
        self.drains.stop();
        self.withdrawals.stop();
        self.preflights.stop();
        self.checks.stop();
        self.daemon_sets.stop();
        self.workloads.stop();
        self.hook_jobs.stop();
        self.forecasts.stop();
    }
}
