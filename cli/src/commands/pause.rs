//! `pause` and `resume`: no new reboots start, and nodes in progress finish or are cancelled, so that no cordon remains.
//!
//! `pause` sets the limit of the `RebootLock` to 0 and keeps the limit before it in an annotation, for `resume`.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Selector;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{Holder, NodeReboot, Phase, RebootLock, names};
use lockkeeper_kube_util::patch_params;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::command::{self, Verb};
use crate::args::PauseArgs;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::render::{Line, terminal};

/// Between two reads; the command runs for minutes and rarely.
const POLL: Duration = Duration::from_secs(1);

/// The lines that `pause` and `resume` print.
pub(crate) const NO_LOCK: &str = "there is no RebootLock, so no node is in progress";
pub(crate) const PAUSED: &str = "paused: no new reboots will start";
pub(crate) const IDLE: &str = "no node is in progress";
pub(crate) const STAYS_PAUSED: &str = "no node is in progress; to allow new reboots again: kubectl lockkeeper resume";
pub(crate) const STOPPED: &str = "the operator has stopped";
pub(crate) const RESUMED: &str = "resumed: new reboots may start";
pub(crate) const NOT_PAUSED: &str = "not paused; nothing changed";

/// Pauses, waits until no node is in progress, and stops the operator if that is requested.
pub(crate) async fn pause(cluster: &Cluster, args: &PauseArgs) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    if !set_paused(cluster).await? {
        print(NO_LOCK);
        return Ok(());
    }
    print(PAUSED);
    wait_until_idle(cluster, deadline).await?;
    let Some((namespace, name)) = &args.stop else {
        print(STAYS_PAUSED);
        return Ok(());
    };
    print(IDLE);
    stop(cluster, namespace, name, deadline).await?;
    // The next operator finds the limit that an administrator has set.
    resume(cluster).await
}

/// Restores the limit of the lock.
pub(crate) async fn resume(cluster: &Cluster) -> Result<(), Failure> {
    let Some(lock) = lock(cluster).await? else {
        print(NO_LOCK);
        return Ok(());
    };
    let Some(before) = lock.annotations().get(names::PAUSED_FROM) else {
        print(NOT_PAUSED);
        return Ok(());
    };
    let before: Value = serde_json::from_str(before).unwrap_or(Value::Null);
    write(cluster, &lock, &before, &Value::Null).await?;
    print(RESUMED);
    Ok(())
}

/// Sets the limit to 0; `false` if there is no lock.
async fn set_paused(cluster: &Cluster) -> Result<bool, Failure> {
    let Some(lock) = lock(cluster).await? else {
        return Ok(false);
    };
    if !lock.annotations().contains_key(names::PAUSED_FROM) {
        let before = json!(lock.spec.max_in_progress).to_string();
        write(cluster, &lock, &json!(0), &json!(before)).await?;
    }
    Ok(true)
}

async fn write(cluster: &Cluster, lock: &RebootLock, limit: &Value, before: &Value) -> Result<(), Failure> {
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": lock.resource_version(), "annotations": {names::PAUSED_FROM: before}},
        "spec": {"maxInProgress": limit},
    }));
    let params = patch_params(names::CLI_MANAGER);
    let written = cluster.locks().patch(names::LOCK, &params, &patch).await;
    written
        .map(drop)
        .map_err(|error| Failure::of_request("write the limit of RebootLock cluster", &cluster.server, &error))
}

async fn lock(cluster: &Cluster) -> Result<Option<RebootLock>, Failure> {
    let read = cluster.locks().get_opt(names::LOCK).await;
    read.map_err(|error| Failure::of_request("read RebootLock cluster", &cluster.server, &error))
}

/// Waits until no node is in progress; operations whose reboot is not ordered yet are cancelled.
async fn wait_until_idle(cluster: &Cluster, deadline: Instant) -> Result<(), Failure> {
    let mut cancelled = BTreeSet::new();
    loop {
        let status = lock(cluster).await?.and_then(|lock| lock.status).unwrap_or_default();
        if status.holders.is_empty() {
            return Ok(());
        }
        let mut in_progress = Vec::new();
        for holder in &status.holders {
            let read = cluster.reboots().get_opt(&holder.node).await;
            let step = format!("read NodeReboot {}", holder.node);
            let reboot = read.map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
            in_progress.push((holder, phase(reboot.as_ref(), holder)));
        }
        if let Some(failure) = only_failed(&in_progress) {
            return Err(failure);
        }
        for (holder, phase) in &in_progress {
            if may_be_cancelled(phase.as_ref()) && cancelled.insert(holder.operation_id.clone()) {
                print(&cancelled_line(&holder.node));
                // It may have finished, or its reboot may have been ordered by now; both end without the command.
                if let Err(failure) = command::write(cluster, Verb::Cancel, &holder.node).await {
                    print(&failure.message);
                }
            }
        }
        if Instant::now() >= deadline {
            let nodes: Vec<&str> = in_progress.iter().map(|(holder, _)| holder.node.as_str()).collect();
            return Err(Failure::timed_out(still_in_progress(&nodes)));
        }
        sleep(POLL).await;
    }
}

