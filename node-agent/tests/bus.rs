//! The actuator on a real D-Bus daemon of its own, with a stand-in for logind behind it.
//!
//! What real logind does is seen on real nodes; here are the refusals that a healthy node never gives.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper_node_agent::actuator::{ActuatorConfig, run_actuator};
use lockkeeper_node_agent::channel::{
    ANSWER, AnswerState, Channel, FACTS, FACTS_WANTED, FactsWanted, HostAction, HostAnswer, HostFacts, HostOrder, ORDER,
};
use lockkeeper_node_agent::logind::{Logind, Reply};
use lockkeeper_node_agent::watch::{DirectoryWatch, Watched};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::names::OwnedErrorName;
use zbus::{Connection, connection, interface};

/// Long enough for a busy machine; only a broken actuator waits for it.
const LONG: Duration = Duration::from_secs(30);

/// What the stand-in says, and what it was asked.
#[derive(Default)]
struct Script {
    can_reboot: String,
    inhibitors: Vec<(String, String, String, String, u32, u32)>,
    refusal: Option<&'static str>,
    without_flags: bool,
    reboots: Vec<String>,
    /// Done when the actuator looks at the inhibitors: what a test slips in before the point of no return.
    on_look: Option<Box<dyn FnMut() + Send>>,
}

type Shared = Arc<Mutex<Script>>;

struct StandIn(Shared);

/// An error with a name of our choice.
#[derive(Debug)]
struct Refusal(&'static str);

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}

impl zbus::DBusError for Refusal {
    fn create_reply(&self, call: &zbus::message::Header<'_>) -> zbus::Result<zbus::message::Message> {
        zbus::message::Message::error(call, self.name()).build(&("the stand-in says no",))
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        OwnedErrorName::try_from(self.0).unwrap().into_inner()
    }

