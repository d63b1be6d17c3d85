//! After the uncordon a node keeps its slot until the workloads that it evicted are ready again, or their time is over.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, Operation};
use lockkeeper_e2e::hollow::{DOWN_SECONDS, NEVER_READY};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload::is_ready;
use serde_json::{Value, json};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn a_node_keeps_its_slot_until_the_workloads_that_it_evicted_are_ready() {
    let mut stack = Stack::start("workloads", 3, 0).await.unwrap();
    stack.start_operator().unwrap();
    for name in stack.nodes.names() {
        stack.nodes.annotate(name, DOWN_SECONDS, Some("5")).await.unwrap();
    }
    let (first, second) = (&*name(&stack, 0), &*name(&stack, 1));
    create(&stack, "Deployment", "slow", Some(first)).await;
    create(&stack, "StatefulSet", "db", Some(second)).await;
    // One that is not ready before the reboot.
    create(&stack, "Deployment", "broken", Some(first)).await;
    never_ready(&stack, "broken", Some("true")).await;
    stack.plane.policy("general", json!({"order": "Name"})).await.unwrap();
    a_workload_that_gets_ready_late_holds_the_next_node(&stack, first, second).await;
    one_that_is_scaled_down_meanwhile_holds_up_nothing(&stack, second).await;
    the_time_is_bounded_and_the_history_names_what_is_missing(&stack, first).await;
    one_that_cannot_be_read_is_named(&stack, first).await;
    stack.workdir.passed();
}

#[tokio::test]
async fn a_cluster_of_one_node_does_not_wait_for_itself() {
    let mut stack = Stack::start("workloads-one", 1, 0).await.unwrap();
    stack.start_operator().unwrap();
    let node = &*name(&stack, 0);
    create(&stack, "Deployment", "only", None).await;
    stack.plane.policy("general", json!({})).await.unwrap();
    stack.stage_cause(node, "one").await.unwrap();
    let workloads = rebooting(&stack, node).await.workloads;
    assert_eq!(workloads.len(), 1, "{workloads:?}");
    assert_eq!(
        message_after(&stack, node, "one").await,
        "",
        "the pod came back by itself"
    );
    assert!(pod(&stack, "only").await.is_some_and(|pod| is_ready(&pod)));
    stack.workdir.passed();
}

async fn a_workload_that_gets_ready_late_holds_the_next_node(stack: &Stack, first: &str, second: &str) {
    stack.stage_cause(first, "late").await.unwrap();
    let workloads = rebooting(stack, first).await.workloads;
    let [workload] = workloads.as_slice() else {
        panic!("{workloads:?}")
    };
    assert!(workload.owner.0.starts_with("ReplicaSet default/slow-"), "{workload:?}");
    assert_eq!(workload.deployment.as_deref(), Some("slow"));
    assert_eq!(workload.replicas, Some(1));
    stack.stage_cause(second, "late").await.unwrap();
    // The pod that takes its place on another node.
    never_ready(stack, "slow", Some("true")).await;
    let message = waits(
        stack,
        first,
        "WorkloadsNotReady",
        "Deployment default/slow (0 of 1 ready)",
    )
    .await;
    assert!(message.starts_with("uncordoned; waiting until "), "{message}");
    assert!(!cordoned(stack, first).await, "it takes pods");
    let message = waits(stack, second, "NoFreeSlot", first).await;
    assert!(message.contains("in progress (1 of 1, policy limit)"), "{message}");
    let output = stack.plugin(&["explain", first]).await.unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.contains(
            "its slot is freed once the workloads that it evicted are ready again; if its evicted workloads are"
        ),
        "{output}"
    );
    assert!(!cordoned(stack, second).await);
    never_ready(stack, "slow", None).await;
    assert_eq!(message_after(stack, first, "late").await, "");
    message_after(stack, second, "late").await;
}

async fn one_that_is_scaled_down_meanwhile_holds_up_nothing(stack: &Stack, node: &str) {
    move_to(stack, "db", node).await;
    stack.stage_cause(node, "scaled").await.unwrap();
    rebooting(stack, node).await;
    never_ready(stack, "db", Some("true")).await;
    waits(
        stack,
        node,
        "WorkloadsNotReady",
        "StatefulSet default/db (0 of 1 ready)",
    )
    .await;
    let sets: Api<StatefulSet> = Api::namespaced(stack.plane.client(), "default");
    let scaled = Patch::Merge(json!({"spec": {"replicas": 0}}));
    sets.patch("db", &PatchParams::default(), &scaled).await.unwrap();
    assert_eq!(message_after(stack, node, "scaled").await, "");
}

async fn the_time_is_bounded_and_the_history_names_what_is_missing(stack: &Stack, node: &str) {
    move_to(stack, "slow", node).await;
    merge(
        stack,
        "rbp",
        "general",
        &json!({"spec": {"drain": {"waitForWorkloadsSeconds": 3}}}),
    );
    stack.stage_cause(node, "bounded").await.unwrap();
    rebooting(stack, node).await;
    never_ready(stack, "slow", Some("true")).await;
    let message = message_after(stack, node, "bounded").await;
    assert!(
        message.contains("evicted workload") && message.contains("not ready again within 3 s of the uncordon: "),
        "{message}"
    );
    assert!(message.contains("Deployment default/slow (0 of 1 ready)"), "{message}");
    never_ready(stack, "slow", None).await;
}

