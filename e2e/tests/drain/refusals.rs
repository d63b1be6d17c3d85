//! Refusals and outages of a real API server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use lockkeeper_drain::Progress;
use lockkeeper_e2e::control_plane::{self, ControlPlane};
use lockkeeper_e2e::hollow;
use lockkeeper_e2e::pki::Credential;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::fixture::{LIMIT, Scene, done};

pub(super) async fn a_missing_permission_is_named_and_asked_for_again(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "forbidden").await?;
    scene.run("web", 2, 1).await?;
    let role = json!({
        "metadata": {"name": "drain-looks"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list", "watch"]},
            {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list", "watch"]},
        ],
    });
    let binding = json!({
        "metadata": {"name": "drain-looks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "drain-looks"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "onlooker"}],
    });
    let roles: Api<ClusterRole> = Api::all(scene.client.clone());
    roles
        .create(&PostParams::default(), &serde_json::from_value(role)?)
        .await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(scene.client.clone());
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    let identity = plane.pki().client("onlooker", None)?;
    let kubeconfig = plane.dir().join("onlooker.kubeconfig");
    std::fs::write(
        &kubeconfig,
        plane
            .pki()
            .kubeconfig(&plane.url(), Credential::Certificate(&identity))?,
    )?;
    // The API server takes the binding up a moment after it was made.
    let budgets = Api::<PodDisruptionBudget>::all(control_plane::client(&kubeconfig, "onlooker").await?);
    let begin = Instant::now();
    while let Err(error) = budgets.list(&ListParams::default()).await {
        ensure!(begin.elapsed() < LIMIT, "the onlooker sees no budgets: {error:#}");
        sleep(Duration::from_millis(100)).await;
    }
    scene.cordon().await?;
    let mut running = scene.drain_as(&kubeconfig, |settings| settings).await?;
    running
        .blocked_by("User \"onlooker\" cannot create resource \"pods/eviction\"")
        .await?;
    let granted = json!({"rules": [
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list", "watch"]},
    ]});
    let patch = Patch::Merge(granted);
    roles.patch("drain-looks", &PatchParams::default(), &patch).await?;
    ensure!(running.done().await? == done(2, 0));
    let evictions = scene.evictions(plane)?;
    ensure!(evictions.len() <= 6, "asked in a storm: {evictions:?}");
    Ok(())
}

/// The words by which `answer.rs` tells cases apart that have the same status and reason.
pub(super) async fn the_api_server_still_uses_the_words_we_know(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "words").await?;
    scene.run("web", 1, 1).await?;
    let pod = scene
        .pods()
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .remove(0);
    let name = pod.metadata.name.unwrap_or_default();
    let status = evict(&scene, &name, "another-uid").await?;
    ensure!(status["code"] == 409 && text(&status).contains("UID"), "{status}");
    let uid = pod.metadata.uid.unwrap_or_default();
    scene.budget("web", "web", json!({"minAvailable": 1})).await?;
    let status = evict(&scene, &name, &uid).await?;
    let cause = &status["details"]["causes"][0];
    ensure!(
        status["code"] == 429 && cause["reason"] == "DisruptionBudget",
        "{status}"
    );
    ensure!(
        cause["message"]
            .as_str()
            .is_some_and(|words| words.starts_with("The disruption budget web ")),
        "{status}"
    );
    scene.budget("extra", "web", json!({"minAvailable": 1})).await?;
    let status = evict(&scene, &name, &uid).await?;
    ensure!(
        status["code"] == 500 && text(&status).contains("more than one PodDisruptionBudget"),
        "{status}"
    );
    Ok(())
}

fn text(status: &Value) -> &str {
    status["message"].as_str().unwrap_or_default()
}

async fn evict(scene: &Scene, pod: &str, uid: &str) -> Result<Value> {
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod},
        "deleteOptions": {"preconditions": {"uid": uid}},
    });
    let request = Request::post(format!(
        "/api/v1/namespaces/{}/pods/{pod}/eviction?dryRun=All",
        scene.namespace
    ))
    .header(http::header::CONTENT_TYPE, "application/json")
    .body(body.to_string().into_bytes().into())?;
    // The administrator's client would repeat a 429 many times.
    let config = scene.config().await?;
    let client = lockkeeper_drain::eviction_client(config)?;
    let bytes = client.send(request).await?.into_body().collect_bytes().await?;
    Ok(serde_json::from_slice(&bytes)?)
}

pub(super) async fn an_admission_policys_words_are_shown(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "admission").await?;
    scene.run("web", 1, 1).await?;
    let evictions = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"],
    });
    let policy = json!({
        "metadata": {"name": "no-evictions"},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
                "resourceRules": [evictions],
            },
            "validations": [{"expression": "false", "message": "not before Monday", "reason": "Forbidden"}],
        },
    });
    let binding = json!({
        "metadata": {"name": "no-evictions"},
        "spec": {"policyName": "no-evictions", "validationActions": ["Deny"]},
    });
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.client.clone());
    policies
        .create(&PostParams::default(), &serde_json::from_value(policy)?)
        .await?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scene.client.clone());
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    let pod = scene
        .pods()
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .remove(0);
    let (name, uid) = (
        pod.metadata.name.unwrap_or_default(),
        pod.metadata.uid.unwrap_or_default(),
    );
    // The API server takes a policy up a moment after it was made.
    while evict(&scene, &name, &uid).await?["code"] != 403 {
        sleep(Duration::from_millis(500)).await;
    }
    let mut running = scene.drain().await?;
    running
        .blocked_by("the API server refuses the eviction (403): ")
        .await?;
    running.blocked_by("denied request: not before Monday").await?;
    bindings
        .delete("no-evictions", &kube::api::DeleteParams::default())
        .await?;
    ensure!(running.done().await? == done(1, 0));
    let asked = scene.evictions(plane)?;
    ensure!(asked.len() <= 3, "asked in a storm: {asked:?}");
    Ok(())
}

