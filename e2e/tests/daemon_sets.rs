//! A node is uncordoned only once the `DaemonSet`s and static pods that were ready on it are ready again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers are not tests in clippy's eyes

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, Operation, Phase};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::hollow::{DOWN_SECONDS, NEVER_READY, is_ready};
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload;
use serde_json::{Value, json};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_node_is_uncordoned_once_its_daemon_sets_are_ready_again() {
    let mut stack = Stack::start("daemon-sets", 4, 1).await.unwrap();
    for name in stack.nodes.names() {
        stack.nodes.annotate(name, DOWN_SECONDS, Some("8")).await.unwrap();
    }
    daemon_set(&stack, "cni", &json!({})).await;
    daemon_set(&stack, "broken", &json!({NEVER_READY: "true"})).await;
    stack.plane.policy("general", json!({})).await.unwrap();
    one_that_gets_ready_late_is_waited_for_and_one_that_never_was_is_not(&stack).await;
    one_that_is_deleted_meanwhile_is_not_waited_for(&stack).await;
    one_that_is_recreated_is_waited_for_unless_it_wants_the_node_no_more(&stack).await;
    one_that_never_gets_ready_fails_the_node_until_a_person_says_a_word(&stack).await;
    a_static_pod_that_was_ready_is_waited_for_and_the_control_plane_with_it(&stack).await;
    daemon_sets_are_not_checked_after_the_reboot(&stack).await;
    stack.workdir.passed();
}

async fn one_that_gets_ready_late_is_waited_for_and_one_that_never_was_is_not(stack: &Stack) {
    let node = name(stack, 0);
    stack.stage_cause(node, "late").await.unwrap();
    let operation = rebooting(stack, node).await;
    let mut counted: Vec<&str> = operation.daemon_sets.iter().map(|set| set.name.as_str()).collect();
    counted.sort_unstable();
    assert_eq!(counted, ["default/cni", "lockkeeper-system/lockkeeper-node-agent"]);
    assert!(operation.daemon_sets.iter().all(|set| set.ready_time.is_some()));
    never_ready(stack, "cni", node, Some("true")).await;
    let pod = pod_of(stack, "cni", node).await.unwrap();
    let words = not_ready(stack, node, &format!("cni: pod {pod} is not Ready: ")).await;
    let expected =
        format!("rebooted; waiting for the node to become Ready: DaemonSet default/cni: pod {pod} is not Ready: ");
    assert!(words.starts_with(&expected), "{words}");
    assert!(is_ready(&seen(stack, node).await), "its kubelet is");
    assert!(cordoned(stack, node).await);
    never_ready(stack, "cni", node, None).await;
    rebooted(stack, node, "late").await;
    let (from, to) = reboot_of(stack, node).await;
    println!("late: {} lists of pods", lists(stack, from, to));
}

async fn one_that_is_deleted_meanwhile_is_not_waited_for(stack: &Stack) {
    let node = name(stack, 1);
    daemon_set(stack, "doomed", &json!({})).await;
    stack.stage_cause(node, "deleted").await.unwrap();
    rebooting(stack, node).await;
    never_ready(stack, "doomed", node, Some("true")).await;
    not_ready(stack, node, "doomed: pod doomed-").await;
    sets(stack).delete("doomed", &DeleteParams::default()).await.unwrap();
    rebooted(stack, node, "deleted").await;
}

