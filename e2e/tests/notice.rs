//! Advance notice on a real control plane: a stateful workload that leaves by itself, one that does not, a cancel, a crash, and a
//! condition of another client.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, Outcome, names};
use lockkeeper_e2e::hollow::DOWN_SECONDS;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload::{self, is_ready};
use serde_json::json;

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn workloads_get_notice_and_time_to_leave_before_a_drain() {
    let mut stack = Stack::start("notice", 3, 0).await.unwrap();
    stack.start_operator().unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    for node in stack.nodes.names() {
        stack.nodes.annotate(node, DOWN_SECONDS, Some("3")).await.unwrap();
    }
    a_notice_that_makes_no_sense_is_refused_at_admission(&stack);
    a_stateful_workload_leaves_by_itself_and_nothing_is_evicted(&stack).await;
    a_workload_that_stays_is_evicted_once_the_notice_has_lasted(&stack).await;
    a_cancel_during_the_notice_removes_the_condition(&stack).await;
    a_new_operator_continues_the_notice_of_one_that_was_killed(&mut stack).await;
    a_condition_of_another_client_stays_and_defers_the_node(&stack).await;
    recorder.verdict(1, 0).await.unwrap();
    stack.workdir.passed();
}

fn a_notice_that_makes_no_sense_is_refused_at_admission(stack: &Stack) {
    for (notice, words) in [
        (json!({"seconds": 5}), "greater than or equal to 10"),
        (json!({"seconds": 90_000}), "less than or equal to 86400"),
        (json!({}), "Required value"),
    ] {
        let spec = json!({"notice": notice});
        let said = format!("{:#}", policy(stack, &spec).expect_err(&format!("{notice} was taken")));
        assert!(said.contains(words), "{notice}: {said}");
    }
}

/// The drain finds nothing to evict, and the node does not wait for the rest of its notice.
async fn a_stateful_workload_leaves_by_itself_and_nothing_is_evicted(stack: &Stack) {
    let client = stack.plane.client();
    stateful_set(&client).await;
    let node = node_of(&client).await;
    let mover = tokio::spawn(leave_on_notice(client.clone()));
    policy(stack, &json!({"notice": {"seconds": 300}})).unwrap();
    stack.stage_cause(&node, "leaves").await.unwrap();
    rebooted(stack, &node, "leaves").await;
    mover.abort();
    let noticed = noticed_seconds(stack, &node).await;
    assert!(noticed < 200, "it left after {noticed} s of 300");
    let evicted = stack.evictions().unwrap();
    assert!(
        evicted.iter().all(|request| request.name != "db-0"),
        "nothing was evicted: {evicted:?}"
    );
    assert_ne!(node_of(&client).await, node, "it runs elsewhere");
    let after = get(stack, &node).await;
    assert_eq!(notice(&after), None, "nothing is left on the Node");
    assert!(condition(&after, "Ready").is_some(), "other conditions stay");
    let events = Api::<Event>::default_namespaced(client);
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let is_about = |event: &Event| {
        let regarding = event.regarding.as_ref();
        regarding.is_some_and(|object| object.kind.as_deref() == Some("Node") && object.name.as_deref() == Some(&node))
    };
    let of_notice = |event: &Event| event.reason.as_deref() == Some("NoticeGiven");
    assert!(
        events.iter().any(|event| is_about(event) && of_notice(event)),
        "{events:?}"
    );
}

async fn a_workload_that_stays_is_evicted_once_the_notice_has_lasted(stack: &Stack) {
    let client = stack.plane.client();
    let node = node_of(&client).await;
    policy(stack, &json!({"notice": {"seconds": 12}})).unwrap();
    stack.stage_cause(&node, "stays").await.unwrap();
    let waiting = waits(
        stack,
        &node,
        "NoticeGiven",
        "advance notice was given; evictions start at",
    )
    .await;
    let shown = notice(&get(stack, &node).await).unwrap();
    assert_eq!(
        (shown.status.as_str(), shown.reason.as_deref()),
        ("True", Some(names::NOTICE_REASON))
    );
    let given = lockkeeper_crds::time::from_kubernetes(&shown.last_transition_time.unwrap());
    let until = waiting.until_time.unwrap();
    assert_eq!((until - given).num_seconds(), 12);
    let message = shown.message.unwrap();
    let time = until.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(message.contains(&time), "{message}");
    rebooted(stack, &node, "stays").await;
    assert_eq!(noticed_seconds(stack, &node).await, 12);
    let evicted = stack.evictions().unwrap();
    let first = evicted.iter().find(|request| request.name == "db-0").unwrap();
    assert!(
        first.received >= until,
        "evicted at {}, notice until {until}",
        first.received
    );
}

