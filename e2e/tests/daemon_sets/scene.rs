//! What the scenes share.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, Operation, Phase};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::hollow::NEVER_READY;
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload;
use serde_json::{Value, json};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);

/// Makes a `DaemonSet` for all nodes and waits until each has its pod.
pub(super) async fn daemon_set(stack: &Stack, name: &str, annotations: &Value) {
    let labels = json!({"app": name});
    let set = json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            // One at a time would wait for nodes that a test keeps down.
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "main", "image": "lockkeeper/web:e2e"}]},
            },
        },
    });
    let set = serde_json::from_value(set).unwrap();
    sets(stack).create(&PostParams::default(), &set).await.unwrap();
    let never = annotations.get(NEVER_READY).is_some();
    let like = ListParams::default().labels(&format!("app={name}"));
    eventually("its pods run", async || {
        let pods = pods(stack).list(&like).await.unwrap().items;
        let runs = |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let there = pods.iter().filter(runs).filter(|pod| never || workload::is_ready(pod));
        (there.count() == stack.nodes.names().len()).then_some(())
    })
    .await;
}

pub(super) async fn change(stack: &Stack, name: &str, patch: &Value) {
    let patched = sets(stack)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.unwrap();
}

/// The pod of a `DaemonSet` on a node, if it is there to stay.
pub(super) async fn pod_of(stack: &Stack, set: &str, node: &str) -> Option<String> {
    let like = ListParams::default().labels(&format!("app={set}"));
    let here = like.fields(&format!("spec.nodeName={node}"));
    let pods = pods(stack).list(&here).await.unwrap().items;
    let stays = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
    stays.map(|pod| pod.name_any())
}

pub(super) async fn never_ready(stack: &Stack, set: &str, node: &str, value: Option<&str>) {
    let pod = pod_of(stack, set, node).await.unwrap();
    annotate(stack, &pod, value).await;
}

/// Says whether a pod never gets ready.
pub(super) async fn annotate(stack: &Stack, pod: &str, value: Option<&str>) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {NEVER_READY: value}}}));
    pods(stack).patch(pod, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until the reboot is ordered, and returns the operation.
pub(super) async fn rebooting(stack: &Stack, node: &str) -> Operation {
    let operation = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.operation.clone());
    let ordered = |reboot: &NodeReboot| operation(reboot).is_some_and(|one| one.phase == Phase::Rebooting);
    let reboot = stack.wait_reboot(node, "ordered to reboot", LONG, ordered).await;
    *operation(&reboot.unwrap()).unwrap()
}

/// Waits until the node waits for a `DaemonSet` with these words, and returns all of them.
pub(super) async fn not_ready(stack: &Stack, node: &str, words: &str) -> String {
    waits_with(stack, node, "NodeNotReady", &format!("DaemonSet default/{words}")).await
}

pub(super) async fn waits(stack: &Stack, node: &str, reason: &str) -> String {
    waits_with(stack, node, reason, "").await
}

pub(super) async fn waits_with(stack: &Stack, node: &str, reason: &str, words: &str) -> String {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let good = |reboot: &NodeReboot| {
        waiting(reboot).is_some_and(|waiting| waiting.reason == reason && waiting.message.contains(words))
    };
    let reboot = stack.wait_reboot(node, reason, LONG, good).await.unwrap();
    waiting(&reboot).unwrap().message
}

pub(super) async fn rebooted(stack: &Stack, node: &str, cause: &str) {
    let nodes = [node.to_owned()];
    stack.wait_rebooted_for(&nodes, cause, LONG).await.unwrap();
    assert!(is_done(&stack.reboot(node).await.unwrap()));
    assert!(!cordoned(stack, node).await);
}

/// When the last reboot of a node began and ended.
pub(super) async fn reboot_of(stack: &Stack, node: &str) -> (DateTime<Utc>, DateTime<Utc>) {
    let last = stack.reboot(node).await.unwrap().status.unwrap().last_reboot.unwrap();
    (last.started_time, last.ended_time)
}

/// Lists of pods that the operator made.
pub(super) fn lists(stack: &Stack, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
    let ours = |request: &Request| request.program() == "lockkeeper-operator" && request.resource == "pods";
    let requests = stack.plane.requests().unwrap().into_iter();
    let listed = requests.filter(|request| ours(request) && request.verb == "list");
    listed.filter(|request| (from..=to).contains(&request.received)).count()
}

pub(super) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(POLL).await;
    }
}

pub(super) async fn seen(stack: &Stack, name: &str) -> Node {
    Api::all(stack.plane.client()).get(name).await.unwrap()
}

pub(super) async fn cordoned(stack: &Stack, name: &str) -> bool {
    let spec = seen(stack, name).await.spec.unwrap_or_default();
    spec.unschedulable == Some(true)
}

pub(super) fn sets(stack: &Stack) -> Api<DaemonSet> {
    Api::namespaced(stack.plane.client(), "default")
}

pub(super) fn pods(stack: &Stack) -> Api<Pod> {
    Api::namespaced(stack.plane.client(), "default")
}

pub(super) fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}

/// The policy has this spec from now on, and nothing of what it had.
pub(super) fn policy_is(stack: &Stack, spec: &Value) {
    let patch = json!([{"op": "add", "path": "/spec", "value": spec}]).to_string();
    let patched = ["patch", "rbp", "general", "--type=json", "-p", &patch];
    stack.plane.kubectl(&patched).unwrap();
}
