//! `settle`: nothing starts any more, and whoever is inside finishes or is put back, so that no cordon stays behind.
//!
//! The lock's own limit is set to 0 for it, and the limit before kept in an annotation until the lock is opened again.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Selector;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{Holder, NodeReboot, Phase, RebootLock, names};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::args::SettleArgs;
use crate::command::{self, Verb};
use crate::connect::Cluster;
use crate::failure::Failure;
use crate::screen::{self, Line};

/// Between two looks; the command runs for minutes and once in an installation's life.
const POLL: Duration = Duration::from_secs(1);
const UNDO: &str = "kubectl lockkeeper settle --undo";

/// Closes the lock, sees everybody out, and stops the operator if asked to.
pub(crate) async fn settle(cluster: &Cluster, args: &SettleArgs) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    if !close(cluster).await? {
        say("there is no lock, so no node is inside");
        return Ok(());
    }
    say("the lock is closed: nothing starts any more");
    see_out(cluster, deadline).await?;
    let Some((namespace, name)) = &args.stop else {
        say(&format!("no node is inside; the lock stays closed until: {UNDO}"));
        return Ok(());
    };
    say("no node is inside");
    stop(cluster, namespace, name, deadline).await?;
    // Whoever reads the lock next finds the limit that an admin gave it.
    undo(cluster).await
}

/// Gives the lock its limit back.
pub(crate) async fn undo(cluster: &Cluster) -> Result<(), Failure> {
    let Some(lock) = lock(cluster).await? else {
        say("there is no lock");
        return Ok(());
    };
    let Some(before) = lock.annotations().get(names::PAUSED_FROM) else {
        say("the lock was not closed by settle");
        return Ok(());
    };
    let before: Value = serde_json::from_str(before).unwrap_or(Value::Null);
    write(cluster, &lock, &before, &Value::Null).await?;
    say("the lock is open again");
    Ok(())
}

/// False if there is no lock.
async fn close(cluster: &Cluster) -> Result<bool, Failure> {
    let Some(lock) = lock(cluster).await? else {
        return Ok(false);
    };
    if !lock.annotations().contains_key(names::PAUSED_FROM) {
        let before = json!(lock.spec.max_in_progress).to_string();
        write(cluster, &lock, &json!(0), &json!(before)).await?;
    }
    Ok(true)
}

