//! Autoscalers, other nodes, and a node that goes away.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::scene::{LONG, POLL, change, deploy, drain_is, name, ours, rebooted, taints, until, waits, writes};

pub(super) async fn nodes_still_to_come_are_avoided(stack: &Stack) {
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

pub(super) async fn a_node_that_goes_away_in_its_drain_frees_the_slot(stack: &Stack) {
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
    // What was under way may still be answered, and is in the log after that: what counts is when it was asked.
    sleep(Duration::from_secs(1)).await;
    let begun = Utc::now();
    sleep(Duration::from_secs(3)).await;
    let requests = stack.plane.requests().unwrap();
    let late = requests
        .iter()
        .filter(|request| ours(request) && request.resource == "pods/eviction" && request.received >= begun);
    assert_eq!(late.count(), 0, "no pod is evicted any more");
}

pub(super) async fn autoscalers_are_kept_off_and_what_they_set_themselves_is_left_alone(stack: &Stack) {
    const KEYS: [&str; 2] = [
        names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
        names::KARPENTER_DO_NOT_DISRUPT,
    ];
    let (ours, theirs) = (name(stack, 12), name(stack, 13));
    drain_is(stack, &json!({}));
    let nodes: Api<Node> = Api::all(stack.plane.client());
    for (key, manager) in KEYS.into_iter().zip(["cluster-autoscaler", "karpenter"]) {
        let set = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": theirs, "annotations": {key: "false"}}});
        let params = PatchParams::apply(manager);
        nodes.patch(theirs, &params, &Patch::Apply(&set)).await.unwrap();
    }
    for node in [ours, theirs] {
        workload::pin(&stack.plane.client(), node, 3).await.unwrap();
    }
    let values = |node: &Node| KEYS.map(|key| node.annotations().get(key).cloned());
    for (name, wanted, after) in [(ours, "true", None), (theirs, "false", Some("false".to_owned()))] {
        stack.stage_cause(name, "marks").await.unwrap();
        let (mut marked, mut labelled) = (BTreeSet::new(), false);
        let done = async {
            while !is_done(&stack.reboot(name).await.unwrap()) {
                let node = nodes.get(name).await.unwrap();
                if node.annotations().contains_key(names::OPERATION) {
                    marked.insert(values(&node));
                    labelled |= node.labels().contains_key(names::EXCLUDE_FROM_LOAD_BALANCERS);
                }
                sleep(POLL).await;
            }
        };
        timeout(LONG, done).await.expect("rebooted");
        let wanted = [Some(wanted.to_owned()), Some(wanted.to_owned())];
        assert_eq!(marked, BTreeSet::from([wanted]), "{name} while it was marked");
        assert!(labelled, "{name} had no label for load balancers");
        let node = nodes.get(name).await.unwrap();
        assert_eq!(values(&node), [after.clone(), after], "{name} after");
        assert!(!node.labels().contains_key(names::EXCLUDE_FROM_LOAD_BALANCERS));
        assert!(!node.annotations().contains_key(names::OPERATION));
    }
}

pub(super) async fn a_pods_wish_not_to_be_moved_is_respected_unless_the_policy_ignores_it(stack: &Stack) {
    let (node, client) = (name(stack, 14), stack.plane.client());
    drain_is(stack, &json!({}));
    let wishes = [
        ("moored", "cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
        ("staying", "karpenter.sh/do-not-disrupt", "true"),
    ];
    for (app, key, value) in wishes {
        deploy(&client, app, node, &json!({"metadata": {"annotations": {key: value}}})).await;
    }
    stack.stage_cause(node, "wishes").await.unwrap();
    let message = waits(stack, node, "PreflightBlocked").await.message;
    for (app, key, _) in wishes {
        let words = format!("opts out of eviction (annotation {key}; the policy's drain.podOptOuts is Respect)");
        assert!(
            message.contains(&format!("default/{app}-")) && message.contains(&words),
            "{message}"
        );
    }
    drain_is(stack, &json!({"podOptOuts": "Ignore"}));
    rebooted(stack, node).await;
    let evicted = stack.evictions().unwrap();
    for (app, ..) in wishes {
        assert!(
            evicted.iter().any(|request| request.name.starts_with(app)),
            "{app} left"
        );
    }
    drain_is(stack, &json!({}));
}

pub(super) async fn a_node_that_an_autoscaler_is_about_to_delete_does_not_start(stack: &Stack) {
    let node = name(stack, 22);
    let taint = "ToBeDeletedByClusterAutoscaler";
    let set = format!("{taint}=1732:NoSchedule");
    stack.plane.kubectl(&["taint", "node", node, &set]).unwrap();
    stack.stage_cause(node, "about to go").await.unwrap();
    let message = waits(stack, node, "BeingDeleted").await.message;
    assert!(message.contains(taint), "{message}");
    assert_eq!(writes(stack, "nodes", node), vec![], "the node was not touched");
    let remove = format!("{taint}-");
    stack.plane.kubectl(&["taint", "node", node, &remove]).unwrap();
    rebooted(stack, node).await;
}

/// A Node that stands for another cluster, and was labelled so only after its agent had reported.
pub(super) async fn a_node_labelled_virtual_later_loses_its_record_until_the_label_is_removed(stack: &Stack) {
    let node = name(stack, 23);
    let records: Api<NodeReboot> = Api::all(stack.plane.client());
    stack
        .plane
        .kubectl(&["label", "node", node, "type=virtual-kubelet"])
        .unwrap();
    until("its record is gone", async || {
        records.get_opt(node).await.unwrap().is_none()
    })
    .await;
    stack.plane.kubectl(&["label", "node", node, "type-"]).unwrap();
    let reported = |reboot: &NodeReboot| reboot.status.as_ref().is_some_and(|status| status.host.is_some());
    stack.wait_reboot(node, "reported anew", LONG, reported).await.unwrap();
}
