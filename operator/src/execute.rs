//! One action, one API write, after its preconditions; after a refused write the next pass plans again.
//!
//! Every write names the version that was seen. A pass's own answers become the versions of its next writes, so that a
//! change by anybody else in between is noticed and ends the pass.

mod cordon;
mod creation;
mod lock;
mod preconditions;
mod record;
mod taints;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use kube::{Api, Client};
use lockkeeper_crds::{NodeReboot, RebootLock, names};
use lockkeeper_planner::{Action, Snapshot};
use lockkeeper_snapshot::{ObservedObjects, slim};
use thiserror::Error;

pub use creation::CreatedRecords;

use crate::cache::{ParsedPolicy, SharedCache};

/// Writes that do not depend on each other are sent this many at a time.
pub const MAX_CONCURRENT_WRITES: usize = 16;

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
    /// When.
    pub now: DateTime<Utc>,
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
    /// `NodeReboot`s.
    pub reboots: Api<NodeReboot>,
    /// Policies, for preconditions.
    pub policies: Api<ParsedPolicy>,
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

impl Pass<'_> {
    /// Carries actions out, in order, and says of each how it ended; the first that fails is the last.
    ///
    /// New records are made side by side: each stands alone, and a new cluster has thousands.
    pub async fn execute_all(
        &mut self,
        actions: &[Action],
        mut ended: impl FnMut(&Action, Option<&Error>),
    ) -> Result<(), Error> {
        let new = |action: &&Action| matches!(action, Action::CreateRecord { .. });
        for action in actions.iter().filter(|action| !new(action)) {
            let result = self.execute(action).await;
            ended(action, result.as_ref().err());
            result?;
        }
        let mut creations = Vec::new();
        for action in actions.iter().filter(new) {
            creations.push(self.create_verified_record(action));
        }
        let created: Vec<_> = stream::iter(creations).buffered(MAX_CONCURRENT_WRITES).collect().await;
        let mut first = Ok(());
        for (action, result) in actions.iter().filter(new).zip(created) {
            ended(action, result.as_ref().err());
            match result {
                Ok(reboot) => self.store_created(action, reboot),
                Err(error) => first = first.and(Err(error)),
            }
        }
        first
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
            Action::RemoveLockCommand { .. } => self.remove_lock_command().await,
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
