//! One action, one API write, after its preconditions; after a refused write the next pass plans again.
//!
//! Every write names the version that was seen. A pass's own answers become the versions of its next writes, so that a
//! change by another client in between is noticed: it ends what the pass does about that node, or about the lock the pass.

mod cordon;
mod creation;
mod lock;
mod preconditions;
mod record;
mod taints;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use kube::{Api, Client};
use lockkeeper_crds::{NodeReboot, RebootLock, names};
use lockkeeper_kube_util::{Clock, GuardedApi};
use lockkeeper_planner::{Action, Snapshot};
use lockkeeper_snapshot::guarded::GuardedPolicy;
use lockkeeper_snapshot::{ObservedObjects, slim};
use thiserror::Error;

pub use creation::CreatedRecords;

use crate::cache::SharedCache;

/// Writes that do not depend on each other are sent this many at a time.
pub const MAX_CONCURRENT_WRITES: usize = 16;
/// A pass makes at most so many writes of housekeeping, so that what a node in progress needs never waits for long.
const MAX_HOUSEKEEPING: usize = 128;

/// What one pass writes with: clients, the versions it saw, and the time.
#[derive(Debug)]
pub struct Pass<'a> {
    /// How to write.
    pub api: &'a Apis,
    /// Where answers go, so that the next pass sees its own writes.
    pub cache: &'a SharedCache,
    /// The versions that guard the writes.
    pub seen: ObservedObjects,
    /// What was decided on.
    pub snapshot: &'a Snapshot,
    /// When it was decided.
    pub now: DateTime<Utc>,
    /// What the times of pods are compared with.
    pub clock: Clock,
    /// The namespace of our own pods.
    pub namespace: &'a str,
    /// Whether the policies were found to be those that the plan was made on, before something that this is enough for.
    pub policies_verified: bool,
    /// For which Nodes this process has made records.
    pub created: CreatedRecords,
}

/// The kinds of objects that actions write to.
#[derive(Clone)]
pub struct Apis {
    /// For lists of pods.
    pub client: Client,
    /// Nodes.
    pub nodes: Api<slim::Node>,
    /// Nodes, for lists of them.
    pub node_lists: GuardedApi<slim::Node>,
    /// `NodeReboot`s.
    pub reboots: Api<NodeReboot>,
    /// Policies, for preconditions.
    pub policies: Api<GuardedPolicy>,
    /// The lock.
    pub locks: Api<RebootLock>,
}

impl std::fmt::Debug for Apis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api3")
    }
}

impl Apis {
    /// All through one client, which must not retry by itself.
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            nodes: Api::all(client.clone()),
            node_lists: GuardedApi::all(client.clone()),
            reboots: Api::all(client.clone()),
            policies: Api::all(client.clone()),
            locks: Api::all(client.clone()),
        }
    }
}

/// A write that was not made.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused it, or did not answer.
    #[error("{step} {object}")]
    Api {
        /// The action.
        step: &'static str,
        /// The object.
        object: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
    /// A precondition does not hold any more.
    #[error("{step} {object}: {found}; the next pass plans again")]
    Stale {
        /// The action.
        step: &'static str,
        /// The object.
        object: String,
        /// What was found.
        found: String,
    },
    /// The node has pods again that must be evicted.
    #[error("order the reboot of {node}: {found}; the drain runs again")]
    NotEmpty {
        /// The node.
        node: String,
        /// How many pods, and the first of them.
        found: String,
    },
    /// Another manager's server-side apply owns a field of the cordon.
    #[error("cordon {node}: {manager} holds {field}")]
    CordonConflict {
        /// The node.
        node: String,
        /// The operation that wanted them.
        operation_id: String,
        /// Who holds it.
        manager: String,
        /// The field.
        field: String,
    },
    /// The settings that the operation began with cannot be read.
    #[error("order the reboot of {node}: its drain's settings")]
    Settings {
        /// The node.
        node: String,
        /// Why not.
        #[source]
        source: lockkeeper_drain::Error,
    },
    /// The pods could not be listed.
    #[error("{step} {node}: list its pods")]
    Pods {
        /// The action.
        step: &'static str,
        /// The node.
        node: String,
        /// Why not.
        #[source]
        source: lockkeeper_drain::Error,
    },
}

/// What becomes of a pass whose write was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Another writer was faster: run the next pass as soon as the watches show it.
    OnChange,
    /// The API server is in trouble or refuses the write: plan again after a while.
    Later,
}