/// In the middle of the evictions, and with one pod behind a closed budget.
pub(super) async fn an_api_server_that_is_away_fails_nothing(plane: &mut ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "outage").await?;
    scene.run("web", 20, 3).await?;
    scene.run("db", 1, 1).await?;
    scene.budget("db", "db", json!({"minAvailable": 1})).await?;
    let mut running = scene.drain().await?;
    running.blocked_by("budget outage/db allows 0 disruptions").await?;
    plane.stop_api_server();
    running.blocked_by("the API server is unavailable").await?;
    sleep(Duration::from_secs(5)).await;
    plane.start_api_server().await?;
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 20,
                    remaining: 1,
                    ..
                }
            )
        })
        .await?;
    scene.change_budget("db", json!({"minAvailable": 0})).await?;
    ensure!(running.done().await? == done(21, 0));
    // A server that is killed takes the audit lines of what it was answering with it: all 21 are gone, and some may
    // have left without a line. Whose answer was lost is asked for again, and once only.
    let mut granted = BTreeMap::<String, usize>::new();
    for (pod, _) in scene.evictions(plane)?.into_iter().filter(|(_, code)| *code == 201) {
        *granted.entry(pod).or_default() += 1;
    }
    ensure!(
        granted.values().all(|times| *times <= 2),
        "granted, by pod: {granted:?}"
    );
    Ok(())
}

/// With a shorter grace its end would come nearer.
pub(super) async fn a_pod_that_shuts_down_is_not_asked_again(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "terminating").await?;
    // It takes longer than the scene: a kubelet that is done with it ends its grace, too.
    let long = json!({
        "metadata": {"annotations": {hollow::TERMINATION_SECONDS: "600"}},
        "spec": {"terminationGracePeriodSeconds": 600},
    });
    scene.pod("slow", long).await?;
    scene.wait_ready("slow", 1).await?;
    scene.delete_pod("slow").await?;
    let before = scene.pods().get("slow").await?.metadata.deletion_timestamp;
    ensure!(before.is_some());
    let mut running = scene
        .drain_with(|settings| lockkeeper_drain::Settings {
            grace_period_seconds: Some(1),
            ..settings
        })
        .await?;
    running.blocked_by("pod terminating/slow is").await?;
    ensure!(scene.pods().get("slow").await?.metadata.deletion_timestamp == before);
    let at_once = DeleteParams::default().grace_period(0);
    scene.pods().delete("slow", &at_once).await?;
    ensure!(running.done().await? == done(1, 0));
    ensure!(scene.evictions(plane)?.is_empty());
    Ok(())
}

async fn release(scene: &Scene, pod: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    scene.pods().patch(pod, &PatchParams::default(), &patch).await?;
    Ok(())
}

pub(super) async fn pods_of_a_namespace_that_goes_are_waited_for(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "goes").await?;
    let held = json!({"metadata": {"finalizers": ["e2e.lockkeeper.dev/hold"]}});
    let uid = scene.pod("held", held).await?.metadata.uid.unwrap_or_default();
    scene.wait_ready("held", 1).await?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(scene.client.clone());
    namespaces.delete("goes", &DeleteParams::default()).await?;
    // The server's own words, which an eviction gets whether or not the pod has been marked yet.
    let status = evict(&scene, "held", &uid).await?;
    let cause = &status["details"]["causes"][0];
    ensure!(
        status["code"] == 403 && cause["reason"] == "NamespaceTerminating",
        "{status}"
    );
    while scene.pods().get("held").await?.metadata.deletion_timestamp.is_none() {
        sleep(Duration::from_millis(200)).await;
    }
    let mut running = scene.drain().await?;
    running.blocked_by("pod goes/held is").await?;
    release(&scene, "held").await?;
    ensure!(running.done().await? == done(1, 0));
    ensure!(scene.evictions(plane)?.is_empty());
    Ok(())
}

pub(super) async fn a_node_that_is_deleted_ends_its_drain(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "deleted").await?;
    scene.run("web", 1, 1).await?;
    scene.budget("web", "web", json!({"minAvailable": 1})).await?;
    let mut running = scene.drain().await?;
    running.blocked_by("budget deleted/web allows 0 disruptions").await?;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(scene.client.clone());
    nodes.delete(node, &kube::api::DeleteParams::default()).await?;
    let error = running.done().await.err().map(|error| error.to_string());
    ensure!(
        error.as_deref() == Some(&format!("node {node} was deleted; there is nothing left to drain")),
        "{error:?}"
    );
    Ok(())
}
