//! The signals by which the bus tells that logind's answers may have changed.

use futures::StreamExt;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream, fdo};

use crate::logind::{LOGIND, Logind, MANAGER_INTERFACE, MANAGER_PATH};

const PROPERTIES_CHANGED: &str = "PropertiesChanged";
const NAME_OWNER_CHANGED: &str = "NameOwnerChanged";

/// A subscription, on a connection of its own.
///
/// logind changes a property (`BlockInhibited` and the like) whenever a program acquires or releases an inhibitor lock.
#[derive(Debug)]
pub struct LogindSignals {
    messages: MessageStream,
}

impl LogindSignals {
    /// Subscribes; changes from now on are noticed.
    pub async fn subscribe(logind: &Logind) -> zbus::Result<Self> {
        let connection = logind.connect().await?;
        let messages = MessageStream::from(&connection);
        let bus = fdo::DBusProxy::new(&connection).await?;
        bus.add_match_rule(properties_changed()?).await?;
        bus.add_match_rule(name_owner_changed()?).await?;
        Ok(Self { messages })
    }

    /// Returns once logind's answers may have changed, or `false` once the connection has ended; may be dropped at any
    /// time.
    pub async fn changed(&mut self) -> bool {
        loop {
            match self.messages.next().await {
                Some(Ok(message)) => {
                    let header = message.header();
                    let member = header.member().map(zbus::names::MemberName::as_str);
                    if matches!(member, Some(PROPERTIES_CHANGED | NAME_OWNER_CHANGED)) {
                        return true;
                    }
                }
                Some(Err(_)) | None => return false,
            }
        }
    }
}

/// An inhibitor lock was acquired or released.
fn properties_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(LOGIND)
        .path(MANAGER_PATH)
        .interface("org.freedesktop.DBus.Properties")
        .member(PROPERTIES_CHANGED)
        .add_arg(MANAGER_INTERFACE)
        .build()
}

/// logind started or stopped.
fn name_owner_changed() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member(NAME_OWNER_CHANGED)
        .add_arg(LOGIND)
        .build()
}
