//! What follows when a drain takes too long.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::json;

use super::scene::{change, drain_is, events, name, ours, rebooted, waits, writes};

pub(super) async fn what_is_left_after_the_time_out_is_deleted_and_that_is_said(stack: &Stack) {
    let (node, client) = (name(stack, 3), stack.plane.client());
    // Off by default: only this policy needs it.
    let permission = repository().join("deploy/kustomize/delete-pods");
    let apply = ["apply", "--server-side", "-k", &permission.to_string_lossy()];
    stack.plane.kubectl(&apply).unwrap();
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
    let first = requests.iter().find(deleted).expect("the pod was deleted");
    let said = events(stack, node, "DrainTimedOut").await;
    let (words, at) = said.first().unwrap();
    assert!(words.contains("drain timed out after 10 s"), "{words}");
    assert!(*at <= first.received, "said at {at}, deleted at {}", first.received);
}

pub(super) async fn a_node_reboots_with_remaining_pods_only_after_an_event(stack: &Stack) {
    let (node, client) = (name(stack, 10), stack.plane.client());
    workload::pin(&client, node, 1).await.unwrap();
    workload::guard(&client, node).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let here = ListParams::default().labels("app=pinned-hollow-0010");
    let before = pods.list(&here).await.unwrap().items.remove(0);
    drain_is(stack, &json!({"timeoutSeconds": 10, "onTimeout": "Reboot"}));
    stack.stage_cause(node, "with pods").await.unwrap();
    waits(stack, node, "EvictionBlocked").await;
    rebooted(stack, node).await;
    let said = events(stack, node, "DrainTimedOut").await;
    let (words, at) = said.first().unwrap();
    assert!(
        words.contains("drain timed out after 10 s; rebooting with the remaining pods"),
        "{words}"
    );
    // The last is that the order is withdrawn, the one before is the order to reboot.
    let orders = writes(stack, "nodereboots", node);
    let order = &orders[orders.len() - 2];
    assert!(*at <= order.received, "said at {at}, ordered at {}", order.received);
    let after = pods.get(&before.name_any()).await.unwrap();
    assert_eq!(after.uid(), before.uid(), "the pod was not deleted");
    let asked: Vec<u16> = stack
        .plane
        .requests()
        .unwrap()
        .iter()
        .filter(|request| ours(request) && request.writes() && request.name == before.name_any())
        .map(|request| request.code)
        .collect();
    assert!(!asked.is_empty() && asked.iter().all(|code| *code == 429), "{asked:?}");
    drain_is(stack, &json!({}));
}
