//! A host that obeys and shows itself through the annotations of its Node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lockkeeper_channel::{AnswerState, HostAnswer, HostFacts, HostOrder};
use lockkeeper_node_agent::{Host, HostView};
use serde_json::json;
use tokio::sync::watch;

use super::node::{HollowNode, OnReboot, Programs};
use super::{REBOOT_REQUIRED, REBOOT_REQUIRED_SINCE};
use crate::hollow::BOOT_ID;

/// A real host reboots without the API server; this one tries again until it gets its word in.
const RETRY: Duration = Duration::from_millis(500);

/// One host during one boot.
pub(super) struct FakeHost {
    name: String,
    node: watch::Receiver<HollowNode>,
    nodes: Api<Node>,
    asked: String,
    answer: Option<HostAnswer>,
    /// Something happened that the Node does not show.
    stirred: bool,
}

impl FakeHost {
    pub(super) fn new(name: &str, node: watch::Receiver<HollowNode>, nodes: Api<Node>) -> Self {
        Self {
            name: name.to_owned(),
            node,
            nodes,
            asked: String::new(),
            answer: None,
            stirred: true,
        }
    }

    /// What the actuator does with an order.
    async fn obey(&self, order: &HostOrder) -> Result<(AnswerState, String)> {
        let node = self.node.borrow().clone();
        if order.boot_id != node.boot_id {
            let words = format!("the order is for boot {}, this is boot {}", order.boot_id, node.boot_id);
            return Ok((AnswerState::Refused, words));
        }
        if let Some(why) = node.incapable {
            return Ok((AnswerState::Refused, why));
        }
        if let Some(inhibitor) = node.inhibitor {
            let words = format!("shutdown inhibited by {}: {}", inhibitor.who, inhibitor.why);
            return Ok((AnswerState::Refused, words));
        }
        match node.on_reboot {
            OnReboot::Works => self.reboot(node.still_required).await?,
            OnReboot::Hangs => {}
            OnReboot::Fails(words) => return Ok((AnswerState::Failed, words)),
        }
        Ok((AnswerState::Rebooting, String::new()))
    }

    /// The next boot is on the Node before the order is answered: a killed process neither loses nor repeats it.
    async fn reboot(&self, still_required: bool) -> Result<()> {
        let next = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("make a boot id")?;
        let mut annotations = json!({ BOOT_ID: next.trim() });
        if !still_required {
            // A reboot empties the host's /run.
            annotations[REBOOT_REQUIRED] = json!(null);
            annotations[REBOOT_REQUIRED_SINCE] = json!(null);
        }
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        while let Err(error) = self.nodes.patch(&self.name, &PatchParams::default(), &patch).await {
            tracing::warn!(node = self.name, %error, "reboot not shown on the Node; tried again");
            tokio::time::sleep(RETRY).await;
        }
        tracing::info!(node = self.name, boot = next.trim(), "rebooting");
        Ok(())
    }
}

impl Host for FakeHost {
    async fn observe(&mut self) -> Result<HostView> {
        let node = self.node.borrow_and_update().clone();
        let boot_id = node.seen_boot_id().to_owned();
        let facts = (node.programs == Programs::Both).then(|| HostFacts {
            boot_id: boot_id.clone(),
            order_id: self.asked.clone(),
            reboot_capable: node.incapable.is_none(),
            message: node.incapable.clone().unwrap_or_default(),
            inhibitors: node.inhibitor.clone().into_iter().collect(),
            soft_reboots: None,
            // The tests reboot hollow nodes again and again.
            min_uptime_seconds: 0,
        });
        Ok(HostView {
            boot_id,
            boot_time: node.boot_time,
            soft_rebooted: None,
            uptime: Duration::ZERO,
            os: node.os,
            kernel: node.kernel,
            reboot_required: node.required,
            facts,
            answer: self.answer.clone(),
        })
    }

    async fn changed(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.stirred) {
            self.node
                .changed()
                .await
                .context("the Nodes are not watched any more")?;
        }
        Ok(())
    }

    async fn request_facts(&mut self, order_id: &str) -> Result<()> {
        order_id.clone_into(&mut self.asked);
        self.stirred = true;
        Ok(())
    }

    async fn set_order(&mut self, order: &HostOrder) -> Result<()> {
        let actuator_runs = self.node.borrow().programs == Programs::Both;
        if !actuator_runs || self.answer.as_ref().is_some_and(|answer| answer.id == order.id) {
            return Ok(());
        }
        ensure!(!order.id.is_empty(), "an order without id");
        let (state, message) = self.obey(order).await?;
        self.answer = Some(HostAnswer {
            id: order.id.clone(),
            boot_id: order.boot_id.clone(),
            soft_reboots: None,
            state,
            message,
        });
        self.stirred = true;
        Ok(())
    }

    /// An order is answered when it is set: there is none to withdraw.
    async fn withdraw_order(&mut self) -> Result<bool> {
        Ok(false)
    }
}
