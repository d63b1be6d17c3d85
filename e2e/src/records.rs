//! Waiting for what a `NodeReboot` says.

use std::time::Duration;

use anyhow::{Result, bail};
use kube::Api;
use lockkeeper_crds::NodeReboot;

use crate::control_plane::ControlPlane;

/// Waits until a node's record is as wanted; the error shows how it is instead.
pub async fn wait_reboot(
    plane: &ControlPlane,
    node: &str,
    what: &str,
    limit: Duration,
    poll: Duration,
    good: impl Fn(&NodeReboot) -> bool,
) -> Result<NodeReboot> {
    let api = Api::<NodeReboot>::all(plane.client());
    let end = tokio::time::Instant::now() + limit;
    loop {
        let now = api.get_opt(node).await.ok().flatten();
        if let Some(reboot) = now.as_ref().filter(|reboot| good(reboot)) {
            return Ok(reboot.clone());
        }
        if tokio::time::Instant::now() >= end {
            bail!(
                "{node}: not {what} within {limit:?}; it is {:#?}",
                now.map(|now| (now.spec, now.status))
            );
        }
        tokio::time::sleep(poll).await;
    }
}

/// Rebooted by us, verified, and let go.
pub fn is_done(reboot: &NodeReboot) -> bool {
    let Some(status) = &reboot.status else { return false };
    status.last_reboot.is_some() && status.operation.is_none() && reboot.spec.order.is_none()
}

/// Why the agent cannot reboot the host, by its last report; empty if it can.
pub fn capable_message(reboot: &NodeReboot) -> Option<&str> {
    let host = reboot.status.as_ref()?.host.as_ref()?;
    (host.reboot_capable == host.reboot_capable_message.is_empty()).then_some(host.reboot_capable_message.as_str())
}
