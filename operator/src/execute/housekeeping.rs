//! Housekeeping: writes about nodes that are not in progress, side by side and in a bounded batch.

use futures::stream::{self, StreamExt};
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use lockkeeper_crds::NodeReboot;
use lockkeeper_planner::Action;
use tokio::time::sleep;

use super::{Error, MAX_BATCH_TIME, MAX_CONCURRENT_WRITES, Pass, api_error};

/// A pass makes at most so many writes of housekeeping, so that what a node in progress needs never waits for long.
pub(super) const MAX_HOUSEKEEPING: usize = 128;

/// What became of a batch of housekeeping.
#[derive(Debug)]
pub(super) struct HousekeepingResult<'a> {
    /// How each action that was tried ended.
    pub(super) results: Vec<(&'a Action, Result<(), Error>)>,
    /// The policies could not be verified, so that no node got the name of its policy.
    pub(super) policies_unread: bool,
}

impl Pass<'_> {
    /// Whether the action is about a node that is not in progress and has no order: nothing waits for it.
    pub(super) fn is_housekeeping(&self, action: &Action) -> bool {
        match action {
            Action::CreateRecord { .. } | Action::DeleteRecord { .. } => true,
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
            | Action::BeginHandshake { .. }
            | Action::EndHandshake { .. }
            | Action::GiveNotice { .. }
            | Action::EndNotice { .. }
            | Action::RemoveCommand { .. }
            | Action::RemoveRequest { .. }
            | Action::RemoveApproval { .. } => false,
        }
    }

    /// Creates and deletes records and names the policies of nodes, side by side: each write stands alone.
    ///
    /// If the policies cannot be verified, no policy is named in this pass; records are still created and deleted.
    pub(super) async fn keep_house<'a>(&mut self, batch: &[&'a Action]) -> HousekeepingResult<'a> {
        let names_policy = |action: &&Action| matches!(action, Action::SetSpec { .. });
        let mut batch = batch.to_vec();
        let (mut results, mut policies_unread) = (Vec::new(), false);
        // The policies are read once for all of them.
        if let Some(first) = batch.iter().copied().find(names_policy) {
            match self.verify(first).await {
                Ok(verified) => self.policies_verified |= verified.policies,
                Err(error) => {
                    batch.retain(|action| !names_policy(action));
                    policies_unread = true;
                    results.push((first, Err(error)));
                }
            }
        }
        let mut writes = Vec::new();
        for action in &batch {
            writes.push(self.write_housekeeping(action));
        }
        // Those that are not begun in time are left for the next pass.
        let begun = stream::iter(writes).take_until(sleep(MAX_BATCH_TIME));
        let written: Vec<_> = begun.buffered(MAX_CONCURRENT_WRITES).collect().await;
        for (action, result) in batch.iter().zip(written) {
            results.push((*action, result.map(|reboot| self.store_housekeeping(action, reboot))));
        }
        HousekeepingResult {
            results,
            policies_unread,
        }
    }

    /// The `NodeReboot` as it is afterwards, if the API server answers with one.
    async fn write_housekeeping(&self, action: &Action) -> Result<Option<NodeReboot>, Error> {
        if let Action::SetSpec { node, policy, order } = action {
            let written = self.write_spec(node, policy.as_deref(), order.as_ref()).await;
            return written.map(Some);
        }
        if let Action::DeleteRecord { node } = action {
            return self.delete_record(node).await.map(|()| None);
        }
        self.create_verified_record(action).await
    }

    fn store_housekeeping(&mut self, action: &Action, reboot: Option<NodeReboot>) {
        if let Action::CreateRecord { .. } = action {
            self.store_created(action, reboot);
        } else if let Action::DeleteRecord { node } = action {
            self.forget_reboot(node);
        } else if let Some(reboot) = reboot {
            self.store_reboot(reboot);
        }
    }

    /// Deletes the `NodeReboot` of a Node that Lockkeeper does not manage any more, if it is the one that was observed.
    pub(super) async fn delete_record(&self, node: &str) -> Result<(), Error> {
        const STEP: &str = "delete NodeReboot";
        let seen = self.reboot(STEP, node)?;
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: seen.uid(),
            resource_version: seen.resource_version(),
        });
        match self.api.reboots.delete(node, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            answer => answer.map(drop).map_err(api_error(STEP, node)),
        }
    }
}
