//! The host's logind, over the system bus: whether the host can reboot, who inhibits that, and the reboot itself.
//!
//! Each request uses a connection of its own, so that a bus that was restarted is found again.

use std::path::{Path, PathBuf};

use lockkeeper_channel::text::{MESSAGE, NAME, fit};
use lockkeeper_channel::{Inhibitor, SoftReboots};
use zbus::proxy::CacheProperties;
use zbus::{Connection, fdo};

use crate::{bus, systemd};
use manager::{InhibitorTuple, ManagerProxy};

/// logind's name on the bus.
pub(crate) const LOGIND: &str = "org.freedesktop.login1";
/// Its object that reboots the host.
pub(crate) const MANAGER_PATH: &str = "/org/freedesktop/login1";
/// The interface of that object.
pub(crate) const MANAGER_INTERFACE: &str = "org.freedesktop.login1.Manager";

/// The remedy for a refusal that does not say whose it is.
const CONFINEMENT_REMEDY: &str = "AppArmor or SELinux may forbid it: run the actuator as uid 0 with appArmorProfile \
                                  {type: Unconfined} and seLinuxOptions {type: spc_t}, the chart's defaults, and look for \
                                  denials in the host's kernel log";
/// logind's error while a shutdown is in progress.
const IN_PROGRESS: &str = "org.freedesktop.login1.OperationInProgress";
/// logind's error if an inhibitor lock was taken in the meantime.
const BLOCKED: &str = "org.freedesktop.login1.BlockedByInhibitorLock";

/// A client of logind.
#[derive(Clone, Debug)]
pub struct Logind {
    socket: PathBuf,
}

/// Whether logind would reboot the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Whether logind answered.
    pub answered: bool,
    /// Whether it would reboot.
    pub capable: bool,
    /// Why not, and what to do about it.
    pub message: String,
    /// Programs that inhibit the shutdown.
    pub inhibitors: Vec<Inhibitor>,
    /// The soft-reboots of this boot; `None` if they cannot be counted.
    pub soft_reboots: Option<SoftReboots>,
}

/// In which way the host is rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through its firmware.
    Firmware,
    /// Into the kernel that is loaded; through its firmware if none is.
    Kexec,
    /// Its userspace only.
    Userspace,
}

impl Way {
    /// logind's flags for it.
    fn flags(self) -> u64 {
        match self {
            Self::Firmware => 0,
            // SD_LOGIND_REBOOT_VIA_KEXEC
            Self::Kexec => 1 << 1,
            // SD_LOGIND_SOFT_REBOOT, since systemd 254
            Self::Userspace => 1 << 2,
        }
    }
}

/// The reply to the reboot request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The host is going down.
    Accepted(String),
    /// logind refused because a program inhibits the shutdown.
    Blocked(String),
    /// logind refused.
    Failed(String),
    /// The request was sent and no reply arrived: the bus may already be going down.
    Lost(String),
}

impl Logind {
    /// Creates a client for the bus at this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Checks whether the host can reboot, without changing anything.
    pub async fn probe(&self) -> Probe {
        match self.ask().await {
            Ok(probe) => probe,
            Err(error) => Probe {
                answered: false,
                capable: false,
                message: fit(&remedy(&self.socket, &error), MESSAGE),
                ..Probe::default()
            },
        }
    }

    /// Connects to the bus, so that the reboot can be requested; the error contains the remedy. Nothing is requested yet.
    pub async fn open(&self) -> Result<OpenLogind, String> {
        match self.connect().await {
            Ok(connection) => Ok(OpenLogind {
                socket: self.socket.clone(),
                connection,
            }),
            Err(error) => Err(remedy(&self.socket, &error)),
        }
    }

    async fn ask(&self) -> zbus::Result<Probe> {
        let connection = self.connect().await?;
        let manager = manager(&connection).await?;
        let (mut word, mut locks) = ask_both(&manager).await?;
        if is_inhibited(&word) && blocking(&locks).is_empty() {
            // The lock may have been released between the two calls.
            (word, locks) = ask_both(&manager).await?;
        }
        Ok(Probe {
            soft_reboots: systemd::count_soft_reboots(&connection).await?,
            ..read_answers(&word, &locks)
        })
    }

    pub(crate) async fn connect(&self) -> zbus::Result<Connection> {
        bus::connect(&self.socket).await
    }
}

