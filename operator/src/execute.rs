//! One action, one API write, after its preconditions; after a refused write the next pass plans again.
//!
//! Every write names the version that was seen. A pass's own answers become the versions of its next writes, so that a
//! change by another client in between is noticed: it ends what the pass does about that node, or about the lock the pass.

mod cordon;
mod creation;
mod error;
mod handshakes;
mod housekeeping;
mod lock;
mod notices;
mod outcome;
mod preconditions;
mod record;
mod taints;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::{Api, Client};
use lockkeeper_crds::{NodeReboot, RebootLock, names};
use lockkeeper_drain::EmptyNode;
use lockkeeper_kube_util::{Clock, GuardedApi};
use lockkeeper_planner::preconditions::{Observed, Proven, RecordState};
use lockkeeper_planner::{Action, Snapshot};
use lockkeeper_snapshot::guarded::GuardedPolicy;
use lockkeeper_snapshot::{ObservedObjects, slim};
use tokio::time::Instant;

use error::{api_error, object_gone};

pub use creation::CreatedRecords;
pub use error::{Error, Retry};
pub use lock::nodes_awaiting_lock;
pub use outcome::{Executed, LOCK};

use crate::cache::SharedCache;

/// Writes that do not depend on each other are sent this many at a time.
pub const MAX_CONCURRENT_WRITES: usize = 16;

/// A pass sends such writes for this long; the next pass continues. What a node in progress needs never waits for longer,
/// however slow the API server is.
pub const MAX_BATCH_TIME: Duration = Duration::from_secs(1);

/// What one pass writes with: clients, the versions it saw, and the time.
#[derive(Debug)]
pub struct Pass<'a> {
    /// How to write.
    pub api: &'a Apis,
    /// Where answers go, so that the next pass sees its own writes.
    pub cache: &'a SharedCache,
    /// The versions that guard the writes.
    pub seen: &'a mut ObservedObjects,
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
    /// When this pass wrote the lock, by the timers and by the clock: the former stand still while a machine is suspended,
    /// and the latter can be set.
    pub lock_written: Option<(Instant, DateTime<Utc>)>,
    /// For which Nodes this process has made records.
    pub created: CreatedRecords,
    /// What this process has proven with its own writes.
    pub proven: Proven,
    /// The nodes that this pass found to be empty when their cordon was recorded, each with its order.
    pub empty_nodes: BTreeMap<String, (String, EmptyNode)>,
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
        f.write_str("Apis")
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

impl Pass<'_> {
    /// Carries actions out, in order, and says of each how it ended.
    ///
    /// After a failure about a node, its other actions are left out and those of other nodes go on. A failure about the
    /// lock ends the pass; if the write is refused, only the actions that need it are left out. Housekeeping comes last, in
    /// a bounded batch and side by side: a new cluster or a first policy has thousands of such writes.
    pub async fn execute_all(
        &mut self,
        actions: &[Action],
        mut ended: impl FnMut(&Action, Option<&Error>),
    ) -> Executed {
        let mut executed = Executed::default();
        let (housekeeping, urgent): (Vec<&Action>, Vec<&Action>) =
            actions.iter().partition(|action| self.is_housekeeping(action));
        for action in urgent {
            if executed.leaves_out(action) {
                continue;
            }
            let result = self.execute(action).await;
            ended(action, result.as_ref().err());
            if let (Action::SetHolders { holders, .. }, Err(_)) = (action, &result) {
                executed.awaiting_lock = nodes_awaiting_lock(holders, self.seen);
            }
            executed.add(action, result);
            if executed.shared.is_some() {
                return executed;
            }
        }
        let batch = housekeeping.into_iter().take(housekeeping::MAX_HOUSEKEEPING);
        let batch: Vec<&Action> = batch.filter(|action| !executed.leaves_out(action)).collect();
        let housekeeping = self.keep_house(&batch).await;
        executed.policies_unread = housekeeping.policies_unread;
        for (action, result) in housekeeping.results {
            ended(action, result.as_ref().err());
            executed.add(action, result);
        }
        executed
    }

    /// Carries one action out, if its preconditions hold, and keeps what that proves.
    async fn execute(&mut self, action: &Action) -> Result<(), Error> {
        let before = action.node().and_then(|node| Observed::node(self, node));
        self.write(action).await?;
        let after = action.node().and_then(|node| Observed::node(self, node));
        let record = action.node().and_then(|node| self.record(node));
        let operation = record.as_ref().and_then(RecordState::operation);
        self.proven.written(action, operation, before.as_ref(), after.as_ref());
        Ok(())
    }

    async fn write(&mut self, action: &Action) -> Result<(), Error> {
        let verified = self.verify(action).await?;
        self.policies_verified |= verified.policies;
        match action {
            Action::CreateLock => self.create_lock().await,
            Action::CreateRecord { .. } => {
                let created = self.create_record(action).await?;
                self.store_created(action, created);
                Ok(())
            }
            Action::DeleteRecord { node } => {
                self.delete_record(node).await?;
                self.forget_reboot(node);
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
            Action::BeginHandshake { node, id, keys } => self.begin_handshake(node, id, keys).await,
            Action::EndHandshake { node, keys } => self.end_handshake(node, keys).await,
            Action::GiveNotice { node, id, lasts } => self.give_notice(node, id, *lasts).await,
            Action::EndNotice { node, .. } => self.end_notice(node).await,
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
            self.created.add(uid, self.seen);
        }
        if let Some(reboot) = reboot {
            self.store_reboot(reboot);
        }
    }

    fn store_reboot(&mut self, reboot: NodeReboot) {
        self.cache.absorb_reboot(reboot.clone());
        let name = reboot.metadata.name.clone().unwrap_or_default();
        self.seen.replace_reboot(&name, Some(Arc::new(reboot)));
    }

    fn forget_reboot(&mut self, node: &str) {
        if let Some(reboot) = self.seen.reboots.get(node).cloned() {
            self.seen.replace_reboot(node, None);
            self.cache.forget_reboot(&reboot);
        }
    }

    fn store_node(&mut self, node: slim::Node) {
        self.cache.absorb_node(node.clone());
        self.seen
            .nodes
            .insert(node.metadata.name.clone().unwrap_or_default(), Arc::new(node));
    }
}
