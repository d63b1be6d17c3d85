//! Eviction responders of pods, on a real API server 1.37 that serves their alpha API, and on one that does not.

mod controller;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, Outcome, names};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::Options;
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use self::controller::{RESPONDER, Responders, Work, api};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);
const OPERATOR: &str = "system:serviceaccount:lockkeeper-system:lockkeeper-operator";

#[tokio::test]
async fn pods_with_responders_are_left_to_them_and_requests_are_withdrawn() {
    let gate = "--feature-gates=EvictionRequestAPI=true".to_owned();
    let served = "--runtime-config=lifecycle.k8s.io/v1alpha1=true".to_owned();
    let next = Options {
        api_server: "kube-apiserver-next",
        api_server_args: vec![gate, served],
        ..Options::default()
    };
    let mut stack = Stack::start_on(next, "eviction_requests", 5, 0).await.unwrap();
    let overlay = repository().join("deploy/kustomize/eviction-requests");
    let apply = ["apply", "--server-side", "-k", &overlay.to_string_lossy()];
    stack.plane.kubectl(&apply).unwrap();
    start_operator(&mut stack);
    policy(&stack).await;
    let responders = Responders::start(stack.plane.client());
    the_operator_may_write_its_own_requests_only(&stack).await;
    a_responder_moves_its_pod_and_its_progress_is_the_wait_reason(&stack, &responders).await;
    a_cancel_withdraws_our_request_and_no_other(&stack, &responders).await;
    a_request_outlives_a_crash_of_the_operator(&mut stack, &responders).await;
    a_hold_during_a_crash_withdraws_the_request(&mut stack, &responders).await;
    a_pod_is_evicted_once_its_responder_has_completed(&stack, &responders).await;
    drop(responders);
    a_pod_is_evicted_where_no_controller_answers(&stack).await;
    stack.workdir.passed();
}

#[tokio::test]
async fn an_api_server_without_the_api_evicts_as_ever() {
    let mut stack = Stack::start("eviction_requests_absent", 1, 0).await.unwrap();
    let overlay = repository().join("deploy/kustomize/eviction-requests");
    let apply = ["apply", "--server-side", "-k", &overlay.to_string_lossy()];
    stack.plane.kubectl(&apply).unwrap();
    start_operator(&mut stack);
    policy(&stack).await;
    let node = name(&stack, 0);
    pod(&stack, "asked", node, true).await;
    stack.stage_cause(node, "absent").await.unwrap();
    rebooted(&stack, node, "absent").await;
    assert_eq!(evicted(&stack, "asked"), 1);
    let asked = |request: &&Request| request.resource.contains("eviction") && request.resource != "pods/eviction";
    let requests = stack.plane.requests().unwrap();
    let asked: Vec<&Request> = requests.iter().filter(asked).collect();
    assert!(
        asked.len() <= 2
            && asked
                .iter()
                .all(|request| request.verb == "list" && request.code == 404),
        "at the start of the operator and at the end of the drain: {asked:?}"
    );
    stack.workdir.passed();
}

async fn the_operator_may_write_its_own_requests_only(stack: &Stack) {
    let pod = pod(stack, "guarded", name(stack, 4), true).await;
    let requester = |requester: &str| request(&pod, requester, requester.split('/').next().unwrap());
    let as_operator = |args: &[&str], object: &Value| {
        let file = stack.plane.dir().join("request.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let account = format!("--as={OPERATOR}");
        let file = file.to_string_lossy();
        let mut all = args.to_vec();
        all.extend(["-f", &file, &account]);
        stack.plane.kubectl(&all)
    };
    let (ours, other) = (requester("lockkeeper.dev/operator"), requester("other.example/x"));
    // The policy takes effect a moment after it was created.
    eventually("requests of others are refused", async || {
        let refused = as_operator(&["create", "--dry-run=server"], &other).err()?;
        format!("{refused:#}")
            .contains("only EvictionRequests with the requester")
            .then_some(())
    })
    .await;
    as_operator(&["create", "--dry-run=server"], &ours).unwrap();
    create(stack, &other).await;
    let refused = as_operator(&["delete"], &other).unwrap_err();
    assert!(format!("{refused:#}").contains("only EvictionRequests"), "{refused:#}");
    let requests = api(&stack.plane.client(), "EvictionRequest");
    requests
        .delete("other.example", &DeleteParams::default())
        .await
        .unwrap();
    delete(stack, "guarded").await;
}

async fn a_responder_moves_its_pod_and_its_progress_is_the_wait_reason(stack: &Stack, responders: &Responders) {
    let node = name(stack, 0);
    pod(stack, "asked-0", node, true).await;
    pod(stack, "plain-0", node, false).await;
    stack.stage_cause(node, "moved").await.unwrap();
    let active = format!("pod default/asked-0: eviction responder {RESPONDER} is active (no heartbeat yet)");
    waits(stack, node, "ResponderActive", &active).await;
    responders.set("asked-0", Work::Report("copied 40%".to_owned()));
    let waiting = waits(stack, node, "ResponderActive", "copied 40%").await;
    assert!(
        waiting.message.contains("is active (last heartbeat at 20"),
        "{}",
        waiting.message
    );
    let explained = stack.plugin(&["explain", node]).await.unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("copied 40%"), "{explained}");
    responders.set("asked-0", Work::Move);
    rebooted(stack, node, "moved").await;
    assert_eq!((evicted(stack, "asked-0"), evicted(stack, "plain-0")), (0, 1));
    no_request_is_left(stack).await;
}

