//! The actuator on a real D-Bus daemon of its own, with a stand-in for logind behind it.
//!
//! What real logind does is seen on real nodes; here are the refusals that a healthy node never gives.

// Helpers are not tests in clippy's eyes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    unreachable_pub
)]

mod logind;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper_actuator::logind::{Logind, Reply};
use lockkeeper_actuator::{ActuatorConfig, run_actuator};
use lockkeeper_channel::watch::{DirectoryWatch, Watched};
use lockkeeper_channel::{
    ANSWER, AnswerState, Channel, FACTS, FACTS_WANTED, FactsWanted, HostAction, HostAnswer, HostFacts, HostOrder, ORDER,
};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::Connection;

use logind::{Lock, Script, Shared, announce_inhibitors, bus_daemon, stand_in};

/// Long enough for a busy machine; only a broken actuator waits for it.
const LONG: Duration = Duration::from_secs(30);

/// A bus, the stand-in, a directory, a boot.
struct Bench {
    directory: TempDir,
    script: Shared,
    daemon: Option<Child>,
    logind: Option<Connection>,
}

impl Bench {
    async fn new() -> Self {
        let mut bench = Self::without_bus();
        bench.start_bus().await;
        bench
    }

    fn without_bus() -> Self {
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
        };
        bench.boot("boot-a");
        bench
    }

    async fn start_bus(&mut self) {
        self.daemon = Some(bus_daemon(self.directory.path()).await);
        self.logind = Some(stand_in(&self.bus(), self.script.clone()).await);
    }

    async fn stop_bus(&mut self) {
        self.logind = None;
        self.daemon.take().unwrap().kill().await.unwrap();
        fs::remove_file(self.bus()).unwrap();
    }

    /// Changes what logind says about its inhibitors, and sends the signal about it.
    async fn inhibit(&self, word: &str, inhibitors: Vec<Lock>) {
        self.script(|script| {
            script.can_reboot = word.into();
            script.inhibitors = inhibitors;
        });
        announce_inhibitors(self.logind.as_ref().unwrap()).await;
    }

    fn bus(&self) -> PathBuf {
        self.directory.path().join("bus")
    }

    fn channel(&self) -> Channel {
        Channel::new(self.directory.path().join("channel"))
    }

    fn boot(&self, id: &str) {
        fs::write(self.directory.path().join("boot_id"), id).unwrap();
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn reboots(&self) -> Vec<String> {
        self.script.lock().unwrap().reboots.clone()
    }

    fn actuator(&self) -> JoinHandle<anyhow::Result<()>> {
        tokio::spawn(run_actuator(
            ActuatorConfig {
                // Only a signal or a new socket leads to a probe in time.
                probe_backoff: (Duration::from_hours(1), Duration::from_hours(1)),
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
    async fn wait<T: serde::de::DeserializeOwned>(&self, name: &str, good: impl Fn(&T) -> bool) -> T {
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

    /// Facts that were asked for now.
    async fn facts(&self, id: &str) -> HostFacts {
        let order_id = id.to_owned();
        self.channel().write(FACTS_WANTED, &FactsWanted { order_id }).unwrap();
        self.wait(FACTS, |facts: &HostFacts| facts.order_id == id).await
    }

    /// Waits until the actuator has done all that it was asked before: each round of facts is a pass of its own.
    async fn idle(&self) {
        self.facts("idle").await;
        self.facts("still idle").await;
    }

    /// Does something when the actuator looks at the locks for an order, right before the point of no return.
    async fn order_and_slip_in(&self, id: &str, mut slip_in: impl FnMut() + Send + 'static) {
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

    fn order(&self, id: &str) {
        self.channel().write(ORDER, &order(id)).unwrap();
    }

    async fn answer(&self, id: &str) -> HostAnswer {
        self.order(id);
        self.wait(ANSWER, |answer: &HostAnswer| answer.id == id).await
    }
}

fn order(id: &str) -> HostOrder {
    HostOrder {
        id: id.into(),
        action: HostAction::Reboot,
        boot_id: "boot-a".into(),
    }
}

fn lock(what: &str, mode: &str) -> Lock {
    (what.into(), "dpkg".into(), "mid-update".into(), mode.into(), 0, 1)
}

#[tokio::test]
async fn facts_are_published_at_the_start_and_on_each_request() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let first = bench.wait(FACTS, |facts: &HostFacts| facts.order_id.is_empty()).await;
    assert!(first.reboot_capable, "{first:?}");
    assert_eq!(first.boot_id, "boot-a");
    bench.script(|script| script.can_reboot = "challenge".into());
    let second = bench.facts("7f3c-0").await;
    assert!(!second.reboot_capable);
    assert!(second.message.contains("uid 0"), "{}", second.message);
}

#[tokio::test]
async fn logind_gets_one_reboot_request_for_each_order() {
    let bench = Bench::new().await;
    let actuator = bench.actuator();
    assert_eq!(bench.answer("1").await.state, AnswerState::Rebooting);
    bench.order("1");
    bench.idle().await;
    actuator.abort();
    let _second = bench.actuator();
    bench.facts("after the restart").await;
    bench.idle().await;
    assert_eq!(bench.reboots(), ["flags 0"]);
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots().len(), 2);
}

#[tokio::test]
async fn an_order_for_another_boot_is_refused() {
    let bench = Bench::new().await;
    bench.boot("boot-b");
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert_eq!(answer.message, "the order is for boot boot-a, this is boot boot-b");
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn a_blocking_lock_refuses_the_reboot_and_a_delaying_one_does_not() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.script(|script| {
        script.inhibitors = vec![lock("shutdown", "delay"), lock("sleep:shutdown", "block")];
    });
    let facts = bench.facts("1").await;
    assert!(facts.reboot_capable);
    assert_eq!(facts.inhibitors.len(), 1);
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert_eq!(answer.message, "shutdown inhibited by dpkg: mid-update");
    bench.script(|script| script.inhibitors = vec![lock("shutdown", "delay"), lock("sleep", "block")]);
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots().len(), 1);
}

#[tokio::test]
async fn a_refusal_because_of_a_lock_comes_after_the_facts_that_name_it() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    let first = bench.wait(FACTS, |facts: &HostFacts| facts.order_id.is_empty()).await;
    assert!(first.inhibitors.is_empty());
    bench.script(|script| script.inhibitors = vec![lock("shutdown", "block")]);
    assert_eq!(bench.answer("1").await.state, AnswerState::Refused);
    let facts: HostFacts = bench.channel().read(FACTS).unwrap().unwrap();
    assert_eq!(facts.inhibitors.len(), 1);
}

#[tokio::test]
async fn an_inhibitor_that_begins_or_ends_is_noticed_by_its_signal() {
    let bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.wait(FACTS, |facts: &HostFacts| facts.inhibitors.is_empty()).await;
    for word in ["yes", "inhibited", "inhibitor-blocked", "challenge-inhibitor-blocked"] {
        bench.inhibit(word, vec![lock("shutdown", "block")]).await;
        let facts = bench
            .wait(FACTS, |facts: &HostFacts| !facts.inhibitors.is_empty())
            .await;
        assert_eq!(
            (facts.reboot_capable, facts.inhibitors[0].who.as_str()),
            (true, "dpkg"),
            "{word}"
        );
        bench.inhibit("yes", vec![]).await;
        let facts = bench.wait(FACTS, |facts: &HostFacts| facts.inhibitors.is_empty()).await;
        assert!(facts.reboot_capable, "{word}");
    }
}

#[tokio::test]
async fn a_bus_that_starts_later_is_found() {
    let mut bench = Bench::without_bus();
    let _actuator = bench.actuator();
    let facts = bench.wait(FACTS, |facts: &HostFacts| !facts.reboot_capable).await;
    assert!(facts.message.starts_with("no system bus at "), "{}", facts.message);
    bench.start_bus().await;
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
}

#[tokio::test]
async fn a_bus_that_was_restarted_is_found_again() {
    let mut bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
    bench.stop_bus().await;
    bench.wait(FACTS, |facts: &HostFacts| !facts.reboot_capable).await;
    bench.start_bus().await;
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
    assert_eq!(bench.answer("1").await.state, AnswerState::Rebooting);
    bench.inhibit("inhibited", vec![lock("shutdown", "block")]).await;
    bench
        .wait(FACTS, |facts: &HostFacts| !facts.inhibitors.is_empty())
        .await;
}

#[tokio::test]
async fn a_logind_that_stops_and_starts_is_noticed() {
    let mut bench = Bench::new().await;
    let _actuator = bench.actuator();
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
    let logind = bench.logind.take().unwrap();
    logind.release_name("org.freedesktop.login1").await.unwrap();
    let facts = bench.wait(FACTS, |facts: &HostFacts| !facts.reboot_capable).await;
    assert!(facts.message.contains("start systemd-logind"), "{}", facts.message);
    bench.logind = Some(stand_in(&bench.bus(), bench.script.clone()).await);
    bench.wait(FACTS, |facts: &HostFacts| facts.reboot_capable).await;
}

#[tokio::test]
async fn an_order_withdrawn_in_time_is_not_executed() {
    let bench = Bench::new().await;
    let channel = bench.channel();
    let _actuator = bench.actuator();
    bench
        .order_and_slip_in("1", move || channel.remove(ORDER).unwrap())
        .await;
    assert!(bench.reboots().is_empty());
    assert_eq!(bench.channel().read::<HostAnswer>(ANSWER).unwrap(), None);
}

#[tokio::test]
async fn an_order_of_a_boot_that_has_ended_is_not_executed() {
    let bench = Bench::new().await;
    let boot_id = bench.directory.path().join("boot_id");
    let _actuator = bench.actuator();
    bench
        .order_and_slip_in("1", move || fs::write(&boot_id, "boot-b").unwrap())
        .await;
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn a_refusal_of_logind_is_a_failure_with_its_message() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.DBus.Error.AccessDenied"));
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Failed);
    assert!(answer.message.contains("the stand-in says no"), "{}", answer.message);
    assert!(answer.message.contains("uid 0"), "{}", answer.message);
}

#[tokio::test]
async fn a_lock_taken_after_the_check_is_a_refusal() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.login1.BlockedByInhibitorLock"));
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert!(answer.message.contains("systemd-inhibit --list"), "{}", answer.message);
}

