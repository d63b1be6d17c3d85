//! A node that fails keeps its slot and its cordon, and no other node starts, until a person gives a command.

mod refused_writes;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeState, Outcome, Phase, RebootLock, RebootPolicy, condition, names};
use lockkeeper_e2e::hollow::NEVER_BACK;
use lockkeeper_e2e::hollow_agents::{REBOOT_FAILS, write_kubeconfigs};
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload;
use serde_json::json;

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);
/// How long a reboot may take: one that works must never need so long, on a busy machine either.
const REBOOT_SECONDS: u32 = 30;

#[tokio::test]
async fn a_failed_node_stops_the_rollout_until_a_person_gives_a_command() {
    let mut stack = Stack::start("failed", 10, 1).await.unwrap();
    stack
        .plane
        .policy("general", json!({"reboot": {"timeoutSeconds": REBOOT_SECONDS}}))
        .await
        .unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    a_node_that_never_comes_back_keeps_slot_and_cordon(&stack, &recorder).await;
    repaired_and_tried_again_it_is_done_and_the_next_one_starts(&stack).await;
    released_it_is_left_alone_and_the_next_one_starts(&stack).await;
    a_cancel_during_the_drain_defers_the_node(&stack).await;
    words_that_make_no_sense_are_refused(&stack).await;
    a_node_deleted_while_it_reboots_keeps_its_slot_and_its_history(&stack).await;
    a_deleted_node_that_stays_away_fails_until_it_is_released(&stack).await;
    refused_writes::a_cordon_that_another_manager_refuses_delays_its_own_node_only(&stack).await;
    refused_writes::a_cordon_that_a_rule_calls_invalid_defers_its_own_node_with_the_servers_text(&stack).await;
    refused_writes::a_record_that_may_not_be_written_delays_its_own_node_only(&stack).await;
    refused_writes::a_lock_that_may_not_be_written_is_what_each_waiting_node_names(&stack).await;
    recorder.verdict(1, 0).await.unwrap();
    stack.workdir.passed();
}

async fn a_node_that_never_comes_back_keeps_slot_and_cordon(stack: &Stack, recorder: &Recorder) {
    let (lost, next, third) = (name(stack, 0), name(stack, 1), name(stack, 2));
    stack.nodes.annotate(lost, NEVER_BACK, Some("true")).await.unwrap();
    stack.stage_cause(lost, "never-back").await.unwrap();
    wait_in_progress(stack, lost).await;
    stack.stage_cause(next, "after-never-back").await.unwrap();
    let words = waits(stack, lost, "Failed").await;
    assert!(
        words.contains(&format!("hollow-0000 did not come back within {REBOOT_SECONDS} s"))
            && words.contains("retry or release"),
        "{words}"
    );
    // Asked for only now, so that its answer is one that was given after the failure.
    stack.stage_cause(third, "later").await.unwrap();
    for waiting in [next, third] {
        let waits = waits(stack, waiting, "BreakerOpen").await;
        assert!(waits.contains("breaker open: 1 failed node (hollow-0000)"), "{waits}");
    }
    let reboot = stack.reboot(lost).await.unwrap();
    assert_eq!(reboot.status.unwrap().state, Some(NodeState::Failed));
    assert_eq!(reboot.spec.order, None, "a late agent must not reboot");
    let node = node(stack, lost).await;
    assert_eq!(node.spec.as_ref().and_then(|spec| spec.unschedulable), Some(true));
    assert!(node.annotations().contains_key(names::OPERATION));
    assert_eq!(holders(stack).await, [lost]);
    assert_eq!(recorder.seen().order, [lost], "no other node was touched");
    says_so_to_everybody(stack, lost).await;
}