async fn a_cancel_during_the_notice_removes_the_condition(stack: &Stack) {
    let node = node_of(&stack.plane.client()).await;
    policy(stack, &json!({"notice": {"seconds": 600}})).unwrap();
    stack.stage_cause(&node, "cancelled").await.unwrap();
    waits(stack, &node, "NoticeGiven", "").await;
    let cancelled = stack.plugin(&["cancel", &node]).await.unwrap();
    assert!(cancelled.status.success(), "{cancelled:?}");
    waits(stack, &node, "BackingOff", "Cancelled").await;
    eventually("the condition is removed", async || {
        let after = get(stack, &node).await;
        (notice(&after).is_none() && !is_cordoned(&after)).then_some(())
    })
    .await;
    assert_eq!(node_of(&stack.plane.client()).await, node, "its pod was not evicted");
    stack.nodes.annotate(&node, names::HOLD, Some("done")).await.unwrap();
}

async fn a_new_operator_continues_the_notice_of_one_that_was_killed(stack: &mut Stack) {
    let client = stack.plane.client();
    let busy = node_of(&client).await;
    let other = stack.nodes.names().iter().find(|name| **name != busy).unwrap().clone();
    workload::pin(&client, &other, 1).await.unwrap();
    policy(stack, &json!({"notice": {"seconds": 25}})).unwrap();
    stack.stage_cause(&other, "crash").await.unwrap();
    waits(stack, &other, "NoticeGiven", "").await;
    let before = notice(&get(stack, &other).await).unwrap();
    stack.kill_leader().await.unwrap();
    stack.start_operator().unwrap();
    waits(stack, &other, "NoticeGiven", "").await;
    assert_eq!(notice(&get(stack, &other).await), Some(before), "it is the same notice");
    rebooted(stack, &other, "crash").await;
    assert_eq!(noticed_seconds(stack, &other).await, 25);
}

async fn a_condition_of_another_client_stays_and_defers_the_node(stack: &Stack) {
    let client = stack.plane.client();
    let busy = node_of(&client).await;
    let node = stack.nodes.names().iter().rfind(|name| **name != busy).unwrap().clone();
    let foreign =
        json!({"type": names::MAINTENANCE_PLANNED, "status": "True", "reason": "Recycling", "message": "next week"});
    let patch = json!({"status": {"conditions": [foreign]}});
    let nodes = Api::<Node>::all(client);
    nodes
        .patch_status(&node, &PatchParams::default(), &Patch::Strategic(&patch))
        .await
        .unwrap();
    stack.stage_cause(&node, "foreign").await.unwrap();
    let words = "another client has set the condition MaintenancePlanned of this node, with reason Recycling";
    let waiting = waits(stack, &node, "BackingOff", words).await;
    assert!(waiting.message.contains("WriteRefused"), "{}", waiting.message);
    let after = get(stack, &node).await;
    assert_eq!(notice(&after).unwrap().reason.as_deref(), Some("Recycling"));
    eventually("its slot is free again", async || {
        (!is_cordoned(&get(stack, &node).await)).then_some(())
    })
    .await;
}

/// The sample controller of a stateful workload: it watches the Nodes of its pods, and moves a pod away once its node has notice.
async fn leave_on_notice(client: Client) {
    let nodes = Api::<Node>::all(client.clone());
    let pods = Api::<Pod>::default_namespaced(client);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Ok(pod) = pods.get("db-0").await else { continue };
        let on = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
        let Ok(node) = nodes.get(&on).await else { continue };
        let told = notice(&node).is_some_and(|condition| condition.status == "True");
        if told && pod.metadata.deletion_timestamp.is_none() {
            // A real one hands its primary over first. The StatefulSet makes the pod anew, on a node that is not cordoned.
            let _ = pods.delete("db-0", &DeleteParams::default()).await;
        }
    }
}

/// A StatefulSet of one pod.
async fn stateful_set(client: &Client) {
    let labels = json!({"app": "db"});
    let object = json!({
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db", "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "lockkeeper/web:e2e"}]},
            },
        },
    });
    let sets = Api::<StatefulSet>::default_namespaced(client.clone());
    let object = serde_json::from_value(object).unwrap();
    sets.create(&PostParams::default(), &object).await.unwrap();
}

/// The node on which the pod of the StatefulSet is ready.
async fn node_of(client: &Client) -> String {
    let pods = Api::<Pod>::default_namespaced(client.clone());
    eventually("the pod of the StatefulSet is ready", async || {
        let pod = pods.get("db-0").await.ok().filter(is_ready)?;
        pod.spec?.node_name
    })
    .await
}

fn condition(node: &Node, of_type: &str) -> Option<NodeCondition> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().find(|one| one.type_ == of_type).cloned()
}

fn notice(node: &Node) -> Option<NodeCondition> {
    condition(node, names::MAINTENANCE_PLANNED)
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true))
}

async fn noticed_seconds(stack: &Stack, node: &str) -> i64 {
    let status = stack.reboot(node).await.unwrap().status.unwrap();
    status.history[0].noticed_seconds.unwrap()
}

/// The only policy has this spec from now on.
fn policy(stack: &Stack, spec: &serde_json::Value) -> anyhow::Result<String> {
    let object = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "general"},
        "spec": spec});
    let file = stack.plane.dir().join("object.json");
    std::fs::write(&file, object.to_string())?;
    stack.plane.kubectl(&["apply", "-f", &file.to_string_lossy()])
}

async fn get(stack: &Stack, node: &str) -> Node {
    Api::all(stack.plane.client()).get(node).await.unwrap()
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
