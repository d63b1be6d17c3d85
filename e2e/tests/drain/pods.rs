//! Which pods leave, stay and block, and what a drain costs.

use anyhow::{Context, Result, bail, ensure};
use chrono::{TimeDelta, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use lockkeeper_drain::{Progress, Settings, Unmanaged, preflight, remaining_pods};
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fixture::{Scene, done};

pub(super) async fn asks_each_pod_once_and_makes_seven_requests_besides(
    plane: &ControlPlane,
    node: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "fifty").await?;
    scene.run("web", 50, 2).await?;
    scene.budget("web", "web", json!({"maxUnavailable": "100%"})).await?;
    let begin = Instant::now();
    ensure!(scene.drain().await?.done().await? == done(50, 0));
    let asked = scene.asked(plane)?;
    println!("50 pods that take 2 s: {:?}, {} requests", begin.elapsed(), asked.len());
    let besides = asked.iter().filter(|request| request.resource != "pods/eviction");
    let mut besides: Vec<String> = besides
        .map(|request| format!("{} {}", request.verb, request.resource))
        .collect();
    besides.sort();
    let [budgets, nodes, pods] = ["poddisruptionbudgets", "nodes", "pods"];
    let lists = [nodes, budgets, pods, pods].map(|kind| format!("list {kind}"));
    let watches = [nodes, budgets, pods].map(|kind| format!("watch {kind}"));
    ensure!(besides == [&lists[..], &watches[..]].concat(), "{besides:?}");
    let evictions = scene.evictions(plane)?;
    ensure!(
        evictions.len() == 50 && evictions.iter().all(|(_, code)| *code == 201),
        "{evictions:?}"
    );
    Ok(())
}

pub(super) async fn an_unmanaged_pod_blocks_unless_the_policy_evicts_it(
    plane: &ControlPlane,
    node: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "unmanaged").await?;
    scene.run("web", 2, 1).await?;
    scene.pod("pet", json!({})).await?;
    scene.wait_ready("pet", 1).await?;
    let mut running = scene.drain().await?;
    running
        .blocked_by("pod unmanaged/pet: no controller would recreate it")
        .await?;
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 2,
                    remaining: 1,
                    ..
                }
            )
        })
        .await?;
    ensure!(remaining_pods(&scene.client, &running.settings).await?.len() == 1);
    drop(running);
    let evict = |settings| Settings {
        unmanaged: Unmanaged::Evict,
        ..settings
    };
    ensure!(scene.drain_with(evict).await?.done().await? == done(1, 0));
    Ok(())
}

/// An owner that exists, or the garbage collector takes the pod away.
async fn owner(scene: &Scene) -> Result<Value> {
    let map = serde_json::from_value(json!({"metadata": {"name": "owner"}}))?;
    let maps: Api<ConfigMap> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let uid = maps.create(&PostParams::default(), &map).await?.uid().context("uid")?;
    Ok(json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": true}]))
}

pub(super) async fn a_pod_bound_after_the_cordon_is_drained_too(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "late").await?;
    let owner = owner(&scene).await?;
    for _ in 0..20 {
        let mut running = scene.drain().await?;
        let cordoned = running.settings.cordoned_at;
        running
            .until(|progress| matches!(progress, Progress::Running { to_move: 0, .. } | Progress::Done { .. }))
            .await?;
        scene
            .pod("late", json!({"metadata": {"ownerReferences": owner}}))
            .await?;
        // Later than three seconds after its cordon no pod lands on a node, and none is promised to be seen.
        let in_time = Utc::now() - cordoned < TimeDelta::seconds(3);
        let end = running.done().await?;
        if in_time {
            ensure!(end == done(1, 0), "{end:?}");
            return Ok(());
        }
        // On a machine that is too slow just now, it is tried again.
        if let Some(uid) = scene.pods().get_opt("late").await?.and_then(|pod| pod.uid()) {
            scene.delete_pod("late").await?;
            await_condition(scene.pods(), "late", is_deleted(&uid)).await?;
        }
        scene.uncordon().await?;
    }
    bail!("the machine is too slow for this test")
}

