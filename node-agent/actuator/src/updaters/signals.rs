//! The signals by which the bus tells that a program may say something else about updates.

use std::path::Path;

use futures::StreamExt;
use lockkeeper_channel::Updater;
use zbus::message::Type;
use zbus::{MatchRule, Message, MessageStream, fdo};

use super::rpm_ostree;
use super::update_engine::{self, CHROMEOS, Engine, FLATCAR, STATUS_UPDATE, STATUS_UPDATE_ADVANCED};
use crate::bus::connect;

const PROPERTIES_CHANGED: &str = "PropertiesChanged";
const NAME_OWNER_CHANGED: &str = "NameOwnerChanged";

/// A subscription, on a connection of its own.
#[derive(Debug)]
pub(super) struct UpdaterSignals {
    messages: MessageStream,
}

impl UpdaterSignals {
    /// Subscribes; changes from now on are noticed.
    pub(super) async fn subscribe(socket: &Path) -> zbus::Result<Self> {
        let connection = connect(socket).await?;
        let messages = MessageStream::from(&connection);
        let bus = fdo::DBusProxy::new(&connection).await?;
        for engine in [FLATCAR, CHROMEOS] {
            bus.add_match_rule(status_update(engine)?).await?;
            bus.add_match_rule(name_owner_changed(engine.service)?).await?;
        }
        bus.add_match_rule(deployments_changed()?).await?;
        Ok(Self { messages })
    }

    /// Returns `true` once a program may say something else than `engine`, what is known of `update_engine`; `false` once the
    /// connection has ended. May be dropped at any time.
    pub(super) async fn changed(&mut self, engine: Option<&Updater>) -> bool {
        loop {
            match self.messages.next().await {
                Some(Ok(message)) if matters(&message, engine) => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    }
}

/// Whether a message tells of a change. `update_engine` sends its status for each percent of a download.
fn matters(message: &Message, engine: Option<&Updater>) -> bool {
    let header = message.header();
    let status = match header.member().map(zbus::names::MemberName::as_str) {
        Some(STATUS_UPDATE) => update_engine::status(&message.body()),
        Some(STATUS_UPDATE_ADVANCED) => update_engine::advanced_status(&message.body()),
        // rpm-ostree's daemon ends when it is idle: that is no change.
        Some(PROPERTIES_CHANGED | NAME_OWNER_CHANGED) => return header.message_type() == Type::Signal,
        _ => return false,
    };
    // A status that cannot be decoded is asked for again: the answer, or the error, is what counts.
    status.map_or(true, |status| engine != Some(&super::merged(engine, status)))
}

fn status_update(engine: Engine) -> zbus::Result<MatchRule<'static>> {
    // Flatcar's description of the interface names another object than the program uses: any will do.
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(engine.service)
        .interface(engine.interface)
        .build()
}

/// A program started or stopped.
fn name_owner_changed(service: &'static str) -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member(NAME_OWNER_CHANGED)
        .add_arg(service)
        .build()
}

/// rpm-ostree has other deployments.
fn deployments_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(rpm_ostree::SERVICE)
        .path_namespace(rpm_ostree::PATH)
        .interface("org.freedesktop.DBus.Properties")
        .member(PROPERTIES_CHANGED)
        .build()
}
