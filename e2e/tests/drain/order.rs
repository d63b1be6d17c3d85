//! Tiers, pods that may complete, and the stage that deletes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use kube::api::{Patch, PatchParams};
use lockkeeper_drain::{Behavior, Deletion, Progress, Rule, Settings, Stage};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::ControlPlane;
use serde_json::json;

use super::fixture::{Scene, done};

fn rule(app: &str, behavior: Behavior, order: i32) -> Result<Rule> {
    let pods = serde_json::from_value(json!({"matchLabels": {"app": app}}))?;
    // A namespace's own name as its label: each namespace has it.
    let namespaces = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]});
    let namespaces = serde_json::from_value(namespaces)?;
    Ok(Rule::parse(0, Some(pods), Some(namespaces), behavior, order)?)
}

pub(super) async fn one_tier_leaves_after_the_other(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "tiers").await?;
    for app in ["last", "plain", "first"] {
        scene.run(app, 2, 2).await?;
    }
    let rules = vec![rule("first", Behavior::Evict, -1)?, rule("last", Behavior::Evict, 1)?];
    let mut running = scene.drain_with(|settings| Settings { rules, ..settings }).await?;
    let waiting =
        |progress: &Progress| matches!(progress, Progress::Running { waiting_tiers, .. } if waiting_tiers.len() == 2);
    running.until(waiting).await.context("two tiers wait")?;
    ensure!(running.done().await? == done(6, 0));
    let asked = scene.asked(plane)?;
    let posts: Vec<_> = asked
        .iter()
        .filter(|request| request.resource == "pods/eviction")
        .collect();
    let apps: Vec<&str> = posts
        .iter()
        .filter_map(|request| request.name.split('-').next())
        .collect();
    ensure!(apps == ["first", "first", "plain", "plain", "last", "last"], "{apps:?}");
    // The hollow kubelet's delete is the end of a pod.
    let ends: Vec<Request> = plane
        .requests()?
        .into_iter()
        .filter(|request| request.namespace == "tiers" && request.resource == "pods" && request.verb == "delete")
        .collect();
    for (app, next) in [("first", posts[2]), ("plain", posts[4])] {
        let ends = ends
            .iter()
            .filter(|end| end.name.starts_with(app) && end.received < next.received);
        let gone: BTreeSet<&String> = ends.map(|end| &end.name).collect();
        ensure!(
            gone.len() == 2,
            "{} was asked when of {app} only {gone:?} were gone",
            next.name
        );
    }
    let labels = asked.iter().filter(|request| request.resource == "namespaces").count();
    ensure!(
        labels == 1,
        "at the last read no pod is left that a rule could match: {labels}"
    );
    Ok(())
}

pub(super) async fn a_pod_that_may_complete_is_waited_for(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "completes").await?;
    scene.pod("batch", json!({})).await?;
    scene.wait_ready("batch", 1).await?;
    scene.run("web", 1, 1).await?;
    let rules = vec![rule("batch", Behavior::WaitCompleted, 0)?];
    let mut running = scene.drain_with(|settings| Settings { rules, ..settings }).await?;
    running
        .blocked_by("pod completes/batch may complete first (the policy's drain.rules[0])")
        .await?;
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
    let over = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    scene
        .pods()
        .patch_status("batch", &PatchParams::default(), &over)
        .await?;
    ensure!(running.done().await? == done(2, 0));
    let evictions = scene.evictions(plane)?;
    ensure!(evictions.iter().all(|(name, _)| name != "batch"), "{evictions:?}");
    Ok(())
}

pub(super) async fn the_later_stage_deletes_past_a_closed_budget(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "deletes").await?;
    scene.run("web", 2, 1).await?;
    scene.budget("web", "web", json!({"minAvailable": 2})).await?;
    let mut running = scene.drain().await?;
    running.blocked_by("budget deletes/web allows 0 disruptions").await?;
    drop(running);
    let deleting = |settings: Settings| {
        let deletion = Deletion {
            since: settings.cordoned_at,
            until: Some(settings.cordoned_at + TimeDelta::seconds(60)),
            exempt: None,
        };
        Settings {
            stage: Stage::Delete(deletion),
            ..settings
        }
    };
    ensure!(scene.drain_with(deleting).await?.done().await? == done(2, 0));
    let asked = scene.asked(plane)?;
    let deleted: Vec<u16> = asked
        .iter()
        .filter(|request| request.resource == "pods" && request.verb == "delete")
        .map(|request| request.code)
        .collect();
    ensure!(deleted == [200, 200], "{deleted:?}");
    Ok(())
}
