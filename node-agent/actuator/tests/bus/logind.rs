//! A private D-Bus daemon and a stand-in for logind on it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;
use zbus::names::{BusName, OwnedErrorName};
use zbus::{Connection, Variant, connection, fdo, interface};

use crate::bench::LONG;

/// An inhibitor lock: what, who, why, mode, uid, pid.
pub type Lock = (String, String, String, String, u32, u32);

/// What the stand-in says, and what it was asked.
#[derive(Default)]
pub struct Script {
    pub can_reboot: String,
    pub inhibitors: Vec<Lock>,
    pub refusal: Option<&'static str>,
    pub without_flags: bool,
    /// If set, a reboot request is noted here and gets no reply.
    pub silent: Option<Arc<Notify>>,
    pub reboots: Vec<String>,
    /// What systemd says of its soft-reboots: how many, and when its userspace started; `None` for one that does not count.
    pub soft_reboots: Option<(u32, u64)>,
    /// Done when the actuator looks at the inhibitors: what a test slips in before the point of no return.
    pub on_look: Option<Box<dyn FnMut() + Send>>,
}

pub type Shared = Arc<Mutex<Script>>;

struct StandIn(Shared);

/// In place of systemd.
struct SystemdStandIn(Shared);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl SystemdStandIn {
    #[zbus(property)]
    fn soft_reboots_count(&self) -> fdo::Result<u32> {
        let counted = self.0.lock().unwrap().soft_reboots;
        counted.map_or_else(
            || Err(fdo::Error::UnknownProperty("of a later version".into())),
            |(count, _)| Ok(count),
        )
    }

    #[zbus(property)]
    fn userspace_timestamp_monotonic(&self) -> u64 {
        self.0.lock().unwrap().soft_reboots.unwrap_or_default().1
    }
}

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

    fn list_inhibitors(&self) -> Vec<Lock> {
        let mut script = self.0.lock().unwrap();
        if let Some(slip_in) = script.on_look.as_mut() {
            slip_in();
        }
        script.inhibitors.clone()
    }

    async fn reboot_with_flags(&self, flags: u64) -> Result<(), Refusal> {
        let silent = {
            let mut script = self.0.lock().unwrap();
            if script.without_flags {
                return Err(Refusal("org.freedesktop.DBus.Error.UnknownMethod"));
            }
            script.reboots.push(format!("flags {flags}"));
            if script.silent.is_none() {
                return script.refusal.map_or(Ok(()), |name| Err(Refusal(name)));
            }
            script.silent.clone()
        };
        if let Some(received) = silent {
            received.notify_one();
        }
        std::future::pending().await
    }

    fn reboot(&self, interactive: bool) {
        self.0
            .lock()
            .unwrap()
            .reboots
            .push(format!("interactive {interactive}"));
    }
}

/// Starts a bus at `bus` in a directory; it ends with its value.
pub async fn bus_daemon(directory: &Path) -> Child {
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

/// Puts the stand-in on the bus.
pub async fn stand_in(bus: &Path, script: Shared) -> Connection {
    let address: zbus::Address = format!("unix:path={}", bus.display()).parse().unwrap();
    connection::Builder::address(address)
        .serve_at("/org/freedesktop/login1", StandIn(script.clone()))
        .serve_at("/org/freedesktop/systemd1", SystemdStandIn(script))
        .name("org.freedesktop.login1")
        .name("org.freedesktop.systemd1")
        .build()
        .await
        .unwrap()
}

/// The signal that logind sends when a program acquires or releases an inhibitor lock.
pub async fn announce_inhibitors(logind: &Connection) {
    let changed = HashMap::from([("BlockInhibited", Variant::from("shutdown"))]);
    let body = ("org.freedesktop.login1.Manager", changed, Vec::<&str>::new());
    let (path, properties) = ("/org/freedesktop/login1", "org.freedesktop.DBus.Properties");
    let everyone = None::<BusName<'_>>;
    let sent = logind.emit_signal(everyone, path, properties, "PropertiesChanged", &body);
    sent.await.unwrap();
}
