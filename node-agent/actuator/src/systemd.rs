//! The host's systemd, over the system bus: how often it was soft-rebooted. The actuator reads two properties and nothing else.

use lockkeeper_channel::SoftReboots;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::bus::is_lost;

/// How often the userspace alone was rebooted since the boot; `None` if systemd does not tell: it is too old, or not there, or
/// the bus does not let the actuator ask.
pub(crate) async fn count_soft_reboots(connection: &Connection) -> zbus::Result<Option<SoftReboots>> {
    match ask(connection).await {
        Ok(soft_reboots) => Ok(Some(soft_reboots)),
        Err(error) if is_lost(&error) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the soft-reboots are not counted");
            Ok(None)
        }
    }
}

async fn ask(connection: &Connection) -> zbus::Result<SoftReboots> {
    let manager = manager::ManagerProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    Ok(SoftReboots {
        count: manager.soft_reboots_count().await?,
        started_micros: manager.userspace_timestamp_monotonic().await?,
    })
}

/// The two properties of `org.freedesktop.systemd1.Manager`.
mod manager {
    use zbus::proxy;

    #[proxy(
        interface = "org.freedesktop.systemd1.Manager",
        default_service = "org.freedesktop.systemd1",
        default_path = "/org/freedesktop/systemd1"
    )]
    pub(super) trait Manager {
        #[zbus(property)]
        fn soft_reboots_count(&self) -> zbus::Result<u32>;
        #[zbus(property)]
        fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;
    }
}