async fn write(cluster: &Cluster, lock: &RebootLock, limit: &Value, note: &Value) -> Result<(), Failure> {
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": lock.resource_version(), "annotations": {names::PAUSED_FROM: note}},
        "spec": {"maxInProgress": limit},
    }));
    let params = PatchParams {
        field_manager: Some(names::CLI_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = cluster.locks().patch(names::LOCK, &params, &patch).await;
    written
        .map(drop)
        .map_err(|error| Failure::of_request("write the limit of RebootLock cluster", &cluster.server, &error))
}

async fn lock(cluster: &Cluster) -> Result<Option<RebootLock>, Failure> {
    let read = cluster.locks().get_opt(names::LOCK).await;
    read.map_err(|error| Failure::of_request("read RebootLock cluster", &cluster.server, &error))
}

/// Waits until nobody is inside; whoever was not told to reboot yet is put back.
async fn see_out(cluster: &Cluster, deadline: Instant) -> Result<(), Failure> {
    let mut cancelled = BTreeSet::new();
    loop {
        let status = lock(cluster).await?.and_then(|lock| lock.status).unwrap_or_default();
        if status.holders.is_empty() {
            return Ok(());
        }
        let mut inside = Vec::new();
        for holder in &status.holders {
            let read = cluster.reboots().get_opt(&holder.node).await;
            let step = format!("read NodeReboot {}", holder.node);
            let reboot = read.map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
            inside.push((holder, phase(reboot.as_ref(), holder)));
        }
        if let Some(failure) = only_failed(&inside) {
            return Err(failure);
        }
        for (holder, phase) in &inside {
            if may_be_put_back(phase.as_ref()) && cancelled.insert(holder.operation_id.clone()) {
                say(&format!("{} is put back: it was not told to reboot yet", holder.node));
                // It may be on its way out, or be told to reboot in this moment: both end by themselves.
                if let Err(failure) = command::write(cluster, Verb::Cancel, &holder.node).await {
                    say(&failure.message);
                }
            }
        }
        if Instant::now() >= deadline {
            let nodes: Vec<&str> = inside.iter().map(|(holder, _)| holder.node.as_str()).collect();
            return Err(Failure::timed_out(format!(
                "still inside: {}; is the operator running? Look at: kubectl lockkeeper status. Nothing starts until: {UNDO}",
                nodes.join(", ")
            )));
        }
        sleep(POLL).await;
    }
}

/// Where the operation of this holder is; none while its record does not tell.
fn phase(reboot: Option<&NodeReboot>, holder: &Holder) -> Option<Phase> {
    let operation = reboot?.status.as_ref()?.operation.as_ref()?;
    (operation.id == holder.operation_id).then_some(operation.phase)
}

fn may_be_put_back(phase: Option<&Phase>) -> bool {
    match phase {
        Some(Phase::Preparing | Phase::Draining) => true,
        Some(Phase::Rebooting | Phase::Verifying | Phase::Failed | Phase::Unknown) | None => false,
    }
}

/// Failed nodes leave only when a person says so: no use in waiting for them alone.
fn only_failed(inside: &[(&Holder, Option<Phase>)]) -> Option<Failure> {
    let failed: Vec<&str> = inside
        .iter()
        .filter(|(_, phase)| *phase == Some(Phase::Failed))
        .map(|(holder, _)| holder.node.as_str())
        .collect();
    (failed.len() == inside.len()).then(|| {
        Failure::blocked(format!(
            "failed nodes keep their slot and their cordon: {}; repair each, then: kubectl lockkeeper release NODE, \
             and settle again. Nothing starts until: {UNDO}",
            failed.join(", ")
        ))
    })
}

/// Scales the operator to 0 and waits until its last pod is gone, so that nothing starts once the lock is open again.
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
        .map_err(|error| Failure::error(format!("{step}: its selector cannot be read: {error}")))?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let of_operator = ListParams::default().labels_from(&selector);
    loop {
        let left = pods.list(&of_operator).await.map_err(|error| failed(&error))?.items;
        if left.is_empty() {
            say("the operator has stopped");
            return Ok(());
        }
        if Instant::now() >= deadline {
            let left: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
            return Err(Failure::timed_out(format!(
                "{step}: still there: {}; then: {UNDO}",
                left.join(", ")
            )));
        }
        sleep(POLL).await;
    }
}

fn say(words: &str) {
    screen::print(&[Line::plain(words.to_owned())]);
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
    fn who_waits_for_a_person_alone_is_not_waited_for() {
        let (one, two) = (holder("w-01"), holder("w-02"));
        let both = [(&one, Some(Phase::Failed)), (&two, Some(Phase::Rebooting))];
        assert!(only_failed(&both).is_none(), "the second one may yet come back");
        let failure = only_failed(&both[..1]).unwrap();
        assert!(failure.message.contains("w-01") && failure.message.contains("release"));
    }

    #[test]
    fn a_node_is_put_back_only_before_it_is_told_to_reboot() {
        assert!(may_be_put_back(Some(&Phase::Preparing)));
        assert!(may_be_put_back(Some(&Phase::Draining)));
        assert!(!may_be_put_back(Some(&Phase::Rebooting)));
        assert!(!may_be_put_back(Some(&Phase::Unknown)), "a word of a newer operator");
        assert!(!may_be_put_back(None));
    }

    #[test]
    fn a_record_of_another_operation_tells_nothing() {
        let other = reboot("w-01", json!({"state": "Draining"}));
        assert_eq!(phase(Some(&other), &holder("w-01")), None);
    }
}
