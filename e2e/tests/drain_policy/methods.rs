//! Who reboots a node that is drained.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use lockkeeper_crds::{NodeReboot, OrderState};
use lockkeeper_e2e::hollow::boot_id;
use lockkeeper_e2e::hollow_agents::{ACTUATOR_DEAD, REBOOT_REQUIRED};
use lockkeeper_e2e::stack::Stack;
use serde_json::json;

use super::scene::{LONG, change, events, name, rebooted, waits};

/// As a BMC or a cloud API does it. The node's pod has no actuator.
pub(super) async fn a_node_is_drained_and_waits_until_another_system_has_rebooted_it(stack: &Stack) {
    let node = name(stack, 25);
    stack.nodes.annotate(node, ACTUATOR_DEAD, Some("true")).await.unwrap();
    change(stack, &json!({"reboot": {"method": "External"}}));
    let nodes: Api<Node> = Api::all(stack.plane.client());
    let before = boot_id(&nodes.get(node).await.unwrap()).map(str::to_owned);
    stack.stage_cause(node, "external").await.unwrap();
    let waiting = waits(stack, node, "AwaitingExternalReboot").await;
    assert!(waiting.message.contains("reboot it now"), "{}", waiting.message);
    let answered = |reboot: &NodeReboot| {
        let host = reboot.status.as_ref().and_then(|status| status.host.as_ref());
        let answer = host.and_then(|host| host.order.as_ref());
        answer.is_some_and(|answer| answer.state == OrderState::Rebooting)
    };
    let answer = stack.wait_reboot(node, "answered by its agent", LONG, answered);
    answer.await.unwrap();
    let now = nodes.get(node).await.unwrap();
    assert_eq!(boot_id(&now), before.as_deref(), "no agent reboots it");
    assert_eq!(now.spec.and_then(|spec| spec.unschedulable), Some(true));
    let said = events(stack, node, "RebootOrdered").await;
    let (words, _) = said.first().unwrap();
    assert!(words.contains("reboot it now (reboot.method: External)"), "{words}");
    stack.nodes.annotate(node, REBOOT_REQUIRED, None).await.unwrap();
    stack.nodes.reboot(node).await.unwrap();
    rebooted(stack, node).await;
    stack.nodes.annotate(node, ACTUATOR_DEAD, None).await.unwrap();
    change(stack, &json!({"reboot": {"method": null}}));
}