pub(super) async fn finished_pods_are_left_alone(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "finished").await?;
    let job = json!({
        "metadata": {"name": "batch"},
        "spec": {"template": {
            "metadata": {"labels": {"app": "batch"}},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": scene.node},
                "restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}],
            },
        }},
    });
    let jobs: Api<Job> = Api::namespaced(scene.client.clone(), &scene.namespace);
    jobs.create(&PostParams::default(), &serde_json::from_value(job)?)
        .await?;
    let succeeded = |job: Option<&Job>| job.and_then(|job| job.status.as_ref()?.succeeded) == Some(1);
    tokio::time::timeout(
        std::time::Duration::from_mins(3),
        kube::runtime::wait::await_condition(jobs, "batch", succeeded),
    )
    .await??;
    ensure!(scene.drain().await?.done().await? == done(0, 0));
    let pods = scene.pods().list(&ListParams::default()).await?;
    ensure!(pods.items.len() == 1 && pods.items[0].metadata.deletion_timestamp.is_none());
    Ok(())
}

pub(super) async fn a_pod_without_grace_is_given_a_second(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "abrupt").await?;
    let owner = owner(&scene).await?;
    let change = json!({
        "metadata": {"ownerReferences": owner, "finalizers": ["e2e.lockkeeper.dev/hold"]},
        "spec": {"terminationGracePeriodSeconds": 0},
    });
    scene.pod("abrupt", change).await?;
    scene.wait_ready("abrupt", 1).await?;
    let patch = async |change: Value| {
        let (params, patch) = (PatchParams::default(), Patch::Merge(json!({"metadata": change})));
        scene.pods().patch("abrupt", &params, &patch).await
    };
    // A kubelet that ends it within its second, or a part of one, would end its grace, too.
    patch(json!({"annotations": {hollow::NODE_DOWN: "true"}})).await?;
    let mut running = scene.drain().await?;
    running.blocked_by("its grace period of 1 s ends").await?;
    running.blocked_by("held by finalizer e2e.lockkeeper.dev/hold").await?;
    patch(json!({"annotations": {hollow::NODE_DOWN: null}, "finalizers": null})).await?;
    running.done().await?;
    Ok(())
}

pub(super) async fn a_pending_pod_needs_no_budget(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "pending").await?;
    let owner = owner(&scene).await?;
    let slow = json!({"metadata": {"ownerReferences": owner, "annotations": {hollow::STARTUP_SECONDS: "600"}}});
    scene.pod("slow", slow).await?;
    scene.budget("slow", "slow", json!({"minAvailable": 1})).await?;
    ensure!(scene.drain().await?.done().await? == done(1, 0));
    Ok(())
}

pub(super) async fn a_preflight_finds_what_never_opens_and_changes_nothing(
    plane: &ControlPlane,
    node: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "preflight").await?;
    for app in ["fine", "single", "twice"] {
        scene.run(app, 1, 1).await?;
    }
    scene.pod("pet", json!({})).await?;
    scene.wait_ready("pet", 1).await?;
    scene.budget("fine", "fine", json!({"maxUnavailable": 1})).await?;
    scene.budget("single", "single", json!({"minAvailable": 1})).await?;
    scene.budget("twice", "twice", json!({"minAvailable": 0})).await?;
    scene.budget("extra", "twice", json!({"minAvailable": 0})).await?;
    let client = lockkeeper_drain::eviction_client(scene.config().await?)?;
    let found = preflight(&client, &scene.settings()).await?;
    let words: Vec<String> = found.blockers.iter().map(ToString::to_string).collect();
    ensure!(words.len() == 3, "{words:?}");
    ensure!(words[0].starts_with("pod preflight/pet: no controller"), "{words:?}");
    ensure!(words[1].contains("(preflight/extra, preflight/twice)"), "{words:?}");
    ensure!(
        words[2].contains("budget preflight/single allows 0 disruptions (1 of 1 ready, 1 needed) and never will"),
        "{words:?}"
    );
    for pod in scene.pods().list(&ListParams::default()).await? {
        ensure!(
            pod.metadata.deletion_timestamp.is_none(),
            "{} was evicted",
            pod.name_any()
        );
    }
    let fine = scene.budgets().get("fine").await?.status.context("status")?;
    ensure!(fine.disruptions_allowed == 1, "the dry run was counted: {fine:?}");
    Ok(())
}
