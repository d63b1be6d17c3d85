//! `NodeReboot`: its status changed by the difference, its order given and taken back.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use kube::ResourceExt;
use kube::api::Patch;
use lockkeeper_crds as api;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_crds::{
    Deferred, HistoryEntry, NodeReboot, NodeRebootStatus, OperationSettings, RebootSeries, Released, names,
};
use lockkeeper_drain::{PodsAtCordon, ReadyWorkload, Workload, pods_at_cordon, ready_workloads};
use lockkeeper_kube_util::patch_params;
use lockkeeper_planner::{Change, Finished, Operation, Order, RecordChange, WaitReason, first_wait_reason};
use lockkeeper_snapshot::convert::{self, bounded, causes};
use serde_json::json;
use tokio::time::sleep;

use super::{Apis, Error, Executed, MAX_BATCH_TIME, MAX_CONCURRENT_WRITES, Pass, api_error};
use crate::drain_settings::of_operation;
use crate::merge_patch::difference;
use crate::status::node::apply_derived_status;

/// What the history keeps.
const MAX_HISTORY: usize = 10;

/// What a record keeps of the workloads that a node evicts.
const MAX_EVICTED_WORKLOADS: usize = 100;

impl Pass<'_> {
    pub(super) async fn write_record(&mut self, node: &str, change: &RecordChange) -> Result<(), Error> {
        let seen = self.reboot("write the status of NodeReboot", node)?;
        let before = seen.status.clone().unwrap_or_default();
        let mut after = self.apply_change(&before, change);
        self.record_pods_at_cordon(node, &before, &mut after).await?;
        if let Some(view) = self.snapshot.nodes.get(node) {
            let operation = after.operation.as_deref().map(convert::operation);
            // Why it failed, or what the phase begins with, is said in the same write; what else a node waits for is published
            // when it is quiet.
            let failure = operation
                .as_ref()
                .filter(|operation| operation.pending_outcome.is_none());
            let failure = failure.and_then(|operation| operation.failure.as_ref());
            let failed = failure.map(|failure| WaitReason::Failed {
                message: failure.message.clone(),
            });
            let first = || first_wait_reason(self.snapshot, node, operation.as_ref()?);
            let waiting = failed.or_else(first);
            apply_derived_status(&mut after, &seen, view, operation.as_ref(), waiting.as_ref(), self.now);
        }
        self.patch_status(&seen, &before, &after).await
    }

    /// What is ready on a node, and which workloads its pods belong to, is read when its cordon is recorded: before the first
    /// pod is evicted.
    ///
    /// Not right before the reboot order: the `DaemonSet`s that `daemonSetsLast` evicts would be gone by then. What an earlier
    /// try of the same operation has found stays, because that has evicted pods.
    async fn record_pods_at_cordon(
        &mut self,
        node: &str,
        before: &NodeRebootStatus,
        after: &mut NodeRebootStatus,
    ) -> Result<(), Error> {
        let Some(operation) = newly_draining(before, after) else {
            return Ok(());
        };
        let failed = |source| Error::Pods {
            step: "list the pods at the cordon of",
            node: node.to_owned(),
            source,
        };
        let settings = of_operation(node, operation, self.namespace, self.clock);
        let found = match &settings {
            Ok(settings) => {
                let waits = operation.settings.drain.wait_for_workloads_seconds > 0 && operation.workloads.is_empty();
                let max = if waits { MAX_EVICTED_WORKLOADS } else { 0 };
                pods_at_cordon(&self.api.client, settings, max).await
            }
            // Settings that cannot be read drain nothing; the drain says so.
            Err(_) => ready_workloads(&self.api.client, node).await.map(|ready| PodsAtCordon {
                ready,
                ..PodsAtCordon::default()
            }),
        };
        let found = found.map_err(failed)?;
        if operation.daemon_sets.is_empty() && operation.static_pods.is_empty() {
            let named = |one: ReadyWorkload| (one.name.to_string(), one.since);
            operation.daemon_sets = convert::workloads(found.ready.daemon_sets.into_iter().map(named));
            operation.static_pods = convert::workloads(found.ready.static_pods.into_iter().map(named));
        }
        if operation.workloads.is_empty() {
            operation.workloads = found.workloads.into_iter().map(evicted_workload).collect();
        }
        let order = convert::operation(operation).order_id();
        self.empty_nodes
            .extend(found.empty.map(|empty| (node.to_owned(), (order, empty))));
        Ok(())
    }

    /// Merge patch of the difference with resourceVersion: touches only our keys, and only what was seen.
    async fn patch_status(
        &mut self,
        seen: &NodeReboot,
        before: &NodeRebootStatus,
        after: &NodeRebootStatus,
    ) -> Result<(), Error> {
        if let Some(written) = write_status(self.api, seen, before, after).await? {
            self.store_reboot(written);
        }
        Ok(())
    }

    /// Writes many statuses that do not depend on each other. Those that are not begun in time are left out.
    pub async fn write_statuses(
        &mut self,
        changes: Vec<(Arc<NodeReboot>, NodeRebootStatus, NodeRebootStatus)>,
    ) -> Executed {
        let mut writes = Vec::new();
        for (seen, before, after) in &changes {
            writes.push(write_status(self.api, seen, before, after));
        }
        let begun = stream::iter(writes).take_until(sleep(MAX_BATCH_TIME));
        let written: Vec<_> = begun.buffered(MAX_CONCURRENT_WRITES).collect().await;
        let mut executed = Executed::default();
        for ((seen, _, _), result) in changes.iter().zip(written) {
            let result = result.map(|reboot| reboot.into_iter().for_each(|reboot| self.store_reboot(reboot)));
            executed.add_node(&seen.name_any(), result);
        }
        executed
    }

    fn apply_change(&self, before: &NodeRebootStatus, change: &RecordChange) -> NodeRebootStatus {
        let mut after = before.clone();
        if let Change::Set(operation) = &change.operation {
            let settings = |operation: &Operation| self.settings(before, operation);
            after.operation = operation
                .as_ref()
                .map(|operation| Box::new(convert::operation_to_api(operation, &settings(operation))));
        }
        if let Change::Set(deferred) = &change.deferred {
            after.deferred = deferred.as_ref().map(|deferred| Deferred {
                count: deferred.count,
                cause: deferred.cause.clone(),
                message: bounded(&deferred.message, 1024),
                until_time: whole_seconds(deferred.until),
            });
        }
        if let Change::Set(released) = &change.released {
            after.released = released.as_ref().map(|released| Released {
                time: whole_seconds(released.time),
                failure: bounded(&released.failure, 1024),
                reasons: causes(&released.reasons),
            });
        }
        if let Some(finished) = &change.finished {
            let record = history_entry(finished);
            if finished.last_reboot.is_some() {
                after.last_reboot = Some(Box::new(record.clone()));
            }
            after.history.insert(0, record);
            after.history.truncate(MAX_HISTORY);
        }
        if let Some((command, said)) = &change.answered_command {
            let (result, message) = match said {
                Ok(message) => ("Accepted", message),
                Err(message) => ("Refused", message),
            };
            after.last_command = Some(convert::answered_command(command, result, message, self.now));
        }
        after
    }

    /// The settings that the record has; a new operation takes those of its policy, a reconstructed one the defaults.
    fn settings(&self, before: &NodeRebootStatus, operation: &Operation) -> OperationSettings {
        let recorded = before.operation.as_ref().filter(|before| before.id == operation.id);
        let recorded = recorded.map(|before| before.settings.clone());
        let policy = self.seen.policies.get(operation.policy.as_str());
        recorded
            .or_else(|| policy.map(|policy| convert::settings_of(&policy.spec)))
            .unwrap_or_default()
    }

    pub(super) async fn set_spec(
        &mut self,
        node: &str,
        policy: Option<&str>,
        order: Option<&Order>,
    ) -> Result<(), Error> {
        let written = self.write_spec(node, policy, order).await?;
        self.store_reboot(written);
        Ok(())
    }

    pub(super) async fn write_spec(
        &self,
        node: &str,
        policy: Option<&str>,
        order: Option<&Order>,
    ) -> Result<NodeReboot, Error> {
        const STEP: &str = "write the order of NodeReboot";
        let seen = self.reboot(STEP, node)?;
        let spec = json!({"policy": policy, "order": order.map(convert::order_to_api)});
        let patch = json!({"metadata": {"resourceVersion": seen.resource_version()}, "spec": spec});
        let params = patch_params(names::OPERATOR_MANAGER);
        let written = self.api.reboots.patch(node, &params, &Patch::Merge(&patch)).await;
        written.map_err(api_error(STEP, node))
    }

    /// The point of no return, after its preconditions.
    pub(super) async fn order_reboot(&mut self, node: &str, order: &Order) -> Result<(), Error> {
        let policy = self.reboot("order the reboot of", node)?.spec.policy.clone();
        self.set_spec(node, policy.as_deref(), Some(order)).await
    }

    pub(super) async fn remove_command(&mut self, node: &str) -> Result<(), Error> {
        const STEP: &str = "remove the command from NodeReboot";
        let seen = self.reboot(STEP, node)?;
        let patch = json!({"metadata": {
            "resourceVersion": seen.resource_version(), "annotations": {names::COMMAND: null},
        }});
        let params = patch_params(names::OPERATOR_MANAGER);
        let written = self.api.reboots.patch(node, &params, &Patch::Merge(&patch)).await;
        self.store_reboot(written.map_err(api_error(STEP, node))?);
        Ok(())
    }
}

