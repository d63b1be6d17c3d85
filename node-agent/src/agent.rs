//! The agent's loop: its own `NodeReboot`, its host, a decision, a report.
//!
//! Nothing is kept in memory that matters: orders and answers are read back from the API server and the shared
//! directory, so the agent may be killed at any point. There is no timer but those that a question or an error started.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use lockkeeper_crds::{HostReport, OrderAnswer, OrderState};
use tokio::time::{Instant, sleep_until};

use crate::decide::{Inputs, decide};
use crate::host::{Host, HostView};
use crate::report::{OwnNodeReboot, ReportError, Reporter, host_report};
use crate::text::chain;
use lockkeeper_kube_util::WatchBackoff;

/// The first wait after a report that failed, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));

/// What an agent needs to know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Its Node, and the name of its `NodeReboot`.
    pub node_name: String,
    /// How long the actuator may take to publish facts; well below the policy's `requireAgentSeconds`.
    pub facts_within: Duration,
}

impl AgentConfig {
    /// The usual settings for a node.
    pub fn new(node_name: &str) -> Self {
        Self {
            node_name: node_name.to_owned(),
            facts_within: Duration::from_secs(10),
        }
    }
}

/// Runs until shutdown, or until the host itself can no longer be seen.
pub async fn run_agent(
    config: AgentConfig,
    client: Client,
    host: impl Host,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let api: Api<OwnNodeReboot> = Api::all(client.clone());
    let own = watcher::Config::default().fields(&format!("metadata.name={}", config.node_name));
    let events = watcher(api, own).backoff(WatchBackoff::for_agent());
    let mut agent = Agent {
        reporter: Reporter::new(client, &config.node_name),
        first_report_by: Instant::now() + config.facts_within,
        config,
        host,
        own: Own::default(),
        asked: None,
        retry: Retry::default(),
        confinement_checked: false,
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
    /// The order that facts were asked for, and when they are overdue.
    asked: Option<(String, Instant)>,
    /// Until then the actuator may still be starting, and a report would cry wolf.
    first_report_by: Instant,
    retry: Retry,
    confinement_checked: bool,
}

impl<H: Host> Agent<H> {
    async fn run(&mut self, events: impl Stream<Item = watcher::Result<Event<OwnNodeReboot>>>) -> anyhow::Result<()> {
        let mut events = pin!(events);
        loop {
            let alarm = self.alarm();
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        if self.own.see(event) {
                            // The API server answers: no reason to wait any longer.
                            self.retry.at = None;
                        }
                    }
                    // The watcher starts again by itself, with a growing wait.
                    Some(Err(error)) => tracing::warn!(error = %chain(&error.into()), "watch of the own NodeReboot"),
                    None => anyhow::bail!("the watch of NodeReboot {} ended", self.config.node_name),
                },
                changed = self.host.changed() => changed?,
                () = until(alarm) => {}
            }
            self.step().await?;
        }
    }

    /// When to look again although nothing happened.
    fn alarm(&self) -> Option<Instant> {
        let now = Instant::now();
        let asked = self.asked.as_ref().map(|(_, overdue)| *overdue);
        [asked, Some(self.first_report_by), self.retry.at]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        if !self.own.known {
            return Ok(());
        }
        let view = self.host.observe().await?;
        let Some(own) = self.own.object.clone() else {
            // Without its object there is no order. The operator makes the object; the watch tells.
            return self.host.set_order(None).await;
        };
        let answer = self.obey(&own, &view).await;
        let report = host_report(&view, answer, env!("CARGO_PKG_VERSION"));
        if own.status.host.as_ref() != Some(&report) && self.may_report(&view) {
            self.report(&report).await;
        }
        Ok(())
    }

    /// Does what the order asks and says what became of it.
    async fn obey(&mut self, own: &OwnNodeReboot, view: &HostView) -> Option<OrderAnswer> {
        let reported = own.status.host.as_ref();
        let order = own.spec.order.as_ref();
        let decision = decide(&Inputs {
            boot_id: &view.boot_id,
            order,
            reported: reported.and_then(|host| host.order.as_ref()),
            reported_boot_id: reported.map_or("", |host| &host.boot_id),
            facts: view.facts.as_ref(),
            answer: view.answer.as_ref(),
            facts_overdue: self.facts_overdue(order.map(|order| order.id.as_str())),
        });
        let mut done = self.host.set_order(decision.host_order.as_ref()).await;
        match &decision.ask_facts {
            Some(id) if self.asked.as_ref().is_none_or(|(asked, _)| asked != id) => {
                self.asked = Some((id.clone(), Instant::now() + self.config.facts_within));
                done = done.and(self.host.ask_facts(id).await);
            }
            Some(_) => {}
            None => self.asked = None,
        }
        match (done, order) {
            (Ok(()), _) => decision.answer,
            (Err(error), Some(order)) => {
                tracing::error!(error = %chain(&error), "order not passed on");
                Some(OrderAnswer {
                    id: order.id.clone(),
                    state: OrderState::Refused,
                    message: chain(&error),
                })
            }
            (Err(error), None) => {
                tracing::error!(error = %chain(&error), "order not withdrawn");
                reported.and_then(|host| host.order.clone())
            }
        }
    }

    fn facts_overdue(&self, order_id: Option<&str>) -> bool {
        self.asked
            .as_ref()
            .is_some_and(|(asked, overdue)| Some(asked.as_str()) == order_id && *overdue <= Instant::now())
    }

    fn may_report(&self, view: &HostView) -> bool {
        let now = Instant::now();
        let facts_known = view.facts.as_ref().is_some_and(|facts| facts.boot_id == view.boot_id);
        (facts_known || now >= self.first_report_by) && self.retry.at.is_none_or(|at| at <= now)
    }

    async fn report(&mut self, report: &HostReport) {
        match self.reporter.report(report).await {
            Ok(own) => {
                log(report);
                self.own.object = Some(own);
                self.retry = Retry::default();
                self.check_confinement(report).await;
            }
            Err(ReportError::Missing(_)) => self.own.object = None,
            Err(error @ (ReportError::Refused(..) | ReportError::Failed(..) | ReportError::NoAnswer(_))) => {
                let wait = self.retry.later();
                tracing::warn!(error = %chain(&error.into()), again_in_ms = wait.as_millis(), "not reported");
            }
        }
    }

    /// Without the admission policy, RBAC alone lets a stolen agent speak for every node: say so, once.
    async fn check_confinement(&mut self, report: &HostReport) {
        if self.confinement_checked {
            return;
        }
        let confined = self.reporter.is_confined(report).await;
        self.confinement_checked = confined.is_ok();
        match confined {
            Ok(true) => tracing::debug!("the admission policy confines this agent"),
            Ok(false) => tracing::warn!(
                "nothing confines this agent to its own node: apply the ValidatingAdmissionPolicy lockkeeper-agent"
            ),
            Err(error) => tracing::debug!(error = %chain(&error.into()), "confinement not checked"),
        }
    }
}