async fn one_that_is_recreated_is_waited_for_unless_it_wants_the_node_no_more(stack: &Stack) {
    let node = name(stack, 2);
    daemon_set(stack, "moves", &json!({})).await;
    stack.stage_cause(node, "recreated").await.unwrap();
    rebooting(stack, node).await;
    // Its pods are replaced by ones that take for ever, and the one on this node by none.
    let template = |selector: Value| json!({"spec": {"template": {"spec": {"nodeSelector": selector}}}});
    let on_hold = json!({"spec": {"template": {"metadata": {"annotations": {NEVER_READY: "true"}}}}});
    change(stack, "moves", &on_hold).await;
    let pod = pod_of(stack, "moves", node).await.unwrap();
    pods(stack).delete(&pod, &DeleteParams::default()).await.unwrap();
    not_ready(stack, node, "moves: ").await;
    let again = eventually("another pod", async || {
        pod_of(stack, "moves", node).await.filter(|now| *now != pod)
    })
    .await;
    assert!(cordoned(stack, node).await, "{again} is not ready");
    change(
        stack,
        "moves",
        &template(json!({"kubernetes.io/hostname": name(stack, 0)})),
    )
    .await;
    rebooted(stack, node, "recreated").await;
    sets(stack).delete("moves", &DeleteParams::default()).await.unwrap();
}

async fn one_that_never_gets_ready_fails_the_node_until_a_person_says_a_word(stack: &Stack) {
    let node = name(stack, 3);
    let patch = json!({"spec": {"reboot": {"timeoutSeconds": 60}}}).to_string();
    let patched = ["patch", "rbp", "general", "--type=merge", "-p", &patch];
    stack.plane.kubectl(&patched).unwrap();
    stack.stage_cause(node, "never").await.unwrap();
    rebooting(stack, node).await;
    never_ready(stack, "cni", node, Some("true")).await;
    let words = waits(stack, node, "Failed").await;
    assert!(
        words.contains("was not healthy within 60 s: DaemonSet default/cni: pod cni-")
            && words.contains("check that pod; the node continues once it is ready; or retry"),
        "{words}"
    );
    assert!(cordoned(stack, node).await);
    // Looked at again, and it is not there yet.
    let output = stack.plugin(&["retry", node]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    not_ready(stack, node, "cni: pod cni-").await;
    never_ready(stack, "cni", node, None).await;
    rebooted(stack, node, "never").await;
}

/// A member of etcd that is not back yet: a second one must not go down.
async fn a_static_pod_that_was_ready_is_waited_for_and_the_control_plane_with_it(stack: &Stack) {
    let members = [name(stack, 2), name(stack, 3)];
    for node in members {
        let label = ["label", "node", node, "node-role.kubernetes.io/control-plane="];
        stack.plane.kubectl(&label).unwrap();
        static_pod(stack, node).await;
    }
    stack.stage_cause(members[0], "static").await.unwrap();
    rebooting(stack, members[0]).await;
    stack.stage_cause(members[1], "static").await.unwrap();
    let etcd = format!("etcd-{}", members[0]);
    annotate(stack, &etcd, Some("true")).await;
    let words = format!("static pod default/{etcd}: pod {etcd} is not Ready: ");
    waits_with(stack, members[0], "NodeNotReady", &words).await;
    let busy = waits(stack, members[1], "NoFreeSlot").await;
    assert!(busy.contains(members[0]), "{busy}");
    assert!(cordoned(stack, members[0]).await && !cordoned(stack, members[1]).await);
    annotate(stack, &etcd, None).await;
    for node in members {
        rebooted(stack, node, "static").await;
    }
}

/// The mirror of a static pod, as a kubelet creates it; waits until it is ready.
async fn static_pod(stack: &Stack, node: &str) {
    let pod = json!({
        "metadata": {"name": format!("etcd-{node}"), "annotations": {"kubernetes.io/config.mirror": "e2e"}},
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "etcd", "image": "lockkeeper/web:e2e"}],
        },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods(stack).create(&PostParams::default(), &pod).await.unwrap();
    eventually("the static pod is ready", async || {
        let pod = pods(stack).get(&pod.name_any()).await.unwrap();
        workload::is_ready(&pod).then_some(())
    })
    .await;
}

async fn daemon_sets_are_not_checked_after_the_reboot(stack: &Stack) {
    // What has begun may end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begin = Utc::now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(lists(stack, begin, Utc::now()), 0);
}