async fn a_cancel_withdraws_our_request_and_no_other(stack: &Stack, responders: &Responders) {
    let node = name(stack, 1);
    let pod = pod(stack, "asked-1", node, true).await;
    responders.set("asked-1", Work::Report("copied 1%".to_owned()));
    stack.stage_cause(node, "cancelled").await.unwrap();
    waits(stack, node, "ResponderActive", "copied 1%").await;
    create(stack, &request(&pod, "other.example/x", "other")).await;
    let cancelled = stack.plugin(&["cancel", node]).await.unwrap();
    assert!(cancelled.status.success(), "{cancelled:?}");
    eventually("only the other request is left", async || {
        let left = requests(stack).await;
        (left.len() == 1 && left[0].name_any() == "other").then_some(())
    })
    .await;
    let uid = pod.uid().unwrap();
    let eviction = eviction(stack, &uid).await;
    assert_eq!(
        eviction["targetResponders"][0]["state"], "Active",
        "the other requester's intent is kept"
    );
    assert_eq!(evicted(stack, "asked-1"), 0);
    let all = api(&stack.plane.client(), "EvictionRequest");
    all.delete("other", &DeleteParams::default()).await.unwrap();
    delete(stack, "asked-1").await;
}

async fn a_request_outlives_a_crash_of_the_operator(stack: &mut Stack, responders: &Responders) {
    let node = name(stack, 2).to_owned();
    pod(stack, "asked-2", &node, true).await;
    responders.set("asked-2", Work::Report("copied 2%".to_owned()));
    stack.stage_cause(&node, "crashed").await.unwrap();
    waits(stack, &node, "ResponderActive", "copied 2%").await;
    let before: Vec<_> = requests(stack).await.iter().map(ResourceExt::uid).collect();
    stack.kill_leader().await.unwrap();
    responders.set("asked-2", Work::Report("copied 20%".to_owned()));
    start_operator(stack);
    waits(stack, &node, "ResponderActive", "copied 20%").await;
    let after: Vec<_> = requests(stack).await.iter().map(ResourceExt::uid).collect();
    assert_eq!((before.len(), &after), (1, &before), "the same request");
    responders.set("asked-2", Work::Move);
    rebooted(stack, &node, "crashed").await;
    assert_eq!(evicted(stack, "asked-2"), 0);
    no_request_is_left(stack).await;
}

async fn a_hold_during_a_crash_withdraws_the_request(stack: &mut Stack, responders: &Responders) {
    let node = name(stack, 3).to_owned();
    pod(stack, "asked-3", &node, true).await;
    responders.set("asked-3", Work::Report("copied 3%".to_owned()));
    stack.stage_cause(&node, "held").await.unwrap();
    waits(stack, &node, "ResponderActive", "copied 3%").await;
    stack.kill_leader().await.unwrap();
    stack.nodes.annotate(&node, names::HOLD, Some("not now")).await.unwrap();
    assert_eq!(requests(stack).await.len(), 1);
    start_operator(stack);
    waits(stack, &node, "Held", "").await;
    no_request_is_left(stack).await;
    delete(stack, "asked-3").await;
    stack.nodes.annotate(&node, names::HOLD, None).await.unwrap();
    rebooted(stack, &node, "held").await;
}

async fn a_pod_is_evicted_once_its_responder_has_completed(stack: &Stack, responders: &Responders) {
    let node = name(stack, 4);
    pod(stack, "asked-4", node, true).await;
    responders.set("asked-4", Work::Complete);
    stack.stage_cause(node, "completed").await.unwrap();
    rebooted(stack, node, "completed").await;
    assert_eq!(evicted(stack, "asked-4"), 1);
    no_request_is_left(stack).await;
}