fn log(report: &HostReport) {
    let order = report.order.as_ref();
    tracing::info!(
        boot = report.boot_id,
        required = report.reboot_required.required,
        capable = report.reboot_capable,
        message = report.reboot_capable_message,
        order = order.map(|order| order.id.as_str()),
        answer = order.map(|order| format!("{:?}", order.state)),
        answer_message = order.map(|order| order.message.as_str()),
        "reported"
    );
}

/// Our object, as far as it is known.
#[derive(Default)]
struct Own {
    /// Whether the watch has shown what there is.
    known: bool,
    object: Option<OwnNodeReboot>,
    listed: Option<OwnNodeReboot>,
}

impl Own {
    /// Takes an event in; false while a list is incomplete.
    fn see(&mut self, event: Event<OwnNodeReboot>) -> bool {
        match event {
            Event::Init => {
                self.listed = None;
                return false;
            }
            Event::InitApply(object) => {
                self.listed = Some(object);
                return false;
            }
            Event::InitDone => {
                self.object = self.listed.take();
                self.known = true;
            }
            Event::Apply(object) => {
                if !self.object.as_ref().is_some_and(|held| newer(held, &object)) {
                    self.object = Some(object);
                }
            }
            Event::Delete(_) => self.object = None,
        }
        true
    }
}

/// Whether what we hold, from the reply to a write of ours, is newer than what the watch shows.
fn newer(held: &OwnNodeReboot, seen: &OwnNodeReboot) -> bool {
    let version = |own: &OwnNodeReboot| own.metadata.resource_version.as_ref()?.parse::<u128>().ok();
    held.metadata.uid == seen.metadata.uid
        && matches!((version(held), version(seen)), (Some(held), Some(seen)) if held > seen)
}

/// When to try a failed report again.
#[derive(Default)]
struct Retry {
    at: Option<Instant>,
    wait: Duration,
}

impl Retry {
    /// Waits twice as long as the last time, give or take a half, so that a thousand agents do not return at once.
    fn later(&mut self) -> Duration {
        let (first, longest) = RETRY;
        self.wait = (self.wait * 2).clamp(first, longest);
        let random = RandomState::new().build_hasher().finish() % 1000;
        let wait = self.wait.mul_f64(0.5 + random as f64 / 1000.0);
        self.at = Some(Instant::now() + wait);
        wait
    }
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
