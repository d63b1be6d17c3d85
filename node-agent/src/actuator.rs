//! The actuator: publishes logind's answers, and executes one order, reboot, for exactly this boot.
//!
//! It holds no credential and talks to the bus only. It probes logind when it starts, when the agent requests facts,
//! and repeatedly while the host cannot be rebooted, so that it notices when the host recovers.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep, sleep_until};

use crate::channel::{
    ANSWER, AnswerState, Channel, FACTS, FACTS_WANTED, FactsWanted, HostAction, HostAnswer, HostFacts, HostOrder, ORDER,
};
use crate::facts::boot_id;
use crate::logind::{Logind, Probe, Reply};
use crate::text::describe;
use crate::watch::{DirectoryWatch, Watched};

/// The first delay before the next probe while the host cannot be rebooted, and the longest.
const PROBE_BACKOFF: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(10));
/// How many times to send the reboot request if no reply arrives, and the delay in between.
const LOST_REPLY_RETRIES: (u32, Duration) = (3, Duration::from_secs(5));

/// The settings of an actuator.
#[derive(Clone, Debug)]
pub struct ActuatorConfig {
    /// The directory shared with the agent.
    pub channel: PathBuf,
    /// The system bus.
    pub bus: PathBuf,
    /// The kernel's id of the present boot.
    pub boot_id: PathBuf,
}

/// Runs until shutdown.
pub async fn run_actuator(config: ActuatorConfig, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.channel.is_dir(),
        "{} is no directory: mount the directory shared with the agent there (--channel-dir)",
        config.channel.display()
    );
    let watch = DirectoryWatch::new(vec![Watched {
        directory: config.channel.clone(),
        names: &[FACTS_WANTED, ORDER],
    }])
    .context("start file notification")?;
    let mut actuator = Actuator {
        channel: Channel::new(&config.channel),
        logind: Logind::new(&config.bus),
        config,
        published: None,
        probe_at: None,
        wait: Duration::ZERO,
    };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        result = actuator.run(watch) => result,
    }
}

struct Actuator {
    config: ActuatorConfig,
    channel: Channel,
    logind: Logind,
    published: Option<HostFacts>,
    probe_at: Option<Instant>,
    wait: Duration,
}

impl Actuator {
    async fn run(&mut self, mut watch: DirectoryWatch) -> anyhow::Result<()> {
        loop {
            // Watch before reading, so that no change is missed.
            watch.arm();
            if let Err(error) = self.step().await {
                tracing::error!(error = %describe(&error), "the step failed; it is repeated later");
                self.probe_later();
            }
            let again = self.probe_at;
            tokio::select! {
                changed = watch.changed() => {
                    changed.context("watch the shared directory")?;
                }
                () = async { match again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }} => {}
            }
        }
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        let wanted: FactsWanted = self.read(FACTS_WANTED).unwrap_or_else(|| FactsWanted {
            order_id: String::new(),
        });
        let due = self.probe_at.is_some_and(|at| at <= Instant::now());
        let published = self
            .published
            .as_ref()
            .is_some_and(|facts| facts.order_id == wanted.order_id);
        if due || !published {
            self.publish(wanted.order_id).await?;
        }
        if let Some(order) = self.read::<HostOrder>(ORDER) {
            self.execute_order(&order).await?;
        }
        Ok(())
    }

    async fn publish(&mut self, order_id: String) -> anyhow::Result<()> {
        let probe = self.logind.probe().await;
        let facts = HostFacts {
            boot_id: boot_id(&self.config.boot_id)?,
            order_id,
            reboot_capable: probe.capable,
            message: probe.message,
            inhibitors: probe.inhibitors,
        };
        self.channel.write(FACTS, &facts).context("publish the facts")?;
        tracing::info!(
            capable = facts.reboot_capable,
            message = facts.message,
            inhibitors = facts.inhibitors.len(),
            order = facts.order_id,
            "facts"
        );
        if facts.reboot_capable && facts.inhibitors.is_empty() {
            self.probe_at = None;
            self.wait = Duration::ZERO;
        } else {
            self.probe_later();
        }
        self.published = Some(facts);
        Ok(())
    }

    fn probe_later(&mut self) {
        let (first, longest) = PROBE_BACKOFF;
        self.wait = (self.wait * 2).clamp(first, longest);
        self.probe_at = Some(Instant::now() + self.wait);
    }

    async fn execute_order(&self, order: &HostOrder) -> anyhow::Result<()> {
        let answered: Option<HostAnswer> = self.read(ANSWER);
        if answered.is_some_and(|answer| answer.id == order.id && answer.boot_id == order.boot_id) {
            return Ok(());
        }
        let boot_id = boot_id(&self.config.boot_id)?;
        let refusal = match check_boot(order, &boot_id) {
            Some(message) => Some(message),
            None => check_host(&self.logind.probe().await),
        };
        let (state, message) = match refusal {
            Some(message) => (AnswerState::Refused, message),
            None => match self.reboot(order).await? {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        tracing::info!(order = order.id, answer = ?state, message, "order answered");
        let answer = HostAnswer {
            id: order.id.clone(),
            boot_id: order.boot_id.clone(),
            state,
            message,
        };
        self.channel.write(ANSWER, &answer).context("answer the order")
    }

    /// Requests the reboot; `None` if the order was withdrawn before that.
    async fn reboot(&self, order: &HostOrder) -> anyhow::Result<Option<(AnswerState, String)>> {
        let (tries, pause) = LOST_REPLY_RETRIES;
        for attempt in 1.. {
            // The last check before the point of no return.
            let still_ordered = self.read::<HostOrder>(ORDER).as_ref() == Some(order);
            if !still_ordered || boot_id(&self.config.boot_id)? != order.boot_id {
                tracing::info!(order = order.id, "the order was withdrawn before the reboot");
                return Ok(None);
            }
            match order.action {
                HostAction::Reboot => tracing::warn!(order = order.id, boot = order.boot_id, "rebooting this host"),
            }
            match self.logind.reboot().await {
                Reply::Accepted(message) => return Ok(Some((AnswerState::Rebooting, message))),
                Reply::Refused(message) => return Ok(Some((AnswerState::Refused, message))),
                // The host may be going down. A second request causes no second reboot: the boot id is checked each
                // time.
                Reply::Lost(message) if attempt < tries => {
                    tracing::warn!(
                        order = order.id,
                        message,
                        "logind did not reply to the reboot request; it is repeated"
                    );
                    sleep(pause).await;
                }
                Reply::Failed(message) | Reply::Lost(message) => return Ok(Some((AnswerState::Failed, message))),
            }
        }
        Ok(None)
    }

    /// Reads a file; one that cannot be decoded is ignored.
    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.channel.read(name).unwrap_or_else(|error| {
            tracing::warn!(%error, "ignored a file of the shared directory");
            None
        })
    }
}

/// Why the order does not apply to this boot, if it does not.
fn check_boot(order: &HostOrder, boot_id: &str) -> Option<String> {
    (order.boot_id != boot_id).then(|| format!("the order is for boot {}, this is boot {boot_id}", order.boot_id))
}

/// Why the reboot is not requested from logind, if it is not.
fn check_host(probe: &Probe) -> Option<String> {
    if !probe.capable {
        return Some(probe.message.clone());
    }
    let inhibitor = probe.inhibitors.first()?;
    Some(format!("shutdown inhibited by {}: {}", inhibitor.who, inhibitor.why))
}
