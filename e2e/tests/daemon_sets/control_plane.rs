//! Nodes of the control plane: found by a label or by their static pods, one at a time.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PostParams;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::json;

use super::scene::{
    annotate, cordoned, eventually, name, never_ready, pods, policy_is, rebooted, rebooting, waits, waits_with,
};

/// A member of etcd that is not back yet: a second one must not go down.
pub(super) async fn a_static_pod_that_was_ready_is_waited_for_and_the_control_plane_with_it(stack: &Stack) {
    let members = [name(stack, 2), name(stack, 3)];
    for node in members {
        label(stack, node, "node-role.kubernetes.io/control-plane=");
        static_pod(stack, "etcd", node).await;
    }
    stack.stage_cause(members[0], "static").await.unwrap();
    rebooting(stack, members[0]).await;
    stack.stage_cause(members[1], "static").await.unwrap();
    let etcd = format!("etcd-{}", members[0]);
    annotate(stack, &etcd, Some("true")).await;
    let words = format!("static pod default/{etcd}: pod {etcd} is not Ready: ");
    waits_with(stack, members[0], "NodeNotReady", &words).await;
    let busy = waits(stack, members[1], "NoFreeSlot").await;
    assert!(busy.contains(members[0]), "{busy}");
    assert!(cordoned(stack, members[0]).await && !cordoned(stack, members[1]).await);
    annotate(stack, &etcd, None).await;
    for node in members {
        rebooted(stack, node, "static").await;
        label(stack, node, "node-role.kubernetes.io/control-plane-");
    }
}

/// A datastore whose nodes have a label of their own, and a node that runs the API server without any label.
pub(super) async fn members_without_the_usual_labels_reboot_one_at_a_time(stack: &Stack) {
    // Not rebooted before: a node that is rebooted three times within a day waits.
    let (labelled, unlabelled) = (name(stack, 4), name(stack, 5));
    label(stack, labelled, "example.com/datastore=");
    static_pod(stack, "kube-apiserver", unlabelled).await;
    policy_is(stack, &json!({"disruption": {"maxInProgress": 4, "maxUnavailable": 4}}));
    for (first, second, cause) in [
        (labelled, unlabelled, "datastore"),
        (unlabelled, labelled, "api-server"),
    ] {
        stack.stage_cause(first, cause).await.unwrap();
        rebooting(stack, first).await;
        never_ready(stack, "cni", first, Some("true")).await;
        stack.stage_cause(second, cause).await.unwrap();
        let busy = waits(stack, second, "ControlPlaneBusy").await;
        assert!(busy.contains(first), "{busy}");
        assert!(cordoned(stack, first).await && !cordoned(stack, second).await);
        never_ready(stack, "cni", first, None).await;
        for node in [first, second] {
            rebooted(stack, node, cause).await;
        }
    }
}

/// The mirror of a static pod, as a kubelet creates it; waits until it is ready.
async fn static_pod(stack: &Stack, component: &str, node: &str) {
    let pod = json!({
        "metadata": {
            "name": format!("{component}-{node}"), "labels": {"component": component},
            "annotations": {"kubernetes.io/config.mirror": "e2e"},
        },
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "etcd", "image": "lockkeeper/web:e2e"}],
        },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods(stack).create(&PostParams::default(), &pod).await.unwrap();
    eventually("the static pod is ready", async || {
        let pod = pods(stack).get(&pod.name_any()).await.unwrap();
        workload::is_ready(&pod).then_some(())
    })
    .await;
}

/// Adds a label to a node, or removes it (`KEY-`).
fn label(stack: &Stack, node: &str, label: &str) {
    stack.plane.kubectl(&["label", "node", node, label]).unwrap();
}
