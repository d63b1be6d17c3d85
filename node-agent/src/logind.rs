//! The host's logind, over the system bus: may it reboot, who asks not to, do it.
//!
//! A connection lasts for one question; idle holds none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper_crds::host::Inhibitor;
use zbus::proxy::CacheProperties;
use zbus::{Address, Connection, connection, fdo};

use crate::text::{MESSAGE, bounded};
use manager::ManagerProxy;

/// A host that is going down answers slowly; one that hangs never.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// logind answers this while a shutdown is under way.
const IN_PROGRESS: &str = "org.freedesktop.login1.OperationInProgress";
/// logind answers this when a lock came in between.
const BLOCKED: &str = "org.freedesktop.login1.BlockedByInhibitorLock";

/// Where the bus is.
#[derive(Clone, Debug)]
pub struct Logind {
    socket: PathBuf,
}

/// What logind says of a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Whether it would reboot.
    pub capable: bool,
    /// Why not, and what to do about it.
    pub message: String,
    /// Who asks not to and may not be overruled.
    pub inhibitors: Vec<Inhibitor>,
}

/// What became of the request to reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The host goes down.
    Accepted(String),
    /// Nothing was asked of the host, or it took it as not asked.
    Refused(String),
    /// The host said no.
    Failed(String),
    /// The request went out and no reply came: the bus may already be going down.
    Lost(String),
}

impl Logind {
    /// A logind behind a bus socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Asks without changing anything.
    pub async fn probe(&self) -> Probe {
        match self.ask().await {
            Ok(probe) => probe,
            Err(error) => Probe {
                capable: false,
                message: bounded(&remedy(&self.socket, &error), MESSAGE),
                inhibitors: Vec::new(),
            },
        }
    }

    /// Asks for the reboot and reads the reply.
    pub async fn reboot(&self) -> Reply {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return Reply::Refused(remedy(&self.socket, &error)),
        };
        match request(&connection).await {
            Ok(()) => Reply::Accepted(String::new()),
            Err(error) => self.read_refusal(&error),
        }
    }

    async fn ask(&self) -> zbus::Result<Probe> {
        let connection = self.connect().await?;
        let manager = manager(&connection).await?;
        let word = manager.can_reboot().await?;
        let inhibitors = blocking(manager.list_inhibitors().await?);
        let (capable, message) = match word.as_str() {
            "yes" => (true, String::new()),
            "challenge" => (
                false,
                "logind wants a password (CanReboot says challenge): run the actuator as uid 0 without user namespaces, \
                 or allow org.freedesktop.login1.reboot in polkit"
                    .to_owned(),
            ),
            "no" => (
                false,
                "logind does not allow it (CanReboot says no): allow org.freedesktop.login1.reboot in polkit".to_owned(),
            ),
            other => (
                false,
                format!("logind cannot reboot this host (CanReboot says {})", bounded(other, 32)),
            ),
        };
        Ok(Probe {
            capable,
            message,
            inhibitors,
        })
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        let address: Address = format!("unix:path={}", self.socket.display()).parse()?;
        let connecting = connection::Builder::address(address)
            .method_timeout(REPLY_TIMEOUT)
            .build();
        tokio::time::timeout(REPLY_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(fdo::Error::TimedOut("the bus does not answer".into()).into()))
    }

    fn read_refusal(&self, error: &zbus::Error) -> Reply {
        let words = remedy(&self.socket, error);
        match error {
            zbus::Error::MethodError(name, ..) if name.as_str() == IN_PROGRESS => {
                Reply::Accepted("a shutdown was already under way".to_owned())
            }
            zbus::Error::MethodError(name, ..) if name.as_str() == BLOCKED => Reply::Refused(words),
            error if is_lost(error) => Reply::Lost(words),
            _ => Reply::Failed(words),
        }
    }
}

/// Inhibitors are looked at before; flag 0 asks logind for a plain reboot.
async fn request(connection: &Connection) -> zbus::Result<()> {
    let manager = manager(connection).await?;
    match manager.reboot_with_flags(0).await {
        // systemd before 246.
        Err(error) if is_unknown_method(&error) => manager.reboot(false).await,
        reply => reply,
    }
}

