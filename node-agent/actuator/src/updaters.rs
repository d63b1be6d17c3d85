//! The programs that update the host and tell about it on the system bus: `update_engine` and rpm-ostree.
//!
//! The agent reports that a reboot is required, but it has no access to the bus (decision 0031). So the actuator asks the
//! programs, and writes down what they say. It asks when it starts, when the agent requests facts, and when a signal tells of
//! a change. A program that does not answer is asked again later.

mod protobuf;
mod rpm_ostree;
mod signals;
mod update_engine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lockkeeper_channel::text::{NAME, fit};
use lockkeeper_channel::{HostUpdates, RPM_OSTREE, UPDATE_ENGINE, Updater, UpdaterState};
use tokio::time::timeout;
use zbus::{Connection, fdo};

use crate::bus::connect;
use signals::UpdaterSignals;

/// `update_engine` marks the booted slot as good 45 s after its start. A reboot before that falls back to the old slot. On a
/// host that is this long up, that is over.
const CONFIRMED_AFTER_BOOT: Duration = Duration::from_mins(5);
/// The same for an `update_engine` that the actuator saw start.
const CONFIRMED_AFTER_START: Duration = Duration::from_mins(2);

/// The programs, and what they said last.
#[derive(Debug)]
pub(crate) struct Updaters {
    socket: PathBuf,
    /// How long the programs may take to answer.
    answer_within: Duration,
    signals: Option<UpdaterSignals>,
    known: Vec<Updater>,
    /// Whether a bus was asked for `update_engine` before.
    asked: bool,
    /// From which uptime on `update_engine` has marked the booted slot as good; `None` on a host without it.
    confirmed_at: Option<Duration>,
}

impl Updaters {
    /// The programs on the bus at this socket; `before` is what was known of them in this boot.
    pub(crate) fn new(socket: &Path, answer_within: Duration, before: Option<HostUpdates>) -> Self {
        Self {
            socket: socket.to_owned(),
            answer_within,
            signals: None,
            known: before.map(|before| before.updaters).unwrap_or_default(),
            asked: false,
            confirmed_at: None,
        }
    }

    /// Asks each program whether an update waits for a reboot, on a host that has been up for so long.
    pub(crate) async fn ask(&mut self, uptime: Duration) -> &[Updater] {
        if self.signals.is_none() {
            // Before asking, so that no change is missed. What is wrong with the bus shows in the answers.
            let subscription = UpdaterSignals::subscribe(&self.socket).await;
            self.signals = subscription
                .inspect_err(|error| tracing::debug!(%error, "not subscribed to the signals of updates"))
                .ok();
        }
        let answers = ask_both(&self.socket, self.answer_within).await;
        if let [engine, _] = &answers
            && self.confirmed_at.is_none()
            && engine.state != UpdaterState::Failing
        {
            self.confirmed_at = (engine.state != UpdaterState::Absent).then(|| confirmed_at(!self.asked, uptime));
            self.asked = true;
        }
        let known = std::mem::take(&mut self.known);
        self.known = answers
            .into_iter()
            .map(|answer| {
                let before = known.iter().find(|before| before.name == answer.name);
                merged(before, answer)
            })
            .collect();
        &self.known
    }

    /// Whether a program must be asked again although no signal tells of a change.
    pub(crate) fn is_failing(&self) -> bool {
        self.known.iter().any(|updater| updater.state == UpdaterState::Failing)
    }

    /// From which uptime on a reboot does not undo the last update.
    pub(crate) fn confirmed_at(&self) -> Duration {
        self.confirmed_at.unwrap_or_default()
    }

    /// Returns `true` once a program may say something else, or `false` once the connection has ended; may be dropped at any
    /// time.
    pub(crate) async fn changed(&mut self) -> bool {
        let engine = self.known.iter().find(|updater| updater.name == UPDATE_ENGINE);
        match &mut self.signals {
            Some(signals) => signals.changed(engine).await,
            None => std::future::pending().await,
        }
    }

    /// The bus has ended, or another one may be there.
    pub(crate) fn disconnect(&mut self) {
        self.signals = None;
    }
}