/// The operation, if this write records that its drain begins.
fn newly_draining<'a>(before: &NodeRebootStatus, after: &'a mut NodeRebootStatus) -> Option<&'a mut api::Operation> {
    let draining = |operation: &api::Operation| operation.phase == api::Phase::Draining;
    if before.operation.as_deref().is_some_and(draining) {
        return None;
    }
    after.operation.as_deref_mut().filter(|operation| draining(operation))
}

fn evicted_workload(from: Workload) -> api::EvictedWorkload {
    api::EvictedWorkload {
        owner: api::OwnerName(from.owner),
        deployment: from.deployment,
        replicas: from.replicas,
    }
}

async fn write_status(
    api: &Apis,
    seen: &NodeReboot,
    before: &NodeRebootStatus,
    after: &NodeRebootStatus,
) -> Result<Option<NodeReboot>, Error> {
    let name = seen.name_any();
    let Some(status) = difference(before, after) else {
        return Ok(None);
    };
    let patch = json!({"metadata": {"resourceVersion": seen.resource_version()}, "status": status});
    let params = patch_params(names::OPERATOR_MANAGER);
    let written = api.reboots.patch_status(&name, &params, &Patch::Merge(&patch)).await;
    written
        .map(Some)
        .map_err(api_error("write the status of NodeReboot", &name))
}