/// Makes a `DaemonSet` for all nodes and waits until each has its pod.
async fn daemon_set(stack: &Stack, name: &str, annotations: &Value) {
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

async fn change(stack: &Stack, name: &str, patch: &Value) {
    let patched = sets(stack)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.unwrap();
}

/// The pod of a `DaemonSet` on a node, if it is there to stay.
async fn pod_of(stack: &Stack, set: &str, node: &str) -> Option<String> {
    let like = ListParams::default().labels(&format!("app={set}"));
    let here = like.fields(&format!("spec.nodeName={node}"));
    let pods = pods(stack).list(&here).await.unwrap().items;
    let stays = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
    stays.map(|pod| pod.name_any())
}

async fn never_ready(stack: &Stack, set: &str, node: &str, value: Option<&str>) {
    let pod = pod_of(stack, set, node).await.unwrap();
    annotate(stack, &pod, value).await;
}

/// Says whether a pod never gets ready.
async fn annotate(stack: &Stack, pod: &str, value: Option<&str>) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {NEVER_READY: value}}}));
    pods(stack).patch(pod, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until the reboot is ordered, and returns the operation.
async fn rebooting(stack: &Stack, node: &str) -> Operation {
    let operation = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.operation.clone());
    let ordered = |reboot: &NodeReboot| operation(reboot).is_some_and(|one| one.phase == Phase::Rebooting);
    let reboot = stack.wait_reboot(node, "ordered to reboot", LONG, ordered).await;
    operation(&reboot.unwrap()).unwrap()
}

/// Waits until the node waits for a `DaemonSet` with these words, and returns all of them.
async fn not_ready(stack: &Stack, node: &str, words: &str) -> String {
    waits_with(stack, node, "NodeNotReady", &format!("DaemonSet default/{words}")).await
}

async fn waits(stack: &Stack, node: &str, reason: &str) -> String {
    waits_with(stack, node, reason, "").await
}

async fn waits_with(stack: &Stack, node: &str, reason: &str, words: &str) -> String {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let good = |reboot: &NodeReboot| {
        waiting(reboot).is_some_and(|waiting| waiting.reason == reason && waiting.message.contains(words))
    };
    let reboot = stack.wait_reboot(node, reason, LONG, good).await.unwrap();
    waiting(&reboot).unwrap().message
}

async fn rebooted(stack: &Stack, node: &str, cause: &str) {
    let nodes = [node.to_owned()];
    stack.wait_rebooted_for(&nodes, cause, LONG).await.unwrap();
    assert!(is_done(&stack.reboot(node).await.unwrap()));
    assert!(!cordoned(stack, node).await);
}

/// When the last reboot of a node began and ended.
async fn reboot_of(stack: &Stack, node: &str) -> (DateTime<Utc>, DateTime<Utc>) {
    let last = stack.reboot(node).await.unwrap().status.unwrap().last_reboot.unwrap();
    (last.started_time, last.ended_time)
}

/// Lists of pods that the operator made.
fn lists(stack: &Stack, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
    let ours = |request: &Request| request.program() == "lockkeeper-operator" && request.resource == "pods";
    let requests = stack.plane.requests().unwrap().into_iter();
    let listed = requests.filter(|request| ours(request) && request.verb == "list");
    listed.filter(|request| (from..=to).contains(&request.received)).count()
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(POLL).await;
    }
}

async fn seen(stack: &Stack, name: &str) -> Node {
    Api::all(stack.plane.client()).get(name).await.unwrap()
}

async fn cordoned(stack: &Stack, name: &str) -> bool {
    let spec = seen(stack, name).await.spec.unwrap_or_default();
    spec.unschedulable == Some(true)
}

fn sets(stack: &Stack) -> Api<DaemonSet> {
    Api::namespaced(stack.plane.client(), "default")
}

fn pods(stack: &Stack) -> Api<Pod> {
    Api::namespaced(stack.plane.client(), "default")
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}
