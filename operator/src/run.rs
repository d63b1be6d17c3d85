//! The loop: observe, plan, check, execute, publish; one pass on one screen.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_planner::{Action, Plan, Snapshot, check};
use lockkeeper_snapshot::{Local, ObservedObjects};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ahead::Ahead;
use crate::cache::SharedCache;
use crate::client::{Clients, chain};
use crate::daemons::Looks;
use crate::drains::Drains;
use crate::execute::{Api3, Error, MadeFor, Next, Pass};
use crate::health::Part;
use crate::observe::observe;
use crate::preflights::Preflights;
use crate::tell::{Before, Teller};

/// After a write that failed: long enough for a server in trouble, short enough for a person who watches.
const LATER: Duration = Duration::from_secs(2);
/// After a write that somebody else was faster with: the watch shows it sooner than this, as a rule. Doubled with each
/// refusal in a row, up to [`PATIENT`]: a watch that lags must not be answered with five writes a second.
const REOBSERVE: Duration = Duration::from_millis(200);
/// The longest pause after refusals; the watch ends it anyway.
const PATIENT: Duration = Duration::from_secs(5);
/// The pods may land on a node for this long after its cordon; the order is tried again then.
const SETTLE: Duration = Duration::from_secs(1);

/// Status is written once nothing has been executed for this long: a node that goes through three phases at once is
/// written about once, and not against its agent's own report.
const QUIET: Duration = Duration::from_millis(300);
/// Status is never older than this, however busy the loop is.
const OVERDUE: Duration = Duration::from_secs(2);
/// A loop that has just begun does not write into thousands of statuses that it has not listed everything yet.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// What decides.
pub type Planner = fn(&Snapshot, DateTime<Utc>) -> Plan;

/// What the loop needs to know of its process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node it runs on.
    pub own_node: Option<String>,
    /// The namespace of our own pods.
    pub namespace: String,
    /// What decides.
    pub plan: Planner,
}

/// The loop and what it remembers between passes: nothing that a restart would lose matters.
#[derive(Debug)]
pub struct Loop {
    api: Api3,
    cache: SharedCache,
    settings: Settings,
    local: Local,
    drains: Drains,
    preflights: Preflights,
    looks: Looks,
    ahead: Ahead,
    drained: mpsc::UnboundedReceiver<()>,
    teller: Teller,
    health: Part,
    /// What the last pass carried out, to notice a plan that does not come to rest.
    last_plan: Vec<Action>,
    /// How many passes in a row ended with a write that somebody else was faster with.
    refusals: u32,
    made: MadeFor,
    acted: Option<Instant>,
    published: Option<Instant>,
    began: Instant,
}

/// When to look again if nothing changes before.
type Again = Option<Instant>;

impl Loop {
    /// A loop that has not looked yet.
    pub fn new(clients: &Clients, cache: SharedCache, settings: Settings, teller: Teller, health: Part) -> Self {
        let (news, drained) = mpsc::unbounded_channel();
        let preflights = Preflights::new(clients.evict.clone(), settings.namespace.clone(), news.clone());
        let looks = Looks::new(clients.evict.clone(), news.clone());
        let ahead = Ahead::new(news.clone());
        let drains = Drains::new(clients.evict.clone(), settings.namespace.clone(), news);
        let local = Local {
            own_node: settings.own_node.clone(),
            ..Local::default()
        };
        Self {
            api: Api3::new(&clients.api),
            cache,
            settings,
            local,
            drains,
            preflights,
            looks,
            ahead,
            drained,
            teller,
            health,
            last_plan: vec![],
            refusals: 0,
            made: MadeFor::default(),
            acted: None,
            published: None,
            began: Instant::now(),
        }
    }

