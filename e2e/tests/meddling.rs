//! What people do to a rollout that is under way: each act has the outcome that `docs/runbook.md` names.

use lockkeeper_crds::{NodeState, Outcome, Phase, names};
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::scene::{LONG, eventually};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::{Value, json};

#[tokio::test]
async fn whoever_meddles_with_a_rollout_finds_the_documented_outcome() {
    let mut stack = Stack::start("meddling", 6, 1).await.unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    for node in stack.nodes.names() {
        workload::pin(&stack.plane.client(), node, 1).await.unwrap();
    }
    a_node_that_is_uncordoned_during_its_drain_is_deferred(&stack).await;
    a_lock_that_is_deleted_frees_no_slot(&stack, &recorder).await;
    a_node_whose_policy_is_deleted_during_its_drain_is_deferred(&stack).await;
    a_node_that_moves_between_policies_and_back_is_deferred_once(&stack).await;
    a_node_that_reboots_finishes_although_its_policy_is_replaced(&stack).await;
    a_record_that_is_deleted_during_the_drain_leaves_the_node_to_a_person(&stack).await;
    kinds_that_are_deleted_and_installed_again_leave_no_cordon(&stack).await;
    recorder.verdict(1, 0).await.unwrap();
    stack.workdir.passed();
}

async fn a_node_that_is_uncordoned_during_its_drain_is_deferred(stack: &Stack) {
    let node = stack.name(0);
    drain_that_hangs(stack, node, "uncordoned").await;
    stack.plane.kubectl(&["uncordon", node]).unwrap();
    let words = stack.waits(node, "BackingOff", "").await.unwrap();
    assert!(words.contains("uncordoned"), "{words}");
    assert_eq!(stack.holders().await.unwrap(), Vec::<String>::new());
    assert!(!stack.is_cordoned(node).await.unwrap());
    assert_eq!(stack.evictions().unwrap(), [], "the guarded pod stayed");
    open(stack, node);
}

async fn a_lock_that_is_deleted_frees_no_slot(stack: &Stack, recorder: &Recorder) {
    let (node, next) = (stack.name(1), stack.name(2));
    drain_that_hangs(stack, node, "lock").await;
    request(stack, next, "after-lock").await;
    let operation = operation_of(stack, node).await;
    stack.plane.kubectl(&["delete", "rlock", names::LOCK]).unwrap();
    let restored = async || (stack.holders().await.ok()? == [node]).then_some(());
    eventually("the lock has its holder again", restored).await.unwrap();
    stack.waits(next, "NoFreeSlot", node).await.unwrap();
    assert_eq!(operation_of(stack, node).await, operation);
    assert!(
        !recorder.seen().order.contains(&next.to_owned()),
        "{next} was not touched"
    );
    open(stack, node);
    for (node, cause) in [(node, "lock"), (next, "after-lock")] {
        stack.wait_rebooted_for(&[node.to_owned()], cause, LONG).await.unwrap();
    }
}

async fn a_node_whose_policy_is_deleted_during_its_drain_is_deferred(stack: &Stack) {
    let node = stack.name(3);
    drain_that_hangs(stack, node, "policy").await;
    stack.plane.kubectl(&["delete", "rbp", "general"]).unwrap();
    let free = async || {
        let uncordoned = !stack.is_cordoned(node).await.ok()?;
        (uncordoned && stack.holders().await.ok()?.is_empty()).then_some(())
    };
    eventually("the node is free", free).await.unwrap();
    stack.waits(node, "NoPolicy", "").await.unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    stack.waits(node, "BackingOff", "").await.unwrap();
    open(stack, node);
}

/// A, B, A: the operation ends with the policy that it began under, and nothing starts twice.
async fn a_node_that_moves_between_policies_and_back_is_deferred_once(stack: &Stack) {
    let (node, next) = (stack.name(1), stack.name(2));
    let team = "e2e.lockkeeper.dev/team";
    let selects = |name: &str| json!({"nodeSelector": {"matchLabels": {team: name}}});
    let label = |node: &str, name: &str| {
        let label = format!("{team}={name}");
        stack
            .plane
            .kubectl(&["label", "node", node, &label, "--overwrite"])
            .unwrap();
    };
    select(stack, "general", &selects("a"));
    stack.plane.policy("other", selects("b")).await.unwrap();
    label(node, "a");
    label(next, "a");
    drain_that_hangs(stack, node, "moves").await;
    request(stack, next, "after-moves").await;
    label(node, "b");
    stack.waits(node, "BackingOff", "").await.unwrap();
    label(node, "a");
    let next = [next.to_owned()];
    stack.wait_rebooted_for(&next, "after-moves", LONG).await.unwrap();
    let status = stack.reboot(node).await.unwrap().status.unwrap();
    assert_eq!(status.deferred.map(|deferred| deferred.count), Some(1));
    assert!(!stack.is_cordoned(node).await.unwrap());
    open(stack, node);
    stack.plane.kubectl(&["delete", "rbp", "other"]).unwrap();
    select(stack, "general", &json!({"nodeSelector": null}));
}

