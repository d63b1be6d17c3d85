//! Drains in a cluster that may know nothing of Lockkeeper.

use anyhow::{Result, ensure};
use chrono::Utc;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow;
use serde_json::json;

use super::plugin::{asked, ensure_bare, expect, is_cordoned, json_of, node};
use crate::drain::fixture::Scene;

pub(super) async fn drains_without_lockkeeper_in_the_cluster(plane: &ControlPlane, from: &str, to: &str) -> Result<()> {
    let scene = Scene::new(plane, from, "moves").await?;
    let slow = json!({hollow::TERMINATION_SECONDS: "2"});
    scene.at(to).cordon().await?;
    scene.make("web", 5, &[from, to], &slow).await?;
    scene.wait_ready("web", 5).await?;
    scene.at(to).uncordon().await?;
    let since = Utc::now();
    let said = expect(plane, 0, &["drain", from]).await?;
    for words in [
        "is cordoned, under the default settings: 5 pods to evict",
        "is gone",
        "5 pods evicted",
    ] {
        ensure!(said.contains(words), "no \"{words}\" in {said}");
    }
    // Granted, or already seen on the watch.
    let leaving = said.contains("is terminating") || said.contains("is shutting down");
    ensure!(leaving, "no word of a pod on its way: {said}");
    let node = node(plane, from).await?;
    ensure!(is_cordoned(&node), "a drained node stays cordoned");
    ensure!(node.annotations()[names::KARPENTER_DO_NOT_DISRUPT] == "true");
    ensure!(node.annotations()[names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED] == "true");
    ensure!(node.labels()[names::EXCLUDE_FROM_LOAD_BALANCERS] == "true");
    ensure!(!node.annotations().contains_key(names::OPERATION));
    let asked = asked(plane, since).await?;
    let evictions = asked
        .iter()
        .filter(|request| request.resource == "pods/eviction" && !request.dry_run);
    ensure!(evictions.count() == 5, "each pod is asked once: {asked:?}");
    ensure!(asked.len() <= 5 + 30, "{} requests: {asked:?}", asked.len());
    scene.wait_ready("web", 5).await?;

    let said = expect(plane, 0, &["drain", "--cancel", from]).await?;
    ensure!(said.contains(": uncordoned"), "{said}");
    ensure_bare(plane, from).await?;
    let said = expect(plane, 0, &["drain", "--cancel", from]).await?;
    ensure!(said.contains("not cordoned by this command"), "{said}");
    let said = expect(plane, 1, &["drain", "hollow-000"]).await?;
    ensure!(
        said.contains("there is no node hollow-000; did you mean hollow-0000"),
        "{said}"
    );
    let unknown = json_of(plane, 1, &["drain", from, "hollow-000", "-o", "json"]).await?;
    let results = [&unknown["nodes"][0]["result"], &unknown["nodes"][1]["result"]];
    ensure!(results == ["Failed", "NotStarted"], "{unknown}");
    for options in [&["drain"][..], &["drain", "--dry-run"][..], &["report"][..]] {
        let arguments = [options, &[from, "-f", "/no/such/policy.yaml", "-o", "json"]].concat();
        let unreadable = json_of(plane, 1, &arguments).await?;
        let error = unreadable["error"].as_str().unwrap_or_default();
        ensure!(error.contains("/no/such/policy.yaml"), "{arguments:?}: {unreadable}");
    }
    Ok(())
}

pub(super) async fn a_dry_run_writes_nothing_and_what_blocks_leaves_the_node_alone(
    plane: &ControlPlane,
    name: &str,
) -> Result<()> {
    let scene = Scene::new(plane, name, "pets").await?;
    scene.run("web", 2, 1).await?;
    let since = Utc::now();
    let said = expect(plane, 0, &["drain", "--dry-run", name]).await?;
    ensure!(
        said.contains("can be drained, under the default settings: 2 pods to evict"),
        "{said}"
    );
    scene.pod("pet", json!({})).await?;
    let said = expect(plane, 4, &["drain", "--dry-run", name]).await?;
    ensure!(
        said.contains("cannot be drained") && said.contains("pets/pet"),
        "{said}"
    );
    let json = json_of(plane, 4, &["drain", "--dry-run", name, "-o", "json"]).await?;
    ensure!(json["nodes"][0]["blockers"][0]["pods"][0] == "pets/pet", "{json}");
    let said = expect(plane, 4, &["drain", name]).await?;
    ensure!(
        said.contains("pod pets/pet: no controller") && said.contains("nothing was changed"),
        "{said}"
    );
    let asked = asked(plane, since).await?;
    ensure!(
        asked.iter().any(|request| request.dry_run),
        "webhooks and permissions are asked"
    );
    ensure!(asked.iter().all(|request| !request.writes()), "{asked:?}");
    ensure_bare(plane, name).await?;
    let pods = scene.pods().list(&ListParams::default()).await?;
    ensure!(pods.items.len() == 3 && pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()));
    Ok(())
}

pub(super) async fn a_refused_cordon_evicts_nothing(plane: &ControlPlane, name: &str, other: &str) -> Result<()> {
    let scene = Scene::new(plane, name, "gitops").await?;
    scene.run("web", 1, 1).await?;
    let held =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"unschedulable": false}});
    let nodes: Api<Node> = Api::all(plane.client());
    nodes
        .patch(name, &PatchParams::apply("gitops").force(), &Patch::Apply(&held))
        .await?;
    let since = Utc::now();
    // The other one is cordoned first or second, and emptied in neither case.
    let said = expect(plane, 5, &["drain", name, other]).await?;
    ensure!(said.contains("field .spec.unschedulable is owned by gitops"), "{said}");
    let asked = asked(plane, since).await?;
    let evicted = asked
        .iter()
        .any(|request| request.resource == "pods/eviction" && !request.dry_run);
    ensure!(!evicted, "{asked:?}");
    ensure_bare(plane, name).await?;
    ensure_bare(plane, other).await
}