    /// Passes whenever something changes, while we lead, until `stop`.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        let mut changes = self.cache.changes();
        let mut again: Again = None;
        loop {
            let now = Instant::now();
            self.report_health();
            if *leading.borrow_and_update() && !stop.is_cancelled() {
                again = self.pass().await;
            } else {
                self.drains.stop();
                self.preflights.stop();
                self.looks.stop();
                self.ahead.stop();
                self.teller.idle();
                again = again.filter(|_| false);
            }
            let timer = again.unwrap_or(now + Duration::from_hours(1));
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                _ = leading.changed() => {}
                Some(()) = self.drained.recv() => while self.drained.try_recv().is_ok() {},
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
    async fn pass(&mut self) -> Again {
        let part = self.health.clone();
        let _busy = part.busy();
        let now = Utc::now();
        self.local.drains = self.drains.progress();
        let (mut snapshot, seen) = observe(&self.cache.read(), &self.local, Instant::now());
        self.preflights.fill(&mut snapshot, &seen);
        self.looks.fill(&mut snapshot);
        let plan = (self.settings.plan)(&snapshot, now);
        let violations = check(&snapshot, &plan, now);
        self.teller.pass(&snapshot, &seen, &plan, &violations, now);
        if !violations.is_empty() {
            return Some(Instant::now() + LATER);
        }
        self.drains.tend(&snapshot, &seen);
        self.drains.end(&plan.actions);
        self.preflights.tend(&plan.preflight, &snapshot, &seen);
        self.looks.tend(&plan.daemon_set_probes, &snapshot);
        for (node, news) in self.drains.news().into_iter().chain(self.preflights.news()) {
            self.teller.drain(&snapshot, &node, &news);
        }
        let again = self.execute(&snapshot, seen, &plan, now).await;
        again.or_else(|| until(plan.recheck_at, now))
    }

    async fn execute(&mut self, snapshot: &Snapshot, seen: ObservedObjects, plan: &Plan, now: DateTime<Utc>) -> Again {
        let namespace = &self.settings.namespace;
        let mut pass = Pass {
            api: &self.api,
            cache: &self.cache,
            seen,
            snapshot,
            now,
            namespace,
            policies_looked_at: false,
            made: std::mem::take(&mut self.made),
        };
        let teller = &mut self.teller;
        let before = Before::of(&plan.actions, &pass.seen);
        let ended = pass
            .execute_all(&plan.actions, |action, error| {
                teller.acted(snapshot, &before, action, error);
            })
            .await;
        self.made = std::mem::take(&mut pass.made);
        if let Err(error) = ended {
            return Some(self.after(&error));
        }
        self.refusals = 0;
        if !plan.actions.is_empty() {
            // Our own answers are in the cache already: look again at once. A plan that was carried out and comes
            // again word for word has met something that we do not understand; it must not become a hot loop.
            let repeated = self.last_plan == plan.actions;
            self.last_plan.clone_from(&plan.actions);
            self.acted = Some(Instant::now());
            return Some(if repeated {
                Instant::now() + LATER
            } else {
                Instant::now()
            });
        }
        self.last_plan.clear();
        if let Some(quiet) = self.not_yet(snapshot) {
            return Some(quiet);
        }
        self.published = Some(Instant::now());
        let due = self.ahead.tend(snapshot, plan, now);
        let published = self.teller.publish(&mut pass, plan, &self.ahead.ends()).await;
        if let Err(error) = published {
            return Some(self.after(&error));
        }
        let recheck = until(plan.recheck_at, now);
        due.map(|due| recheck.map_or(due, |recheck| recheck.min(due)))
    }

    /// When to publish, if not now.
    fn not_yet(&self, snapshot: &Snapshot) -> Again {
        let now = Instant::now();
        let looked = self.began + FIRST_LOOK;
        if !snapshot.unlisted.is_empty() && looked > now {
            return Some(looked);
        }
        // A node is asked whether its pods can leave, or looked at after its reboot: that it waits for the answer is no
        // news if that comes soon.
        if let Some(answered) = self.preflights.soon(now).max(self.looks.soon(now)) {
            return Some(answered);
        }
        let quiet = self.acted.map(|acted| acted + QUIET).filter(|quiet| *quiet > now)?;
        let overdue = self.published.map_or(now, |published| published + OVERDUE);
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
        let next = error.next();
        match next {
            Next::Reobserve => tracing::info!("{}", chain(error)),
            Next::Later => tracing::warn!("{}; tried again in {} s", chain(error), LATER.as_secs()),
        }
        let pause = match (next, error) {
            (Next::Later, _) => LATER,
            (Next::Reobserve, Error::Stale { .. } | Error::NotEmpty { .. }) => SETTLE,
            (Next::Reobserve, _) => {
                self.refusals = self.refusals.saturating_add(1);
                patience(self.refusals)
            }
        };
        Instant::now() + pause
    }
}

/// How long to wait after so many refusals in a row.
fn patience(refusals: u32) -> Duration {
    let doubled = 1u32.checked_shl(refusals.saturating_sub(1)).unwrap_or(u32::MAX);
    REOBSERVE.saturating_mul(doubled).min(PATIENT)
}

/// An instant of the calendar as one of the timer.
fn until(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Again {
    let wait = (at? - now).to_std().unwrap_or_default();
    // A little later than the instant itself: a timer that fires early would look too soon and again at once.
    Some(Instant::now() + wait + Duration::from_millis(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_a_row_are_met_with_patience_that_has_an_end() {
        assert_eq!(patience(1), Duration::from_millis(200));
        assert_eq!(patience(3), Duration::from_millis(800));
        assert_eq!(patience(6), PATIENT);
        assert_eq!(patience(u32::MAX), PATIENT);
    }
}
