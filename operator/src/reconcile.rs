//! The reconcile loop: observe, plan, check, execute, report; one pass on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_kube_util::{Clock, error_chain};
use lockkeeper_planner::preconditions::Proven;
use lockkeeper_planner::{Action, Plan, Preflight, Snapshot, check};
use lockkeeper_snapshot::{KeptSnapshot, Local, ObservedObjects};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::{Rewind, SharedCache, observe};
use crate::client::Clients;
use crate::drain_settings::DrainOptions;
use crate::execute::{Apis, CreatedRecords, Error, Executed, LOCK, Pass, Retry, nodes_awaiting_lock};
use crate::failed_writes::FailedWrites;
use crate::health::Component;
use crate::next_pass::{NextPass, conflict_backoff};
use crate::report::{RecordsBefore, Reporter};
use crate::server_clock::ServerClock;
use crate::tasks::Tasks;
use crate::tasks::checks::CheckOptions;

/// After a write that failed: long enough for an API server in trouble, short enough for a person who watches.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// After a precondition that did not hold: pods may land on a node for this long after its cordon.
const STALE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Statuses are written once nothing was executed for this long: a node that passes three phases at once is written once,
/// and not in conflict with its agent's own report.
const STATUS_DEBOUNCE: Duration = Duration::from_millis(300);
/// Statuses are never older than this, however busy the loop is.
const MAX_STATUS_DELAY: Duration = Duration::from_secs(2);
/// A loop that has just started does not write into thousands of statuses that it is still listing.
const STARTUP_GRACE: Duration = Duration::from_secs(30);

/// A loop that nothing wakes runs a pass this often.
const MAX_IDLE: Duration = Duration::from_hours(1);

/// The planner: [`lockkeeper_planner::plan`], or another one in a test.
pub type PlanFn = fn(&Snapshot, DateTime<Utc>) -> Plan;

/// How the loop is configured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node it runs on.
    pub own_node: Option<String>,
    /// The labels of a control-plane node; any of them counts.
    pub control_plane_labels: Vec<String>,
    /// Whether nodes start although agents are not confined to their own nodes.
    pub accepts_unconfined_agents: bool,
    /// The namespace of our own pods.
    pub namespace: String,
    /// Whether pods with responders are left to these while a node is drained.
    pub eviction_requests: bool,
    /// How checks are evaluated.
    pub checks: CheckOptions,
    /// The planner.
    pub plan: PlanFn,
    /// The time that is planned with.
    pub clock: Clock,
}

/// The loop, with what it remembers between passes; losing it in a restart does no harm.
#[derive(Debug)]
pub struct Reconciler {
    api: Apis,
    cache: SharedCache,
    options: Options,
    local: Local,
    tasks: Tasks,
    reporter: Reporter,
    server_clock: ServerClock,
    health: Component,
    /// The last rewind that was heeded, and whether it is still to be reported.
    rewind: Option<Rewind>,
    rewind_reported: bool,
    /// The actions of the last pass, to notice a plan that repeats itself.
    last_plan: Vec<Action>,
    /// How many passes in a row ended with a conflict.
    conflicts: u32,
    failed_writes: FailedWrites,
    /// The statuses of nodes whose last publication failed.
    failed_statuses: FailedWrites,
    /// The snapshot of the last pass; a replica that does not lead has none.
    kept: KeptSnapshot,
    created: CreatedRecords,
    proven: Proven,
    last_write: Option<Instant>,
    /// Since when the loop has been writing without a pause in which it publishes.
    unpublished_since: Option<Instant>,
    started: Instant,
}

impl Reconciler {
    /// A loop before its first pass.
    pub fn new(
        clients: &Clients,
        cache: SharedCache,
        options: Options,
        reporter: Reporter,
        server_clock: ServerClock,
        health: Component,
    ) -> Self {
        let checks = options.checks.clone();
        let settings = DrainOptions {
            namespace: options.namespace.clone(),
            clock: options.clock,
            eviction_requests: options.eviction_requests,
        };
        let tasks = Tasks::new(clients, &settings, checks);
        let local = Local {
            preflight: Preflight::Unknown,
            own_node: options.own_node.clone(),
            control_plane_labels: options.control_plane_labels.clone(),
            accepts_unconfined_agents: options.accepts_unconfined_agents,
        };
        Self {
            api: Apis::new(&clients.api),
            cache,
            options,
            local,
            tasks,
            reporter,
            server_clock,
            health,
            rewind: None,
            rewind_reported: true,
            last_plan: vec![],
            conflicts: 0,
            failed_writes: FailedWrites::default(),
            failed_statuses: FailedWrites::default(),
            kept: KeptSnapshot::default(),
            created: CreatedRecords::default(),
            proven: Proven::default(),
            last_write: None,
            unpublished_since: None,
            started: Instant::now(),
        }
    }