/// As with Kubernetes 1.37 itself: the API is served, and nothing acts on it.
async fn a_pod_is_evicted_where_no_controller_answers(stack: &Stack) {
    let node = name(stack, 0);
    pod(stack, "asked-5", node, true).await;
    stack.stage_cause(node, "unanswered").await.unwrap();
    waits(
        stack,
        node,
        "ResponderActive",
        "waiting for an eviction responder (asked at 20",
    )
    .await;
    rebooted(stack, node, "unanswered").await;
    assert_eq!(evicted(stack, "asked-5"), 1);
    no_request_is_left(stack).await;
}

fn start_operator(stack: &mut Stack) {
    stack
        .start_operator_with(|spec| {
            spec.arg("--eviction-requests".to_owned())
                .env("RUST_LOG", "info,lockkeeper_operator=debug,lockkeeper_drain=debug")
        })
        .unwrap();
}

/// One policy for all nodes, which starts them by their names.
async fn policy(stack: &Stack) {
    let spec = json!({"order": "Name", "drain": {"unmanagedPods": "Evict"}});
    stack.plane.policy("general", spec).await.unwrap();
}

/// Creates a running pod on this node.
async fn pod(stack: &Stack, name: &str, node: &str, has_responders: bool) -> Pod {
    let pods: Api<Pod> = Api::namespaced(stack.plane.client(), "default");
    let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}]}});
    if has_responders {
        object["spec"]["evictionResponders"] = json!([{"name": RESPONDER, "priority": 10000}]);
    }
    // As it is: the typed pod of this client does not know the field.
    let file = stack.plane.dir().join("pod.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let file = file.to_string_lossy();
    stack
        .plane
        .kubectl(&["create", "--validate=ignore", "-f", &file])
        .unwrap();
    eventually("the pod runs", async || {
        let pod = pods.get(name).await.unwrap();
        lockkeeper_e2e::workload::is_ready(&pod).then_some(pod)
    })
    .await
}

async fn delete(stack: &Stack, name: &str) {
    let pods: Api<Pod> = Api::namespaced(stack.plane.client(), "default");
    pods.delete(name, &DeleteParams::default()).await.unwrap();
}

/// The request of a requester for a pod.
fn request(pod: &Pod, requester: &str, name: &str) -> Value {
    let target = json!({"pod": {"name": pod.name_any(), "uid": pod.uid()}});
    json!({"apiVersion": "lifecycle.k8s.io/v1alpha1", "kind": "EvictionRequest",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"target": target, "requester": requester, "intent": "Eviction"}})
}

async fn create(stack: &Stack, request: &Value) {
    let request: DynamicObject = serde_json::from_value(request.clone()).unwrap();
    let all = api(&stack.plane.client(), "EvictionRequest");
    all.create(&PostParams::default(), &request).await.unwrap();
}

async fn requests(stack: &Stack) -> Vec<DynamicObject> {
    let all = api(&stack.plane.client(), "EvictionRequest");
    all.list(&ListParams::default()).await.unwrap().items
}

/// The status of the Eviction of a pod.
async fn eviction(stack: &Stack, uid: &str) -> Value {
    let all = api(&stack.plane.client(), "Eviction");
    all.get(&format!("eviction-{uid}")).await.unwrap().data["status"].clone()
}

async fn no_request_is_left(stack: &Stack) {
    eventually("no request is left", async || {
        requests(stack).await.is_empty().then_some(())
    })
    .await;
}

/// How many evictions of a pod the API server has accepted from operators.
fn evicted(stack: &Stack, pod: &str) -> usize {
    let evictions = stack.evictions().unwrap();
    evictions.iter().filter(|request| request.name == pod).count()
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}

/// Waits until a node waits for this reason, with these words.
async fn waits(stack: &Stack, node: &str, reason: &str, words: &str) -> WaitingStatus {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let is_wanted = |waiting: &WaitingStatus| waiting.reason == reason && waiting.message.contains(words);
    let reboot = stack
        .wait_reboot(node, &format!("{reason} {words}"), LONG, |reboot| {
            waiting(reboot).as_ref().is_some_and(is_wanted)
        })
        .await
        .unwrap();
    waiting(&reboot).unwrap()
}

async fn rebooted(stack: &Stack, node: &str, cause: &str) {
    stack.wait_rebooted_for(&[node.to_owned()], cause, LONG).await.unwrap();
    let reboot = stack.reboot(node).await.unwrap();
    let last = reboot.status.as_ref().map(|status| status.history[0].outcome);
    assert_eq!(last, Some(Outcome::Succeeded), "{}", reboot.name_any());
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
