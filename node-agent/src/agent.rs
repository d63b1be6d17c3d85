//! The agent's loop: it watches its own `NodeReboot` and its host, decides, and reports.
//!
//! The agent keeps no state: orders, answers and since when a reboot is required are read from the API server and the
//! shared directory, so the agent may be killed at any point. Only a request for facts or an error starts a timer.

mod own;
mod retry;
mod self_test;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use lockkeeper_crds::{HostReport, Order, OrderAction, OrderAnswer, OrderState};
use tokio::time::Instant;

use crate::decide::{Decision, Inputs, decide};
use crate::host::{Host, HostView};
use crate::report::{OwnNodeReboot, ReportError, Reporter, host_report};
use crate::since::first_seen;
use crate::text::describe;
use lockkeeper_channel::HostOrder;
use lockkeeper_channel::timer::sleep_until_or_forever;
use lockkeeper_kube_util::{Clock, WatchBackoff, relisting_watcher};
use own::Own;
use retry::Retry;
use self_test::SelfTest;

/// The first delay after a failed report, and the longest.
const REPORT_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));
/// How many failures in a row a test of the confinement may have before a report says that it gave no verdict.
const TESTS_BEFORE_REPORT: u32 = 3;
/// The same for the read before a reboot: an order expires soon.
const READ_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// An order is valid in the second in which it expires.
const EXPIRY_DELAY: Duration = Duration::from_secs(1);

/// The settings of an agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The name of its node and of its `NodeReboot`.
    pub node_name: String,
    /// How long the actuator may take to publish facts; well below the policy's `requireAgentSeconds`.
    pub facts_within: Duration,
    /// What tells since when a reboot is required.
    pub clock: Clock,
}

impl AgentConfig {
    /// The usual settings for a node.
    pub fn new(node_name: &str) -> Self {
        Self {
            node_name: node_name.to_owned(),
            facts_within: Duration::from_secs(10),
            clock: Clock::machine(),
        }
    }
}

/// Runs until shutdown, or until the host can no longer be observed.
pub async fn run_agent(
    config: AgentConfig,
    client: Client,
    host: impl Host,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let api: Api<OwnNodeReboot> = Api::all(client.clone());
    let own = watcher::Config::default().fields(&format!("metadata.name={}", config.node_name));
    let events = relisting_watcher(api, own).backoff(WatchBackoff::for_agent(&config.node_name));
    let mut agent = Agent {
        reporter: Reporter::new(client, &config.node_name),
        first_report_by: Instant::now() + config.facts_within,
        host,
        own: Own::default(),
        facts_request: None,
        retry: Retry::new(REPORT_BACKOFF, &config.node_name),
        read_retry: Retry::new(READ_BACKOFF, &config.node_name),
        not_passed_on: None,
        read_for: None,
        order_expires: None,
        reboots_from: None,
        self_test: SelfTest::new(&config.node_name),
        config,
    };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        result = agent.run(events) => result,
    }
}

struct Agent<H> {
    config: AgentConfig,
    host: H,
    reporter: Reporter,
    own: Own,
    /// The order for which facts were requested, and when they are overdue.
    facts_request: Option<(String, Instant)>,
    /// Until then the actuator may still be starting, and a report without its facts would be misleading.
    first_report_by: Instant,
    retry: Retry,
    /// The refusal of an order that could not be passed on. It stays: it may be reported already.
    not_passed_on: Option<OrderAnswer>,
    /// The order for which the own object was read right before the order was passed on.
    read_for: Option<String>,
    read_retry: Retry,
    /// When the order has expired.
    order_expires: Option<Instant>,
    /// When the actuator reboots this host again, which has just booted.
    reboots_from: Option<Instant>,
    self_test: SelfTest,
}