#[tokio::test]
async fn a_shutdown_in_progress_counts_as_accepted() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.login1.OperationInProgress"));
    let words = "a shutdown was already in progress".to_owned();
    assert_eq!(Logind::new(bench.bus()).reboot().await, Reply::Accepted(words));
}

#[tokio::test]
async fn an_old_logind_gets_the_call_without_flags() {
    let bench = Bench::new().await;
    bench.script(|script| script.without_flags = true);
    assert_eq!(Logind::new(bench.bus()).reboot().await, Reply::Accepted(String::new()));
    assert_eq!(bench.reboots(), ["interactive false"]);
}

#[tokio::test]
async fn the_errors_of_a_missing_socket_or_logind_name_the_remedy() {
    let mut bench = Bench::new().await;
    let none = Logind::new(bench.directory.path().join("no-bus")).probe().await;
    assert!(
        !none.capable && none.message.contains("install dbus"),
        "{}",
        none.message
    );
    // Closing the connection is noticed by the bus some time later; giving the name back is answered.
    let logind = bench.logind.take().unwrap();
    logind.release_name("org.freedesktop.login1").await.unwrap();
    let none = Logind::new(bench.bus()).probe().await;
    assert!(
        !none.capable && none.message.contains("start systemd-logind"),
        "{}",
        none.message
    );
}