/// As with the ClusterRole of an older version.
async fn one_that_cannot_be_read_is_named(stack: &Stack, node: &str) {
    move_to(stack, "slow", node).await;
    let role = ["get", "clusterrole", "lockkeeper-operator", "-o", "json"];
    let role: Value = serde_json::from_str(&stack.plane.kubectl(&role).unwrap()).unwrap();
    let mut rules = role["rules"].as_array().unwrap().clone();
    rules.retain(|rule| !rule["resources"].to_string().contains("replicasets"));
    merge(stack, "clusterrole", "lockkeeper-operator", &json!({"rules": rules}));
    stack.stage_cause(node, "denied").await.unwrap();
    let message = message_after(stack, node, "denied").await;
    assert!(
        message.contains("ReplicaSet default/slow-")
            && message.contains("(not known)")
            && message.contains("; cannot read "),
        "{message}"
    );
    assert!(message.contains("grant the permission: apply the chart"), "{message}");
}

/// Makes a workload of one pod, at first on this node, and waits until it is ready.
async fn create(stack: &Stack, kind: &str, name: &str, node: Option<&str>) {
    let labels = json!({"app": name});
    let workload = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1, "serviceName": (kind == "StatefulSet").then_some(name),
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "affinity": node.map(prefers),
                    "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}],
                },
            },
        },
    });
    let client = stack.plane.client();
    if kind == "StatefulSet" {
        let api: Api<StatefulSet> = Api::namespaced(client, "default");
        api.create(&PostParams::default(), &serde_json::from_value(workload).unwrap())
            .await
            .unwrap();
    } else {
        let api: Api<Deployment> = Api::namespaced(client, "default");
        api.create(&PostParams::default(), &serde_json::from_value(workload).unwrap())
            .await
            .unwrap();
    }
    ready_pod(stack, name).await;
}

fn prefers(node: &str) -> Value {
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
    let preferred = json!([{"weight": 100, "preference": term}]);
    json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}})
}

/// Waits until the workload has a pod that is ready and stays.
async fn ready_pod(stack: &Stack, name: &str) -> Pod {
    let ready = async || pod(stack, name).await.filter(is_ready);
    eventually("its pod is ready", ready).await
}

/// The pod of a workload that is to stay.
async fn pod(stack: &Stack, name: &str) -> Option<Pod> {
    let like = ListParams::default().labels(&format!("app={name}"));
    let pods = pods(stack).list(&like).await.unwrap().items;
    pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none())
}

/// Whether the pod of a workload that is to stay never gets ready.
async fn never_ready(stack: &Stack, name: &str, value: Option<&str>) {
    let name = eventually("it has a pod", async || pod(stack, name).await)
        .await
        .name_any();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {NEVER_READY: value}}}));
    pods(stack).patch(&name, &PatchParams::default(), &patch).await.unwrap();
}

/// Deletes the pod of a workload until it is on the node that it prefers.
async fn move_to(stack: &Stack, name: &str, node: &str) {
    loop {
        let pod = ready_pod(stack, name).await;
        if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node) {
            return;
        }
        let deleted = pods(stack).delete(&pod.name_any(), &DeleteParams::default()).await;
        deleted.unwrap();
    }
}

/// Waits until the reboot is ordered, and returns the operation.
async fn rebooting(stack: &Stack, node: &str) -> Operation {
    let operation = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.operation.clone());
    let ordered = |reboot: &NodeReboot| operation(reboot).is_some_and(|one| one.reboot_ordered_time.is_some());
    let reboot = stack.wait_reboot(node, "ordered to reboot", LONG, ordered).await;
    *operation(&reboot.unwrap()).unwrap()
}

/// Waits until the node waits for this reason with these words, and returns all of them.
async fn waits(stack: &Stack, node: &str, reason: &str, words: &str) -> String {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let good = |reboot: &NodeReboot| {
        waiting(reboot).is_some_and(|waiting| waiting.reason == reason && waiting.message.contains(words))
    };
    let reboot = stack.wait_reboot(node, reason, LONG, good).await.unwrap();
    waiting(&reboot).unwrap().message
}

/// Waits until the node was rebooted for this cause, and returns what its history says.
async fn message_after(stack: &Stack, node: &str, cause: &str) -> String {
    stack.wait_rebooted_for(&[node.to_owned()], cause, LONG).await.unwrap();
    let status = stack.reboot(node).await.unwrap().status.unwrap();
    status.last_reboot.unwrap().message
}

async fn cordoned(stack: &Stack, name: &str) -> bool {
    let node: Node = Api::all(stack.plane.client()).get(name).await.unwrap();
    node.spec.unwrap_or_default().unschedulable == Some(true)
}

fn merge(stack: &Stack, kind: &str, name: &str, patch: &Value) {
    let patch = patch.to_string();
    stack
        .plane
        .kubectl(&["patch", kind, name, "--type=merge", "-p", &patch])
        .unwrap();
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn pods(stack: &Stack) -> Api<Pod> {
    Api::namespaced(stack.plane.client(), "default")
}

fn name(stack: &Stack, index: usize) -> String {
    stack.nodes.names()[index].clone()
}
