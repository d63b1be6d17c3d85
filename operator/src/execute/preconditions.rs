//! A last look at the API server where a view that lags would do harm: each watch lags by itself, and a version guards
//! only the object that is written.
//!
//! What was found goes to the next pass, not into this one: its writes stay guarded by the versions it was planned on.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use kube::api::{ListParams, ObjectMeta};
use kube::{Resource, ResourceExt};
use lockkeeper_crds::{NodeReboot, Operation, RebootLock, names};
use lockkeeper_planner::Holder;
use lockkeeper_snapshot::{owned_by, slim};

use super::{Error, MAX_CONCURRENT_WRITES, Pass, api_error};

impl Pass<'_> {
    /// The record still has the operation that the plan was made on, as far as it was then; or none, as the plan saw.
    ///
    /// The uncordon is guarded by the Node's uid alone: an operator whose view of the records lags would take the cordon
    /// of a drain that another leader has begun for an orphaned one. The cordon is guarded by the Node's version,
    /// and the operation may have ended without a trace on the Node.
    pub(super) async fn ensure_operation_unchanged(&self, step: &'static str, node: &str) -> Result<(), Error> {
        let planned = self.seen.reboots.get(node).and_then(|seen| operation(seen));
        let fresh = self.read_reboot(step, node).await?;
        let found = fresh.as_ref().and_then(operation);
        if found == planned {
            return Ok(());
        }
        let name = |operation: Option<&Operation>| {
            operation.map_or("no operation".to_owned(), |one| {
                format!("operation {} ({:?})", one.id, one.phase)
            })
        };
        let found = format!("it has {}, not {}", name(found), name(planned));
        Err(stale(step, node, found))
    }

    /// The policies are those that the plan was made on, word for word: nothing starts under one that was suspended,
    /// closed, cut down or deleted meanwhile, however late its watch is.
    pub(super) async fn ensure_policies_unchanged(&self, step: &'static str, node: &str) -> Result<(), Error> {
        let spec = |meta: &ObjectMeta| (meta.name.clone(), meta.uid.clone(), meta.generation);
        let planned: BTreeSet<_> = self.seen.policies.values().map(|policy| spec(policy.meta())).collect();
        let fresh = self.api.policies.list(&ListParams::default()).await;
        let policies = fresh.map_err(api_error(step, node))?.items;
        let fresh: BTreeSet<_> = policies.iter().map(|policy| spec(policy.meta())).collect();
        let Some((name, ..)) = fresh.symmetric_difference(&planned).next() else {
            return Ok(());
        };
        let name = name.as_deref().unwrap_or_default();
        let found = format!("RebootPolicy {name} is another one by now");
        for policy in policies {
            self.cache.upsert_policy(policy);
        }
        Err(stale(step, node, found))
    }

    /// The same, once in a pass: before the name of a node's policy is written, of thousands perhaps. Two leaders whose
    /// views of the policies differ would write it in turns.
    pub(super) async fn ensure_policies_unchanged_once(&mut self, step: &'static str, node: &str) -> Result<(), Error> {
        if !self.policies_verified {
            self.ensure_policies_unchanged(step, node).await?;
            self.policies_verified = true;
        }
        Ok(())
    }

    /// No node is cordoned by us that the plan did not count: by its entry, or because its cordon was observed.
    ///
    /// Entry and record of such a node were deleted by hand; only its cordon is left, and a view of the Nodes that lags
    /// does not show it. Only cordoned Nodes are sent.
    pub(super) async fn ensure_no_unknown_cordon(
        &self,
        step: &'static str,
        node: &str,
        lock: &RebootLock,
    ) -> Result<(), Error> {
        let cordoned = ListParams::default().fields("spec.unschedulable=true");
        let cordoned = self.api.nodes.list(&cordoned).await.map_err(api_error(step, node))?;
        let mut hidden = None;
        for other in cordoned.items {
            let name = other.name_any();
            let Some(mark) = slim::annotation(&other, names::OPERATION).filter(|_| name != node) else {
                continue;
            };
            let seen = self.seen.nodes.get(&name);
            let seen = seen.is_some_and(|seen| slim::annotation(seen, names::OPERATION) == Some(mark));
            let mut holders = lock.status.iter().flat_map(|status| &status.holders);
            if !seen && !holders.any(|holder| holder.node == name) {
                hidden = Some(format!(
                    "{name} is cordoned for operation {mark}, too, and has no entry"
                ));
                self.cache.absorb_node(other);
            }
        }
        hidden.map_or(Ok(()), |found| Err(stale(step, node, found)))
    }

    /// No node loses its entry while its record or its cordon names the operation, and no entry is restored to an
    /// operation that has ended.
    ///
    /// The lock's version guards the list, not what it was derived from: an operator whose view of records or Nodes lags
    /// would free the slot of a node that is cordoned, and admit another. Each node that leaves costs two reads, each that
    /// gets its entry back one.
    pub(super) async fn ensure_holder_changes(
        &self,
        step: &'static str,
        before: &[Holder],
        after: &[Holder],
    ) -> Result<(), Error> {
        let stays = |holder: &&Holder| {
            let mut after = after.iter();
            after.any(|other| (&other.node, &other.node_uid) == (&holder.node, &holder.node_uid))
        };
        let mut leaving = Vec::new();
        for holder in before.iter().filter(|holder| !stays(holder)) {
            leaving.push(self.ensure_released(step, holder));
        }
        let left: Vec<_> = stream::iter(leaving).buffered(MAX_CONCURRENT_WRITES).collect().await;
        left.into_iter().collect::<Result<(), Error>>()?;
        for holder in after.iter().filter(|holder| !before.contains(holder)) {
            let seen = self.seen.reboots.get(&holder.node).and_then(|seen| operation(seen));
            if seen.is_some_and(|seen| seen.id == holder.operation_id) {
                let fresh = self.read_reboot(step, &holder.node).await?;
                let in_progress = fresh.as_ref().and_then(operation).map(|fresh| fresh.id.as_str());
                if in_progress != Some(&holder.operation_id) {
                    let found = format!("operation {} of {} has ended", holder.operation_id, holder.node);
                    return Err(stale(step, names::LOCK, found));
                }
            }
        }
        Ok(())
    }

    /// The node is gone, or neither its record nor its cordon names the operation of its entry.
    async fn ensure_released(&self, step: &'static str, holder: &Holder) -> Result<(), Error> {
        let Holder {
            node,
            node_uid,
            operation_id,
            ..
        } = holder;
        let fresh = self.api.nodes.get_opt(node).await.map_err(api_error(step, node))?;
        let Some(fresh) = fresh.filter(|fresh| fresh.metadata.uid.as_ref() == Some(node_uid)) else {
            return Ok(());
        };
        let marked = slim::annotation(&fresh, names::OPERATION) == Some(operation_id);
        self.cache.absorb_node(fresh);
        let record = self.read_reboot(step, node).await?;
        let record = record.filter(|record| owned_by(record, node_uid));
        let in_progress = record
            .as_ref()
            .and_then(operation)
            .is_some_and(|one| one.id == *operation_id);
        if !(marked || in_progress) {
            return Ok(());
        }
        let found = format!("{node} is still in progress (operation {in_progress}, cordon {marked})");
        Err(stale(step, names::LOCK, found))
    }

    /// The record as it is now; the next pass sees it.
    async fn read_reboot(&self, step: &'static str, node: &str) -> Result<Option<NodeReboot>, Error> {
        let fresh = self.api.reboots.get_opt(node).await.map_err(api_error(step, node))?;
        if let Some(fresh) = &fresh {
            self.cache.absorb_reboot(fresh.clone());
        }
        Ok(fresh)
    }

    /// The Node has the cordon of an operation that is reconstructed from it.
    ///
    /// An operator whose view of the Nodes lags would reconstruct one that has ended long ago.
    pub(super) async fn ensure_cordoned(&self, node: &str, operation_id: &str) -> Result<(), Error> {
        const STEP: &str = "reconstruct the lost operation of";
        let fresh = self.api.nodes.get(node).await.map_err(api_error(STEP, node))?;
        let marked = slim::annotation(&fresh, names::OPERATION) == Some(operation_id);
        self.cache.absorb_node(fresh);
        if marked {
            return Ok(());
        }
        let found = format!("it has no cordon of operation {operation_id}");
        Err(stale(STEP, node, found))
    }

    /// The Node does not have the cordon of an operation that is about to be removed.
    ///
    /// An operator whose view of the Nodes lags would free the slot of a node that is still cordoned, and admit another.
    pub(super) async fn ensure_uncordoned(&self, node: &str, operation_id: &str) -> Result<(), Error> {
        const STEP: &str = "end the operation of";
        let Some(fresh) = self.api.nodes.get_opt(node).await.map_err(api_error(STEP, node))? else {
            return Ok(());
        };
        let marked = slim::annotation(&fresh, names::OPERATION) == Some(operation_id);
        self.cache.absorb_node(fresh);
        if !marked {
            return Ok(());
        }
        let found = format!("it has the cordon of operation {operation_id}");
        Err(stale(STEP, node, found))
    }

    /// The Node is in another boot than before: a view of the Nodes that lags may show a boot that is older still.
    pub(super) async fn ensure_boot_changed(&self, node: &str, before: &str) -> Result<(), Error> {
        const STEP: &str = "see the reboot of";
        let fresh = self.api.nodes.get(node).await.map_err(api_error(STEP, node))?;
        let same = fresh.status.node_info.boot_id == before;
        self.cache.absorb_node(fresh);
        if !same {
            return Ok(());
        }
        Err(stale(STEP, node, format!("it is still in boot {before}")))
    }
}

fn operation(reboot: &NodeReboot) -> Option<&Operation> {
    reboot.status.as_ref()?.operation.as_ref()
}

/// What was looked at afresh is not what was planned on.
pub(super) fn stale(step: &'static str, object: &str, found: String) -> Error {
    let object = object.to_owned();
    Error::Stale { step, object, found }
}