fn history_entry(finished: &Finished) -> HistoryEntry {
    let operation = &finished.operation;
    let series = finished.last_reboot.as_ref().and_then(|last| last.series);
    let between = |from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>| Some((to? - from?).num_seconds());
    HistoryEntry {
        operation_id: operation.id.clone(),
        outcome: convert::outcome_to_api(finished.outcome),
        message: bounded(&finished.message, 1024),
        reasons: causes(&operation.reasons),
        started_time: whole_seconds(operation.started),
        ended_time: whole_seconds(finished.time),
        waited_seconds: between(operation.required, Some(operation.started)),
        drained_seconds: between(operation.cordoned, operation.reboot_ordered),
        noticed_seconds: between(operation.noticed, operation.notice_ends().min(operation.reboot_ordered)),
        down_seconds: between(operation.reboot_ordered, operation.rebooted),
        verified_seconds: between(operation.rebooted, operation.uncordoned.or(Some(finished.time))),
        pods_moved: operation.pods_moved,
        boot_id_before: operation.boot_id_before.to_string(),
        boot_id_after: finished.boot_id_after.to_string(),
        kernel_before: operation.kernel_before.clone(),
        kernel_after: finished.kernel_after.clone(),
        overridden: operation.overridden.as_ref().map(convert::overridden_to_api),
        repeats: finished.last_reboot.as_ref().map_or(0, |last| last.repeats),
        series: series.map(|series| RebootSeries {
            since_time: whole_seconds(series.since),
            reboots: series.reboots,
        }),
    }
}
