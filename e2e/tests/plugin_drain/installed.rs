//! Drains and reports beside the operator.

use anyhow::{Result, ensure};
use chrono::Utc;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, RebootLock, RebootLockSpec, names};
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow;
use serde_json::{Value, json};

use super::plugin::{asked, ensure_bare, expect, json_of};
use crate::drain::fixture::Scene;

pub(super) async fn refuses_a_node_that_the_operator_holds(plane: &ControlPlane, name: &str) -> Result<()> {
    let locks: Api<RebootLock> = Api::all(plane.client());
    let params = PostParams::default();
    locks
        .create(&params, &RebootLock::new(names::LOCK, RebootLockSpec::default()))
        .await?;
    let holder = json!({"node": name, "nodeUID": "u", "policy": "p", "operationID": "7f3c",
        "acquiredTime": "2026-11-21T12:00:00Z"});
    let status = |holders: Value| Patch::Merge(json!({"status": {"holders": holders}}));
    locks
        .patch_status(names::LOCK, &PatchParams::default(), &status(json!([holder])))
        .await?;
    let since = Utc::now();
    for words in [vec!["drain", name], vec!["drain", "--dry-run", name]] {
        let said = expect(plane, 5, &words).await?;
        ensure!(
            said.contains("the operator is rebooting node") && said.contains("operation 7f3c"),
            "{said}"
        );
    }
    let refused = json_of(plane, 5, &["drain", name, "-o", "json"]).await?;
    ensure!(refused["nodes"][0]["result"] == "Refused", "{refused}");
    locks
        .patch_status(names::LOCK, &PatchParams::default(), &status(json!([])))
        .await?;
    annotate(plane, name, Some("7f3c")).await?;
    let said = expect(plane, 5, &["drain", name]).await?;
    ensure!(said.contains("kubectl lockkeeper cancel"), "{said}");
    annotate(plane, name, None).await?;
    let asked = asked(plane, since).await?;
    ensure!(asked.iter().all(|request| !request.writes()), "{asked:?}");
    Ok(())
}

async fn annotate(plane: &ControlPlane, name: &str, operation: Option<&str>) -> Result<()> {
    hollow::annotate(&Api::all(plane.client()), name, names::OPERATION, operation).await
}

pub(super) async fn drains_as_the_nodes_own_policy_says(plane: &ControlPlane, name: &str) -> Result<()> {
    let scene = Scene::new(plane, name, "own-policy").await?;
    scene.pod("pet", json!({})).await?;
    let spec = json!({"drain": {"unmanagedPods": "Evict"}, "suspend": true});
    plane.policy("gentle", spec).await?;
    let spec = NodeRebootSpec {
        policy: Some("gentle".to_owned()),
        order: None,
    };
    let reboots: Api<NodeReboot> = Api::all(plane.client());
    reboots
        .create(&PostParams::default(), &NodeReboot::new(name, spec))
        .await?;
    let file = plane.dir().join("strict.yaml");
    std::fs::write(
        &file,
        "kind: RebootPolicy\napiVersion: lockkeeper.dev/v1alpha1\nmetadata: {name: strict}\nspec: {}\n",
    )?;
    let said = expect(plane, 4, &["drain", name, "-f", &file.to_string_lossy()]).await?;
    ensure!(said.contains("under policy strict"), "{said}");
    let said = expect(plane, 1, &["drain", name, "--policy=gentel"]).await?;
    ensure!(said.contains("did you mean gentle?"), "{said}");
    let said = expect(plane, 0, &["drain", name]).await?;
    ensure!(
        said.contains("under policy gentle: 1 pod to evict") && said.contains("1 pod evicted"),
        "{said}"
    );
    expect(plane, 0, &["drain", "--cancel", name]).await?;
    ensure_bare(plane, name).await
}

pub(super) async fn reports_what_blocks_and_on_which_nodes(
    plane: &ControlPlane,
    blocked: &str,
    free: &str,
) -> Result<()> {
    let since = Utc::now();
    let said = expect(plane, 4, &["report"]).await?;
    ensure!(said.contains("1 of 10 nodes cannot be drained today"), "{said}");
    ensure!(said.contains(&format!("on {blocked} (the default settings)")), "{said}");
    ensure!(
        said.contains("budget stubborn/db, which allows no disruption now"),
        "{said}"
    );
    let said = expect(plane, 0, &["report", free]).await?;
    ensure!(said.contains("the node can be drained today"), "{said}");
    let label = format!("kubernetes.io/hostname={blocked}");
    let json = json_of(plane, 4, &["report", "-l", &label, "-o", "json"]).await?;
    ensure!(
        json["nodes"][0]["node"] == *blocked && json["nodes"][0]["pods"].as_array().map(Vec::len) == Some(4),
        "{json}"
    );
    let said = expect(plane, 1, &["report", "-l", "no=such"]).await?;
    ensure!(said.contains("no node has the labels no=such"), "{said}");
    let asked = asked(plane, since).await?;
    ensure!(asked.iter().all(|request| !request.writes()), "{asked:?}");
    Ok(())
}
