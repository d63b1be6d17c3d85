//! What Kubernetes 1.37 leaves out: the controller that turns `EvictionRequest`s into `Eviction`s, and a responder.
//!
//! The API server validates what both write: the order of the responders, their states and their times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use chrono::{SecondsFormat, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(super) const RESPONDER: &str = "mover.lockkeeper.test/move";
const DEFAULT: &str = "imperative-eviction.k8s.io/evictor";
const NAMESPACE: &str = "default";

/// What the responder does with a pod, by the pod's name; it starts nothing with a pod that is not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It reports this.
    Report(String),
    /// It deletes the pod and has completed.
    Move,
    /// It has completed, and the pod stays.
    Complete,
}

/// Controller and responder; they end when this is dropped.
pub(super) struct Responders {
    work: Arc<Mutex<BTreeMap<String, Work>>>,
    task: JoinHandle<()>,
}

impl Drop for Responders {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Responders {
    pub(super) fn start(client: Client) -> Self {
        let work: Arc<Mutex<BTreeMap<String, Work>>> = Arc::default();
        let shared = work.clone();
        let task = tokio::spawn(async move {
            loop {
                let now = shared.lock().unwrap().clone();
                if let Err(error) = reconcile(&client, &now).await {
                    // A conflict with what the other one wrote; also the end of a test.
                    eprintln!("controller of EvictionRequests: {error}");
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { work, task }
    }

    pub(super) fn set(&self, pod: &str, work: Work) {
        self.work.lock().unwrap().insert(pod.to_owned(), work);
    }
}

/// The API of requests or evictions.
pub(super) fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let plural = format!("{}s", kind.to_lowercase());
    let kind = GroupVersionKind::gvk("lifecycle.k8s.io", "v1alpha1", kind);
    Api::namespaced_with(
        client.clone(),
        NAMESPACE,
        &ApiResource::from_gvk_with_plural(&kind, &plural),
    )
}

async fn reconcile(client: &Client, work: &BTreeMap<String, Work>) -> Result<()> {
    let requests = api(client, "EvictionRequest").list(&ListParams::default()).await?.items;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let wanted: BTreeSet<String> = requests.iter().map(|request| target(request, "uid")).collect();
    for request in &requests {
        if let Some(pod) = pods.get_opt(&target(request, "name")).await? {
            accept(client, request, &pod).await?;
        }
    }
    for eviction in api(client, "Eviction").list(&ListParams::default()).await?.items {
        let pod = pods.get_opt(&target(&eviction, "name")).await?;
        advance(client, &eviction, pod.as_ref(), &wanted, work).await?;
    }
    Ok(())
}

/// Creates the Eviction for a request, and says that the request was observed.
async fn accept(client: &Client, request: &DynamicObject, pod: &Pod) -> Result<()> {
    if !request.data["status"]["observedGeneration"].is_null() {
        return Ok(());
    }
    let uid = pod.uid().unwrap_or_default();
    let name = format!("eviction-{uid}");
    let evictions = api(client, "Eviction");
    if evictions.get_opt(&name).await?.is_none() {
        let target = json!({"pod": {"name": pod.name_any(), "uid": uid}});
        let object = json!({"apiVersion": "lifecycle.k8s.io/v1alpha1", "kind": "Eviction",
            "metadata": {"name": name}, "spec": {"target": target}});
        evictions
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        let status = json!({
            "observedGeneration": 1,
            "requesters": [{"name": request.data["spec"]["requester"], "intent": "Eviction"}],
            "targetResponders": [
                {"name": RESPONDER, "priority": 10000, "state": "Active"},
                {"name": DEFAULT, "priority": 100, "state": "Inactive"},
            ],
            "responders": [{"name": RESPONDER, "startTime": now()}, {"name": DEFAULT}],
        });
        set_status(client, "Eviction", &name, status).await?;
    }
    let conditions = [condition("Failed", "False", "AwaitingEviction")];
    let status = json!({"observedGeneration": 1, "conditions": conditions});
    set_status(client, "EvictionRequest", &request.name_any(), status).await
}

/// What controller and responder do with an Eviction.
async fn advance(
    client: &Client,
    eviction: &DynamicObject,
    pod: Option<&Pod>,
    wanted: &BTreeSet<String>,
    work: &BTreeMap<String, Work>,
) -> Result<()> {
    let (name, status) = (eviction.name_any(), &eviction.data["status"]);
    if status["targetResponders"][0]["state"] != "Active" {
        return Ok(());
    }
    let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
        return Ok(());
    };
    let mut next = status.clone();
    if !wanted.contains(&target(eviction, "uid")) {
        next["targetResponders"][0]["state"] = json!("Canceled");
        next["conditions"] = json!([condition("Failed", "True", "CanceledDueToNoRequesters")]);
        return set_status(client, "Eviction", &name, next).await;
    }
    match work.get(&pod.name_any()) {
        None => return Ok(()),
        Some(Work::Report(message)) if next["responders"][0]["message"] == *message => return Ok(()),
        Some(Work::Report(message)) => {
            next["responders"][0]["message"] = json!(message);
            next["responders"][0]["heartbeatTime"] = json!(now());
        }
        Some(Work::Move) => {
            let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
            pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
            next["responders"][0]["completionTime"] = json!(now());
        }
        Some(Work::Complete) => {
            next["responders"][0]["completionTime"] = json!(now());
            set_status(client, "Eviction", &name, next.clone()).await?;
            next["targetResponders"][0]["state"] = json!("Completed");
            next["targetResponders"][1]["state"] = json!("Active");
            next["responders"][1]["startTime"] = json!(now());
        }
    }
    set_status(client, "Eviction", &name, next).await
}

async fn set_status(client: &Client, kind: &str, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"status": status}));
    api(client, kind)
        .patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": now()})
}

fn target(object: &DynamicObject, field: &str) -> String {
    let field = object.data["spec"]["target"]["pod"][field].as_str();
    field.unwrap_or_default().to_owned()
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}