/// The phase of this holder's operation; `None` if the `NodeReboot` has no or another operation.
fn phase(reboot: Option<&NodeReboot>, holder: &Holder) -> Option<Phase> {
    let operation = reboot?.status.as_ref()?.operation.as_ref()?;
    (operation.id == holder.operation_id).then_some(operation.phase)
}

fn may_be_cancelled(phase: Option<&Phase>) -> bool {
    match phase {
        Some(Phase::Preparing | Phase::Draining) => true,
        Some(Phase::Rebooting | Phase::Verifying | Phase::Failed | Phase::Unknown) | None => false,
    }
}

/// The line for an operation that `pause` cancels.
pub(crate) fn cancelled_line(node: &str) -> String {
    format!("{node}: cancelled before its reboot was ordered")
}

/// The error if nodes are still in progress at the end of the time.
pub(crate) fn still_in_progress(nodes: &[&str]) -> String {
    format!(
        "timed out; still in progress: {}; check the operator and the nodes: kubectl lockkeeper status; no new \
         reboots will start until you run: kubectl lockkeeper resume",
        nodes.join(", ")
    )
}

/// The error if only failed nodes are left, which keep their slot until a person acts.
pub(crate) fn failed_nodes(nodes: &[&str]) -> String {
    let (keeps, each) = match nodes {
        [_] => ("a failed node keeps its slot and its cordon", "repair it"),
        _ => ("failed nodes keep their slots and their cordons", "repair each"),
    };
    format!(
        "{keeps}: {}; {each}, then run: kubectl lockkeeper release NODE, and pause again; no new reboots will start \
         until you run: kubectl lockkeeper resume",
        nodes.join(", ")
    )
}

/// An error if all nodes in progress have failed: waiting for them would not end.
fn only_failed(in_progress: &[(&Holder, Option<Phase>)]) -> Option<Failure> {
    let failed: Vec<&str> = in_progress
        .iter()
        .filter(|(_, phase)| *phase == Some(Phase::Failed))
        .map(|(holder, _)| holder.node.as_str())
        .collect();
    (failed.len() == in_progress.len()).then(|| Failure::blocked(failed_nodes(&failed)))
}

/// Scales the operator to 0 and waits until its last pod is gone, so that no node starts once the limit is restored.
async fn stop(cluster: &Cluster, namespace: &str, name: &str, deadline: Instant) -> Result<(), Failure> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let step = format!("scale Deployment {namespace}/{name} to 0");
    let failed = |error: &kube::Error| Failure::of_request(&step, &cluster.server, error);
    let Some(deployment) = deployments.get_opt(name).await.map_err(|error| failed(&error))? else {
        return Ok(());
    };
    let scale = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let scaled = deployments.patch_scale(name, &PatchParams::default(), &scale).await;
    scaled.map_err(|error| failed(&error))?;
    let selector = deployment.spec.map(|spec| spec.selector).unwrap_or_default();
    let selector: Selector = selector
        .try_into()
        .map_err(|error| Failure::error(format!("{step}: its selector is invalid: {error}")))?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let of_operator = ListParams::default().labels_from(&selector);
    loop {
        let left = pods.list(&of_operator).await.map_err(|error| failed(&error))?.items;
        if left.is_empty() {
            print(STOPPED);
            return Ok(());
        }
        if Instant::now() >= deadline {
            let left: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
            return Err(Failure::timed_out(format!(
                "{step}: timed out; pods that are still there: {}; once they are gone: kubectl lockkeeper resume",
                left.join(", ")
            )));
        }
        sleep(POLL).await;
    }
}

fn print(line: &str) {
    terminal::print(&[Line::plain(line)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::reboot;

    fn holder(node: &str) -> Holder {
        serde_json::from_value(
            json!({"node": node, "nodeUID": "u", "policy": "p", "operationID": "7f3c",
            "acquiredTime": "2026-11-24T22:00:00Z"}),
        )
        .unwrap()
    }

    #[test]
    fn pause_does_not_wait_if_only_failed_nodes_are_left() {
        let (one, two) = (holder("w-01"), holder("w-02"));
        let both = [(&one, Some(Phase::Failed)), (&two, Some(Phase::Rebooting))];
        assert!(only_failed(&both).is_none(), "the second one may still finish");
        let failure = only_failed(&both[..1]).unwrap();
        assert!(failure.message.contains("w-01") && failure.message.contains("release"));
    }

    #[test]
    fn an_operation_is_cancelled_only_before_its_reboot_is_ordered() {
        assert!(may_be_cancelled(Some(&Phase::Preparing)));
        assert!(may_be_cancelled(Some(&Phase::Draining)));
        assert!(!may_be_cancelled(Some(&Phase::Rebooting)));
        assert!(!may_be_cancelled(Some(&Phase::Unknown)), "a phase of a newer operator");
        assert!(!may_be_cancelled(None));
    }

    #[test]
    fn the_phase_of_another_operation_is_ignored() {
        let other = reboot("w-01", json!({"state": "Draining"}));
        assert_eq!(phase(Some(&other), &holder("w-01")), None);
    }
}