/// The policy's status, an Event of the Node, and a metric.
async fn says_so_to_everybody(stack: &Stack, lost: &str) {
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    // The statuses of the nodes are written before those of the policies.
    let end = tokio::time::Instant::now() + LONG;
    let general = loop {
        let general = policies.get("general").await.unwrap().status.unwrap_or_default();
        if (general.failed, general.in_progress) == (1, 0) {
            break general;
        }
        assert!(tokio::time::Instant::now() < end, "{general:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let ready = condition::find(&general.conditions, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "NodesFailed"));
    assert!(ready.message.contains(lost), "{}", ready.message);
    assert!(condition::is_true(&general.conditions, "Degraded"));
    let about = format!("--field-selector=regarding.name={lost},type=Warning");
    let line = r#"jsonpath={range .items[*]}{.reason}: {.note}{"\n"}{end}"#;
    let asked = ["get", "events.v1.events.k8s.io", "-A", &about, "-o", line];
    let said = eventually(
        "an Event",
        || stack.plane.kubectl(&asked).unwrap(),
        |said| said.contains("hollow-0000 did not come back"),
    )
    .await;
    assert!(said.contains("Failed: "), "{said}");
    let metrics = stack.metrics().await.unwrap();
    for line in [
        r#"lockkeeper_failed_nodes{policy="general"} 1"#,
        r#"lockkeeper_waiting_nodes{policy="general",reason="BreakerOpen"} 2"#,
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
}

async fn repaired_and_tried_again_it_is_done_and_the_next_one_starts(stack: &Stack) {
    let (lost, next, third) = (name(stack, 0), name(stack, 1), name(stack, 2));
    // It is repaired after the command: one that is back by itself is no longer Failed.
    let said = word(stack, &["retry", lost], 0).await;
    assert!(said.contains("retry hollow-0000: "), "{said}");
    stack.nodes.annotate(lost, NEVER_BACK, None).await.unwrap();
    stack.wait_reboot(lost, "done", LONG, is_done).await.unwrap();
    let now = node(stack, lost).await;
    assert_eq!(now.spec.and_then(|spec| spec.unschedulable), None);
    stack.wait_reboot(next, "done", LONG, is_done).await.unwrap();
    stack.wait_reboot(third, "done", LONG, is_done).await.unwrap();
}

async fn released_it_is_left_alone_and_the_next_one_starts(stack: &Stack) {
    let (stubborn, next) = (name(stack, 3), name(stack, 1));
    stack
        .nodes
        .annotate(stubborn, REBOOT_FAILS, Some("Access denied"))
        .await
        .unwrap();
    stack.stage_cause(stubborn, "refused").await.unwrap();
    let words = waits(stack, stubborn, "Failed").await;
    assert!(words.contains("the host did not reboot: Access denied"), "{words}");
    stack.stage_cause(next, "after-refused").await.unwrap();
    waits(stack, next, "BreakerOpen").await;
    word(stack, &["release", stubborn], 0).await;
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-refused", LONG).await.unwrap();
    let released = waits(stack, stubborn, "Released").await;
    assert!(
        released.contains("Access denied") && released.contains("not rebooted again for the same cause"),
        "{released}"
    );
    let now = node(stack, stubborn).await;
    assert_eq!(now.spec.as_ref().and_then(|spec| spec.unschedulable), None);
    assert!(!now.annotations().contains_key(names::OPERATION));
    assert_eq!(holders(stack).await, Vec::<String>::new());
}

async fn a_cancel_during_the_drain_defers_the_node(stack: &Stack) {
    let blocked = name(stack, 4);
    workload::pin(&stack.plane.client(), blocked, 1).await.unwrap();
    workload::guard(&stack.plane.client(), blocked).await.unwrap();
    stack.stage_cause(blocked, "blocked").await.unwrap();
    let words = waits(stack, blocked, "EvictionBlocked").await;
    assert!(words.contains("default/pinned-hollow-0004"), "{words}");
    let said = word(stack, &["retry", blocked], 5).await;
    assert!(said.contains("not Failed"), "{said}");
    let said = word(stack, &["cancel", blocked], 0).await;
    assert!(
        said.contains("cancel hollow-0004: operation aborted; the node is deferred"),
        "{said}"
    );
    let words = waits(stack, blocked, "BackingOff").await;
    assert!(words.contains("deferred once (Cancelled"), "{words}");
    let now = node(stack, blocked).await;
    assert_eq!(now.spec.as_ref().and_then(|spec| spec.unschedulable), None);
    assert!(!now.annotations().contains_key(names::OPERATION));
    assert_eq!(stack.evictions().unwrap(), [], "the guarded pod stayed");
}

async fn words_that_make_no_sense_are_refused(stack: &Stack) {
    let said = word(stack, &["cancel", name(stack, 0)], 5).await;
    assert!(said.contains("no operation is in progress on this node"), "{said}");
    let said = word(stack, &["release", "hollow-9999"], 1).await;
    assert!(said.contains("hollow-9999"), "{said}");
    word(stack, &["retry"], 2).await;
}

/// A cloud controller deletes the Node of a machine that is off; the kubelet registers it again.
async fn a_node_deleted_while_it_reboots_keeps_its_slot_and_its_history(stack: &Stack) {
    // Others than before: a node that is rebooted three times within a day waits.
    let (gone, next) = (name(stack, 2), name(stack, 5));
    reboots_may_take(stack, 300);
    deleted_while_it_reboots(stack, gone, next, "after-gone").await;
    stack.nodes.make_again(gone).await.unwrap();
    write_kubeconfigs(&stack.plane, &[gone.to_owned()]).await.unwrap();
    let succeeded = |reboot: &NodeReboot| {
        let history = reboot.status.iter().flat_map(|status| &status.history);
        history.clone().any(|entry| entry.outcome == Outcome::Succeeded)
    };
    stack
        .wait_reboot(gone, "rebooted under its new uid", LONG, succeeded)
        .await
        .unwrap();
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-gone", LONG).await.unwrap();
}

async fn a_deleted_node_that_stays_away_fails_until_it_is_released(stack: &Stack) {
    let (gone, next) = (name(stack, 2), name(stack, 6));
    reboots_may_take(stack, REBOOT_SECONDS);
    deleted_while_it_reboots(stack, gone, next, "after-away").await;
    let words = waits(stack, next, "BreakerOpen").await;
    assert!(words.contains(&format!("1 failed node ({gone})")), "{words}");
    assert_eq!(holders(stack).await, [gone]);
    let said = word(stack, &["status"], 0).await;
    assert!(said.contains("its Node was deleted while it rebooted"), "{said}");
    let said = word(stack, &["release", gone], 0).await;
    assert!(said.contains("its slot is free"), "{said}");
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-away", LONG).await.unwrap();
    stack.nodes.make_again(gone).await.unwrap();
    write_kubeconfigs(&stack.plane, &[gone.to_owned()]).await.unwrap();
}

fn reboots_may_take(stack: &Stack, seconds: u32) {
    let patch = json!({"spec": {"reboot": {"timeoutSeconds": seconds}}}).to_string();
    let patched = ["patch", "rbp", "general", "--type=merge", "-p", &patch];
    stack.plane.kubectl(&patched).unwrap();
}

/// One node reboots and its Node is deleted; the next one requires a reboot and waits for the slot.
async fn deleted_while_it_reboots(stack: &Stack, gone: &str, next: &str, cause: &str) {
    stack.nodes.annotate(gone, NEVER_BACK, Some("true")).await.unwrap();
    stack.stage_cause(gone, "gone").await.unwrap();
    let rebooting = |reboot: &NodeReboot| {
        let operation = reboot.status.as_ref().and_then(|status| status.operation.as_ref());
        operation.is_some_and(|operation| operation.phase == Phase::Rebooting)
    };
    stack
        .wait_reboot(gone, "ordered to reboot", LONG, rebooting)
        .await
        .unwrap();
    stack.nodes.delete(gone).await.unwrap();
    stack.stage_cause(next, cause).await.unwrap();
    let words = waits(stack, next, "NoFreeSlot").await;
    assert!(words.contains(&format!("{gone} in progress")), "{words}");
    assert_eq!(holders(stack).await, [gone]);
}

/// Runs the plugin, and returns what it said.
async fn word(stack: &Stack, args: &[&str], exit: i32) -> String {
    let output = stack.plugin(args).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {said}");
    said
}

/// Waits until a node waits for this reason, and returns its words.
async fn waits(stack: &Stack, node: &str, reason: &str) -> String {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let reboot = stack
        .wait_reboot(node, reason, LONG, |reboot| {
            waiting(reboot).is_some_and(|waiting| waiting.reason == reason)
        })
        .await
        .unwrap();
    waiting(&reboot).unwrap().message
}

async fn wait_in_progress(stack: &Stack, node: &str) {
    let in_progress = |reboot: &NodeReboot| reboot.status.as_ref().is_some_and(|status| status.operation.is_some());
    stack.wait_reboot(node, "in progress", LONG, in_progress).await.unwrap();
}

async fn eventually(what: &str, look: impl Fn() -> String, good: impl Fn(&str) -> bool) -> String {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let now = look();
        if good(&now) {
            return now;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: {now}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn node(stack: &Stack, name: &str) -> Node {
    Api::all(stack.plane.client()).get(name).await.unwrap()
}

async fn holders(stack: &Stack) -> Vec<String> {
    let locks: Api<RebootLock> = Api::all(stack.plane.client());
    let status = locks.get(names::LOCK).await.unwrap().status.unwrap_or_default();
    status.holders.into_iter().map(|holder| holder.node).collect()
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}