impl<H: Host> Agent<H> {
    async fn run(&mut self, events: impl Stream<Item = watcher::Result<Event<OwnNodeReboot>>>) -> anyhow::Result<()> {
        let mut events = pin!(events);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                // In this order, so that the same events make the same run. None of them can keep the others waiting.
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        if matches!(event, Event::InitDone) {
                            // What failed was of an API server that was away.
                            self.retry.reset();
                        }
                        if self.own.apply(event) {
                            // The API server answers again: retry the report at once.
                            self.retry.at = None;
                        }
                    }
                    // The watcher restarts by itself, with backoff.
                    Some(Err(error)) => tracing::warn!(error = %describe(&error.into()), "the watch is failing"),
                    None => anyhow::bail!("the watch of NodeReboot {} ended", self.config.node_name),
                },
                changed = self.host.changed() => changed?,
                () = sleep_until_or_forever(wake) => {}
            }
            self.step().await?;
        }
    }

    /// When the next step is due without an event.
    fn next_wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let facts_overdue_at = self.facts_request.as_ref().map(|(_, overdue)| *overdue);
        [
            facts_overdue_at,
            Some(self.first_report_by),
            self.retry.at,
            self.read_retry.at,
            self.order_expires,
            self.reboots_from,
            self.self_test.retry.at,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        if !self.own.known {
            return Ok(());
        }
        let Some(own) = self.own.object.clone() else {
            // Without the object there is no order. The operator creates it, and the watch shows it.
            return self.host.withdraw_order().await.map(drop);
        };
        let mut view = self.host.observe().await?;
        let answer = self.handle_order(&own, &mut view).await?;
        // A read before a reboot may have shown another one.
        let own = self.own.object.clone().unwrap_or(own);
        view.reboot_required.since = first_seen(&view, own.status.host.as_ref(), self.config.clock.now());
        self.order_expires = own.spec.order.as_ref().and_then(|order| self.expiry(order));
        let refused_for = view.reboot_refused_for();
        self.reboots_from = refused_for.map(|refused| Instant::now() + refused);
        if !self.may_report(&view) {
            return Ok(());
        }
        self.self_test.adopt(own.status.host.as_ref(), &view.boot_id);
        let mut report = self.host_report(&view, answer.clone());
        let prepare = own
            .spec
            .order
            .as_ref()
            .filter(|order| order.action == OrderAction::Prepare);
        let prepare = prepare.map(|order| order.id.as_str());
        if self.self_test.is_due(prepare) {
            let result = self.reporter.is_confined(&report).await;
            if matches!(result, Err(ReportError::Missing(_))) {
                self.own.object = None;
                return Ok(());
            }
            self.self_test.record(prepare, result);
            if self.self_test.is_unsettled() && self.retry.failures() < TESTS_BEFORE_REPORT {
                self.retry.back_off();
                return Ok(());
            }
            report = self.host_report(&view, answer);
        }
        if own.status.host.as_ref() != Some(&report) {
            self.report(&report).await;
        }
        Ok(())
    }

    fn host_report(&self, view: &HostView, answer: Option<OrderAnswer>) -> HostReport {
        host_report(view, answer, &self.self_test.confinement, env!("CARGO_PKG_VERSION"))
    }

    /// Executes the order and returns the answer to it.
    async fn handle_order(&mut self, own: &OwnNodeReboot, view: &mut HostView) -> anyhow::Result<Option<OrderAnswer>> {
        let mut decision = self.decide(own, view);
        if decision.host_order.is_none() {
            match self.host.withdraw_order().await {
                Ok(false) => {}
                Ok(true) => {
                    // The actuator answers `Requested` before it reads the order for the last time. Read after the
                    // withdrawal, the answer tells whether a request may have left.
                    *view = self.host.observe().await?;
                    decision = self.decide(own, view);
                }
                Err(error) => {
                    tracing::error!(error = %describe(&error), "cannot withdraw the order from the actuator");
                    return Ok(own.status.host.as_ref().and_then(|host| host.order.clone()));
                }
            }
        }
        let unread = |order: &HostOrder| self.read_for.as_ref() != Some(&order.id);
        if decision.host_order.as_ref().is_some_and(unread) {
            match self.read_before_reboot().await {
                Some(fresh) => decision = self.decide(&fresh, view),
                None => return Ok(own.status.host.as_ref().and_then(|host| host.order.clone())),
            }
        }
        if let Err(error) = self.pass_on(&decision).await {
            tracing::error!(error = %describe(&error), "cannot pass the order to the actuator");
            self.not_passed_on = own.spec.order.as_ref().map(|order| OrderAnswer {
                id: order.id.clone(),
                state: OrderState::Refused,
                message: describe(&error),
            });
            return Ok(self.not_passed_on.clone());
        }
        Ok(decision.answer)
    }

    /// Reads the own object right before a reboot order is passed on: what the watch delivered may be old, after a suspend or
    /// from a buffered socket. `None` if it cannot be read now.
    async fn read_before_reboot(&mut self) -> Option<OwnNodeReboot> {
        if !self.read_retry.is_due() {
            return None;
        }
        match self.reporter.read().await {
            Ok(fresh) => {
                self.read_retry.reset();
                self.own.object = Some(fresh.clone());
                Some(fresh)
            }
            Err(error) => {
                let wait = self.read_retry.back_off();
                tracing::warn!(error = %describe(&error.into()), again_in_ms = wait.as_millis(), "the read before the reboot failed");
                None
            }
        }
    }

    /// The instant at which an order has expired, if it has not yet: an actuator that does not execute it cannot do so later.
    fn expiry(&self, order: &Order) -> Option<Instant> {
        let (not_after, clock) = (order.not_after_time?, self.config.clock);
        (clock.now() <= not_after).then(|| Instant::now() + clock.until(not_after) + EXPIRY_DELAY)
    }

    fn decide(&self, own: &OwnNodeReboot, view: &HostView) -> Decision {
        let reported = own.status.host.as_ref();
        let order = own.spec.order.as_ref();
        let order_id = order.map(|order| order.id.as_str());
        let not_passed_on = self.not_passed_on.as_ref();
        if let Some(refused) = not_passed_on.filter(|refused| Some(refused.id.as_str()) == order_id) {
            return Decision::keep(Some(refused.clone()));
        }
        decide(&Inputs {
            boot_id: &view.boot_id,
            order,
            operation: own.status.operation.as_ref(),
            reported: reported.and_then(|host| host.order.as_ref()),
            reported_boot_id: reported.map_or("", |host| &host.boot_id),
            facts: view.facts.as_ref(),
            answer: view.answer.as_ref(),
            facts_overdue: self.facts_overdue(order_id),
            reboot_refused_for: view.reboot_refused_for(),
            now: self.config.clock.now(),
        })
    }

    /// Passes on to the actuator what the decision asks of it.
    async fn pass_on(&mut self, decision: &Decision) -> anyhow::Result<()> {
        if let Some(order) = &decision.host_order {
            self.host.set_order(order).await?;
            self.read_for = Some(order.id.clone());
        }
        match &decision.request_facts {
            Some(id) if self.facts_request.as_ref().is_none_or(|(asked, _)| asked != id) => {
                self.facts_request = Some((id.clone(), Instant::now() + self.config.facts_within));
                self.host.request_facts(id).await?;
            }
            Some(_) => {}
            None => self.facts_request = None,
        }
        Ok(())
    }

    fn facts_overdue(&self, order_id: Option<&str>) -> bool {
        self.facts_request
            .as_ref()
            .is_some_and(|(asked, overdue)| Some(asked.as_str()) == order_id && *overdue <= Instant::now())
    }

    fn may_report(&self, view: &HostView) -> bool {
        let now = Instant::now();
        let facts_known = view.present_facts().is_some();
        (facts_known || now >= self.first_report_by) && self.retry.is_due()
    }

    async fn report(&mut self, report: &HostReport) {
        match self.reporter.report(report).await {
            Ok(own) => {
                log_report(report);
                self.own.object = Some(own);
                self.retry.reset();
                self.self_test.reported();
            }
            Err(ReportError::Missing(_)) => self.own.object = None,
            Err(error) => {
                let wait = self.retry.back_off();
                tracing::warn!(error = %describe(&error.into()), again_in_ms = wait.as_millis(), "the report failed");
            }
        }
    }
}

fn log_report(report: &HostReport) {
    let order = report.order.as_ref();
    tracing::info!(
        boot = report.boot_id,
        required = report.reboot_required.required,
        capable = report.reboot_capable,
        message = report.reboot_capable_message,
        order = order.map(|order| order.id.as_str()),
        answer = order.map(|order| format!("{:?}", order.state)),
        answer_message = order.map(|order| order.message.as_str()),
        "reported the host"
    );
}
