//! What reboots the host: its logind, or a command.

use std::path::Path;

use crate::logind::{Logind, OpenLogind, Probe, Reply, Way};
use crate::logind_signals::LogindSignals;
use crate::reboot_command::RebootCommand;

/// What reboots the host.
#[derive(Clone, Debug)]
pub(crate) enum Rebooter {
    /// logind, over the system bus.
    Logind(Logind),
    /// A command of the administrator's.
    Command(RebootCommand),
}

/// A rebooter from which the reboot can be requested.
#[derive(Debug)]
pub(crate) enum OpenRebooter {
    /// A connection to logind.
    Logind(OpenLogind),
    /// A command, which needs none.
    Command(RebootCommand),
}

impl Rebooter {
    /// The command if there is one, or else logind on the bus at this socket.
    pub(crate) fn new(command: Option<RebootCommand>, bus: &Path) -> Self {
        match command {
            Some(command) => Self::Command(command),
            None => Self::Logind(Logind::new(bus)),
        }
    }

    /// Checks whether the host can reboot, without changing anything.
    pub(crate) async fn probe(&self) -> Probe {
        match self {
            Self::Logind(logind) => logind.probe().await,
            Self::Command(command) => command.probe(),
        }
    }

    /// Prepares the request; the error contains the remedy. Nothing is requested yet.
    pub(crate) async fn open(&self) -> Result<OpenRebooter, String> {
        match self {
            Self::Logind(logind) => logind.open().await.map(OpenRebooter::Logind),
            Self::Command(command) => Ok(OpenRebooter::Command(command.clone())),
        }
    }

    /// Whether it tells by signals that its answers have changed. A command does not, and what it answers does not change by
    /// itself.
    pub(crate) fn sends_signals(&self) -> bool {
        matches!(self, Self::Logind(_))
    }

    /// Subscribes to the signals, if there are any. What is wrong with the bus shows in the probe.
    pub(crate) async fn subscribe(&self) -> Option<LogindSignals> {
        match self {
            Self::Logind(logind) => LogindSignals::subscribe(logind)
                .await
                .inspect_err(|error| tracing::debug!(%error, "not subscribed to the signals of logind"))
                .ok(),
            Self::Command(_) => None,
        }
    }
}

impl OpenRebooter {
    /// Requests the reboot. A command reboots the host in its own way.
    pub(crate) async fn reboot(&self, way: Way) -> Reply {
        match self {
            Self::Logind(logind) => logind.reboot(way).await,
            Self::Command(_) if way == Way::Userspace => {
                Reply::Failed("the reboot command does not soft-reboot the host".to_owned())
            }
            Self::Command(command) => command.run().await,
        }
    }
}
