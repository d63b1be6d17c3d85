//! A host in memory.

use std::sync::{Arc, Mutex};

use lockkeeper_channel::{HostAnswer, HostFacts, HostOrder};
use lockkeeper_node_agent::{Host, HostView};
use tokio::sync::Notify;

/// A host in memory; clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryHost {
    pub inner: Arc<Mutex<Memory>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
pub struct Memory {
    pub view: HostView,
    pub actuator_dead: bool,
    /// No file can be written.
    pub directory_full: bool,
    /// What the actuator answers between the agent's last look and the withdrawal of the order.
    pub answer_at_withdrawal: Option<HostAnswer>,
    /// Every order that the actuator got, and none between them when it was taken away.
    pub orders: Vec<Option<HostOrder>>,
}

impl MemoryHost {
    pub fn new(boot_id: &str) -> Self {
        let host = Self::default();
        host.change(|memory| {
            memory.view.boot_id = boot_id.into();
            memory.view.facts = Some(capable(boot_id, ""));
        });
        host
    }

    pub fn change(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.inner.lock().unwrap());
        self.changed.notify_one();
    }

    pub fn orders(&self) -> Vec<String> {
        let memory = self.inner.lock().unwrap();
        memory.orders.iter().flatten().map(|order| order.id.clone()).collect()
    }

    pub fn answer(&self, answer: HostAnswer) {
        self.change(|memory| memory.view.answer = Some(answer));
    }
}

pub fn capable(boot_id: &str, order_id: &str) -> HostFacts {
    HostFacts {
        boot_id: boot_id.into(),
        order_id: order_id.into(),
        reboot_capable: true,
        ..HostFacts::default()
    }
}

impl Host for MemoryHost {
    async fn observe(&mut self) -> anyhow::Result<HostView> {
        Ok(self.inner.lock().unwrap().view.clone())
    }

    async fn changed(&mut self) -> anyhow::Result<()> {
        self.changed.notified().await;
        Ok(())
    }

    async fn request_facts(&mut self, order_id: &str) -> anyhow::Result<()> {
        self.change(|memory| {
            if !memory.actuator_dead {
                memory.view.facts = Some(capable(&memory.view.boot_id.clone(), order_id));
            }
        });
        Ok(())
    }

    async fn set_order(&mut self, order: &HostOrder) -> anyhow::Result<()> {
        let mut memory = self.inner.lock().unwrap();
        anyhow::ensure!(!memory.directory_full, "no space left in the shared directory");
        if memory.orders.last().cloned().flatten().as_ref() != Some(order) {
            memory.orders.push(Some(order.clone()));
        }
        Ok(())
    }

    async fn withdraw_order(&mut self) -> anyhow::Result<bool> {
        let mut memory = self.inner.lock().unwrap();
        let held = matches!(memory.orders.last(), Some(Some(_)));
        if held {
            memory.orders.push(None);
            if let Some(answer) = memory.answer_at_withdrawal.take() {
                memory.view.answer = Some(answer);
            }
        }
        Ok(held)
    }
}
