//! The policy's drain on a real API server: a look ahead, order, delays, taints, time-outs, and a node that goes away.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::hollow::{RUN_SECONDS, TERMINATION_SECONDS};
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload::{self, is_ready};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const LONG: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_policys_drain_is_obeyed() {
    let mut stack = Stack::start("drain-policy", 7, 1).await.unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    a_node_that_cannot_be_emptied_is_not_touched_and_the_next_one_goes(&stack).await;
    pods_leave_in_order_after_load_balancers_had_their_time(&stack).await;
    what_is_left_after_the_time_out_is_deleted_and_that_is_said(&stack).await;
    nodes_still_to_come_are_avoided(&stack).await;
    a_node_that_goes_away_in_its_drain_frees_the_slot(&stack).await;
    stack.workdir.passed();
}

async fn a_node_that_cannot_be_emptied_is_not_touched_and_the_next_one_goes(stack: &Stack) {
    let (full, free) = (name(stack, 0), name(stack, 1));
    let client = stack.plane.client();
    let lonely = json!({
        "metadata": {"name": "lonely"},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": full}, "containers": [{"name": "a", "image": "a"}]},
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    make(&pods, lonely).await;
    runs(&client, "metadata.name=lonely", "").await;
    stack.stage_cause(full, "stuck").await.unwrap();
    let waiting = waits(stack, full, "PreflightBlocked").await;
    assert!(
        waiting.message.contains("default/lonely: no controller"),
        "{}",
        waiting.message
    );
    stack.stage_cause(free, "free").await.unwrap();
    rebooted(stack, free).await;
    let requests = stack.plane.requests().unwrap();
    let touched = requests
        .iter()
        .filter(|request| ours(request) && request.writes() && request.resource == "nodes" && request.name == full);
    assert_eq!(touched.count(), 0, "the node was not touched");
    pods.delete("lonely", &DeleteParams::default()).await.unwrap();
    // Another generation of the policy: the answer to the old one is none.
    change(stack, &json!({"drain": {"podOptOuts": "Ignore"}}));
    rebooted(stack, full).await;
}

async fn pods_leave_in_order_after_load_balancers_had_their_time(stack: &Stack) {
    let (node, client) = (name(stack, 2), stack.plane.client());
    workload::pin(&client, node, 2).await.unwrap();
    let late = json!({
        "metadata": {"name": "late"},
        "spec": {"selector": {"matchLabels": {"app": "late"}}, "template": template("late", node, &json!({TERMINATION_SECONDS: "1"}))},
    });
    make(&Api::<Deployment>::namespaced(client.clone(), "default"), late).await;
    let mut batch = template("batch", node, &json!({RUN_SECONDS: "20"}));
    batch["spec"]["restartPolicy"] = json!("Never");
    let batch = json!({"metadata": {"name": "batch"}, "spec": {"template": batch}});
    make(&Api::<Job>::namespaced(client.clone(), "default"), batch).await;
    let each = json!({
        "metadata": {"name": "each"},
        "spec": {"selector": {"matchLabels": {"app": "each"}}, "template": template("each", node, &json!({}))},
    });
    make(&Api::<DaemonSet>::namespaced(client.clone(), "default"), each).await;
    for app in ["late", "each"] {
        runs(&client, "", &format!("app={app}")).await;
    }
    change(
        stack,
        &json!({"drain": {
            "excludeFromLoadBalancersSeconds": 4,
            "daemonSetsLast": true,
            "rules": [
                {"podSelector": {"matchLabels": {"app": "batch"}}, "behavior": "WaitCompleted"},
                {"podSelector": {"matchLabels": {"app": "late"}}, "order": 10},
            ],
        }}),
    );
    stack.stage_cause(node, "order").await.unwrap();
    let mut tainted = false;
    let done = async {
        while !is_done(&stack.reboot(node).await.unwrap()) {
            tainted |= taints(stack, node).await.contains(&names::TAINT_REBOOTING.to_owned());
            sleep(POLL).await;
        }
    };
    timeout(LONG, done).await.expect("rebooted");
    assert!(tainted, "the taint was there");
    assert_eq!(taints(stack, node).await, Vec::<String>::new());
    let evicted: Vec<Request> = stack.evictions().unwrap();
    let of = |app: &str| {
        let found = evicted.iter().find(|request| request.name.starts_with(app));
        found.map(|request| request.received)
    };
    let (pinned, late, each) = (
        of("pinned-hollow-0002").unwrap(),
        of("late").unwrap(),
        of("each").unwrap(),
    );
    let requests = stack.plane.requests().unwrap();
    let mut marks = requests
        .iter()
        .filter(|r| ours(r) && r.writes() && r.resource == "nodes" && r.name == node);
    let marked = marks.next().unwrap().received;
    assert!(
        (pinned - marked).num_milliseconds() >= 4000,
        "evicted {} after the marks",
        pinned - marked
    );
    assert!(
        (late - pinned).num_milliseconds() >= 2000,
        "the first order was gone: {}",
        late - pinned
    );
    assert!(each > late, "DaemonSets are last");
    assert_eq!(of("batch"), None, "a job completes");
    runs(&client, "", "app=each").await;
}

async fn what_is_left_after_the_time_out_is_deleted_and_that_is_said(stack: &Stack) {
    let (node, client) = (name(stack, 3), stack.plane.client());
    workload::pin(&client, node, 1).await.unwrap();
    workload::guard(&client, node).await.unwrap();
    change(
        stack,
        &json!({"drain": {
            "timeoutSeconds": 10, "onTimeout": "Delete", "rules": null,
            "excludeFromLoadBalancersSeconds": 0, "daemonSetsLast": false,
        }}),
    );
    stack.stage_cause(node, "deleted").await.unwrap();
    let waiting = waits(stack, node, "EvictionBlocked").await;
    assert!(
        waiting.message.contains("default/pinned-hollow-0003"),
        "{}",
        waiting.message
    );
    rebooted(stack, node).await;
    let requests = stack.plane.requests().unwrap();
    let deleted = |request: &&Request| {
        ours(request)
            && request.verb == "delete"
            && request.resource == "pods"
            && request.name.starts_with("pinned-hollow-0003")
    };
    assert!(requests.iter().any(|request| deleted(&request)), "the pod was deleted");
    let about = "--field-selector=reason=DrainDeletes";
    let said = stack
        .plane
        .kubectl(&[
            "get",
            "events.v1.events.k8s.io",
            "-n",
            "default",
            about,
            "-o",
            "jsonpath={.items[*].note}",
        ])
        .unwrap();
    assert!(said.contains("not empty after 10 s"), "{said}");
}

async fn nodes_still_to_come_are_avoided(stack: &Stack) {
    let (first, second) = (name(stack, 4), name(stack, 5));
    change(
        stack,
        &json!({"suspend": true, "drain": {"onTimeout": "Defer", "timeoutSeconds": 900, "preferUpdatedNodes": true}}),
    );
    for node in [first, second] {
        stack.stage_cause(node, "to come").await.unwrap();
        waits(stack, node, "Suspended").await;
        assert_eq!(taints(stack, node).await, Vec::<String>::new());
    }
    change(stack, &json!({"suspend": false}));
    let pending = names::TAINT_REBOOT_PENDING.to_owned();
    until("both are tainted", async || {
        taints(stack, first).await.contains(&pending) && taints(stack, second).await.contains(&pending)
    })
    .await;
    rebooted(stack, first).await;
    rebooted(stack, second).await;
    until("no taint is left", async || {
        taints(stack, first).await.is_empty() && taints(stack, second).await.is_empty()
    })
    .await;
}

async fn a_node_that_goes_away_in_its_drain_frees_the_slot(stack: &Stack) {
    let node = name(stack, 6);
    workload::pin(&stack.plane.client(), node, 1).await.unwrap();
    workload::guard(&stack.plane.client(), node).await.unwrap();
    stack.stage_cause(node, "gone").await.unwrap();
    waits(stack, node, "EvictionBlocked").await;
    stack.nodes.delete(node).await.unwrap();
    until("the lock is free", async || {
        let holders = ["get", "rlock", "cluster", "-o", "jsonpath={.status.holders}"];
        stack.plane.kubectl(&holders).unwrap() == "[]"
    })
    .await;
    let after = stack.plane.requests().unwrap().len();
    // What was under way may still end.
    sleep(Duration::from_secs(1)).await;
    let begun = stack.plane.requests().unwrap().len();
    sleep(Duration::from_secs(2)).await;
    let requests = stack.plane.requests().unwrap();
    let late = requests[begun.max(after)..]
        .iter()
        .filter(|request| ours(request) && request.resource == "pods/eviction");
    assert_eq!(late.count(), 0, "nobody is evicted any more");
}

fn template(app: &str, node: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"labels": {"app": app}, "annotations": annotations},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}],
        },
    })
}

