//! Workloads that stood in the way of drains in public reports, and what becomes of their nodes.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::hollow::TERMINATION_SECONDS;
use lockkeeper_e2e::stack::{Stack, is_done};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::scene::{
    LONG, POLL, deploy, drain_is, events, make, name, ours, rebooted, runs, template, until, waits, writes,
};

/// Storage operators open the budget of a node's pod only once the node is cordoned and an eviction was refused.
pub(super) async fn a_budget_that_its_controller_opens_after_the_cordon_does_not_keep_the_node(stack: &Stack) {
    let (node, client) = (name(stack, 19), stack.plane.client());
    drain_is(stack, &json!({}));
    deploy(&client, "manager", node, &json!({})).await;
    deploy(&client, "consumer", node, &json!({})).await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "default");
    let budget = json!({
        "metadata": {"name": "manager", "labels": {"longhorn.io/managed-by": "longhorn-manager"}},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "manager"}}},
    });
    make(&budgets, budget).await;
    let foretold = "budget default/manager allows none now; its controller may open it once the node is cordoned";
    until("the report foretells it and does not block", async || {
        let (code, text) = report(stack, node).await;
        code == Some(0) && text.contains(foretold)
    })
    .await;
    stack.stage_cause(node, "storage").await.unwrap();
    let nodes: Api<Node> = Api::all(client.clone());
    until("the node is cordoned, and a real eviction was refused", async || {
        let spec = nodes.get(node).await.unwrap().spec.unwrap_or_default();
        let requests = stack.plane.requests().unwrap();
        let refused = requests
            .iter()
            .any(|request| is_eviction(request, "manager") && request.code == 429);
        assert!(
            !refused || spec.unschedulable == Some(true),
            "evicted before the cordon"
        );
        refused
    })
    .await;
    let opened = Patch::Merge(json!({"spec": {"minAvailable": 0}}));
    budgets
        .patch("manager", &PatchParams::default(), &opened)
        .await
        .unwrap();
    rebooted(stack, node).await;
    let requests = stack.plane.requests().unwrap();
    let first = |app: &str| {
        requests
            .iter()
            .find(|request| is_eviction(request, app))
            .unwrap()
            .received
    };
    assert!(first("consumer") < first("manager"), "the other pods leave first");
}

/// A Deployment that is placed by `nodeName` and tolerates every taint, the cordon's too.
pub(super) async fn pods_that_return_to_the_cordoned_node_go_down_with_it(stack: &Stack) {
    let (node, client) = (name(stack, 20), stack.plane.client());
    let mut tolerant = template("tolerant", node, &json!({}));
    tolerant["spec"]["nodeName"] = json!(node);
    tolerant["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    let deployment = json!({
        "metadata": {"name": "tolerant"},
        "spec": {"selector": {"matchLabels": {"app": "tolerant"}}, "template": tolerant},
    });
    make(&Api::<Deployment>::namespaced(client.clone(), "default"), deployment).await;
    runs(&client, "", "app=tolerant").await;
    let (code, text) = report(stack, node).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("tolerates the cordon and may return to its node"),
        "{text}"
    );
    stack.stage_cause(node, "returns").await.unwrap();
    rebooted(stack, node).await;
    let requests = stack.plane.requests().unwrap();
    let evicted = requests
        .iter()
        .filter(|request| is_eviction(request, "tolerant") && request.code == 201);
    let evicted: BTreeSet<&String> = evicted.map(|request| &request.name).collect();
    assert!((2..=3).contains(&evicted.len()), "{evicted:?}");
    until("an Event names the owner and the cause", async || {
        let told = events(stack, node, "PodsReturn").await;
        told.iter().any(|(words, _)| {
            words.contains("ReplicaSet default/tolerant-") && words.contains("they tolerate its cordon")
        })
    })
    .await;
    let moved = stack
        .reboot(node)
        .await
        .unwrap()
        .status
        .unwrap()
        .last_reboot
        .unwrap()
        .pods_moved;
    assert_eq!(moved, 0, "a pod that returned has not moved");
    let pods: Api<Pod> = Api::namespaced(client, "default");
    stack.plane.kubectl(&["delete", "deployment", "tolerant"]).unwrap();
    until("its pods are gone", async || {
        let like = kube::api::ListParams::default().labels("app=tolerant");
        pods.list(&like).await.unwrap().items.is_empty()
    })
    .await;
}

/// A finalizer of an operator that was uninstalled.
pub(super) async fn a_pod_stuck_in_its_shutdown_leaves_the_node_alone_and_names_the_finalizer(stack: &Stack) {
    let (node, client) = (name(stack, 21), stack.plane.client());
    deploy(&client, "beside", node, &json!({})).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let with_finalizer = json!({
        "metadata": {"name": "stuck", "finalizers": ["example.com/cleanup"]},
        "spec": {
            "terminationGracePeriodSeconds": 1, "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}],
        },
    });
    make(&pods, with_finalizer).await;
    runs(&client, "metadata.name=stuck", "").await;
    pods.delete("stuck", &DeleteParams::default()).await.unwrap();
    until("the report names the finalizer and blocks", async || {
        let (code, text) = report(stack, node).await;
        code == Some(4)
            && text.contains("pod default/stuck has been past its grace period since ")
            && text.contains("example.com/cleanup")
    })
    .await;
    stack.stage_cause(node, "stuck").await.unwrap();
    let message = waits(stack, node, "PreflightBlocked").await.message;
    assert!(
        message.contains("default/stuck") && message.contains("example.com/cleanup"),
        "{message}"
    );
    assert_eq!(writes(stack, "nodes", node), vec![], "the node was not touched");
    let requests = stack.plane.requests().unwrap();
    assert!(
        !requests.iter().any(|request| is_eviction(request, "beside")),
        "the other pods stay"
    );
    let removed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("stuck", &PatchParams::default(), &removed).await.unwrap();
    rebooted(stack, node).await;
}

/// A broker whose grace period is longer than `drain.timeoutSeconds`.
pub(super) async fn a_grace_period_longer_than_the_drain_is_waited_for(stack: &Stack) {
    let (node, client) = (name(stack, 24), stack.plane.client());
    drain_is(stack, &json!({"timeoutSeconds": 10}));
    let slow = json!({"metadata": {"annotations": {TERMINATION_SECONDS: "20"}},
        "spec": {"terminationGracePeriodSeconds": 120}});
    deploy(&client, "broker", node, &slow).await;
    let (code, text) = report(stack, node).await;
    assert_eq!(code, Some(0), "{text}");
    let foretold = "may take 120 s to shut down, longer than drain.timeoutSeconds (10, policy general): the drain waits \
                    for that";
    assert!(text.contains(foretold), "{text}");
    stack.stage_cause(node, "grace").await.unwrap();
    let done = async {
        while !is_done(&stack.reboot(node).await.unwrap()) {
            let status = stack.reboot(node).await.unwrap().status.unwrap_or_default();
            assert!(status.deferred.is_none(), "{:?}", status.deferred);
            sleep(POLL).await;
        }
    };
    timeout(LONG, done).await.expect("rebooted");
    drain_is(stack, &json!({}));
}

/// Whether the operator really asked for the eviction of a pod of this app.
fn is_eviction(request: &Request, app: &str) -> bool {
    let of_app = request.name.starts_with(&format!("{app}-"));
    ours(request) && request.resource == "pods/eviction" && !request.dry_run && of_app
}

/// Exit code and output of `kubectl lockkeeper report`.
async fn report(stack: &Stack, node: &str) -> (Option<i32>, String) {
    let output = stack.plugin(&["report", node]).await.unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}
