//! The actuator's loop: it publishes logind's answers and what programs say about updates, and passes orders to [`execute`].
//! With a reboot command, that command takes logind's place, and no program is asked.
//!
//! It asks them when it starts, when the agent requests facts, and
//! when a signal of the bus or a new socket shows that the answers may have changed. Only what no signal shows, such as a
//! rule of polkit, is probed repeatedly, while the host cannot be rebooted.

mod execute;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use lockkeeper_channel::boot::{boot_id, uptime};
use lockkeeper_channel::text::{MESSAGE, fit};
use lockkeeper_channel::timer::sleep_until_or_forever;
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{Channel, FACTS, FACTS_WANTED, FactsWanted, HostFacts, HostUpdates, ORDER, UPDATES};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::logind::Probe;
use crate::logind_signals::LogindSignals;
use crate::pace::Pace;
use crate::reboot_command::RebootCommand;
use crate::rebooter::Rebooter;
use crate::updaters::Updaters;

/// How long changes are collected before the next probe: a package manager acquires and releases its lock many times, and a
/// new bus is not complete when its socket appears.
const COLLECT: Duration = Duration::from_secs(1);
/// The index of the shared directory among those watched; the other one has the socket of the bus.
const SHARED: usize = 0;

/// The settings of an actuator.
#[derive(Clone, Debug)]
pub struct ActuatorConfig {
    /// The directory shared with the agent.
    pub channel: PathBuf,
    /// The socket of the system bus.
    pub bus: PathBuf,
    /// The command that reboots the host; `None` for logind.
    pub reboot_command: Option<RebootCommand>,
    /// The kernel's id of the present boot.
    pub boot_id: PathBuf,
    /// For how long the host has been up.
    pub uptime: PathBuf,
    /// For how long after a boot a reboot is refused; longer on a host whose `update_engine` takes longer to confirm the boot.
    pub min_uptime: Duration,
    /// The first delay before the next probe while the host cannot be rebooted, and the longest.
    pub probe_backoff: (Duration, Duration),
    /// How long the programs that update the host may take to answer: the facts wait for them.
    pub updates_within: Duration,
    /// How many times to request the reboot if no reply arrives, and the delay in between.
    pub lost_reply_retries: (u32, Duration),
    /// How many requests of the agent are served at once, and how often one more. A connection to the bus serves each.
    pub pace: (u32, Duration),
}

impl ActuatorConfig {
    /// The usual settings.
    pub fn new(channel: PathBuf, bus: PathBuf, boot_id: PathBuf) -> Self {
        Self {
            channel,
            bus,
            reboot_command: None,
            boot_id,
            uptime: "/proc/uptime".into(),
            min_uptime: Duration::from_mins(10),
            probe_backoff: (Duration::from_secs(5), Duration::from_mins(10)),
            updates_within: Duration::from_secs(5),
            lost_reply_retries: (3, Duration::from_secs(5)),
            pace: (10, Duration::from_secs(2)),
        }
    }
}

/// Runs until shutdown.
pub async fn run_actuator(config: ActuatorConfig, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.channel.is_dir(),
        "{} is no directory: mount the directory shared with the agent there (--channel-dir)",
        config.channel.display()
    );
    let rebooter = Rebooter::new(config.reboot_command.clone(), &config.bus);
    let mut watched = vec![Watched::new(&config.channel, &[FACTS_WANTED, ORDER])];
    if rebooter.sends_signals() {
        watched.push(watched_socket(&config.bus));
    }
    let watch = DirectoryWatch::new(watched).context("start file notification")?;
    let channel = Channel::new(&config.channel);
    let updates = readable::<HostUpdates>(&channel, UPDATES);
    let present = boot_id(&config.boot_id)?;
    let updates = updates.filter(|updates| updates.boot_id == present);
    let mut actuator = Actuator {
        channel,
        rebooter,
        updaters: Updaters::new(&config.bus, config.updates_within, updates.clone()),
        signals: None,
        pace: Pace::new(config.pace, Instant::now()),
        config,
        published: None,
        updates,
        probe_at: None,
        wait: Duration::ZERO,
    };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        result = actuator.run(watch) => result,
    }
}

/// The socket within its directory: a bus that is started or restarted makes it anew.
fn watched_socket(socket: &Path) -> Watched {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let name = socket.file_name().unwrap_or_default().to_string_lossy();
    Watched::new(directory, &[&name])
}

struct Actuator {
    config: ActuatorConfig,
    channel: Channel,
    rebooter: Rebooter,
    /// The subscription to changes; `None` while the bus cannot be used.
    signals: Option<LogindSignals>,
    published: Option<HostFacts>,
    updaters: Updaters,
    /// What is published about them.
    updates: Option<HostUpdates>,
    pace: Pace,
    probe_at: Option<Instant>,
    wait: Duration,
}

