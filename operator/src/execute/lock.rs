//! The lock: made once, filled by compare-and-swap, looked at afresh before a node is touched.

use std::sync::Arc;

use lockkeeper_crds::{RebootLock, RebootLockSpec, RebootLockStatus, names};
use lockkeeper_kube_util::post_params;
use lockkeeper_planner::Holder;
use lockkeeper_snapshot::convert;

use super::preconditions::stale;
use super::{Error, Pass, api_error, object_gone};

impl Pass<'_> {
    pub(super) async fn create_lock(&mut self) -> Result<(), Error> {
        let lock = RebootLock::new(names::LOCK, RebootLockSpec::default());
        let params = post_params(names::OPERATOR_MANAGER);
        let created = self
            .api
            .locks
            .create(&params, &lock)
            .await
            .map_err(api_error("create RebootLock", names::LOCK))?;
        self.store_lock(created);
        Ok(())
    }

    /// PUT of the whole status with uid and resourceVersion: whoever was faster, the other one gets a 409. Before it, who
    /// leaves or comes back is looked at afresh.
    pub(super) async fn set_holders(&mut self, holders: &[Holder]) -> Result<(), Error> {
        const STEP: &str = "write the holders of RebootLock";
        let mut lock = RebootLock::clone(
            self.seen
                .lock
                .as_ref()
                .ok_or_else(|| object_gone(STEP, names::LOCK.to_owned()))?,
        );
        let before = lock.status.iter().flat_map(|status| &status.holders);
        let before: Vec<Holder> = before.map(convert::holder).collect();
        self.ensure_holder_changes(STEP, &before, holders).await?;
        lock.status = Some(RebootLockStatus {
            holders: holders.iter().map(convert::holder_to_api).collect(),
        });
        let params = post_params(names::OPERATOR_MANAGER);
        let written = self
            .api
            .locks
            .replace_status(names::LOCK, &params, &lock)
            .await
            .map_err(api_error(STEP, names::LOCK))?;
        self.store_lock(written);
        Ok(())
    }

    /// Reads the lock from etcd: a node is touched only while its entry is in there.
    pub(super) async fn ensure_holds_slot(
        &self,
        step: &'static str,
        node: &str,
        operation: &str,
    ) -> Result<RebootLock, Error> {
        let lock = self.api.locks.get(names::LOCK).await.map_err(api_error(step, node))?;
        let uid = self.node(step, node)?.metadata.uid.clone();
        let holds = lock.status.iter().flat_map(|status| &status.holders).any(|holder| {
            holder.node == node && Some(&holder.node_uid) == uid.as_ref() && holder.operation_id == operation
        });
        // For the next pass: the writes of this one stay guarded by the lock that it was planned on.
        self.cache.absorb_lock(lock.clone());
        if holds {
            return Ok(lock);
        }
        let found = format!("RebootLock {} has no entry for operation {operation}", names::LOCK);
        Err(stale(step, node, found))
    }

    /// The lock has no holder that the plan did not see: it might be cordoned before this node. Nor has its limit changed.
    pub(super) fn ensure_no_new_holder(&self, step: &'static str, node: &str, fresh: &RebootLock) -> Result<(), Error> {
        let planned = self.seen.lock.as_ref();
        if planned.is_some_and(|planned| planned.spec != fresh.spec) {
            let found = format!("the cap of RebootLock {} is another one by now", names::LOCK);
            return Err(stale(step, node, found));
        }
        let planned = planned.and_then(|lock| lock.status.as_ref());
        let planned = planned.map_or(&[][..], |status| status.holders.as_slice());
        let mut fresh = fresh.status.iter().flat_map(|status| &status.holders);
        let Some(new) = fresh.find(|holder| !planned.contains(holder)) else {
            return Ok(());
        };
        let found = format!("{} is in RebootLock {}, too, by now", new.node, names::LOCK);
        Err(stale(step, node, found))
    }

    fn store_lock(&mut self, lock: RebootLock) {
        self.cache.absorb_lock(lock.clone());
        self.seen.lock = Some(Arc::new(lock));
    }
}
