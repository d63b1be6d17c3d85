//! A host in memory: what its agent sees of it, and the order that the agent passed on.

use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use lockkeeper_channel::{AnswerState, HostAnswer, HostFacts, HostOrder, SoftReboots};
use lockkeeper_crds::RebootRequired;
use lockkeeper_crds::host::Cause;
use lockkeeper_node_agent::{Host, HostView};
use tokio::sync::Notify;

/// A host; clones are the same one. It outlives its agent, as the directory does that agent and actuator share.
#[derive(Clone, Default)]
pub struct SimulatedHost {
    state: Arc<Mutex<HostState>>,
    /// For the agent.
    changed: Arc<Notify>,
    /// For the machine.
    ordered: Arc<Notify>,
}

/// The state of a host.
#[derive(Default)]
pub struct HostState {
    pub view: HostView,
    pub order: Option<HostOrder>,
    /// The soft-reboots of its boot, if they are counted.
    counted: Option<SoftReboots>,
    /// The orders that the host has carried out, with the boot, or the userspace, that each one ended.
    pub executed: Vec<(String, String)>,
}

impl SimulatedHost {
    /// A host that requires a reboot since its boot.
    pub fn new(node: &str, booted: DateTime<Utc>) -> Self {
        let host = Self::default();
        host.boot(format!("{node}-boot-1"), booted);
        host.require_reboot(booted, "linux-image");
        host
    }

    /// An update was installed that requires a reboot.
    pub fn require_reboot(&self, since: DateTime<Utc>, cause: &str) {
        self.state().view.reboot_required = RebootRequired {
            required: true,
            since: Some(since),
            reasons: vec![Cause(cause.to_owned())],
            source: "Debian sentinel".to_owned(),
            ..RebootRequired::default()
        };
        self.changed.notify_one();
    }

    /// What is required concerns the userspace only, and the host counts its soft-reboots.
    pub fn needs_only_a_soft_reboot(&self) {
        let mut state = self.state();
        state.view.reboot_required.userspace_only = true;
        state.view.reboot_required.reasons = vec![Cause("libc6".to_owned())];
        state.count(0);
        drop(state);
        self.changed.notify_one();
    }

    /// The userspace is up again, in the same boot, and requires no reboot. The shared directory is still there.
    pub fn soft_reboot(&self, started: DateTime<Utc>) {
        let mut state = self.state();
        let before = state.counted.map_or(0, |counted| counted.count);
        state.count(before + 1);
        state.view.soft_rebooted = Some(started);
        state.view.reboot_required = RebootRequired::default();
        drop(state);
        self.changed.notify_one();
    }

    /// The host is up, in a new boot that requires no reboot.
    pub fn boot(&self, boot_id: String, booted: DateTime<Utc>) {
        let mut state = self.state();
        state.order = None;
        state.counted = None;
        state.view = HostView {
            facts: Some(facts(&boot_id, "", None)),
            boot_id,
            boot_time: Some(booted),
            os: "Debian GNU/Linux 13".to_owned(),
            kernel: "6.12".to_owned(),
            ..HostView::default()
        };
        drop(state);
        self.changed.notify_one();
    }

    pub fn state(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap()
    }

    /// Waits for an order that the actuator has not answered.
    pub async fn order(&self) -> HostOrder {
        loop {
            let open = {
                let state = self.state();
                let answered = state.view.answer.as_ref().map(|answer| answer.id.clone());
                state.order.clone().filter(|order| Some(&order.id) != answered.as_ref())
            };
            match open {
                Some(order) => return order,
                None => self.ordered.notified().await,
            }
        }
    }

    /// The actuator's last look at the order; the host carries it out if it still stands for this boot.
    pub fn execute(&self, order: &HostOrder) -> bool {
        let mut state = self.state();
        let counted = state.counted.map(|counted| counted.count);
        let is_counted = order.soft_reboots.is_none() || order.soft_reboots == counted;
        if state.order.as_ref() != Some(order) || state.view.boot_id != order.boot_id || !is_counted {
            return false;
        }
        let ended = format!("{} {:?}", order.boot_id, counted);
        state.executed.push((order.id.clone(), ended));
        state.view.answer = Some(HostAnswer {
            id: order.id.clone(),
            boot_id: order.boot_id.clone(),
            soft_reboots: order.soft_reboots,
            state: AnswerState::Rebooting,
            message: String::new(),
        });
        drop(state);
        self.changed.notify_one();
        true
    }
}

impl HostState {
    /// The actuator counts so many soft-reboots.
    fn count(&mut self, count: u32) {
        let started_micros = 0;
        self.counted = Some(SoftReboots { count, started_micros });
        self.view.facts = Some(facts(&self.view.boot_id, "", self.counted));
    }
}

fn facts(boot_id: &str, order_id: &str, soft_reboots: Option<SoftReboots>) -> HostFacts {
    HostFacts {
        boot_id: boot_id.to_owned(),
        order_id: order_id.to_owned(),
        reboot_capable: true,
        soft_reboots,
        ..HostFacts::default()
    }
}

impl Host for SimulatedHost {
    async fn observe(&mut self) -> anyhow::Result<HostView> {
        Ok(self.state().view.clone())
    }

    async fn changed(&mut self) -> anyhow::Result<()> {
        self.changed.notified().await;
        Ok(())
    }

    async fn request_facts(&mut self, order_id: &str) -> anyhow::Result<()> {
        let mut state = self.state();
        state.view.facts = Some(facts(&state.view.boot_id, order_id, state.counted));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    async fn set_order(&mut self, order: &HostOrder) -> anyhow::Result<()> {
        self.state().order = Some(order.clone());
        self.ordered.notify_one();
        Ok(())
    }

    async fn withdraw_order(&mut self) -> anyhow::Result<bool> {
        Ok(self.state().order.take().is_some())
    }
}
