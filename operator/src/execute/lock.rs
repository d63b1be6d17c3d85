//! The lock: created once, its holders replaced by compare-and-swap.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockkeeper_crds::{RebootLock, RebootLockSpec, RebootLockStatus, names};
use lockkeeper_kube_util::post_params;
use lockkeeper_planner::Holder;
use lockkeeper_snapshot::{ObservedObjects, convert};
use tokio::time::Instant;

use super::{Error, Pass, api_error, object_gone};

/// The nodes whose holder the lock does not have like this: they wait for the lock to be written.
pub fn nodes_awaiting_lock(holders: &[Holder], seen: &ObservedObjects) -> BTreeSet<String> {
    let known = seen.lock.as_deref().map(convert::lock).unwrap_or_default().holders;
    let changed = holders.iter().filter(|holder| !known.contains(holder));
    changed.map(|holder| holder.node.clone()).collect()
}

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

    /// PUT of the whole status with uid and resourceVersion: of two writers, the slower one gets a 409.
    pub(super) async fn set_holders(&mut self, holders: &[Holder]) -> Result<(), Error> {
        const STEP: &str = "write the holders of RebootLock";
        let mut lock = RebootLock::clone(
            self.seen
                .lock
                .as_ref()
                .ok_or_else(|| object_gone(STEP, names::LOCK.to_owned()))?,
        );
        lock.status = Some(RebootLockStatus {
            holders: holders.iter().map(convert::holder_to_api).collect(),
        });
        let params = post_params(names::OPERATOR_MANAGER);
        let sent = (Instant::now(), self.clock.now());
        let written = self
            .api
            .locks
            .replace_status(names::LOCK, &params, &lock)
            .await
            .map_err(api_error(STEP, names::LOCK))?;
        self.lock_written = Some(sent);
        self.store_lock(written);
        Ok(())
    }

    fn store_lock(&mut self, lock: RebootLock) {
        self.cache.absorb_lock(lock.clone());
        self.seen.lock = Some(Arc::new(lock));
    }
}
