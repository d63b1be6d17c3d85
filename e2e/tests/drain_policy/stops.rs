//! A person's word ends a drain at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::scene::{drain_is, make, name, ours, rebooted, runs, template, until};

/// How many pods leave one after another.
const TRAIN: usize = 10;

pub(super) async fn nothing_is_asked_a_second_after_a_cancel(stack: &Stack) {
    let node = name(stack, 15);
    train_leaves(stack, node).await;
    let said = stack.plugin(&["cancel", node]).await.unwrap();
    assert!(said.status.success(), "{said:?}");
    let word = word(stack, "kubectl-lockkeeper", "nodereboots", node);
    silent(stack, node, word).await;
    assert!(!cordoned(stack, node).await, "it takes pods again");
}

pub(super) async fn nothing_is_asked_a_second_after_a_hold(stack: &Stack) {
    let node = name(stack, 17);
    train_leaves(stack, node).await;
    let hold = format!("{}=a person works here", names::HOLD);
    stack.plane.kubectl(&["annotate", "node", node, &hold]).unwrap();
    let word = word(stack, "kubectl", "nodes", node);
    silent(stack, node, word).await;
    assert!(cordoned(stack, node).await, "a held node stays cordoned");
    stack.plane.kubectl(&["uncordon", node]).unwrap();
    let off = format!("{}-", names::HOLD);
    stack.plane.kubectl(&["annotate", "node", node, &off]).unwrap();
    rebooted(stack, node).await;
}

/// A train of pods leaves the node, each of a tier of its own: more are asked every second or two.
async fn train_leaves(stack: &Stack, node: &str) {
    let client = stack.plane.client();
    let app = |wagon: usize| format!("wagon-{node}-{wagon}");
    for wagon in 0..TRAIN {
        let labels = json!({"matchLabels": {"app": app(wagon)}});
        let template = template(&app(wagon), node, &json!({}));
        let deployment = json!({"metadata": {"name": app(wagon)}, "spec": {"selector": labels, "template": template}});
        make(&Api::<Deployment>::namespaced(client.clone(), "default"), deployment).await;
    }
    for wagon in 0..TRAIN {
        runs(&client, "", &format!("app={}", app(wagon))).await;
    }
    let rule = |wagon| json!({"podSelector": {"matchLabels": {"app": app(wagon)}}, "order": wagon});
    let rules: Vec<Value> = (0..TRAIN).map(rule).collect();
    drain_is(stack, &json!({"rules": rules}));
    stack.stage_cause(node, "train").await.unwrap();
    until("two pods were asked", async || asked(stack, node).len() >= 2).await;
}

/// When the operator asked pods of the train to leave.
fn asked(stack: &Stack, node: &str) -> Vec<DateTime<Utc>> {
    let train = format!("wagon-{node}-");
    let all = stack.plane.requests().unwrap().into_iter();
    let asked = all.filter(|request| ours(request) && request.writes() && request.name.starts_with(&train));
    asked.map(|request| request.received).collect()
}

/// When the last Event about this object was written.
fn word(stack: &Stack, program: &str, resource: &str, name: &str) -> DateTime<Utc> {
    let all = stack.plane.requests().unwrap().into_iter();
    let wrote = all.filter(|request| {
        request.program() == program && request.writes() && request.resource == resource && request.name == name
    });
    wrote
        .map(|request| request.received)
        .next_back()
        .expect("the word was written")
}

/// No eviction was requested later than a second after the command, although pods remained; the node is uncordoned.
async fn silent(stack: &Stack, node: &str, word: DateTime<Utc>) {
    let nodes: Api<Node> = Api::all(stack.plane.client());
    until("the node is uncordoned", async || {
        let node = nodes.get(node).await.unwrap();
        let marks = [
            names::OPERATION,
            names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
            names::KARPENTER_DO_NOT_DISRUPT,
        ];
        marks.iter().all(|key| !node.annotations().contains_key(*key))
            && !node.labels().contains_key(names::EXCLUDE_FROM_LOAD_BALANCERS)
    })
    .await;
    // Three more wagons would have left by then.
    sleep(Duration::from_secs(5)).await;
    let asked = asked(stack, node);
    assert!(
        (2..TRAIN - 2).contains(&asked.len()),
        "{} of {TRAIN} pods were asked",
        asked.len()
    );
    let late: Vec<TimeDelta> = asked
        .iter()
        .map(|at| *at - word)
        .filter(|after| *after > TimeDelta::seconds(1))
        .collect();
    assert!(late.is_empty(), "asked so long after the word: {late:?}");
    drain_is(stack, &json!({}));
}

async fn cordoned(stack: &Stack, node: &str) -> bool {
    let node = Api::<Node>::all(stack.plane.client()).get(node).await.unwrap();
    node.spec.and_then(|spec| spec.unschedulable) == Some(true)
}
