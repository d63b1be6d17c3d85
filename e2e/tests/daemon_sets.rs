//! A node is uncordoned only once the `DaemonSet`s and static pods that were ready on it are ready again; the control plane
//! goes one node at a time.

mod control_plane;
mod scene;

use std::time::Duration;

use chrono::Utc;
use kube::api::DeleteParams;
use lockkeeper_e2e::hollow::{DOWN_SECONDS, NEVER_READY, is_ready};
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use scene::{
    change, cordoned, daemon_set, eventually, lists, name, never_ready, not_ready, pod_of, pods, policy_is, reboot_of,
    rebooted, rebooting, seen, sets, waits,
};

/// The flag of an operator that knows the nodes of a datastore by a label of their own.
const CONTROL_PLANE_LABELS: &str = "--control-plane-labels=node-role.kubernetes.io/control-plane,example.com/datastore";

#[tokio::test]
async fn a_node_is_uncordoned_once_its_daemon_sets_are_ready_again() {
    let mut stack = Stack::start("daemon-sets", 6, 0).await.unwrap();
    stack
        .start_operator_with(|spec| spec.arg(CONTROL_PLANE_LABELS))
        .unwrap();
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
    one_that_needs_longer_than_its_time_limit_fails_the_node_which_recovers_by_itself(&stack).await;
    control_plane::a_static_pod_that_was_ready_is_waited_for_and_the_control_plane_with_it(&stack).await;
    control_plane::members_without_the_usual_labels_reboot_one_at_a_time(&stack).await;
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
    policy_is(stack, &json!({"reboot": {"timeoutSeconds": 60}}));
    stack.stage_cause(node, "never").await.unwrap();
    rebooting(stack, node).await;
    never_ready(stack, "cni", node, Some("true")).await;
    let words = waits(stack, node, "Failed").await;
    assert!(
        words.contains("was not healthy within 60 s: DaemonSet default/cni: pod cni-")
            && words.contains("check that pod; the node continues by itself once it is healthy; or retry"),
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

/// As a driver that is compiled after the kernel has changed.
async fn one_that_needs_longer_than_its_time_limit_fails_the_node_which_recovers_by_itself(stack: &Stack) {
    let node = name(stack, 0);
    policy_is(stack, &json!({"reboot": {"daemonSetsTimeoutSeconds": 10}}));
    stack.stage_cause(node, "driver").await.unwrap();
    rebooting(stack, node).await;
    never_ready(stack, "cni", node, Some("true")).await;
    let words = waits(stack, node, "Failed").await;
    assert!(words.contains("DaemonSet default/cni: pod cni-"), "{words}");
    assert!(
        words.contains("the node continues by itself once it is healthy"),
        "{words}"
    );
    assert!(cordoned(stack, node).await);
    never_ready(stack, "cni", node, None).await;
    rebooted(stack, node, "driver").await;
    policy_is(stack, &json!({}));
}

async fn daemon_sets_are_not_checked_after_the_reboot(stack: &Stack) {
    // What has begun may end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begin = Utc::now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(lists(stack, begin, Utc::now()), 0);
}