    /// Runs a pass whenever something changes while this replica leads, until `stop`.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        let clock = self.options.clock;
        let mut changes = self.cache.changes();
        loop {
            self.report_health();
            let next = if *leading.borrow_and_update() && !stop.is_cancelled() {
                self.pass().await
            } else {
                self.tasks.stop();
                self.proven = Proven::default();
                self.kept = KeptSnapshot::default();
                self.reporter.stop_leading();
                NextPass::default()
            };
            let next = next.or_at(Some(Instant::now() + MAX_IDLE));
            tokio::select! {
                // In this order, so that the same events make the same passes; each of them makes one.
                biased;
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                _ = leading.changed() => {}
                () = self.tasks.changed() => {}
                () = next.wait(|| clock.now()) => {}
            }
        }
    }

    /// After the data of the cluster went back, all tasks start anew: their watches are as blind as those of the cache.
    fn heed_rewind(&mut self, snapshot: &Snapshot) {
        let rewind = self.cache.read().rewind();
        if rewind != self.rewind {
            self.tasks.stop();
            self.proven = Proven::default();
            (self.rewind, self.rewind_reported) = (rewind, false);
        }
        if let Some(rewind) = rewind.filter(|_| !self.rewind_reported && snapshot.unlisted.is_empty()) {
            self.reporter.cluster_restored(&rewind);
            self.rewind_reported = true;
        }
    }

    /// Ready means that everything is listed, so that this replica could lead.
    fn report_health(&self) {
        match self.cache.read().unlisted().as_slice() {
            [] => self.health.is_ready(),
            unlisted => {
                let kinds: Vec<&str> = unlisted.iter().map(|kind| kind.as_str()).collect();
                self.health.is_not_ready(&format!("still listing {}", kinds.join(", ")));
            }
        }
    }

    /// One pass. Statuses are published once there is nothing more to execute.
    async fn pass(&mut self) -> NextPass {
        // A pass that is dropped on its way loses what is kept, and the next one makes it from nothing.
        let mut kept = std::mem::take(&mut self.kept);
        let next = self.pass_over(&mut kept).await;
        self.kept = kept;
        next
    }

    async fn pass_over(&mut self, kept: &mut KeptSnapshot) -> NextPass {
        let component = self.health.clone();
        let _busy = component.busy();
        let now = self.options.clock.now();
        if let Some(error) = self.server_clock.error_at(now) {
            // The next answer about the Lease tells whether it is so.
            tracing::warn!("nothing is planned: {error}");
            return NextPass::at(Instant::now() + RETRY_DELAY);
        }
        observe(kept, &self.cache.read(), &self.local, Instant::now());
        self.heed_rewind(kept.parts().0);
        let (mut filling, seen) = kept.fill();
        self.tasks.fill(&mut filling, seen);
        self.failed_writes.fill(&mut filling, Instant::now());
        self.failed_statuses.fill(&mut filling, Instant::now());
        let (snapshot, seen) = kept.parts();
        let plan = (self.options.plan)(snapshot, now);
        let violations = check(snapshot, &plan, now);
        self.reporter.pass(snapshot, seen, &plan, &violations, now);
        if !violations.is_empty() {
            return NextPass::at(Instant::now() + RETRY_DELAY);
        }
        self.tasks.reconcile(&plan, snapshot, seen);
        for (node, event) in self.tasks.take_events() {
            self.reporter.drain(snapshot, &node, event);
        }
        self.execute(snapshot, seen, &plan, now).await
    }

    async fn execute(
        &mut self,
        snapshot: &Snapshot,
        seen: &mut ObservedObjects,
        plan: &Plan,
        now: DateTime<Utc>,
    ) -> NextPass {
        let actions = self.due_actions(plan, seen);
        let namespace = &self.options.namespace;
        let mut pass = Pass {
            api: &self.api,
            cache: &self.cache,
            seen,
            snapshot,
            now,
            clock: self.options.clock,
            namespace,
            policies_verified: false,
            lock_written: None,
            created: std::mem::take(&mut self.created),
            proven: std::mem::take(&mut self.proven),
            empty_nodes: BTreeMap::new(),
        };
        let begin = Instant::now();
        if !actions.is_empty() && begin >= *self.unpublished_since.get_or_insert(begin) + MAX_STATUS_DELAY {
            // However many writes are left: people read first what becomes of a policy.
            self.unpublished_since = Some(begin);
            let outlook = self.tasks.outlook();
            if let Err(error) = self.reporter.publish_policies(&pass, plan, &outlook).await {
                tracing::warn!("{}; the next pass tries again", error_chain(&error));
            }
        }
        let reporter = &mut self.reporter;
        let before = RecordsBefore::of(&actions, pass.seen);
        let executed = pass
            .execute_all(&actions, |action, error| {
                reporter.action_done(snapshot, &before, action, error);
            })
            .await;
        self.created = std::mem::take(&mut pass.created);
        self.proven = std::mem::take(&mut pass.proven);
        self.tasks.expect_empty(std::mem::take(&mut pass.empty_nodes));
        learn(&mut self.failed_writes, &mut self.tasks, &executed);
        if let Some(error) = executed.shared {
            // A lock that stays invalid is refused in the end; until then this is a conflict.
            if error.is_invalid() {
                self.failed_writes.record(LOCK, &error, Instant::now());
            }
            return NextPass::at(self.handle_error(&error));
        }
        self.conflicts = 0;
        if !actions.is_empty() {
            // The cache has the answers already, so that the next pass can follow at once. A plan that is the same again
            // after it was carried out must not become a hot loop, nor must policies that cannot be read.
            let repeated = self.last_plan == actions || (executed.policies_unread && executed.written.is_empty());
            self.last_plan = actions;
            self.last_write = Some(Instant::now());
            return NextPass::at(if repeated {
                Instant::now() + RETRY_DELAY
            } else {
                Instant::now()
            });
        }
        self.last_plan.clear();
        let due = self.tasks.forecast(snapshot, plan, now);
        if let Some(quiet) = self.publication_delay(snapshot) {
            return NextPass::at(quiet);
        }
        self.unpublished_since = None;
        let outlook = self.tasks.outlook();
        let published = self
            .reporter
            .publish(&mut pass, plan, &outlook, &self.failed_statuses)
            .await;
        learn(&mut self.failed_statuses, &mut self.tasks, &published.executed);
        if let Some(error) = published.executed.shared {
            return NextPass::at(self.handle_error(&error));
        }
        if published.is_partial {
            return NextPass::at(Instant::now());
        }
        let [writes, statuses] =
            [&self.failed_writes, &self.failed_statuses].map(|failed| failed.next_attempt(Instant::now()));
        NextPass::when(plan.recheck_at)
            .or_at(due)
            .or_at(writes)
            .or_at(statuses)
            .or_at(published.next_due)
    }

    /// The actions of the plan, without those about objects whose last write failed a moment ago, and without those that
    /// follow a write of the lock if that is such an object.
    fn due_actions(&self, plan: &Plan, seen: &ObservedObjects) -> Vec<Action> {
        let now = Instant::now();
        let lock_waits = self.failed_writes.is_waiting(LOCK, now);
        let mut awaiting_lock = BTreeSet::new();
        for action in plan.actions.iter().filter(|_| lock_waits) {
            if let Action::SetHolders { holders, .. } = action {
                awaiting_lock = nodes_awaiting_lock(holders, seen);
            }
        }
        let waits = |action: &&Action| match action.node() {
            None => lock_waits,
            Some(node) => self.failed_writes.is_waiting(node, now) || awaiting_lock.contains(node),
        };
        plan.actions.iter().filter(|action| !waits(action)).cloned().collect()
    }

    /// When to publish the statuses, if not now.
    fn publication_delay(&self, snapshot: &Snapshot) -> Option<Instant> {
        let now = Instant::now();
        let looked = self.started + STARTUP_GRACE;
        if !snapshot.unlisted.is_empty() && looked > now {
            return Some(looked);
        }
        // That a node waits for an answer is not worth a status if the answer comes soon.
        if let Some(answered) = self.tasks.expected_by(now) {
            return Some(answered);
        }
        let quiet = self
            .last_write
            .map(|last_write| last_write + STATUS_DEBOUNCE)
            .filter(|quiet| *quiet > now)?;
        let overdue = self.unpublished_since.map_or(now, |since| since + MAX_STATUS_DELAY);
        (overdue > now).then(|| quiet.min(overdue))
    }

    fn handle_error(&mut self, error: &Error) -> Instant {
        restart_drain(&mut self.tasks, error);
        let retry = error.retry();
        match retry {
            Retry::OnChange => tracing::info!("{}", error_chain(error)),
            Retry::Later => tracing::warn!("{}; retried in {} s", error_chain(error), RETRY_DELAY.as_secs()),
        }
        let pause = match (retry, error) {
            (Retry::Later, _) => RETRY_DELAY,
            (Retry::OnChange, Error::Stale { .. } | Error::NotEmpty { .. }) => STALE_RETRY_DELAY,
            (Retry::OnChange, _) => {
                self.conflicts = self.conflicts.saturating_add(1);
                conflict_backoff(self.conflicts)
            }
        };
        Instant::now() + pause
    }
}

/// Remembers which objects had a write that failed, and restarts the drain of a node that has pods again.
fn learn(failed_writes: &mut FailedWrites, tasks: &mut Tasks, executed: &Executed) {
    for object in &executed.written {
        failed_writes.clear(object);
    }
    for (node, error) in &executed.failed {
        let pause = failed_writes.record(node, error, Instant::now());
        restart_drain(tasks, error);
        match error.retry() {
            Retry::OnChange => tracing::info!(node, "{}", error_chain(error)),
            Retry::Later => tracing::warn!(node, "{}; retried in {} s", error_chain(error), pause.as_secs()),
        }
    }
}

fn restart_drain(tasks: &mut Tasks, error: &Error) {
    match error {
        Error::NotEmpty { node, .. } => tasks.restart_drain(node),
        Error::CordonConflict { .. }
        | Error::Api { .. }
        | Error::Stale { .. }
        | Error::Pods { .. }
        | Error::Settings { .. } => {}
    }
}
