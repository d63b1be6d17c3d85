//! What the scenes share.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::stack::{Stack, is_done};
use lockkeeper_e2e::workload::is_ready;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

pub(super) const LONG: Duration = Duration::from_mins(5);
pub(super) const POLL: Duration = Duration::from_millis(100);

pub(super) fn template(app: &str, node: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"labels": {"app": app}, "annotations": annotations},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}],
        },
    })
}

pub(super) async fn make<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Waits until a pod like this is ready.
pub(super) async fn runs(client: &Client, fields: &str, labels: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let like = ListParams::default().fields(fields).labels(labels);
    until("a pod is ready", async || {
        pods.list(&like).await.unwrap().items.iter().any(is_ready)
    })
    .await;
}

pub(super) async fn until(what: &str, good: impl AsyncFn() -> bool) {
    let wait = async {
        while !good().await {
            sleep(POLL).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub(super) async fn rebooted(stack: &Stack, node: &str) {
    stack.wait_reboot(node, "rebooted", LONG, is_done).await.unwrap();
}

/// Waits until a node waits for this reason.
pub(super) async fn waits(stack: &Stack, node: &str, reason: &str) -> WaitingStatus {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let good = |reboot: &NodeReboot| waiting(reboot).is_some_and(|waiting| waiting.reason == reason);
    let reboot = stack.wait_reboot(node, reason, LONG, good).await.unwrap();
    waiting(&reboot).unwrap()
}

pub(super) fn change(stack: &Stack, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=merge", "-p", &patch])
        .unwrap();
}

/// Our taints on a node.
pub(super) async fn taints(stack: &Stack, node: &str) -> Vec<String> {
    let node: Node = Api::all(stack.plane.client()).get(node).await.unwrap();
    let taints = node.spec.into_iter().flat_map(|spec| spec.taints.unwrap_or_default());
    let keys = taints.map(|taint| taint.key);
    keys.filter(|key| key.starts_with(names::GROUP)).collect()
}

pub(super) fn ours(request: &Request) -> bool {
    request.program() == "lockkeeper-operator"
}

pub(super) fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}

/// The drain of the policy is this from now on, and nothing of what it was.
pub(super) fn drain_is(stack: &Stack, drain: &Value) {
    let patch = json!([{"op": "add", "path": "/spec/drain", "value": drain}]).to_string();
    stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=json", "-p", &patch])
        .unwrap();
}

/// Makes a Deployment of one pod that can be on this node only, and waits until it runs.
pub(super) async fn deploy(client: &Client, app: &str, node: &str, pod: &Value) {
    let mut template = template(app, node, &json!({}));
    merge(&mut template, pod);
    let deployment = json!({
        "metadata": {"name": app},
        "spec": {"selector": {"matchLabels": {"app": app}}, "template": template},
    });
    make(
        &Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(client.clone(), "default"),
        deployment,
    )
    .await;
    runs(client, "", &format!("app={app}")).await;
}

pub(super) fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// The Events about a node with this reason: words, and when they were written.
pub(super) async fn events(stack: &Stack, node: &str, reason: &str) -> Vec<(String, DateTime<Utc>)> {
    let api: Api<Event> = Api::namespaced(stack.plane.client(), "default");
    let list = api.list(&ListParams::default()).await.unwrap();
    let about = |event: &Event| event.regarding.as_ref().and_then(|about| about.name.clone());
    let all = list
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some(reason) && about(event).as_deref() == Some(node));
    let told = all.map(|event| {
        let at = event
            .metadata
            .creation_timestamp
            .map(|at| lockkeeper_crds::time::from_kubernetes(&at));
        (event.note.unwrap_or_default(), at.unwrap_or_default())
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|(_, at)| *at);
    told
}

/// What the operator wrote about a node or its record, in order.
pub(super) fn writes(stack: &Stack, resource: &str, name: &str) -> Vec<Request> {
    let all = stack.plane.requests().unwrap().into_iter();
    let wrote =
        |request: &Request| ours(request) && request.writes() && request.resource == resource && request.name == name;
    all.filter(wrote).collect()
}
