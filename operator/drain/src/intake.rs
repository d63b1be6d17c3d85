//! What the watches say goes into the state; lists only when they are complete.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::budget::BudgetView;
use crate::error::Error;
use crate::node::NodeView;
use crate::pod::PodView;
use crate::state::State;
use crate::watches::Seen;

/// Objects of lists that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    pods: Vec<PodView>,
    budgets: BTreeMap<String, Vec<BudgetView>>,
    attachments: Option<BTreeMap<String, String>>,
    /// Whether the node was in the list that is not complete yet.
    node: bool,
}

impl Intake {
    /// Takes in one event; a node that is gone ends the drain.
    pub(crate) fn take(&mut self, state: &mut State, now: DateTime<Utc>, seen: Seen) -> Result<(), Error> {
        match seen {
            Seen::PodListing(None) => self.pods.clear(),
            Seen::PodListing(Some(pod)) => self.pods.push(pod),
            Seen::PodsListed => {
                state.note_first_list(now);
                state.pods_listed(std::mem::take(&mut self.pods));
            }
            Seen::Pod(pod) => state.pod_applied(pod),
            Seen::PodGone(uid) => state.pod_deleted(&uid),
            Seen::BudgetListing(namespace, None) => {
                self.budgets.remove(&namespace);
            }
            Seen::BudgetListing(namespace, Some(budget)) => self.budgets.entry(namespace).or_default().push(budget),
            Seen::BudgetsListed(namespace) => {
                let budgets = self.budgets.remove(&namespace).unwrap_or_default();
                state.budgets_listed(&namespace, budgets);
            }
            Seen::Budget(budget) => state.budget_applied(budget),
            Seen::BudgetGone(name) => state.budget_deleted(&name),
            Seen::BudgetsFailed(namespace, message) => {
                state.budgets_unseen(&namespace);
                state.failed(now, message);
            }
            Seen::NodeListing => self.node = false,
            Seen::Node(node) => {
                self.node = true;
                keep_node(state, now, node)?;
            }
            Seen::NodeListed if self.node => {}
            Seen::NodeListed | Seen::NodeGone => return Err(gone(state)),
            Seen::AttachmentListing => self.attachments = Some(BTreeMap::new()),
            Seen::Attachment(name, volume) => {
                let all = self.attachments.as_mut().or(state.volumes.attached.as_mut());
                all.map(|all| all.insert(name, volume));
            }
            Seen::AttachmentsListed => state.volumes.attached = self.attachments.take(),
            Seen::AttachmentGone(name) => {
                state.volumes.attached.as_mut().map(|all| all.remove(&name));
            }
            Seen::Failed(message) => state.failed(now, message),
            Seen::Nothing => {}
        }
        Ok(())
    }
}

fn keep_node(state: &mut State, now: DateTime<Utc>, node: NodeView) -> Result<(), Error> {
    let another = state.node.as_ref().is_some_and(|known| known.uid != node.uid);
    if another {
        return Err(gone(state));
    }
    let since = state.cordoned_since.unwrap_or(now);
    state.cordoned_since = node.cordoned.then_some(since);
    state.node = Some(node);
    Ok(())
}

fn gone(state: &State) -> Error {
    Error::NodeGone {
        node: state.settings.node.clone(),
    }
}
