//! Applies the events of the watches to the state; lists only once they are complete.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::budget::BudgetView;
use crate::error::Error;
use crate::node::NodeView;
use crate::pod::PodView;
use crate::state::State;
use crate::watches::WatchEvent;

/// Objects of lists that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct WatchIntake {
    pods: Vec<PodView>,
    budgets: BTreeMap<String, Vec<BudgetView>>,
    attachments: Option<BTreeMap<String, String>>,
    /// Whether the incomplete list of nodes has contained the node.
    node_listed: bool,
}

impl WatchIntake {
    /// Applies one event. A deleted node ends the drain.
    pub(crate) fn apply(&mut self, state: &mut State, now: DateTime<Utc>, event: WatchEvent) -> Result<(), Error> {
        match event {
            WatchEvent::PodListing(None) => self.pods.clear(),
            WatchEvent::PodListing(Some(pod)) => self.pods.push(pod),
            WatchEvent::PodsListed => {
                state.note_first_list(now);
                state.pods_listed(now, std::mem::take(&mut self.pods));
            }
            WatchEvent::Pod(pod) => state.pod_applied(now, pod),
            WatchEvent::PodGone(uid) => state.pod_deleted(&uid),
            WatchEvent::BudgetListing(namespace, None) => {
                self.budgets.remove(&namespace);
            }
            WatchEvent::BudgetListing(namespace, Some(budget)) => {
                self.budgets.entry(namespace).or_default().push(budget);
            }
            WatchEvent::BudgetsListed(namespace) => {
                let budgets = self.budgets.remove(&namespace).unwrap_or_default();
                state.budgets_listed(&namespace, budgets);
            }
            WatchEvent::Budget(budget) => state.budget_applied(budget),
            WatchEvent::BudgetGone(name) => state.budget_deleted(&name),
            WatchEvent::BudgetsFailed(namespace, message) => {
                state.budgets_unavailable(&namespace);
                state.record_failure(now, message);
            }
            WatchEvent::NodeListing => self.node_listed = false,
            WatchEvent::Node(node) => {
                self.node_listed = true;
                apply_node(state, now, node)?;
            }
            WatchEvent::NodeListed if self.node_listed => {}
            WatchEvent::NodeListed | WatchEvent::NodeGone => return Err(node_deleted(state)),
            WatchEvent::AttachmentListing => self.attachments = Some(BTreeMap::new()),
            WatchEvent::Attachment(name, volume) => {
                let attachments = self.attachments.as_mut().or(state.volumes.attached.as_mut());
                attachments.map(|attachments| attachments.insert(name, volume));
            }
            WatchEvent::AttachmentsListed => state.volumes.attached = self.attachments.take(),
            WatchEvent::AttachmentGone(name) => {
                state
                    .volumes
                    .attached
                    .as_mut()
                    .map(|attachments| attachments.remove(&name));
            }
            WatchEvent::Responders(event) => state.responders_changed(now, event),
            WatchEvent::Failed(message) => state.record_failure(now, message),
            WatchEvent::Unrelated => {}
        }
        Ok(())
    }
}

fn apply_node(state: &mut State, now: DateTime<Utc>, node: NodeView) -> Result<(), Error> {
    let replaced = state.node.as_ref().is_some_and(|known| known.uid != node.uid);
    if replaced {
        return Err(node_deleted(state));
    }
    let since = state.cordoned_since.unwrap_or(now);
    state.cordoned_since = node.cordoned.then_some(since);
    state.node = Some(node);
    Ok(())
}

fn node_deleted(state: &State) -> Error {
    Error::NodeDeleted {
        node: state.settings.node.clone(),
    }
}
