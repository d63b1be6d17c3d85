//! The loop: observe, plan, check, execute, publish; one pass on one screen.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_kube_util::error_chain;
use lockkeeper_planner::{Action, Plan, Snapshot, check};
use lockkeeper_snapshot::{Local, ObservedObjects};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::SharedCache;
use crate::cache::observe;
use crate::client::Clients;
use crate::execute::{Apis, CreatedRecords, Error, Pass, Retry};
use crate::health::Component;
use crate::report::{RecordsBefore, Reporter};
use crate::tasks::daemon_set_probes::DaemonSetProbes;
use crate::tasks::drains::Drains;
use crate::tasks::forecasts::Forecasts;
use crate::tasks::preflights::Preflights;

/// After a write that failed: long enough for a server in trouble, short enough for a person who watches.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// After a write that somebody else was faster with: the watch shows it sooner than this, as a rule. Doubled with each
/// refusal in a row, up to [`MAX_CONFLICT_BACKOFF`]: a watch that lags must not be answered with five writes a second.
const FIRST_CONFLICT_BACKOFF: Duration = Duration::from_millis(200);
/// The longest pause after refusals; the watch ends it anyway.
const MAX_CONFLICT_BACKOFF: Duration = Duration::from_secs(5);
/// The pods may land on a node for this long after its cordon; the order is tried again then.
const STALE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Status is written once nothing has been executed for this long: a node that goes through three phases at once is
/// written about once, and not against its agent's own report.
const STATUS_DEBOUNCE: Duration = Duration::from_millis(300);
/// Status is never older than this, however busy the loop is.
const MAX_STATUS_DELAY: Duration = Duration::from_secs(2);
/// A loop that has just begun does not write into thousands of statuses that it has not listed everything yet.
const STARTUP_GRACE: Duration = Duration::from_secs(30);

/// What decides.
pub type PlanFn = fn(&Snapshot, DateTime<Utc>) -> Plan;

/// What the loop needs to know of its process.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node it runs on.
    pub own_node: Option<String>,
    /// The namespace of our own pods.
    pub namespace: String,
    /// What decides.
    pub plan: PlanFn,
}

/// The loop and what it remembers between passes: nothing that a restart would lose matters.
#[derive(Debug)]
pub struct Reconciler {
    api: Apis,
    cache: SharedCache,
    options: Options,
    local: Local,
    drains: Drains,
    preflights: Preflights,
    probes: DaemonSetProbes,
    forecasts: Forecasts,
    wake_ups: mpsc::UnboundedReceiver<()>,
    reporter: Reporter,
    health: Component,
    /// What the last pass carried out, to notice a plan that does not come to rest.
    last_plan: Vec<Action>,
    /// How many passes in a row ended with a write that somebody else was faster with.
    conflicts: u32,
    created: CreatedRecords,
    last_write: Option<Instant>,
    last_publication: Option<Instant>,
    started: Instant,
}

/// When to look again if nothing changes before.
type NextPass = Option<Instant>;

impl Reconciler {
    /// A loop that has not looked yet.
    pub fn new(clients: &Clients, cache: SharedCache, options: Options, reporter: Reporter, health: Component) -> Self {
        let (news, wake_ups) = mpsc::unbounded_channel();
        let preflights = Preflights::new(clients.evict.clone(), options.namespace.clone(), news.clone());
        let probes = DaemonSetProbes::new(clients.evict.clone(), news.clone());
        let forecasts = Forecasts::new(news.clone());
        let drains = Drains::new(clients.evict.clone(), options.namespace.clone(), news);
        let local = Local {
            own_node: options.own_node.clone(),
            ..Local::default()
        };
        Self {
            api: Apis::new(&clients.api),
            cache,
            options,
            local,
            drains,
            preflights,
            probes,
            forecasts,
            wake_ups,
            reporter,
            health,
            last_plan: vec![],
            conflicts: 0,
            created: CreatedRecords::default(),
            last_write: None,
            last_publication: None,
            started: Instant::now(),
        }
    }