/// The reboot is ordered: the node moves to another policy and back, and its policy is deleted and created again.
async fn a_node_that_reboots_finishes_although_its_policy_is_replaced(stack: &Stack) {
    let node = stack.name(2);
    request(stack, node, "replaced").await;
    let operation = stack.wait_phase(node, Phase::Rebooting).await.unwrap();
    let operation = operation.status.unwrap().operation.expect("an operation").id;
    let team = "e2e.lockkeeper.dev/team";
    select(
        stack,
        "general",
        &json!({"nodeSelector": {"matchExpressions": [{"key": team, "operator": "NotIn", "values": ["b"]}]}}),
    );
    for label in [format!("{team}=b"), format!("{team}=a")] {
        stack
            .plane
            .kubectl(&["label", "node", node, &label, "--overwrite"])
            .unwrap();
    }
    stack.plane.kubectl(&["delete", "rbp", "general"]).unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    stack
        .wait_rebooted_for(&[node.to_owned()], "replaced", LONG)
        .await
        .unwrap();
    let status = stack.reboot(node).await.unwrap().status.unwrap();
    let last = status
        .history
        .first()
        .map(|entry| (entry.outcome, entry.operation_id.clone()));
    assert_eq!(last, Some((Outcome::Succeeded, operation)), "{:#?}", status.history);
    assert_eq!(status.deferred, None);
    assert!(!stack.is_cordoned(node).await.unwrap());
}

async fn a_record_that_is_deleted_during_the_drain_leaves_the_node_to_a_person(stack: &Stack) {
    let node = stack.name(4);
    drain_that_hangs(stack, node, "record").await;
    stack.plane.kubectl(&["delete", "nrb", node]).unwrap();
    let reboot = stack.wait_phase(node, Phase::Failed).await.unwrap();
    assert_eq!(reboot.status.unwrap().state, Some(NodeState::Failed));
    assert!(stack.is_cordoned(node).await.unwrap());
    assert_eq!(stack.holders().await.unwrap(), [node]);
    assert_eq!(reboot.spec.order, None);
    let released = stack.plugin(&["release", node]).await.unwrap();
    assert!(released.status.success(), "{released:?}");
    // The request for the reboot still stands, so that the node starts again within a moment.
    let released = async || {
        let status = stack.reboot(node).await.ok()?.status?;
        let mut history = status.history.iter();
        history.any(|entry| entry.outcome == Outcome::Released).then_some(())
    };
    eventually("the node is released", released).await.unwrap();
    open(stack, node);
    finish(stack, node, "record-again").await;
}

async fn kinds_that_are_deleted_and_installed_again_leave_no_cordon(stack: &Stack) {
    let node = stack.name(5);
    drain_that_hangs(stack, node, "kinds").await;
    let ours = ["nodereboots", "rebootpolicies", "rebootlocks"].map(|kind| format!("{kind}.{}", names::GROUP));
    let mut delete = vec!["delete", "crds", "--timeout=60s"];
    delete.extend(ours.iter().map(String::as_str));
    stack.plane.kubectl(&delete).unwrap();
    stack.plane.install().unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    let free = async || (!stack.is_cordoned(node).await.ok()?).then_some(());
    eventually("the node is uncordoned", free).await.unwrap();
    open(stack, node);
    finish(stack, node, "kinds-again").await;
}

/// A person requests a reboot of this node, and its one pod may not be evicted.
async fn drain_that_hangs(stack: &Stack, node: &str, cause: &str) {
    workload::guard(&stack.plane.client(), node).await.unwrap();
    request(stack, node, cause).await;
    stack.waits(node, "EvictionBlocked", "").await.unwrap();
    assert!(stack.is_cordoned(node).await.unwrap());
}

/// Opens the budget of a node's pod.
fn open(stack: &Stack, node: &str) {
    let budget = format!("pdb/pinned-{node}");
    let waits = format!("pod/waits-{node}");
    stack
        .plane
        .kubectl(&["delete", "--ignore-not-found", &budget, &waits])
        .unwrap();
}

/// The node is rebooted once its budget is open.
async fn finish(stack: &Stack, node: &str, cause: &str) {
    open(stack, node);
    request(stack, node, cause).await;
    stack.wait_rebooted_for(&[node.to_owned()], cause, LONG).await.unwrap();
    let history = stack.reboot(node).await.unwrap().status.unwrap().history;
    let last = history.first().map(|entry| entry.outcome);
    assert_eq!(last, Some(Outcome::Succeeded), "{history:#?}");
}

async fn request(stack: &Stack, node: &str, cause: &str) {
    let requested = stack.nodes.annotate(node, names::REBOOT_REQUESTED, Some(cause));
    requested.await.unwrap();
}

async fn operation_of(stack: &Stack, node: &str) -> String {
    let status = stack.reboot(node).await.unwrap().status.unwrap_or_default();
    status.operation.expect("an operation").id
}

fn select(stack: &Stack, policy: &str, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    let patched = ["patch", "rbp", policy, "--type=merge", "-p", &patch];
    stack.plane.kubectl(&patched).unwrap();
}
