//! What ends a drain early, and what it leaves behind.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use lockkeeper_crds::names;
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::sleep;

use super::plugin::{asked, end, ensure_bare, expect, is_cordoned, json_of, node, start, told};
use crate::drain::fixture::Scene;

/// Two pods on the node under a budget that has no room, and may have some any time.
async fn make_stubborn(scene: &Scene) -> Result<()> {
    scene.run("db", 2, 1).await?;
    scene.budget("db", "db", json!({"maxUnavailable": 1})).await?;
    scene.make("db-spare", 1, &["nowhere"], &json!({})).await?;
    // Counted by the budget and never ready, as it fits nowhere.
    let patch = Patch::Merge(json!({"spec": {"selector": {"matchLabels": null,
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "db-spare"]}]}}}));
    scene.budgets().patch("db", &PatchParams::default(), &patch).await?;
    for _ in 0..300 {
        let status = scene
            .budgets()
            .get("db")
            .await?
            .status
            .context("the budget has no status")?;
        if (status.expected_pods, status.disruptions_allowed) == (3, 0) {
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("the budget of {} never closed", scene.namespace)
}

pub(super) async fn a_drain_that_times_out_uncordons_but_keeps_an_admins_cordon(
    plane: &ControlPlane,
    name: &str,
) -> Result<()> {
    let scene = Scene::new(plane, name, "stubborn").await?;
    make_stubborn(&scene).await?;
    let said = expect(plane, 3, &["drain", name, "--timeout=8"]).await?;
    ensure!(
        said.contains("is not drained: timed out after 8 s; 2 pods remain: pod"),
        "{said}"
    );
    ensure!(
        said.contains("budget stubborn/db allows 0 disruptions (2 of 3 ready, 2 needed)"),
        "{said}"
    );
    ensure!(said.contains("uncordoned again"), "{said}");
    ensure_bare(plane, name).await?;

    scene.cordon().await?;
    let json = json_of(plane, 3, &["drain", name, "--timeout=8", "-o", "json"]).await?;
    let report = &json["nodes"][0];
    ensure!(
        report["result"] == "TimedOut" && report["pods"][0]["state"] == "Waiting",
        "{json}"
    );
    ensure!(report["blockers"][0]["reason"] == "EvictionBlocked", "{json}");
    let node = node(plane, name).await?;
    ensure!(is_cordoned(&node), "an admin's cordon stays");
    ensure!(!node.annotations().contains_key(names::KARPENTER_DO_NOT_DISRUPT));
    scene.uncordon().await
}

pub(super) async fn ctrl_c_uncordons_and_a_killed_run_can_continue(plane: &ControlPlane, name: &str) -> Result<()> {
    let mut run = start(plane, &["drain", name])?;
    told(&mut run, "allows 0 disruptions").await?;
    ensure!(is_cordoned(&node(plane, name).await?));
    interrupt(&run)?;
    let (code, said) = end(run).await?;
    ensure!(
        code == Some(1) && said.contains("stopped") && said.contains("uncordoned again"),
        "{code:?} {said}"
    );
    ensure_bare(plane, name).await?;

    let mut run = start(plane, &["drain", name])?;
    told(&mut run, "allows 0 disruptions").await?;
    run.kill().await?;
    ensure!(is_cordoned(&node(plane, name).await?), "a killed run cannot uncordon");
    let said = expect(plane, 3, &["drain", name, "--timeout=5"]).await?;
    ensure!(said.contains("an earlier run cordoned it"), "{said}");
    ensure!(is_cordoned(&node(plane, name).await?));
    expect(plane, 0, &["drain", "--cancel", name]).await?;
    ensure_bare(plane, name).await
}

pub(super) async fn a_drain_stops_when_its_node_is_uncordoned(plane: &ControlPlane, name: &str) -> Result<()> {
    let mut run = start(plane, &["drain", name])?;
    told(&mut run, "allows 0 disruptions").await?;
    plane.kubectl(&["uncordon", name])?;
    let (code, said) = end(run).await?;
    ensure!(
        code == Some(1) && said.contains("another client uncordoned it"),
        "{code:?} {said}"
    );
    ensure_bare(plane, name).await
}

/// How many pods leave one after another.
const TRAIN: usize = 10;

/// A run that has begun to evict a train of pods, each of a tier of its own: more leave every second or two.
async fn train_leaves(plane: &ControlPlane, scene: &Scene) -> Result<(Child, DateTime<Utc>)> {
    let since = Utc::now();
    let mut run = start(plane, &["drain", &scene.node, "-f", &policy(plane)?.to_string_lossy()])?;
    told(&mut run, &format!("{}/wagon-1-", scene.namespace)).await?;
    Ok((run, since))
}

fn policy(plane: &ControlPlane) -> Result<PathBuf> {
    let rule = |wagon| json!({"podSelector": {"matchLabels": {"app": format!("wagon-{wagon}")}}, "order": wagon});
    let rules: Vec<Value> = (0..TRAIN).map(rule).collect();
    let policy = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "train"}, "spec": {"drain": {"rules": rules}}});
    let file = plane.dir().join("train.yaml");
    std::fs::write(&file, policy.to_string())?;
    Ok(file)
}

