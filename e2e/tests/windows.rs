//! What people say on nodes and policies: windows, suspension, holds, cordons and requests are obeyed to the letter.

use std::time::Duration;

use chrono::{Datelike, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, Outcome, RebootPolicy, RebootPolicyStatus, WindowState, names};
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload;
use serde_json::json;

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn windows_holds_and_commands_take_effect() {
    let mut stack = Stack::start("windows", 5, 1).await.unwrap();
    let closed = json!({"schedule": closed_now(), "durationSeconds": 60, "timeZone": "Europe/Berlin"});
    stack
        .plane
        .policy("general", json!({"windows": [closed]}))
        .await
        .unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    a_closed_window_starts_nothing_and_says_when_it_opens(&stack, &recorder).await;
    a_suspended_policy_starts_nothing(&stack, &recorder).await;
    an_opened_window_starts_the_rollout(&stack).await;
    an_annotation_of_another_client_is_removed(&stack).await;
    a_node_that_was_cordoned_before_is_cordoned_afterwards(&stack).await;
    a_held_node_waits_and_a_request_is_fulfilled_once(&stack).await;
    a_node_that_is_uncordoned_during_its_drain_is_deferred(&stack).await;
    a_node_that_is_held_in_its_drain_stays_cordoned_and_frees_the_slot(&stack).await;
    recorder.verdict(1, 0).await.unwrap();
    an_operator_that_starts_writes_nothing_half_seen(&stack);
    stack.workdir.passed();
}

/// A schedule that opens in half a year, whenever that is.
fn closed_now() -> String {
    let month = (Utc::now().month() + 5) % 12 + 1;
    format!("30 3 1 {month} *")
}

async fn a_closed_window_starts_nothing_and_says_when_it_opens(stack: &Stack, recorder: &Recorder) {
    let node = name(stack, 0);
    stack.stage_cause(node, "window").await.unwrap();
    let waiting = waits(stack, node, "OutsideWindow").await;
    let opens = waiting.until_time.expect("says when it opens");
    assert!(waiting.message.contains("the next window opens"), "{}", waiting.message);
    let policy = policy_where(stack, |status| waits_for(status, "OutsideWindow")).await;
    assert_eq!(policy.window, Some(WindowState::Closed));
    assert_eq!(policy.next_window_time, Some(opens));
    let days = (opens - Utc::now()).num_days();
    assert!((150..220).contains(&days), "opens in {days} days");
    assert_eq!(recorder.seen().order, Vec::<String>::new());
}

async fn a_suspended_policy_starts_nothing(stack: &Stack, recorder: &Recorder) {
    let open = json!([{"schedule": "* * * * *", "durationSeconds": 60}]);
    change(stack, &json!({"suspend": true, "windows": open}));
    let waiting = waits(stack, name(stack, 0), "Suspended").await;
    assert_eq!(waiting.message, "policy general is suspended");
    let policy = policy_where(stack, |status| waits_for(status, "Suspended")).await;
    assert_eq!(policy.window, Some(WindowState::Open));
    assert_eq!(recorder.seen().order, Vec::<String>::new());
}

async fn an_opened_window_starts_the_rollout(stack: &Stack) {
    change(stack, &json!({"suspend": false}));
    stack
        .wait_reboot(name(stack, 0), "rebooted", LONG, is_done)
        .await
        .unwrap();
}