/// A connection over which the reboot can be requested.
#[derive(Debug)]
pub struct OpenLogind {
    socket: PathBuf,
    connection: Connection,
}

impl OpenLogind {
    /// Requests the reboot.
    pub async fn reboot(&self, way: Way) -> Reply {
        let Err(error) = request(&self.connection, way).await else {
            return Reply::Accepted(String::new());
        };
        let words = remedy(&self.socket, &error);
        match error {
            zbus::Error::MethodError(name, ..) if name.as_str() == IN_PROGRESS => {
                Reply::Accepted("a shutdown was already in progress".to_owned())
            }
            zbus::Error::MethodError(name, ..) if name.as_str() == BLOCKED => Reply::Blocked(words),
            error if bus::is_lost(&error) => Reply::Lost(words),
            _ => Reply::Failed(words),
        }
    }
}

/// Requests a reboot. Inhibitors have been checked before.
async fn request(connection: &Connection, way: Way) -> zbus::Result<()> {
    let manager = manager(connection).await?;
    match manager.reboot_with_flags(way.flags()).await {
        // systemd before 246 has no flags.
        Err(error) if is_unknown_method(&error) && way != Way::Userspace => manager.reboot(false).await,
        reply => reply,
    }
}

async fn manager(connection: &Connection) -> zbus::Result<ManagerProxy<'_>> {
    ManagerProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

async fn ask_both(manager: &ManagerProxy<'_>) -> zbus::Result<(String, Vec<InhibitorTuple>)> {
    Ok((manager.can_reboot().await?, manager.list_inhibitors().await?))
}

/// What logind's answers mean: the word for whether it can reboot, and the inhibitor locks.
fn read_answers(word: &str, locks: &[InhibitorTuple]) -> Probe {
    let mut inhibitors = blocking(locks);
    let message = match word {
        "yes" => String::new(),
        word if is_inhibited(word) => {
            if inhibitors.is_empty() {
                inhibitors.push(unnamed_inhibitor(word));
            }
            String::new()
        }
        "challenge" => {
            "logind requires a password (CanReboot returned challenge): run the actuator as uid 0 without user namespaces, \
             or allow org.freedesktop.login1.reboot in polkit"
                .to_owned()
        }
        "no" => {
            "logind does not allow a reboot (CanReboot returned no): allow org.freedesktop.login1.reboot in polkit"
                .to_owned()
        }
        other => format!("logind cannot reboot this host (CanReboot returned {})", fit(other, 32)),
    };
    Probe {
        answered: true,
        capable: message.is_empty(),
        message,
        inhibitors,
        soft_reboots: None,
    }
}

/// Whether only an inhibitor lock prevents the reboot. Since systemd 257, locks also block root, and `CanReboot` says so.
fn is_inhibited(word: &str) -> bool {
    matches!(word, "inhibited" | "inhibitor-blocked" | "challenge-inhibitor-blocked")
}

/// logind refuses because of a lock that its list does not have.
fn unnamed_inhibitor(word: &str) -> Inhibitor {
    Inhibitor {
        who: "a program".to_owned(),
        why: format!("logind does not name it (CanReboot returned {word}); run systemd-inhibit --list on the host"),
    }
}

/// The inhibitors that block a shutdown by root: mode `block`. Locks of mode `delay`, such as the kubelet's, only delay
/// it, and root may override `block-weak`.
fn blocking(locks: &[InhibitorTuple]) -> Vec<Inhibitor> {
    let blocks =
        |(what, _, _, mode, ..): &&InhibitorTuple| mode == "block" && what.split(':').any(|word| word == "shutdown");
    let blocking = locks.iter().filter(blocks);
    blocking
        .map(|(_, who, why, ..)| Inhibitor {
            who: fit(who, NAME),
            why: fit(why, NAME),
        })
        .collect()
}

fn is_unknown_method(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(fdo) if matches!(**fdo, fdo::Error::UnknownMethod(_)))
}

/// The remedy for an error of the bus, with the error.
fn remedy(socket: &Path, error: &zbus::Error) -> String {
    let text = error.to_string();
    let socket = socket.display();
    let advice = if text.contains("AppArmor") {
        "AppArmor keeps the actuator from the bus: give the actuator container appArmorProfile {type: Unconfined}, or load \
         the profile lockkeeper-actuator of deploy/host"
            .to_owned()
    } else if text.contains("SELinux") {
        "SELinux keeps the actuator from the bus: give the actuator container seLinuxOptions {type: spc_t}, or load the \
         module lockkeeper of deploy/host"
            .to_owned()
    } else {
        advice(error, &socket.to_string())
    };
    format!("{advice} ({})", fit(&text, 400))
}

