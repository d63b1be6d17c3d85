//! The uninstall with kubectl, word for word as `docs/install.md` has it, in mid-rollout: no cordon, no mark and no
//! definition is left behind, while the operator that was deleted still runs.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeState, names};
use lockkeeper_e2e::hollow::DOWN_SECONDS;
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::json;

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn pause_and_delete_during_a_rollout_leave_no_cordon() {
    let mut stack = Stack::start("uninstall", 4, 1).await.unwrap();
    let (draining, rebooting) = (&stack.nodes.names()[0], &stack.nodes.names()[1]);
    workload::pin(&stack.plane.client(), draining, 1).await.unwrap();
    workload::guard(&stack.plane.client(), draining).await.unwrap();
    stack.nodes.annotate(rebooting, DOWN_SECONDS, Some("10")).await.unwrap();
    stack
        .plane
        .policy("general", json!({"disruption": {"maxInProgress": 2}}))
        .await
        .unwrap();
    for (node, state) in [(draining, NodeState::Draining), (rebooting, NodeState::Rebooting)] {
        stack.stage_update(node).await.unwrap();
        let is_there = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.state) == Some(state);
        stack.wait_reboot(node, state.as_str(), LONG, is_there).await.unwrap();
    }
    for node in &stack.nodes.names()[2..] {
        stack.stage_update(node).await.unwrap();
    }

    let said = stack.plugin(&["pause"]).await.unwrap();
    let words = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{words}");
    assert!(
        words.contains(&format!("{draining}: cancelled before its reboot was ordered")),
        "{words}"
    );
    let reboot = stack.reboot(rebooting).await.unwrap();
    assert!(
        reboot.status.unwrap().last_reboot.is_some(),
        "{rebooting} finishes first"
    );
    nothing_is_marked(&stack).await;

    let manifest = repository().join("deploy/lockkeeper.yaml");
    stack
        .plane
        .kubectl(&["delete", "--timeout=3m", "-f", &manifest.to_string_lossy()])
        .unwrap();
    nothing_is_marked(&stack).await;
    let kinds = "namespaces,crds,clusterroles,clusterrolebindings,roles,rolebindings,validatingadmissionpolicies,\
                 validatingadmissionpolicybindings";
    let ours = "--selector=app.kubernetes.io/part-of=lockkeeper";
    let left = stack
        .plane
        .kubectl(&["get", kinds, "--all-namespaces", ours, "--output=name"]);
    assert_eq!(left.unwrap(), "");
    let definitions = stack.plane.kubectl(&["get", "crds", "--output=name"]).unwrap();
    assert!(!definitions.contains(names::GROUP), "{definitions}");
    stack.workdir.passed();
}

/// No node is cordoned, and none has an annotation, a label or a taint of ours.
async fn nothing_is_marked(stack: &Stack) {
    let nodes: Api<Node> = Api::all(stack.plane.client());
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let name = node.name_any();
        let spec = node.spec.clone().unwrap_or_default();
        assert_ne!(spec.unschedulable, Some(true), "{name} is left cordoned");
        let taints = spec.taints.unwrap_or_default();
        let taints = taints.iter().map(|taint| taint.key.as_str());
        let keys = node
            .annotations()
            .keys()
            .chain(node.labels().keys())
            .map(String::as_str);
        for key in keys.chain(taints) {
            let ours = key.strip_prefix(names::GROUP).is_some_and(|rest| rest.starts_with('/'));
            let marks = [
                names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
                names::KARPENTER_DO_NOT_DISRUPT,
                names::EXCLUDE_FROM_LOAD_BALANCERS,
            ];
            assert!(!ours && !marks.contains(&key), "{name} is left with {key}");
        }
    }
}