/// As a restored backup leaves it: an apply of the operator cannot remove a field that another manager has set.
async fn an_annotation_of_another_client_is_removed(stack: &Stack) {
    let marked = name(stack, 0);
    annotate(stack, marked, names::OPERATION, Some("restored")).await;
    let end = tokio::time::Instant::now() + LONG;
    while node(stack, marked).await.annotations().contains_key(names::OPERATION) {
        assert!(tokio::time::Instant::now() < end, "the annotation stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_node_that_was_cordoned_before_is_cordoned_afterwards(stack: &Stack) {
    let cordoned = name(stack, 1);
    stack.plane.kubectl(&["cordon", cordoned]).unwrap();
    stack.stage_cause(cordoned, "cordoned").await.unwrap();
    stack.wait_reboot(cordoned, "rebooted", LONG, is_done).await.unwrap();
    let now = node(stack, cordoned).await;
    assert_eq!(now.spec.as_ref().and_then(|spec| spec.unschedulable), Some(true));
    assert!(!now.annotations().contains_key(names::OPERATION));
    stack.plane.kubectl(&["uncordon", cordoned]).unwrap();
}

async fn a_held_node_waits_and_a_request_is_fulfilled_once(stack: &Stack) {
    let held = name(stack, 2);
    annotate(stack, held, names::HOLD, Some("debugging the NIC")).await;
    annotate(stack, held, names::REBOOT_REQUESTED, Some("new firmware")).await;
    let waiting = waits(stack, held, "Held").await;
    assert_eq!(waiting.message, "held by annotation: \"debugging the NIC\"");
    annotate(stack, held, names::HOLD, None).await;
    let reboot = stack.wait_reboot(held, "rebooted", LONG, is_done).await.unwrap();
    assert_eq!(
        reboot.status.unwrap().last_reboot.unwrap().reasons[0].0,
        "requested: new firmware"
    );
    assert!(
        !node(stack, held)
            .await
            .annotations()
            .contains_key(names::REBOOT_REQUESTED)
    );
}

async fn a_node_that_is_uncordoned_during_its_drain_is_deferred(stack: &Stack) {
    let blocked = name(stack, 3);
    workload::pin(&stack.plane.client(), blocked, 1).await.unwrap();
    workload::guard(&stack.plane.client(), blocked).await.unwrap();
    stack.stage_cause(blocked, "uncordoned").await.unwrap();
    waits(stack, blocked, "EvictionBlocked").await;
    stack.plane.kubectl(&["uncordon", blocked]).unwrap();
    let waiting = waits(stack, blocked, "BackingOff").await;
    assert!(
        waiting.message.contains("deferred once (Uncordoned"),
        "{}",
        waiting.message
    );
    assert!(waiting.until_time.is_some());
    let now = node(stack, blocked).await;
    assert_eq!(now.spec.as_ref().and_then(|spec| spec.unschedulable), None);
    assert!(!now.annotations().contains_key(names::OPERATION));
    let once = stack.reboot(name(stack, 2)).await.unwrap().status.unwrap();
    assert_eq!(once.history.len(), 1, "a request is fulfilled once");
}

async fn a_node_that_is_held_in_its_drain_stays_cordoned_and_frees_the_slot(stack: &Stack) {
    let held = name(stack, 4);
    workload::pin(&stack.plane.client(), held, 1).await.unwrap();
    workload::guard(&stack.plane.client(), held).await.unwrap();
    stack.stage_cause(held, "held").await.unwrap();
    waits(stack, held, "EvictionBlocked").await;
    annotate(stack, held, names::HOLD, Some("wait for the release")).await;
    waits(stack, held, "Held").await;
    let freed = |reboot: &NodeReboot| reboot.status.as_ref().is_some_and(|status| status.operation.is_none());
    let reboot = stack.wait_reboot(held, "freed", LONG, freed).await.unwrap();
    let status = reboot.status.unwrap();
    assert_eq!(status.history[0].outcome, Outcome::Held);
    assert_eq!(status.deferred, None, "no back-off");
    let now = node(stack, held).await;
    assert_eq!(now.spec.as_ref().and_then(|spec| spec.unschedulable), Some(true));
    assert!(!now.annotations().contains_key(names::OPERATION));
    stack.plane.kubectl(&["uncordon", held]).unwrap();
    let now = node(stack, held).await;
    assert_eq!(
        now.spec.as_ref().and_then(|spec| spec.unschedulable),
        None,
        "kubectl uncordon ends it"
    );
}

fn an_operator_that_starts_writes_nothing_half_seen(stack: &Stack) {
    let about = "--field-selector=reason=ViewIncomplete";
    let said = stack
        .plane
        .kubectl(&["get", "events.v1.events.k8s.io", "-A", about, "-o", "name"])
        .unwrap();
    assert_eq!(said, "");
}

/// Waits until a node waits for this reason.
async fn waits(stack: &Stack, node: &str, reason: &str) -> WaitingStatus {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let reboot = stack
        .wait_reboot(node, reason, LONG, |reboot| {
            waiting(reboot).is_some_and(|waiting| waiting.reason == reason)
        })
        .await
        .unwrap();
    waiting(&reboot).unwrap()
}

/// Waits until the policy's status is of its present spec, and as wanted.
async fn policy_where(stack: &Stack, good: impl Fn(&RebootPolicyStatus) -> bool) -> RebootPolicyStatus {
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    let wait = async {
        loop {
            let policy = policies.get("general").await.unwrap();
            let status = policy.status.clone().unwrap_or_default();
            if status.observed_generation == policy.metadata.generation && good(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the policy's status")
}

/// Whether nodes wait for this reason alone.
fn waits_for(status: &RebootPolicyStatus, reason: &str) -> bool {
    let reasons: Vec<&str> = status.waiting.iter().map(|waiting| waiting.reason.as_str()).collect();
    reasons == [reason]
}

fn change(stack: &Stack, spec: &serde_json::Value) {
    let patch = json!({"spec": spec}).to_string();
    stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=merge", "-p", &patch])
        .unwrap();
}

async fn annotate(stack: &Stack, node: &str, key: &str, value: Option<&str>) {
    stack.nodes.annotate(node, key, value).await.unwrap();
}

async fn node(stack: &Stack, name: &str) -> Node {
    Api::all(stack.plane.client()).get(name).await.unwrap()
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}