    fn description(&self) -> Option<&str> {
        Some("the stand-in says no")
    }
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl StandIn {
    fn can_reboot(&self) -> String {
        self.0.lock().unwrap().can_reboot.clone()
    }

    fn list_inhibitors(&self) -> Vec<(String, String, String, String, u32, u32)> {
        let mut script = self.0.lock().unwrap();
        if let Some(slip_in) = script.on_look.as_mut() {
            slip_in();
        }
        script.inhibitors.clone()
    }

    fn reboot_with_flags(&self, flags: u64) -> Result<(), Refusal> {
        let mut script = self.0.lock().unwrap();
        if script.without_flags {
            return Err(Refusal("org.freedesktop.DBus.Error.UnknownMethod"));
        }
        script.reboots.push(format!("flags {flags}"));
        script.refusal.map_or(Ok(()), |name| Err(Refusal(name)))
    }

    fn reboot(&self, interactive: bool) {
        self.0
            .lock()
            .unwrap()
            .reboots
            .push(format!("interactive {interactive}"));
    }
}

/// A bus, the stand-in, a directory, a boot.
struct Bench {
    directory: TempDir,
    script: Shared,
    _daemon: Child,
    logind: Option<Connection>,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("channel")).unwrap();
        let daemon = bus_daemon(directory.path()).await;
        let script = Shared::new(Mutex::new(Script {
            can_reboot: "yes".into(),
            ..Script::default()
        }));
        let bench = Self {
            logind: Some(stand_in(&directory.path().join("bus"), script.clone()).await),
            directory,
            script,
            _daemon: daemon,
        };
        bench.boot("boot-a");
        bench
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
                channel: self.channel().directory().to_owned(),
                bus: self.bus(),
                boot_id: self.directory.path().join("boot_id"),
            },
            std::future::pending(),
        ))
    }

    /// Waits until a file of the shared directory says what is expected of it.
    async fn wait<T: serde::de::DeserializeOwned>(&self, name: &str, good: impl Fn(&T) -> bool) -> T {
        let mut watch = DirectoryWatch::new(vec![Watched {
            directory: self.channel().directory().to_owned(),
            names: &[],
        }])
        .unwrap();
        timeout(LONG, async {
            loop {
                match self.channel().read::<T>(name).unwrap() {
                    Some(value) if good(&value) => return value,
                    _ => watch.changed().await.unwrap(),
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

async fn bus_daemon(directory: &Path) -> Child {
    let config = directory.join("bus.conf");
    let text = format!(
        "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
         <allow own=\"*\"/></policy></busconfig>",
        directory.join("bus").display()
    );
    fs::write(&config, text).unwrap();
    let mut daemon = Command::new("dbus-daemon")
        .args(["--nofork", "--print-address"])
        .arg(format!("--config-file={}", config.display()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("dbus-daemon starts; it is in the package dbus");
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    timeout(LONG, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .expect("an address");
    daemon
}

async fn stand_in(bus: &Path, script: Shared) -> Connection {
    let address: zbus::Address = format!("unix:path={}", bus.display()).parse().unwrap();
    connection::Builder::address(address)
        .serve_at("/org/freedesktop/login1", StandIn(script))
        .name("org.freedesktop.login1")
        .build()
        .await
        .unwrap()
}

fn lock(what: &str, mode: &str) -> (String, String, String, String, u32, u32) {
    (what.into(), "dpkg".into(), "mid-update".into(), mode.into(), 0, 1)
}

#[tokio::test]
async fn facts_are_published_at_the_start_and_anew_for_each_question() {
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
async fn a_reboot_is_asked_of_logind_once_for_each_order() {
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
    assert_eq!(answer.message, "dpkg asks not to shut down: mid-update");
    bench.script(|script| script.inhibitors = vec![lock("shutdown", "delay"), lock("sleep", "block")]);
    assert_eq!(bench.answer("2").await.state, AnswerState::Rebooting);
    assert_eq!(bench.reboots().len(), 1);
}

#[tokio::test]
async fn an_order_withdrawn_before_the_point_of_no_return_is_not_obeyed() {
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
async fn a_boot_that_ended_before_the_point_of_no_return_is_not_ended_again() {
    let bench = Bench::new().await;
    let boot_id = bench.directory.path().join("boot_id");
    let _actuator = bench.actuator();
    bench
        .order_and_slip_in("1", move || fs::write(&boot_id, "boot-b").unwrap())
        .await;
    assert!(bench.reboots().is_empty());
}

#[tokio::test]
async fn logind_that_says_no_is_a_failure_with_its_words() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.DBus.Error.AccessDenied"));
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Failed);
    assert!(answer.message.contains("the stand-in says no"), "{}", answer.message);
    assert!(answer.message.contains("uid 0"), "{}", answer.message);
}

#[tokio::test]
async fn a_lock_that_came_in_between_is_a_refusal() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.login1.BlockedByInhibitorLock"));
    let _actuator = bench.actuator();
    let answer = bench.answer("1").await;
    assert_eq!(answer.state, AnswerState::Refused);
    assert!(answer.message.contains("systemd-inhibit --list"), "{}", answer.message);
}

#[tokio::test]
async fn a_shutdown_under_way_is_as_good_as_accepted() {
    let bench = Bench::new().await;
    bench.script(|script| script.refusal = Some("org.freedesktop.login1.OperationInProgress"));
    let words = "a shutdown was already under way".to_owned();
    assert_eq!(Logind::new(bench.bus()).reboot().await, Reply::Accepted(words));
}

#[tokio::test]
async fn an_old_logind_without_flags_is_asked_the_old_way() {
    let bench = Bench::new().await;
    bench.script(|script| script.without_flags = true);
    assert_eq!(Logind::new(bench.bus()).reboot().await, Reply::Accepted(String::new()));
    assert_eq!(bench.reboots(), ["interactive false"]);
}

#[tokio::test]
async fn a_missing_socket_and_a_missing_logind_name_the_remedy() {
    let mut bench = Bench::new().await;
    let none = Logind::new(bench.directory.path().join("no-bus")).probe().await;
    assert!(
        !none.capable && none.message.contains("mount that socket"),
        "{}",
        none.message
    );
    drop(bench.logind.take());
    let none = Logind::new(bench.bus()).probe().await;
    assert!(
        !none.capable && none.message.contains("start systemd-logind"),
        "{}",
        none.message
    );
}