fn advice(error: &zbus::Error, socket: &str) -> String {
    let kind = match error {
        zbus::Error::InputOutput(io) | zbus::Error::Connection(io, _) => Some(io.kind()),
        _ => None,
    };
    match (kind, error) {
        (Some(std::io::ErrorKind::NotFound), _) => {
            format!("no system bus at {socket}: install dbus on the host, or set agent.actuator.busSocket to its socket")
        }
        (Some(std::io::ErrorKind::PermissionDenied), _) => format!("{socket} refuses the actuator: {CONFINEMENT_REMEDY}"),
        (Some(std::io::ErrorKind::ConnectionRefused), _) => format!(
            "no process listens at {socket}: the host's bus is down; start dbus.socket on the host"
        ),
        (_, zbus::Error::FDO(fdo)) => match &**fdo {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => {
                "logind is not running on this host: start systemd-logind".to_owned()
            }
            fdo::Error::AccessDenied(_) | fdo::Error::AuthFailed(_) => {
                format!("the bus refuses the actuator: {CONFINEMENT_REMEDY}; or the host's own D-Bus policy forbids it")
            }
            fdo::Error::InteractiveAuthorizationRequired(_) => {
                "logind requires a password: run the actuator as uid 0 without user namespaces, or allow org.freedesktop.login1.reboot in polkit"
                    .to_owned()
            }
            _ => "logind did not answer: check systemctl status systemd-logind on the host".to_owned(),
        },
        (_, zbus::Error::MethodError(name, ..)) if name.as_str() == BLOCKED => {
            "a program inhibits the shutdown: see systemd-inhibit --list on the host".to_owned()
        }
        _ => "logind did not reboot the host: check systemctl status systemd-logind on the host".to_owned(),
    }
}

/// The four calls of `org.freedesktop.login1.Manager` that the actuator uses.
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

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(mode: &str) -> InhibitorTuple {
        let text = str::to_owned;
        (
            text("shutdown"),
            text("fwupd"),
            text("firmware update"),
            text(mode),
            0,
            1,
        )
    }

    #[test]
    fn a_host_that_only_an_inhibitor_keeps_from_rebooting_is_capable() {
        for word in ["inhibited", "inhibitor-blocked", "challenge-inhibitor-blocked"] {
            let probe = read_answers(word, &[lock("delay"), lock("block")]);
            assert_eq!((probe.capable, probe.message.as_str()), (true, ""), "{word}");
            let who: Vec<&str> = probe.inhibitors.iter().map(|one| one.who.as_str()).collect();
            assert_eq!(who, ["fwupd"], "{word}");
        }
    }

    #[test]
    fn an_inhibitor_that_logind_does_not_name_still_blocks() {
        let probe = read_answers("inhibited", &[lock("delay"), lock("block-weak")]);
        assert!(probe.capable);
        assert!(probe.inhibitors[0].why.contains("systemd-inhibit --list"), "{probe:?}");
    }

    #[test]
    fn a_bus_that_refuses_names_apparmor_and_selinux_with_the_remedy() {
        let io = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let errors: [zbus::Error; 2] = [
            zbus::Error::InputOutput(std::sync::Arc::new(io)),
            fdo::Error::AccessDenied("denied".into()).into(),
        ];
        for error in errors {
            let text = remedy("/run/dbus/system_bus_socket".as_ref(), &error);
            for word in ["AppArmor", "SELinux", "uid 0", "{type: Unconfined}", "{type: spc_t}"] {
                assert!(text.contains(word), "{word}: {text}");
            }
            assert!(text.len() < MESSAGE, "nothing is cut off: {text}");
        }
        let text = fdo::Error::AccessDenied("An AppArmor policy prevents this sender from sending".into());
        let text = remedy("/bus".as_ref(), &text.into());
        assert!(
            text.contains("the profile lockkeeper-actuator") && !text.contains("SELinux"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_word_is_no_permission() {
        for word in ["na", "no", "challenge", "maybe", ""] {
            let probe = read_answers(word, &[]);
            assert!(!probe.capable && !probe.message.is_empty(), "{word}: {probe:?}");
        }
    }
}
