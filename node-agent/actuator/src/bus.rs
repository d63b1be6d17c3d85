//! Connections to the system bus.

use std::path::Path;
use std::time::Duration;

use zbus::{Address, Connection, connection, fdo};

/// A host that is going down answers slowly; one that hangs never answers.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects to the bus at this socket.
pub(crate) async fn connect(socket: &Path) -> zbus::Result<Connection> {
    let address: Address = format!("unix:path={}", socket.display()).parse()?;
    let connecting = connection::Builder::address(address)
        .method_timeout(REPLY_TIMEOUT)
        .build();
    tokio::time::timeout(REPLY_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(fdo::Error::TimedOut("the bus does not respond".into()).into()))
}

/// Whether no reply tells what became of the request. Only an error that came as a reply is one.
pub(crate) fn is_lost(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(..) => false,
        zbus::Error::FDO(fdo) => matches!(
            **fdo,
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) | fdo::Error::Disconnected(_)
        ),
        _ => true,
    }
}
