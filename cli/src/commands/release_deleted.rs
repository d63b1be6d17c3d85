//! `release` of a node whose Node was deleted while it rebooted: the command is an annotation on the lock.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::Patch;
use kube::runtime::wait::{Condition, await_condition};
use lockkeeper_crds::{Holder, RebootLock, names};
use lockkeeper_kube_util::patch_params;
use serde_json::json;
use tokio::time::timeout;

use super::command::{Verb, not_answered};
use crate::args::CommandArgs;
use crate::cluster::{Cluster, find};
use crate::failure::Failure;
use crate::render::{Line, terminal};

/// Frees the slot of the node if its Node was deleted while it rebooted; answers whether that was the case.
pub(crate) async fn release(cluster: &Cluster, args: &CommandArgs) -> Result<bool, Failure> {
    let node = &args.node;
    let Some(lock) = find::lock(cluster).await? else {
        return Ok(false);
    };
    let Some(holder) = holder(&lock, node).filter(|holder| holder.reboot.is_some()) else {
        return Ok(false);
    };
    let step = format!("read NodeReboot {node}");
    let reboot = cluster.reboots().get_opt(node).await;
    let reboot = reboot.map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
    if reboot.is_some_and(|reboot| reboot.status.is_some_and(|status| status.operation.is_some())) {
        return Ok(false);
    }
    let operation = holder.operation_id.clone();
    let patch = Patch::Merge(json!({"metadata": {
        "resourceVersion": lock.resource_version(),
        "annotations": {names::COMMAND: format!("{} {operation}", Verb::Release)},
    }}));
    let (locks, params) = (cluster.locks(), patch_params(names::CLI_MANAGER));
    let written = locks.patch_metadata(names::LOCK, &params, &patch).await;
    written.map_err(|error| Failure::of_request("write `release` on RebootLock cluster", &cluster.server, &error))?;
    let freed = await_condition(cluster.locks(), names::LOCK, is_free(node, &operation));
    let Ok(freed) = timeout(Duration::from_secs(args.timeout), freed).await else {
        return Err(Failure::timed_out(not_answered(Verb::Release, node, args.timeout)));
    };
    freed.map_err(|error| Failure::error(format!("watch RebootLock cluster: {error}")))?;
    terminal::print(&[Line::plain(released(node, &operation))]);
    Ok(true)
}

/// The line for a released node whose Node was deleted.
pub(crate) fn released(node: &str, operation: &str) -> String {
    format!("release {node}: its slot is free; its Node was deleted while it rebooted (operation {operation})")
}

fn holder<'a>(lock: &'a RebootLock, node: &str) -> Option<&'a Holder> {
    let mut holders = lock.status.iter().flat_map(|status| &status.holders);
    holders.find(|holder| holder.node == node)
}

fn is_free(node: &str, operation: &str) -> impl Condition<RebootLock> {
    move |lock: Option<&RebootLock>| {
        lock.is_none_or(|lock| holder(lock, node).is_none_or(|holder| holder.operation_id != operation))
    }
}
