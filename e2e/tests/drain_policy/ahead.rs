//! What is looked at before a node is touched.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, EvictParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload::is_ready;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::scene::{
    LONG, change, deploy, drain_is, events, make, name, rebooted, runs, template, until, waits, writes,
};

pub(super) async fn a_node_that_cannot_be_emptied_is_not_touched_and_the_next_one_goes(stack: &Stack) {
    let (full, free) = (name(stack, 0), name(stack, 1));
    let client = stack.plane.client();
    let lonely = json!({
        "metadata": {"name": "lonely"},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": full}, "containers": [{"name": "a", "image": "a"}]},
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    make(&pods, lonely).await;
    runs(&client, "metadata.name=lonely", "").await;
    stack.stage_cause(full, "stuck").await.unwrap();
    let waiting = waits(stack, full, "PreflightBlocked").await;
    assert!(
        waiting.message.contains("default/lonely: no controller"),
        "{}",
        waiting.message
    );
    stack.stage_cause(free, "free").await.unwrap();
    rebooted(stack, free).await;
    assert_eq!(writes(stack, "nodes", full), vec![], "the node was not touched");
    pods.delete("lonely", &DeleteParams::default()).await.unwrap();
    // Another generation of the policy: the answer to the old one is none.
    change(stack, &json!({"drain": {"podOptOuts": "Ignore"}}));
    rebooted(stack, full).await;
}

pub(super) async fn what_blocks_is_said_with_numbers_and_again_when_there_is_more_of_it(stack: &Stack) {
    let (node, client) = (name(stack, 7), stack.plane.client());
    let data = json!({"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}]}});
    deploy(&client, "keeps", node, &json!({})).await;
    deploy(&client, "data", node, &data).await;
    deploy(&client, "single", node, &json!({})).await;
    let rules = json!([{"podSelector": {"matchLabels": {"app": "keeps"}}, "behavior": "Block"}]);
    drain_is(stack, &json!({"rules": rules}));
    stack.stage_cause(node, "blocks").await.unwrap();
    let waiting = waits(stack, node, "PreflightBlocked").await;
    let first = &waiting.message;
    assert!(
        first.contains("default/keeps-") && first.ends_with("the policy's drain.rules[0] blocks the eviction"),
        "{first}"
    );
    until("the blocker is an Event in the words of the status", async || {
        let told = events(stack, node, "PreflightBlocked").await;
        told.iter().map(|(words, _)| words).eq([first])
    })
    .await;

    let budget = json!({"metadata": {"name": "single"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "single"}}}});
    make(
        &Api::<PodDisruptionBudget>::namespaced(client.clone(), "default"),
        budget,
    )
    .await;
    until("the budget is counted", async || {
        let counted = ["get", "pdb", "single", "-o", "jsonpath={.status.currentHealthy}"];
        stack.plane.kubectl(&counted).unwrap() == "1"
    })
    .await;
    drain_is(stack, &json!({"rules": rules, "emptyDirData": "Block"}));
    let more = [
        "data in an emptyDir would be lost (the policy's drain.emptyDirData is Block)",
        "budget default/single allows 0 disruptions (1 of 1 ready, 1 needed) and never will",
        "default/keeps-",
    ];
    until("what blocks besides is an Event too", async || {
        let told = events(stack, node, "PreflightBlocked").await;
        told.iter()
            .any(|(words, _)| more.iter().all(|part| words.contains(part)))
    })
    .await;
    let message = waits(stack, node, "PreflightBlocked").await.message;
    assert!(more.iter().all(|part| message.contains(part)), "{message}");
    sleep(Duration::from_secs(3)).await;
    let told = events(stack, node, "PreflightBlocked").await;
    let different: BTreeSet<&String> = told.iter().map(|(words, _)| words).collect();
    // Three if it was asked between the budget and the change of the policy.
    assert!(
        different.len() == told.len() && told.len() <= 3,
        "nothing is repeated: {told:#?}"
    );
    assert_eq!(writes(stack, "nodes", node), vec![], "the node was not touched");

    stack.plane.kubectl(&["delete", "pdb", "single"]).unwrap();
    drain_is(stack, &json!({}));
    rebooted(stack, node).await;
    let started = events(stack, node, "DrainStarted").await;
    let words = &started.last().unwrap().0;
    assert!(words.contains("evicting 3 pods (1 with emptyDir data"), "{words}");
}

pub(super) async fn a_preflight_that_fails_gives_its_reason_and_delays_no_other_node(stack: &Stack) {
    drain_is(stack, &json!({}));
    a_webhook_is_down(stack, name(stack, 8), name(stack, 9)).await;
    a_right_is_missing(stack, name(stack, 16)).await;
}

async fn a_right_is_missing(stack: &Stack, free: &str) {
    deploy(&stack.plane.client(), "counted", free, &json!({})).await;
    // The operator may not read budgets any more.
    let role = ["get", "clusterrole", "lockkeeper-operator", "-o", "json"];
    let role: Value = serde_json::from_str(&stack.plane.kubectl(&role).unwrap()).unwrap();
    let rules = role["rules"].as_array().unwrap();
    let budgets = |rule: &Value| {
        rule["resources"]
            .as_array()
            .is_some_and(|all| all.contains(&json!("poddisruptionbudgets")))
    };
    let index = rules.iter().position(budgets).unwrap();
    let place = format!("/rules/{index}");
    let change_role = |change: Value| {
        let change = change.to_string();
        let words = [
            "patch",
            "clusterrole",
            "lockkeeper-operator",
            "--type=json",
            "-p",
            &change,
        ];
        stack.plane.kubectl(&words).unwrap();
    };
    change_role(json!([{"op": "remove", "path": place}]));
    let operator = format!("--as=system:serviceaccount:{}:lockkeeper-operator", names::NAMESPACE);
    let may = [
        "auth",
        "can-i",
        "list",
        "poddisruptionbudgets",
        "-n",
        "default",
        &operator,
    ];
    until("the right is gone", async || stack.plane.kubectl(&may).is_err()).await;
    stack.stage_cause(free, "forbidden").await.unwrap();
    let words = unseen(stack, free, "poddisruptionbudgets").await;
    assert!(
        words.contains("cannot read the disruption budgets of namespace default")
            && words.contains("cannot list resource \"poddisruptionbudgets\"")
            && words.contains("; grant the permission: apply the chart"),
        "{words}"
    );
    change_role(json!([{"op": "add", "path": place, "value": rules[index]}]));
    stack
        .wait_rebooted_for(&[free.to_owned()], "forbidden", LONG)
        .await
        .unwrap();
}

async fn a_webhook_is_down(stack: &Stack, walled: &str, free: &str) {
    let client = stack.plane.client();
    stack.plane.kubectl(&["create", "namespace", "walled"]).unwrap();
    let deployment = json!({
        "metadata": {"name": "walled"},
        "spec": {"selector": {"matchLabels": {"app": "walled"}}, "template": template("walled", walled, &json!({}))},
    });
    make(&Api::<Deployment>::namespaced(client.clone(), "walled"), deployment).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "walled");
    until("a pod is ready behind the wall", async || {
        pods.list(&ListParams::default()).await.unwrap().iter().any(is_ready)
    })
    .await;
    // No process listens there.
    let webhook = json!({
        "name": "wall.e2e.lockkeeper.dev", "clientConfig": {"url": "https://127.0.0.1:9/"}, "timeoutSeconds": 1,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "walled"}},
        "sideEffects": "NoneOnDryRun", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
    });
    let webhook = json!({"metadata": {"name": "wall.e2e.lockkeeper.dev"}, "webhooks": [webhook]});
    make(&Api::<ValidatingWebhookConfiguration>::all(client.clone()), webhook).await;
    let asks = EvictParams {
        post_options: PostParams {
            dry_run: true,
            ..PostParams::default()
        },
        ..EvictParams::default()
    };
    until("the API server has taken the webhook up", async || {
        let pod = pods
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .remove(0)
            .name_any();
        pods.evict(&pod, &asks).await.is_err()
    })
    .await;
    stack.stage_cause(walled, "walled").await.unwrap();
    let words = unseen(stack, walled, "failed calling webhook").await;
    assert!(
        words
            .starts_with("the check whether its pods can be evicted failed: the dry run of an eviction of pod walled/")
            && words.contains("\"wall.e2e.lockkeeper.dev\"")
            && words.contains("; repair that webhook"),
        "{words}"
    );
    stack.stage_cause(free, "free").await.unwrap();
    rebooted(stack, free).await;
    assert_eq!(writes(stack, "nodes", walled), vec![], "the node was not touched");
    let webhooks = ["delete", "validatingwebhookconfiguration", "wall.e2e.lockkeeper.dev"];
    stack.plane.kubectl(&webhooks).unwrap();
    rebooted(stack, walled).await;
}

/// Waits until a node says that something was not seen, with these words, in status and Event; returns all of them.
async fn unseen(stack: &Stack, node: &str, words: &str) -> String {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let said = |reboot: &NodeReboot| {
        waiting(reboot).is_some_and(|waiting| waiting.reason == "ViewIncomplete" && waiting.message.contains(words))
    };
    let reboot = stack.wait_reboot(node, words, LONG, said).await.unwrap();
    let message = waiting(&reboot).unwrap().message;
    until("the cause is an Event too", async || {
        let told = events(stack, node, "ViewIncomplete").await;
        told.iter().any(|(words, _)| *words == message)
    })
    .await;
    message
}
