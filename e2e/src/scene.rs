//! What the scenes of a test ask the cluster again and again.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use lockkeeper_crds::{NodeReboot, Phase, RebootLock, names};
use tokio::time::{Instant, sleep};

use crate::stack::Stack;

/// The longest that a scene waits for anything: a ceiling, not a measure.
pub const LONG: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);

impl Stack {
    /// The name of the node with this number.
    pub fn name(&self, index: usize) -> &str {
        &self.nodes.names()[index]
    }

    /// The Node as it is now.
    pub async fn node(&self, name: &str) -> Result<Node> {
        let nodes: Api<Node> = Api::all(self.plane.client());
        nodes.get(name).await.with_context(|| format!("read Node {name}"))
    }

    /// Whether no new pod is scheduled on this node.
    pub async fn is_cordoned(&self, name: &str) -> Result<bool> {
        let spec = self.node(name).await?.spec.unwrap_or_default();
        Ok(spec.unschedulable == Some(true))
    }

    /// The nodes that hold a slot.
    pub async fn holders(&self) -> Result<Vec<String>> {
        let locks: Api<RebootLock> = Api::all(self.plane.client());
        let lock = locks.get_opt(names::LOCK).await.context("read the RebootLock")?;
        let status = lock.and_then(|lock| lock.status).unwrap_or_default();
        Ok(status.holders.into_iter().map(|holder| holder.node).collect())
    }

    /// Waits until a node waits for this reason with these words in its message, and returns the message.
    pub async fn waits(&self, node: &str, reason: &str, words: &str) -> Result<String> {
        let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
        let good = |reboot: &NodeReboot| {
            waiting(reboot).is_some_and(|waiting| waiting.reason == reason && waiting.message.contains(words))
        };
        let reboot = self.wait_reboot(node, reason, LONG, good).await?;
        Ok(waiting(&reboot).map(|waiting| waiting.message).unwrap_or_default())
    }

    /// Waits until a node's operation is in this phase.
    pub async fn wait_phase(&self, node: &str, phase: Phase) -> Result<NodeReboot> {
        let in_phase = |reboot: &NodeReboot| {
            let operation = reboot.status.as_ref().and_then(|status| status.operation.as_ref());
            operation.is_some_and(|operation| operation.phase == phase)
        };
        let what = format!("in phase {phase:?}");
        self.wait_reboot(node, &what, LONG, in_phase).await
    }
}

/// Looks again and again until there is something to see.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> Result<T> {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < end, "never: {what}");
        sleep(POLL).await;
    }
}
