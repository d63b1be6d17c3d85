//! The actuator: publishes logind's answers, and executes one order, reboot, for exactly this boot.
//!
//! It holds no credential and talks to the bus only. It asks logind when it starts, when the agent asks, and again after
//! a while as long as the answer is no, so that it notices when the host recovers.

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
use crate::text::chain;
use crate::watch::{DirectoryWatch, Watched};

/// The first wait before asking again a logind that said no, and the longest.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(10));
/// How often to ask again when the bus went away under the request, and after how long.
const LOST: (u32, Duration) = (3, Duration::from_secs(5));

/// What an actuator needs to know.
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
        ask_again: None,
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
    ask_again: Option<Instant>,
    wait: Duration,
}

impl Actuator {
    async fn run(&mut self, mut watch: DirectoryWatch) -> anyhow::Result<()> {
        loop {
            // Watching goes before reading, so that nothing falls between.
            watch.arm();
            if let Err(error) = self.step().await {
                tracing::error!(error = %chain(&error), "asked again later");
                self.ask_later();
            }
            let again = self.ask_again;
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
        let due = self.ask_again.is_some_and(|at| at <= Instant::now());
        let published = self
            .published
            .as_ref()
            .is_some_and(|facts| facts.order_id == wanted.order_id);
        if due || !published {
            self.publish(wanted.order_id).await?;
        }
        if let Some(order) = self.read::<HostOrder>(ORDER) {
            self.obey(&order).await?;
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
            self.ask_again = None;
            self.wait = Duration::ZERO;
        } else {
            self.ask_later();
        }
        self.published = Some(facts);
        Ok(())
    }

    fn ask_later(&mut self) {
        let (first, longest) = ASK_AGAIN;
        self.wait = (self.wait * 2).clamp(first, longest);
        self.ask_again = Some(Instant::now() + self.wait);
    }

    async fn obey(&self, order: &HostOrder) -> anyhow::Result<()> {
        let answered: Option<HostAnswer> = self.read(ANSWER);
        if answered.is_some_and(|answer| answer.id == order.id && answer.boot_id == order.boot_id) {
            return Ok(());
        }
        let boot_id = boot_id(&self.config.boot_id)?;
        let refusal = match refusal(order, &boot_id) {
            Some(words) => Some(words),
            None => forbidden(&self.logind.probe().await),
        };
        let (state, message) = match refusal {
            Some(words) => (AnswerState::Refused, words),
            None => match self.reboot(order).await? {
                Some(said) => said,
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

    /// Asks logind; none if the order was withdrawn before that.
    async fn reboot(&self, order: &HostOrder) -> anyhow::Result<Option<(AnswerState, String)>> {
        let (tries, pause) = LOST;
        for attempt in 1.. {
            // The last look before the point of no return.
            let stands = self.read::<HostOrder>(ORDER).as_ref() == Some(order);
            if !stands || boot_id(&self.config.boot_id)? != order.boot_id {
                tracing::info!(order = order.id, "withdrawn in time");
                return Ok(None);
            }
            match order.action {
                HostAction::Reboot => tracing::warn!(order = order.id, boot = order.boot_id, "rebooting this host"),
            }
            match self.logind.reboot().await {
                Reply::Accepted(words) => return Ok(Some((AnswerState::Rebooting, words))),
                Reply::Refused(words) => return Ok(Some((AnswerState::Refused, words))),
                // The host may be going down. Asking twice reboots once: the boot id is looked at each time.
                Reply::Lost(words) if attempt < tries => {
                    tracing::warn!(order = order.id, words, "no reply");
                    sleep(pause).await;
                }
                Reply::Failed(words) | Reply::Lost(words) => return Ok(Some((AnswerState::Failed, words))),
            }
        }
        Ok(None)
    }

    /// A file that cannot be read is one that the agent did not write.
    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.channel.read(name).unwrap_or_else(|error| {
            tracing::warn!(%error, "ignored a file of the shared directory");
            None
        })
    }
}

/// Why this order is none of this boot's.
fn refusal(order: &HostOrder, boot_id: &str) -> Option<String> {
    (order.boot_id != boot_id).then(|| format!("the order is for boot {}, this is boot {boot_id}", order.boot_id))
}

/// Why logind is not even asked.
fn forbidden(probe: &Probe) -> Option<String> {
    if !probe.capable {
        return Some(probe.message.clone());
    }
    let inhibitor = probe.inhibitors.first()?;
    Some(format!("{} asks not to shut down: {}", inhibitor.who, inhibitor.why))
}