impl Actuator {
    async fn run(&mut self, mut watch: DirectoryWatch) -> anyhow::Result<()> {
        loop {
            // Watch before reading, so that no change is missed.
            watch.arm();
            if let Err(error) = self.step().await {
                tracing::error!(
                    error = fit(&format!("{error:#}"), MESSAGE),
                    "the step failed; it is repeated later"
                );
                self.probe_later();
            }
            let probe_at = self.probe_at;
            tokio::select! {
                changed = watch.changed() => {
                    if changed.context("watch the shared directory and the bus")? != Some(SHARED) {
                        self.reconnect();
                    }
                }
                connected = next_signal(&mut self.signals) => self.signalled(connected),
                connected = self.updaters.changed() => self.signalled(connected),
                () = sleep_until_or_forever(probe_at) => {}
            }
        }
    }

    /// A signal came, or the connection for signals has ended.
    fn signalled(&mut self, connected: bool) {
        if connected {
            self.probe_soon();
        } else {
            self.reconnect();
        }
    }

    /// The bus has ended, or another one may be there.
    fn reconnect(&mut self) {
        self.signals = None;
        self.updaters.disconnect();
        self.wait = Duration::ZERO;
        self.probe_soon();
    }

    fn probe_soon(&mut self) {
        let soon = Instant::now() + COLLECT;
        self.probe_at = Some(self.probe_at.map_or(soon, |at| at.min(soon)));
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
        let order = self.unanswered_order();
        if !due && published && order.is_none() {
            return Ok(());
        }
        // The agent may write its files in a loop.
        if let Err(served_at) = self.pace.take(Instant::now()) {
            self.probe_at = Some(served_at);
            return Ok(());
        }
        if due || !published {
            self.publish(wanted.order_id).await?;
        }
        match order {
            Some((order, requested)) => self.execute_order(&order, requested).await,
            None => Ok(()),
        }
    }

    /// Probes logind and publishes the result.
    async fn publish(&mut self, order_id: String) -> anyhow::Result<()> {
        if self.signals.is_none() {
            // Subscribe before the probe, so that no change is missed.
            self.signals = self.rebooter.subscribe().await;
        }
        let probe = self.rebooter.probe().await;
        // Before the facts: whoever reads them finds this, too. A host with a reboot command need not have a bus.
        if self.rebooter.sends_signals() {
            self.publish_updates().await?;
        }
        self.publish_probe(probe, order_id)
    }

    /// Asks the programs that update the host, and publishes what they say if that has changed.
    async fn publish_updates(&mut self) -> anyhow::Result<()> {
        let answers = self.updaters.ask(uptime(&self.config.uptime)?).await;
        let updates = HostUpdates {
            boot_id: boot_id(&self.config.boot_id)?,
            updaters: answers.to_vec(),
        };
        if self.updates.as_ref() == Some(&updates) {
            return Ok(());
        }
        self.channel.write(UPDATES, &updates).context("publish the updates")?;
        for updater in &updates.updaters {
            tracing::info!(name = updater.name, state = ?updater.state, message = updater.message, "updates");
        }
        self.updates = Some(updates);
        Ok(())
    }

    /// From which uptime on the host is rebooted.
    fn min_uptime(&self) -> Duration {
        self.config.min_uptime.max(self.updaters.confirmed_at())
    }

    fn publish_probe(&mut self, probe: Probe, order_id: String) -> anyhow::Result<()> {
        let facts = HostFacts {
            boot_id: boot_id(&self.config.boot_id)?,
            order_id,
            reboot_capable: probe.capable,
            message: probe.message,
            inhibitors: probe.inhibitors,
            soft_reboots: probe.soft_reboots,
            min_uptime_seconds: self.min_uptime().as_secs(),
        };
        self.channel.write(FACTS, &facts).context("publish the facts")?;
        if self.published.as_ref() != Some(&facts) {
            tracing::info!(
                capable = facts.reboot_capable,
                message = facts.message,
                inhibitors = facts.inhibitors.len(),
                order = facts.order_id,
                "facts"
            );
        }
        let works = facts.reboot_capable && !self.updaters.is_failing();
        let changes_are_noticed = self.signals.is_some() || !self.rebooter.sends_signals();
        match (changes_are_noticed, works, facts.inhibitors.is_empty()) {
            (true, true, true) => {
                self.probe_at = None;
                self.wait = Duration::ZERO;
            }
            // A signal shows the end of the inhibitor; the probe is for one that is lost.
            (true, true, false) => self.probe_at = Some(Instant::now() + self.config.probe_backoff.1),
            (true, false, _) | (false, ..) => self.probe_later(),
        }
        self.published = Some(facts);
        Ok(())
    }

    fn probe_later(&mut self) {
        let (first, longest) = self.config.probe_backoff;
        self.wait = (self.wait * 2).clamp(first, longest);
        self.probe_at = Some(Instant::now() + self.wait);
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        readable(&self.channel, name)
    }
}

/// Reads a file; one that cannot be decoded is ignored.
fn readable<T: DeserializeOwned>(channel: &Channel, name: &str) -> Option<T> {
    channel.read(name).unwrap_or_else(|error| {
        tracing::warn!(%error, "ignored a file of the shared directory");
        None
    })
}

/// Whether the bus still sends signals, after the next one; never while there is no subscription.
async fn next_signal(signals: &mut Option<LogindSignals>) -> bool {
    match signals {
        Some(signals) => signals.changed().await,
        None => std::future::pending().await,
    }
}