impl Error {
    /// What refuses the write, if it is not allowed: a webhook, a quota, missing rights, another field manager. It may
    /// last, so the node does not wait for it in silence.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Api {
                step,
                object,
                source: kube::Error::Api(status),
            } if matches!(status.code, 400 | 401 | 403 | 405 | 413 | 415) => {
                Some(format!("the API server refuses to {step} {object}: {}", status.message))
            }
            Self::CordonConflict {
                node, manager, field, ..
            } => Some(format!(
                "cannot cordon {node}: field {field} is owned by {manager} with a different value"
            )),
            Self::Api { .. }
            | Self::Stale { .. }
            | Self::NotEmpty { .. }
            | Self::Settings { .. }
            | Self::Pods { .. } => None,
        }
    }

    /// The one place that decides how a failed write goes on.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } if matches!(status.code, 404 | 409 | 422) => Retry::OnChange,
            Self::Stale { .. } | Self::NotEmpty { .. } | Self::CordonConflict { .. } => Retry::OnChange,
            Self::Api { .. } | Self::Pods { .. } | Self::Settings { .. } => Retry::Later,
        }
    }
}

/// What became of the actions of one pass.
#[derive(Debug, Default)]
pub struct Executed {
    /// The failure of a write of the lock that may succeed in the next pass; it ended this one.
    pub shared: Option<Error>,
    /// The failures about nodes, by node; under the name of the lock, that its write is refused.
    pub failed: Vec<(String, Error)>,
    /// The nodes about which a write was made.
    pub written: BTreeSet<String>,
}

impl Executed {
    fn has_failed(&self, node: &str) -> bool {
        self.failed.iter().any(|(failed, _)| failed == node)
    }

    fn has_failed_at(&self, action: &Action) -> bool {
        action.node().is_some_and(|node| self.has_failed(node))
    }

    fn add(&mut self, action: &Action, result: Result<(), Error>) {
        match (action.node(), result) {
            (Some(node), Ok(())) => drop(self.written.insert(node.to_owned())),
            (Some(node), Err(error)) => self.failed.push((node.to_owned(), error)),
            (None, Ok(())) => drop(self.written.insert(names::LOCK.to_owned())),
            // Without it no node starts. What is in progress goes on: each write has its own preconditions.
            (None, Err(error)) if error.refusal().is_some() => self.failed.push((names::LOCK.to_owned(), error)),
            (None, Err(error)) => self.shared = Some(error),
        }
    }
}