async fn ask_both(socket: &Path, within: Duration) -> [Updater; 2] {
    let connection = match timeout(within, connect(socket)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return [UPDATE_ENGINE, RPM_OSTREE].map(|name| failing(name, &error)),
        Err(_) => return [UPDATE_ENGINE, RPM_OSTREE].map(|name| late(name, within)),
    };
    let in_time = async |name: &str, ask: BoxFuture<'_, zbus::Result<Updater>>| match timeout(within, ask).await {
        Ok(Ok(updater)) => updater,
        Ok(Err(error)) => failing(name, &error),
        Err(_) => late(name, within),
    };
    let (engine, ostree) = tokio::join!(
        in_time(UPDATE_ENGINE, update_engine::ask(&connection).boxed()),
        in_time(RPM_OSTREE, rpm_ostree::ask(&connection).boxed())
    );
    [engine, ostree]
}

fn late(name: &str, within: Duration) -> Updater {
    let message = format!("{name} gave no answer within {within:?}; check its service on the host");
    Updater::new(name, UpdaterState::Failing, message)
}

fn failing(name: &str, error: &zbus::Error) -> Updater {
    let remedy = match error {
        zbus::Error::FDO(fdo) if matches!(**fdo, fdo::Error::AccessDenied(_) | fdo::Error::AuthFailed(_)) => {
            format!("the bus does not let the actuator ask {name}: run it as uid 0, and check AppArmor and SELinux")
        }
        zbus::Error::InputOutput(_) | zbus::Error::Connection(..) => {
            format!("{name} cannot be asked, because the actuator cannot use the system bus")
        }
        _ => format!("{name} gave no usable answer; check its service on the host"),
    };
    let message = fit(&format!("{remedy} ({error})"), NAME);
    Updater::new(name, UpdaterState::Failing, message)
}

/// What is known after an answer. An update that waits for a reboot goes on waiting while its program cannot be asked, such as
/// during its restart. The version is kept: after a restart `update_engine` does not know it any more.
fn merged(before: Option<&Updater>, answer: Updater) -> Updater {
    let Some(before) = before.filter(|before| before.state == UpdaterState::Required) else {
        return answer;
    };
    match answer.state {
        UpdaterState::Absent | UpdaterState::Failing | UpdaterState::Unknown => before.clone(),
        UpdaterState::Required if answer.message == update_engine::UNKNOWN_VERSION => before.clone(),
        UpdaterState::Required | UpdaterState::NotRequired => answer,
    }
}

/// From which uptime on `update_engine` has marked the booted slot as good, if it was first seen at this uptime.
fn confirmed_at(is_first_look: bool, seen_at: Duration) -> Duration {
    if is_first_look {
        return CONFIRMED_AFTER_BOOT;
    }
    CONFIRMED_AFTER_BOOT.max(seen_at + CONFIRMED_AFTER_START)
}

/// Whether a program has this name on the bus.
async fn is_there(connection: &Connection, name: &str) -> zbus::Result<bool> {
    let bus = fdo::DBusProxy::new(connection).await?;
    Ok(bus.name_has_owner(name.try_into()?).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(state: UpdaterState, message: &str) -> Updater {
        Updater::new(UPDATE_ENGINE, state, message)
    }

    #[test]
    fn an_update_goes_on_waiting_while_its_program_cannot_be_asked() {
        let waits = engine(UpdaterState::Required, "update_engine installed version 4152.2.0");
        for state in [UpdaterState::Absent, UpdaterState::Failing, UpdaterState::Unknown] {
            assert_eq!(merged(Some(&waits), engine(state, "")), waits);
        }
        let idle = engine(UpdaterState::NotRequired, "");
        assert_eq!(merged(Some(&waits), idle.clone()), idle, "its status was reset");
        assert_eq!(merged(None, waits.clone()), waits);
        let absent = engine(UpdaterState::Absent, "");
        assert_eq!(merged(Some(&idle), absent.clone()), absent);
    }

    #[test]
    fn a_version_that_was_known_stays_known() {
        let waits = engine(UpdaterState::Required, "update_engine installed version 4152.2.0");
        let without = engine(UpdaterState::Required, update_engine::UNKNOWN_VERSION);
        assert_eq!(merged(Some(&waits), without.clone()), waits);
        assert_eq!(merged(None, without.clone()), without);
        let newer = engine(UpdaterState::Required, "update_engine installed version 4230.1.0");
        assert_eq!(merged(Some(&waits), newer.clone()), newer);
    }

    #[test]
    fn the_booted_slot_is_good_some_time_after_the_boot_and_after_update_engine_began() {
        let at = Duration::from_secs;
        assert_eq!(confirmed_at(true, at(20)), at(300));
        assert_eq!(confirmed_at(true, at(9000)), at(300));
        assert_eq!(confirmed_at(false, at(40)), at(300));
        assert_eq!(confirmed_at(false, at(9000)), at(9120));
    }
}
