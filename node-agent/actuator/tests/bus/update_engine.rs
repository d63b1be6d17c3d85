//! Stand-ins for the programs that update the host.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use zbus::names::BusName;
use zbus::{Connection, OwnedVariant, Variant, connection, interface};

pub const FLATCAR: [&str; 3] = [
    "com.coreos.update1",
    "/com/coreos/update1",
    "com.coreos.update1.Manager",
];
pub const CHROMEOS: [&str; 3] = [
    "org.chromium.UpdateEngine",
    "/org/chromium/UpdateEngine",
    "org.chromium.UpdateEngineInterface",
];
const RPM_OSTREE: [&str; 3] = [
    "org.projectatomic.rpmostree1",
    "/org/projectatomic/rpmostree1/Sysroot",
    "org.projectatomic.rpmostree1.Sysroot",
];
pub const NEEDS_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
pub const IDLE: &str = "UPDATE_STATUS_IDLE";

/// What a stand-in for `update_engine` says, and how often it was asked.
#[derive(Clone, Default)]
pub struct Engine {
    status: Arc<Mutex<(String, String)>>,
    asked: Arc<AtomicUsize>,
}

type Status = (i64, f64, String, String, i64);

impl Engine {
    pub fn new(operation: &str, version: &str) -> Self {
        let engine = Self::default();
        engine.set(operation, version);
        engine
    }

    /// Changes the status without telling.
    pub fn set(&self, operation: &str, version: &str) {
        *self.status.lock().unwrap() = (operation.to_owned(), version.to_owned());
    }

    /// Changes the status, and sends the signal.
    pub async fn change(&self, connection: &Connection, operation: &str, version: &str) {
        self.set(operation, version);
        send(connection, FLATCAR, "StatusUpdate", &self.status()).await;
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn status(&self) -> Status {
        let (operation, version) = self.status.lock().unwrap().clone();
        (1_800_000_000, 0.5, operation, version, 0)
    }

    fn answer(&self) -> Status {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.status()
    }

    /// Puts Flatcar's on the bus.
    pub async fn flatcar(&self, bus: &Path) -> Connection {
        serve(bus, FLATCAR, Flatcar(self.clone())).await
    }
}

/// Sends a signal.
pub async fn send<B: serde::Serialize + zbus::DynamicType>(
    from: &Connection,
    [_, path, interface]: [&str; 3],
    member: &str,
    body: &B,
) {
    let everyone = None::<BusName<'_>>;
    from.emit_signal(everyone, path, interface, member, body).await.unwrap();
}

async fn serve<I: zbus::object_server::Interface>(bus: &Path, [name, path, _]: [&str; 3], object: I) -> Connection {
    let address: zbus::Address = format!("unix:path={}", bus.display()).parse().unwrap();
    let builder = connection::Builder::address(address).serve_at(path, object);
    builder.name(name).build().await.unwrap()
}

struct Flatcar(Engine);

#[interface(name = "com.coreos.update1.Manager")]
impl Flatcar {
    fn get_status(&self) -> Status {
        self.0.answer()
    }
}

/// An `update_engine` that answers with one text.
struct Malformed(&'static str);

#[interface(name = "com.coreos.update1.Manager")]
impl Malformed {
    fn get_status(&self) -> String {
        self.0.to_owned()
    }
}

/// An `update_engine` that does not answer while this is set.
struct Hanging(Arc<AtomicBool>);

#[interface(name = "com.coreos.update1.Manager")]
impl Hanging {
    async fn get_status(&self) -> Status {
        if self.0.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Engine::new(IDLE, "0.0.0").status()
    }
}

pub async fn malformed(bus: &Path) -> Connection {
    serve(bus, FLATCAR, Malformed(NEEDS_REBOOT)).await
}

pub async fn hanging(bus: &Path, hangs: Arc<AtomicBool>) -> Connection {
    serve(bus, FLATCAR, Hanging(hangs)).await
}

/// ChromeOS' `update_engine` before 2019.
struct OldChromeOs(Engine);

#[interface(name = "org.chromium.UpdateEngineInterface")]
impl OldChromeOs {
    fn get_status(&self) -> Status {
        self.0.answer()
    }
}

/// The one since then.
struct ChromeOs(Vec<u8>);

#[interface(name = "org.chromium.UpdateEngineInterface")]
impl ChromeOs {
    fn get_status_advanced(&self) -> Vec<u8> {
        self.0.clone()
    }
}

pub async fn old_chromeos(bus: &Path, engine: Engine) -> Connection {
    serve(bus, CHROMEOS, OldChromeOs(engine)).await
}

pub async fn chromeos(bus: &Path, message: &[u8]) -> Connection {
    serve(bus, CHROMEOS, ChromeOs(message.to_vec())).await
}

/// Deployments of rpm-ostree, the default first: each with its version, and whether it is booted.
pub type Deployments = Arc<Mutex<Vec<(&'static str, bool)>>>;

struct RpmOstree(Deployments);

#[interface(name = "org.projectatomic.rpmostree1.Sysroot")]
impl RpmOstree {
    #[zbus(property)]
    fn deployments(&self) -> Vec<HashMap<String, OwnedVariant>> {
        let owned = |value: Variant<'_>| OwnedVariant::try_from(value).unwrap();
        let describe = |&(version, booted): &(&str, bool)| {
            HashMap::from([
                ("version".to_owned(), owned(Variant::from(version))),
                ("booted".to_owned(), owned(Variant::from(booted))),
            ])
        };
        self.0.lock().unwrap().iter().map(describe).collect()
    }
}

pub async fn rpm_ostree(bus: &Path, deployments: Deployments) -> Connection {
    serve(bus, RPM_OSTREE, RpmOstree(deployments)).await
}

/// The signal by which rpm-ostree tells of other deployments.
pub async fn announce_deployments(from: &Connection) {
    let body = (RPM_OSTREE[2], HashMap::<&str, Variant<'_>>::new(), vec!["Deployments"]);
    let to = [RPM_OSTREE[0], RPM_OSTREE[1], "org.freedesktop.DBus.Properties"];
    send(from, to, "PropertiesChanged", &body).await;
}