impl Pass<'_> {
    /// Carries actions out, in order, and says of each how it ended.
    ///
    /// After a failure about a node, its other actions are left out and those of other nodes go on. A failure about the
    /// lock ends the pass, unless the write is refused. Housekeeping comes last, in a bounded batch and side by side: a new cluster or a first policy
    /// has thousands of such writes.
    pub async fn execute_all(
        &mut self,
        actions: &[Action],
        mut ended: impl FnMut(&Action, Option<&Error>),
    ) -> Executed {
        let mut executed = Executed::default();
        let (housekeeping, urgent): (Vec<&Action>, Vec<&Action>) =
            actions.iter().partition(|action| self.is_housekeeping(action));
        for action in urgent {
            if executed.has_failed_at(action) {
                continue;
            }
            let result = self.execute(action).await;
            ended(action, result.as_ref().err());
            executed.add(action, result);
            if executed.shared.is_some() {
                return executed;
            }
        }
        let batch = housekeeping.into_iter().take(MAX_HOUSEKEEPING);
        let batch: Vec<&Action> = batch.filter(|action| !executed.has_failed_at(action)).collect();
        for (action, result) in self.keep_house(&batch).await {
            ended(action, result.as_ref().err());
            executed.add(action, result);
        }
        executed
    }

    /// Whether the action is about a node that is not in progress and has no order: nothing waits for it.
    fn is_housekeeping(&self, action: &Action) -> bool {
        match action {
            Action::CreateRecord { .. } => true,
            Action::SetSpec { node, order: None, .. } => self.seen.reboots.get(node).is_some_and(|reboot| {
                let status = reboot.status.as_ref();
                reboot.spec.order.is_none() && status.is_none_or(|status| status.operation.is_none())
            }),
            Action::CreateLock
            | Action::SetHolders { .. }
            | Action::WriteRecord { .. }
            | Action::SetSpec { .. }
            | Action::OrderReboot { .. }
            | Action::Cordon { .. }
            | Action::Uncordon { .. }
            | Action::AddTaint { .. }
            | Action::RemoveTaint { .. }
            | Action::RemoveCommand { .. }
            | Action::RemoveRequest { .. }
            | Action::RemoveApproval { .. } => false,
        }
    }

    /// Creates records and names the policies of nodes, side by side: each write stands alone.
    async fn keep_house<'a>(&mut self, batch: &[&'a Action]) -> Vec<(&'a Action, Result<(), Error>)> {
        // The policies are read once for all of them.
        if let Some(first) = batch.iter().find(|action| matches!(action, Action::SetSpec { .. })) {
            match self.verify(first).await {
                Ok(verified) => self.policies_verified |= verified.policies,
                Err(error) => return vec![(*first, Err(error))],
            }
        }
        let mut writes = Vec::new();
        for action in batch {
            writes.push(self.write_housekeeping(action));
        }
        let written: Vec<_> = stream::iter(writes).buffered(MAX_CONCURRENT_WRITES).collect().await;
        let mut results = Vec::new();
        for (action, result) in batch.iter().zip(written) {
            let result = result.map(|reboot| match action {
                Action::CreateRecord { .. } => self.store_created(action, reboot),
                _ => reboot.into_iter().for_each(|reboot| self.store_reboot(reboot)),
            });
            results.push((*action, result));
        }
        results
    }

    async fn write_housekeeping(&self, action: &Action) -> Result<Option<NodeReboot>, Error> {
        match action {
            Action::SetSpec { node, policy, order } => {
                let written = self.write_spec(node, policy.as_deref(), order.as_ref()).await;
                written.map(Some)
            }
            _ => self.create_verified_record(action).await,
        }
    }

    /// Carries one action out, if its preconditions hold.
    async fn execute(&mut self, action: &Action) -> Result<(), Error> {
        let verified = self.verify(action).await?;
        self.policies_verified |= verified.policies;
        match action {
            Action::CreateLock => self.create_lock().await,
            Action::CreateRecord { .. } => {
                let created = self.create_record(action).await?;
                self.store_created(action, created);
                Ok(())
            }
            Action::SetHolders { holders, .. } => self.set_holders(holders).await,
            Action::WriteRecord { node, change } => self.write_record(node, change).await,
            Action::SetSpec { node, policy, order } => self.set_spec(node, policy.as_deref(), order.as_ref()).await,
            Action::OrderReboot { node, order } => {
                // A taint that this pass writes after the order is guarded by the version that was verified.
                for node in verified.nodes {
                    self.store_node(node);
                }
                self.order_reboot(node, order).await
            }
            Action::Cordon { node, operation_id } => self.cordon(node, operation_id).await,
            Action::Uncordon { node, keep_cordon } => self.uncordon(node, *keep_cordon).await,
            Action::AddTaint { node, taint } => self.set_taint(node, *taint, true).await,
            Action::RemoveTaint { node, taint } => self.set_taint(node, *taint, false).await,
            Action::RemoveCommand { node, .. } => self.remove_command(node).await,
            Action::RemoveRequest { node, .. } => self.remove_annotation(node, names::REBOOT_REQUESTED).await,
            Action::RemoveApproval { node, .. } => self.remove_annotation(node, names::APPROVED).await,
        }
    }

    fn reboot(&self, step: &'static str, node: &str) -> Result<Arc<NodeReboot>, Error> {
        self.seen
            .reboots
            .get(node)
            .cloned()
            .ok_or_else(|| object_gone(step, format!("NodeReboot {node}")))
    }

    fn node(&self, step: &'static str, node: &str) -> Result<Arc<slim::Node>, Error> {
        self.seen
            .nodes
            .get(node)
            .cloned()
            .ok_or_else(|| object_gone(step, format!("Node {node}")))
    }

    fn store_created(&mut self, action: &Action, reboot: Option<NodeReboot>) {
        if let Action::CreateRecord { uid, .. } = action {
            self.created.add(uid, &self.seen);
        }
        if let Some(reboot) = reboot {
            self.store_reboot(reboot);
        }
    }

    fn store_reboot(&mut self, reboot: NodeReboot) {
        self.cache.absorb_reboot(reboot.clone());
        self.seen
            .reboots
            .insert(reboot.metadata.name.clone().unwrap_or_default(), Arc::new(reboot));
    }

    fn store_node(&mut self, node: slim::Node) {
        self.cache.absorb_node(node.clone());
        self.seen
            .nodes
            .insert(node.metadata.name.clone().unwrap_or_default(), Arc::new(node));
    }
}

fn object_gone(step: &'static str, object: String) -> Error {
    Error::Stale {
        step,
        object,
        found: "it is gone".to_owned(),
    }
}

fn api_error(step: &'static str, object: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let object = object.into();
    move |source| Error::Api { step, object, source }
}