    /// Passes whenever something changes, while we lead, until `stop`.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        let mut changes = self.cache.changes();
        let mut next: NextPass = None;
        loop {
            let now = Instant::now();
            self.report_health();
            if *leading.borrow_and_update() && !stop.is_cancelled() {
                next = self.pass().await;
            } else {
                self.drains.stop();
                self.preflights.stop();
                self.probes.stop();
                self.forecasts.stop();
                self.reporter.stop_leading();
                next = next.filter(|_| false);
            }
            let timer = next.unwrap_or(now + Duration::from_hours(1));
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                _ = leading.changed() => {}
                Some(()) = self.wake_ups.recv() => while self.wake_ups.try_recv().is_ok() {},
                () = tokio::time::sleep_until(timer) => {}
            }
        }
    }

    /// Ready means: everything was listed, so that this replica could lead.
    fn report_health(&self) {
        match self.cache.read().unlisted().as_slice() {
            [] => self.health.is_ready(),
            unlisted => {
                let kinds: Vec<&str> = unlisted.iter().map(|kind| kind.as_str()).collect();
                self.health.is_not_ready(&format!("still listing {}", kinds.join(", ")));
            }
        }
    }

    /// One pass: observe, plan, check, execute; published once there is nothing more to execute.
    async fn pass(&mut self) -> NextPass {
        let component = self.health.clone();
        let _busy = component.busy();
        let now = Utc::now();
        self.local.drains = self.drains.progress();
        let (mut snapshot, seen) = observe(&self.cache.read(), &self.local, Instant::now());
        self.preflights.fill(&mut snapshot, &seen);
        self.probes.fill(&mut snapshot);
        let plan = (self.options.plan)(&snapshot, now);
        let violations = check(&snapshot, &plan, now);
        self.reporter.pass(&snapshot, &seen, &plan, &violations, now);
        if !violations.is_empty() {
            return Some(Instant::now() + RETRY_DELAY);
        }
        self.drains.tend(&snapshot, &seen);
        self.drains.end(&plan.actions);
        self.preflights.tend(&plan.preflight, &snapshot, &seen);
        self.probes.tend(&plan.daemon_set_probes, &snapshot);
        for (node, news) in self.drains.news().into_iter().chain(self.preflights.news()) {
            self.reporter.drain(&snapshot, &node, &news);
        }
        let next = self.execute(&snapshot, seen, &plan, now).await;
        next.or_else(|| until(plan.recheck_at, now))
    }

    async fn execute(
        &mut self,
        snapshot: &Snapshot,
        seen: ObservedObjects,
        plan: &Plan,
        now: DateTime<Utc>,
    ) -> NextPass {
        let namespace = &self.options.namespace;
        let mut pass = Pass {
            api: &self.api,
            cache: &self.cache,
            seen,
            snapshot,
            now,
            namespace,
            policies_verified: false,
            created: std::mem::take(&mut self.created),
        };
        let reporter = &mut self.reporter;
        let before = RecordsBefore::of(&plan.actions, &pass.seen);
        let ended = pass
            .execute_all(&plan.actions, |action, error| {
                reporter.action_done(snapshot, &before, action, error);
            })
            .await;
        self.created = std::mem::take(&mut pass.created);
        if let Err(error) = ended {
            return Some(self.after(&error));
        }
        self.conflicts = 0;
        if !plan.actions.is_empty() {
            // Our own answers are in the cache already: look again at once. A plan that was carried out and comes
            // again word for word has met something that we do not understand; it must not become a hot loop.
            let repeated = self.last_plan == plan.actions;
            self.last_plan.clone_from(&plan.actions);
            self.last_write = Some(Instant::now());
            return Some(if repeated {
                Instant::now() + RETRY_DELAY
            } else {
                Instant::now()
            });
        }
        self.last_plan.clear();
        if let Some(quiet) = self.publication_delay(snapshot) {
            return Some(quiet);
        }
        self.last_publication = Some(Instant::now());
        let due = self.forecasts.tend(snapshot, plan, now);
        let published = self.reporter.publish(&mut pass, plan, &self.forecasts.ends()).await;
        if let Err(error) = published {
            return Some(self.after(&error));
        }
        let recheck = until(plan.recheck_at, now);
        due.map(|due| recheck.map_or(due, |recheck| recheck.min(due)))
    }

    /// When to publish, if not now.
    fn publication_delay(&self, snapshot: &Snapshot) -> NextPass {
        let now = Instant::now();
        let looked = self.started + STARTUP_GRACE;
        if !snapshot.unlisted.is_empty() && looked > now {
            return Some(looked);
        }
        // A node is asked whether its pods can leave, or looked at after its reboot: that it waits for the answer is no
        // news if that comes soon.
        if let Some(answered) = self.preflights.soon(now).max(self.probes.soon(now)) {
            return Some(answered);
        }
        let quiet = self
            .last_write
            .map(|last_write| last_write + STATUS_DEBOUNCE)
            .filter(|quiet| *quiet > now)?;
        let overdue = self
            .last_publication
            .map_or(now, |last_publication| last_publication + MAX_STATUS_DELAY);
        (overdue > now).then(|| quiet.min(overdue))
    }

    fn after(&mut self, error: &Error) -> Instant {
        match error {
            Error::NotEmpty { node, .. } => self.drains.restart(node),
            Error::CordonConflict { .. }
            | Error::Api { .. }
            | Error::Stale { .. }
            | Error::Pods { .. }
            | Error::Settings { .. } => {}
        }
        let retry = error.retry();
        match retry {
            Retry::OnChange => tracing::info!("{}", error_chain(error)),
            Retry::Later => tracing::warn!("{}; tried again in {} s", error_chain(error), RETRY_DELAY.as_secs()),
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

/// How long to wait after so many refusals in a row.
fn conflict_backoff(conflicts: u32) -> Duration {
    let doubled = 1u32.checked_shl(conflicts.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_CONFLICT_BACKOFF.saturating_mul(doubled).min(MAX_CONFLICT_BACKOFF)
}

/// An instant of the calendar as one of the timer.
fn until(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> NextPass {
    let wait = (at? - now).to_std().unwrap_or_default();
    // A little later than the instant itself: a timer that fires early would look too soon and again at once.
    Some(Instant::now() + wait + Duration::from_millis(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_a_row_are_met_with_patience_that_has_an_end() {
        assert_eq!(conflict_backoff(1), Duration::from_millis(200));
        assert_eq!(conflict_backoff(3), Duration::from_millis(800));
        assert_eq!(conflict_backoff(6), MAX_CONFLICT_BACKOFF);
        assert_eq!(conflict_backoff(u32::MAX), MAX_CONFLICT_BACKOFF);
    }
}