async fn manager(connection: &Connection) -> zbus::Result<ManagerProxy<'_>> {
    ManagerProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// Only `block` binds root. The kubelet and others hold `delay` locks to be told in time, which is as it should be;
/// `block-weak` is made to be overruled by root.
fn blocking(inhibitors: Vec<manager::InhibitorTuple>) -> Vec<Inhibitor> {
    inhibitors
        .into_iter()
        .filter(|(what, _, _, mode, ..)| mode == "block" && what.split(':').any(|word| word == "shutdown"))
        .map(|(_, who, why, ..)| Inhibitor { who, why })
        .collect()
}

fn is_unknown_method(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(fdo) if matches!(**fdo, fdo::Error::UnknownMethod(_)))
}

fn is_lost(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::InputOutput(_) => true,
        zbus::Error::FDO(fdo) => matches!(
            **fdo,
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) | fdo::Error::Disconnected(_)
        ),
        _ => false,
    }
}

/// What a person can do about an error of the bus.
fn remedy(socket: &Path, error: &zbus::Error) -> String {
    let text = error.to_string();
    let socket = socket.display();
    let advice = if text.contains("AppArmor") {
        "AppArmor keeps the actuator from the bus: give the actuator container an appArmorProfile that may use dbus, such as Unconfined".to_owned()
    } else if text.contains("SELinux") {
        "SELinux keeps the actuator from the bus: give the actuator container seLinuxOptions {type: spc_t}, or allow its type to use the bus".to_owned()
    } else {
        advice(error, &socket.to_string())
    };
    format!("{advice} ({})", bounded(&text, 400))
}

fn advice(error: &zbus::Error, socket: &str) -> String {
    let kind = match error {
        zbus::Error::InputOutput(io) | zbus::Error::Connection(io, _) => Some(io.kind()),
        _ => None,
    };
    match (kind, error) {
        (Some(std::io::ErrorKind::NotFound), _) => {
            format!("there is no bus at {socket}: mount that socket (hostPath of type Socket) into the actuator")
        }
        (Some(std::io::ErrorKind::PermissionDenied), _) => format!(
            "{socket} refuses the actuator: run it as uid 0, and if SELinux is on give it seLinuxOptions {{type: spc_t}}"
        ),
        (Some(std::io::ErrorKind::ConnectionRefused), _) => format!(
            "no process listens at {socket}: the host's bus was restarted or is down; delete this pod so that the socket is mounted again"
        ),
        (_, zbus::Error::FDO(fdo)) => match &**fdo {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => {
                "logind does not run on this host: start systemd-logind".to_owned()
            }
            fdo::Error::AccessDenied(_) | fdo::Error::AuthFailed(_) => {
                "the bus refuses the actuator: run it as uid 0, and look at the host's D-Bus policy, AppArmor and SELinux"
                    .to_owned()
            }
            fdo::Error::InteractiveAuthorizationRequired(_) => {
                "logind wants a password: run the actuator as uid 0 without user namespaces, or allow org.freedesktop.login1.reboot in polkit"
                    .to_owned()
            }
            _ => "logind did not answer: look at systemctl status systemd-logind on the host".to_owned(),
        },
        (_, zbus::Error::MethodError(name, ..)) if name.as_str() == BLOCKED => {
            "a program asks not to shut down: see systemd-inhibit --list on the host".to_owned()
        }
        _ => "logind did not do it: look at systemctl status systemd-logind on the host".to_owned(),
    }
}

/// The four calls of `org.freedesktop.login1.Manager` that we make.
mod manager {
    use zbus::proxy;

    /// What, who, why, mode, uid, pid.
    pub(super) type InhibitorTuple = (String, String, String, String, u32, u32);

    #[proxy(
        interface = "org.freedesktop.login1.Manager",
        default_service = "org.freedesktop.login1",
        default_path = "/org/freedesktop/login1"
    )]
    pub(super) trait Manager {
        fn can_reboot(&self) -> zbus::Result<String>;
        fn list_inhibitors(&self) -> zbus::Result<Vec<InhibitorTuple>>;
        fn reboot_with_flags(&self, flags: u64) -> zbus::Result<()>;
        fn reboot(&self, interactive: bool) -> zbus::Result<()>;
    }
}