/// No eviction was requested later than a second after the command, although pods remained; the node is uncordoned.
async fn ensure_silent(plane: &ControlPlane, scene: &Scene, since: DateTime<Utc>, word: DateTime<Utc>) -> Result<()> {
    // Three more wagons would have left by then.
    sleep(Duration::from_secs(5)).await;
    let asked = asked(plane, since).await?;
    let evictions = asked
        .iter()
        .filter(|request| request.resource == "pods/eviction" && !request.dry_run);
    let evictions: Vec<&Request> = evictions.collect();
    let left = evictions.len();
    ensure!((2..TRAIN - 2).contains(&left), "{left} of {TRAIN} pods were asked");
    let late = evictions
        .iter()
        .filter(|request| request.received > word + TimeDelta::seconds(1));
    let late: Vec<TimeDelta> = late.map(|request| request.received - word).collect();
    ensure!(late.is_empty(), "asked so long after the word: {late:?}");
    ensure_bare(plane, &scene.node).await?;
    for wagon in 0..TRAIN {
        scene.wait_ready(&format!("wagon-{wagon}"), 1).await?;
    }
    Ok(())
}

pub(super) async fn nothing_is_asked_a_second_after_the_word(plane: &ControlPlane, name: &str) -> Result<()> {
    let scene = Scene::new(plane, name, "train").await?;
    for wagon in 0..TRAIN {
        let app = format!("wagon-{wagon}");
        scene
            .make(&app, 1, &[name], &json!({hollow::TERMINATION_SECONDS: "1"}))
            .await?;
    }
    for wagon in 0..TRAIN {
        scene.wait_ready(&format!("wagon-{wagon}"), 1).await?;
    }
    let (run, since) = train_leaves(plane, &scene).await?;
    let word = Utc::now();
    interrupt(&run)?;
    let (code, said) = end(run).await?;
    ensure!(code == Some(1) && said.contains("uncordoned again"), "{code:?} {said}");
    ensure_silent(plane, &scene, since, word).await.context("Ctrl-C")?;

    let (run, since) = train_leaves(plane, &scene).await?;
    expect(plane, 0, &["drain", "--cancel", name]).await?;
    let (code, said) = end(run).await?;
    ensure!(
        code == Some(1) && said.contains("another client uncordoned it"),
        "{code:?} {said}"
    );
    let lifted = asked(plane, since).await?;
    let lifted = lifted
        .iter()
        .filter(|request| request.resource == "nodes" && request.writes());
    // The first run cordoned the node.
    let word = lifted.map(|request| request.received).nth(1).context("the word")?;
    ensure_silent(plane, &scene, since, word).await.context("--cancel")
}

fn interrupt(run: &Child) -> Result<()> {
    let pid = Pid::from_raw(run.id().context("it ended")? as i32).context("a pid")?;
    Ok(kill_process(pid, Signal::INT)?)
}
