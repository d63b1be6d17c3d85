//! A bus, a stand-in for logind, a shared directory and a boot.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper_actuator::reboot_command::RebootCommand;
use lockkeeper_actuator::{ActuatorConfig, run_actuator};
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{
    ANSWER, AnswerState, Channel, FACTS, FACTS_WANTED, FactsWanted, HostAction, HostAnswer, HostFacts, HostOrder,
    HostUpdates, ORDER, UPDATES, Updater, UpdaterState,
};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::Connection;

use crate::logind::{Lock, Script, Shared, announce_inhibitors, bus_daemon, stand_in};

/// Long enough for a busy machine; only a broken actuator waits for it.
pub const LONG: Duration = Duration::from_secs(30);

/// A bus, the stand-in, a directory, a boot.
pub struct Bench {
    pub directory: TempDir,
    pub script: Shared,
    daemon: Option<Child>,
    pub logind: Option<Connection>,
    /// How often, and with which pause, the actuator requests a reboot to which logind does not reply.
    pub retries: (u32, Duration),
    pub pace: (u32, Duration),
    pub min_uptime: Duration,
    pub updates_within: Duration,
    /// The first delay before the actuator asks again what it could not find out, and the longest.
    pub probe_backoff: (Duration, Duration),
    /// Reboots the host in place of logind.
    pub reboot_command: Option<RebootCommand>,
}

impl Bench {
    pub async fn new() -> Self {
        let mut bench = Self::without_bus();
        bench.start_bus().await;
        bench
    }

    pub fn without_bus() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("channel")).unwrap();
        let bench = Self {
            directory,
            script: Shared::new(Mutex::new(Script {
                can_reboot: "yes".into(),
                ..Script::default()
            })),
            daemon: None,
            logind: None,
            retries: (2, Duration::ZERO),
            pace: (100, Duration::ZERO),
            min_uptime: Duration::from_mins(10),
            updates_within: LONG,
            // Only a signal or a new socket leads to a probe in time.
            probe_backoff: (Duration::from_hours(1), Duration::from_hours(1)),
            reboot_command: None,
        };
        bench.boot("boot-a");
        bench.up_for("600.00");
        bench
    }

    pub async fn start_bus(&mut self) {
        self.daemon = Some(bus_daemon(self.directory.path()).await);
        self.logind = Some(stand_in(&self.bus(), self.script.clone()).await);
    }

    pub async fn stop_bus(&mut self) {
        self.logind = None;
        self.daemon.take().unwrap().kill().await.unwrap();
        fs::remove_file(self.bus()).unwrap();
    }

    /// Changes what logind says about its inhibitors, and sends the signal about it.
    pub async fn inhibit(&self, word: &str, inhibitors: Vec<Lock>) {
        self.script(|script| {
            script.can_reboot = word.into();
            script.inhibitors = inhibitors;
        });
        announce_inhibitors(self.logind.as_ref().unwrap()).await;
    }

    pub fn bus(&self) -> PathBuf {
        self.directory.path().join("bus")
    }

    pub fn channel(&self) -> Channel {
        Channel::new(self.directory.path().join("channel"))
    }

    pub fn boot(&self, id: &str) {
        fs::write(self.directory.path().join("boot_id"), id).unwrap();
    }

    /// The host has been up for so many seconds.
    pub fn up_for(&self, seconds: &str) {
        fs::write(self.directory.path().join("uptime"), format!("{seconds} 1.00\n")).unwrap();
    }

    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    pub fn reboots(&self) -> Vec<String> {
        self.script.lock().unwrap().reboots.clone()
    }

    pub fn actuator(&self) -> JoinHandle<anyhow::Result<()>> {
        tokio::spawn(run_actuator(
            ActuatorConfig {
                probe_backoff: self.probe_backoff,
                updates_within: self.updates_within,
                lost_reply_retries: self.retries,
                pace: self.pace,
                min_uptime: self.min_uptime,
                reboot_command: self.reboot_command.clone(),
                uptime: self.directory.path().join("uptime"),
                ..ActuatorConfig::new(
                    self.channel().directory().to_owned(),
                    self.bus(),
                    self.directory.path().join("boot_id"),
                )
            },
            std::future::pending(),
        ))
    }

    /// Waits until a file of the shared directory says what is expected of it.
    pub async fn wait<T: serde::de::DeserializeOwned>(&self, name: &str, good: impl Fn(&T) -> bool) -> T {
        let mut watch = DirectoryWatch::new(vec![Watched::new(self.channel().directory(), &[])]).unwrap();
        timeout(LONG, async {
            loop {
                match self.channel().read::<T>(name).unwrap() {
                    Some(value) if good(&value) => return value,
                    _ => {
                        watch.changed().await.unwrap();
                    }
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{name} did not come"))
    }

    /// Waits until the actuator says this of a program that updates the host.
    pub async fn update(&self, name: &str, state: UpdaterState) -> Updater {
        let find = |updates: &HostUpdates| updates.updaters.iter().find(|one| one.name == name).cloned();
        let is = |updates: &HostUpdates| find(updates).is_some_and(|updater| updater.state == state);
        find(&self.wait(UPDATES, is).await).unwrap()
    }

    /// Facts that were asked for now.
    pub async fn facts(&self, id: &str) -> HostFacts {
        let order_id = id.to_owned();
        self.channel().write(FACTS_WANTED, &FactsWanted { order_id }).unwrap();
        self.wait(FACTS, |facts: &HostFacts| facts.order_id == id).await
    }

    /// Waits until the actuator has done all that it was asked before: each round of facts is a pass of its own.
    pub async fn idle(&self) {
        self.facts("idle").await;
        self.facts("still idle").await;
    }

    /// Does something when the actuator looks at the locks for an order, right before the point of no return.
    pub async fn order_and_slip_in(&self, id: &str, mut slip_in: impl FnMut() + Send + 'static) {
        self.wait(FACTS, |facts: &HostFacts| facts.order_id.is_empty()).await;
        let looked = Arc::new(tokio::sync::Notify::new());
        let look = looked.clone();
        self.script(|script| {
            script.on_look = Some(Box::new(move || {
                slip_in();
                look.notify_one();
            }));
        });
        self.order(id);
        timeout(LONG, looked.notified()).await.expect("the actuator looked");
        self.idle().await;
    }

    pub fn order(&self, id: &str) {
        self.channel().write(ORDER, &order(id)).unwrap();
    }

    pub async fn answer(&self, id: &str) -> HostAnswer {
        self.order(id);
        self.final_answer(id).await
    }

    pub async fn final_answer(&self, id: &str) -> HostAnswer {
        let is_final = |answer: &HostAnswer| answer.id == id && answer.state != AnswerState::Requested;
        self.wait(ANSWER, is_final).await
    }

    /// Orders a reboot to which logind does not reply, and returns once logind has the request.
    pub async fn order_without_reply(&self, id: &str) {
        let received = Arc::new(tokio::sync::Notify::new());
        let notify = received.clone();
        self.script(|script| script.silent = Some(notify));
        self.order(id);
        timeout(LONG, received.notified())
            .await
            .expect("logind got the request");
        self.script(|script| script.silent = None);
    }
}

pub fn order(id: &str) -> HostOrder {
    HostOrder {
        id: id.into(),
        action: HostAction::Reboot,
        boot_id: "boot-a".into(),
        kexec: false,
        soft_reboots: None,
        not_after: None,
    }
}

pub fn lock(what: &str, mode: &str) -> Lock {
    (what.into(), "dpkg".into(), "mid-update".into(), mode.into(), 0, 1)
}
