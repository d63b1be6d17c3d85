//! Budgets of a real disruption controller.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use lockkeeper_drain::Progress;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow;
use serde_json::json;
use tokio::time::Instant;

use super::fixture::{Scene, done};

pub(super) async fn an_exhausted_budget_is_named_with_its_numbers_and_goes_on_when_it_opens(
    plane: &ControlPlane,
    node: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "exhausted").await?;
    scene.run("web", 3, 1).await?;
    scene.budget("web", "web", json!({"minAvailable": 3})).await?;
    let mut running = scene.drain().await?;
    let words = "budget exhausted/web allows 0 disruptions (3 of 3 ready, 3 needed) and never will";
    running.blocked_by(words).await?;
    let refused = scene.evictions(plane)?;
    ensure!(
        refused.len() == 1 && refused[0].1 == 429,
        "one question for three pods: {refused:?}"
    );
    scene.change_budget("web", json!({"minAvailable": 0})).await?;
    ensure!(running.done().await? == done(3, 0));
    let evictions = scene.evictions(plane)?;
    ensure!(
        evictions.iter().filter(|(_, code)| *code == 201).count() == 3,
        "{evictions:?}"
    );
    ensure!(evictions.len() <= 5, "{evictions:?}");
    Ok(())
}

pub(super) async fn two_budgets_over_one_pod_delay_no_other_pod(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "two-budgets").await?;
    scene.run("db", 1, 1).await?;
    scene.run("web", 3, 1).await?;
    scene.budget("db", "db", json!({"minAvailable": 0})).await?;
    scene.budget("extra", "db", json!({"minAvailable": 0})).await?;
    let mut running = scene.drain().await?;
    running
        .blocked_by("more than one budget selects it (two-budgets/db, two-budgets/extra)")
        .await?;
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 3,
                    remaining: 1,
                    ..
                }
            )
        })
        .await?;
    scene
        .budgets()
        .delete("extra", &kube::api::DeleteParams::default())
        .await?;
    ensure!(running.done().await? == done(4, 0));
    Ok(())
}

pub(super) async fn a_pod_that_came_back_elsewhere_under_its_name_is_left_alone(
    plane: &ControlPlane,
    node: &str,
    other: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "came-back").await?;
    let elsewhere = scene.at(other);
    let set = json!({
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {
                    "affinity": {"nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node, other]}]}
                        ]},
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference":
                            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
                        }],
                    }},
                    "containers": [{"name": "a", "image": "a"}],
                },
            },
        },
    });
    elsewhere.cordon().await?;
    let sets: Api<StatefulSet> = Api::namespaced(scene.client.clone(), "came-back");
    sets.create(&PostParams::default(), &serde_json::from_value(set)?)
        .await?;
    scene.wait_ready("db", 1).await?;
    elsewhere.uncordon().await?;
    scene.budget("db", "db", json!({"minAvailable": 1})).await?;
    let mut running = scene.drain().await?;
    running.blocked_by("budget came-back/db allows 0 disruptions").await?;
    scene.delete_pod("db-0").await?;
    running
        .until(|progress| matches!(progress, Progress::Done { .. } | Progress::Running { remaining: 0, .. }))
        .await?;
    scene.wait_ready("db", 1).await?;
    let uid = scene.pods().get("db-0").await?.uid();
    scene.change_budget("db", json!({"minAvailable": 0})).await?;
    running.done().await?;
    let now = scene.pods().get("db-0").await?;
    ensure!(
        now.uid() == uid && now.metadata.deletion_timestamp.is_none(),
        "the new db-0 was evicted"
    );
    ensure!(now.spec.and_then(|spec| spec.node_name).as_deref() == Some(other));
    let evictions = scene.evictions(plane)?;
    ensure!(evictions.iter().all(|(_, code)| *code == 429), "{evictions:?}");
    Ok(())
}

pub(super) async fn pods_that_are_not_ready_go_as_their_budget_says(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "unready").await?;
    for (app, policy) in [("open", "AlwaysAllow"), ("strict", "IfHealthyBudget")] {
        scene.run(app, 1, 1).await?;
        let mark = json!({"metadata": {"annotations": {hollow::NEVER_READY: "true"}}});
        let pods = scene
            .pods()
            .list(&kube::api::ListParams::default().labels(&format!("app={app}")))
            .await?;
        for pod in pods {
            let patch = kube::api::Patch::Merge(mark.clone());
            scene
                .pods()
                .patch(&pod.name_any(), &kube::api::PatchParams::default(), &patch)
                .await?;
        }
        scene.wait_ready(app, 0).await?;
        scene
            .budget(
                app,
                app,
                json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": policy}),
            )
            .await?;
    }
    let mut running = scene.drain().await?;
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 1,
                    remaining: 1,
                    ..
                }
            )
        })
        .await?;
    running
        .blocked_by("budget unready/strict allows 0 disruptions (0 of 1 ready, 1 needed)")
        .await?;
    scene
        .change_budget("strict", json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}))
        .await?;
    ensure!(running.done().await? == done(2, 0));
    Ok(())
}

/// Each pod is ready half a second after it is made, so that the bound is about ten times that.
pub(super) async fn one_at_a_time_needs_hardly_more_requests_than_pods(
    plane: &ControlPlane,
    node: &str,
    other: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "one-by-one").await?;
    scene.at(other).cordon().await?;
    scene.make("web", 8, &[node, other], &json!({})).await?;
    scene.wait_ready("web", 8).await?;
    scene.at(other).uncordon().await?;
    scene.budget("web", "web", json!({"maxUnavailable": 1})).await?;
    let begin = Instant::now();
    ensure!(scene.drain().await?.done().await? == done(8, 0));
    let evictions = scene.evictions(plane)?;
    println!(
        "8 pods one at a time: {:?}, {} evictions",
        begin.elapsed(),
        evictions.len()
    );
    ensure!(evictions.len() <= 12, "{evictions:?}");
    Ok(())
}
