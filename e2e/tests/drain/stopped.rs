//! A node that stopped answering, and may be alive all the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::TimeDelta;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_drain::{Deletion, Settings, Stage};
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow::{self, is_ready};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::fixture::Scene;

/// The stage that deletes evicts a pod of a `StatefulSet` still, with its grace, and never takes its object away.
pub(super) async fn a_pod_of_a_stateful_set_is_not_deleted_from_a_stopped_node(
    plane: &ControlPlane,
    node: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "stopped").await?;
    let pod = json!({
        "metadata": {"labels": {"app": "db"}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "a", "image": "a"}],
        },
    });
    let set = json!({
        "metadata": {"name": "db"},
        "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": pod},
    });
    let sets: Api<StatefulSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
    sets.create(&PostParams::default(), &serde_json::from_value(set)?)
        .await?;
    scene.wait_ready("db", 1).await?;
    scene.run("web", 1, 1).await?;
    stop(&scene).await?;
    let deleting = |settings: Settings| Settings {
        stage: Stage::Delete(Deletion {
            since: settings.cordoned_at,
            until: Some(settings.cordoned_at + TimeDelta::seconds(4)),
            exempt: None,
        }),
        ..settings
    };
    let mut running = scene.drain_with(deleting).await?;
    // Both are past their grace period, and no kubelet reports that they have stopped.
    running.blocked_by("have been past their grace period since").await?;
    running.blocked_by(&format!("node {node} is not Ready")).await?;
    let asked = scene.asked(plane)?;
    let about = |name: &str| -> Vec<&str> {
        let asked = asked
            .iter()
            .filter(|request| request.writes() && request.name.starts_with(name));
        asked.map(|request| request.resource.as_str()).collect()
    };
    ensure!(about("db-0") == ["pods/eviction"], "{:?}", about("db-0"));
    ensure!(about("web-") == ["pods"], "{:?}", about("web-"));
    let pod = scene.pods().get("db-0").await?;
    let grace = pod.metadata.deletion_grace_period_seconds;
    ensure!(grace == Some(2), "its own grace, not {grace:?}");
    Ok(())
}

/// Turns the node's machine off: its kubelet says no more.
async fn stop(scene: &Scene) -> Result<()> {
    let nodes: Api<Node> = Api::all(scene.client.clone());
    hollow::annotate(&nodes, &scene.node, hollow::NEVER_BACK, Some("true")).await?;
    hollow::reboot(&nodes, &scene.node).await?;
    let begin = Instant::now();
    while is_ready(&nodes.get(&scene.node).await?) {
        ensure!(begin.elapsed() < Duration::from_mins(2), "{} does not stop", scene.node);
        sleep(Duration::from_millis(200)).await;
    }
    // Its pods learn a moment later that no kubelet runs them; until then they could still end.
    let told = |pod: &Pod| pod.annotations().contains_key(hollow::NODE_DOWN);
    while !scene.pods().list(&ListParams::default()).await?.iter().all(told) {
        ensure!(
            begin.elapsed() < Duration::from_mins(2),
            "the pods of {} are not told",
            scene.node
        );
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