async fn make<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Waits until a pod like this is ready.
async fn runs(client: &Client, fields: &str, labels: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let like = ListParams::default().fields(fields).labels(labels);
    until("a pod is ready", async || {
        pods.list(&like).await.unwrap().items.iter().any(is_ready)
    })
    .await;
}

async fn until(what: &str, good: impl AsyncFn() -> bool) {
    let wait = async {
        while !good().await {
            sleep(POLL).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn rebooted(stack: &Stack, node: &str) {
    stack.wait_reboot(node, "rebooted", LONG, is_done).await.unwrap();
}

/// Waits until a node waits for this reason.
async fn waits(stack: &Stack, node: &str, reason: &str) -> WaitingStatus {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let good = |reboot: &NodeReboot| waiting(reboot).is_some_and(|waiting| waiting.reason == reason);
    let reboot = stack.wait_reboot(node, reason, LONG, good).await.unwrap();
    waiting(&reboot).unwrap()
}

fn change(stack: &Stack, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=merge", "-p", &patch])
        .unwrap();
}

/// Our taints on a node.
async fn taints(stack: &Stack, node: &str) -> Vec<String> {
    let node: Node = Api::all(stack.plane.client()).get(node).await.unwrap();
    let taints = node.spec.into_iter().flat_map(|spec| spec.taints.unwrap_or_default());
    let keys = taints.map(|taint| taint.key);
    keys.filter(|key| key.starts_with(names::GROUP)).collect()
}

fn ours(request: &Request) -> bool {
    request.program() == "lockkeeper-operator"
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}
