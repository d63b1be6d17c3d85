//! `kubectl lockkeeper drain` and `report` as people run them, on a real control plane with hollow nodes.

// Helpers are not tests in clippy's eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "drain/fixture.rs"]
#[allow(dead_code, reason = "shared with the drain's tests, which use all of it")]
mod fixture;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use fixture::Scene;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, RebootLock, RebootLockSpec, names};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::hollow::{self, HollowCluster};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::workdir::Workdir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn people_drain_nodes_with_and_without_the_operator() -> Result<()> {
    let mut workdir = Workdir::new("plugin-drain")?;
    let plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    let hollow = HollowCluster::start(&plane, 9).await?;
    let nodes: Vec<&str> = hollow.names().iter().map(String::as_str).collect();
    drains_without_lockkeeper_in_the_cluster(&plane, nodes[0], nodes[1]).await?;
    a_dry_run_writes_nothing_and_what_blocks_leaves_the_node_alone(&plane, nodes[2]).await?;
    puts_back_a_node_whose_time_is_over_and_leaves_an_admins_cordon(&plane, nodes[3]).await?;
    ctrl_c_undoes_the_marks_and_a_killed_run_goes_on(&plane, nodes[3]).await?;
    stops_when_somebody_uncordons_the_node(&plane, nodes[3]).await?;
    a_refused_cordon_evicts_nothing(&plane, nodes[4], nodes[5]).await?;
    plane.install()?;
    refuses_a_node_that_the_operator_holds(&plane, nodes[6]).await?;
    drains_as_the_nodes_own_policy_says(&plane, nodes[7]).await?;
    reports_what_blocks_and_on_which_nodes(&plane, nodes[2], nodes[8]).await?;
    drop((hollow, plane));
    workdir.passed();
    Ok(())
}

async fn drains_without_lockkeeper_in_the_cluster(plane: &ControlPlane, from: &str, to: &str) -> Result<()> {
    let scene = Scene::new(plane, from, "moves").await?;
    let slow = json!({hollow::TERMINATION_SECONDS: "2"});
    scene.at(to).cordon().await?;
    scene.make("web", 5, &[from, to], &slow).await?;
    scene.wait_ready("web", 5).await?;
    scene.at(to).uncordon().await?;
    let since = Utc::now();
    let said = expect(plane, 0, &["drain", from]).await?;
    for words in [
        "is cordoned, by the defaults: 5 pods to move",
        "is gone",
        "5 pods left it",
    ] {
        ensure!(said.contains(words), "no \"{words}\" in {said}");
    }
    // Granted, or already seen on the watch.
    let leaving = said.contains("is leaving") || said.contains("is shutting down");
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
    ensure!(said.contains("it takes pods again"), "{said}");
    ensure_bare(plane, from).await?;
    let said = expect(plane, 0, &["drain", "--cancel", from]).await?;
    ensure!(said.contains("no marks of this command"), "{said}");
    let said = expect(plane, 1, &["drain", "hollow-000"]).await?;
    ensure!(
        said.contains("there is no node hollow-000; did you mean hollow-0000"),
        "{said}"
    );
    Ok(())
}

async fn a_dry_run_writes_nothing_and_what_blocks_leaves_the_node_alone(
    plane: &ControlPlane,
    name: &str,
) -> Result<()> {
    let scene = Scene::new(plane, name, "pets").await?;
    scene.run("web", 2, 1).await?;
    let since = Utc::now();
    let said = expect(plane, 0, &["drain", "--dry-run", name]).await?;
    ensure!(
        said.contains("can be emptied, by the defaults: 2 pods to move"),
        "{said}"
    );
    scene.pod("pet", json!({})).await?;
    let said = expect(plane, 4, &["drain", "--dry-run", name]).await?;
    ensure!(
        said.contains("cannot be emptied") && said.contains("pets/pet"),
        "{said}"
    );
    let json = json_of(plane, 4, &["drain", "--dry-run", name, "-o", "json"]).await?;
    ensure!(json["nodes"][0]["blockers"][0]["pods"][0] == "pets/pet", "{json}");
    let said = expect(plane, 4, &["drain", name]).await?;
    ensure!(
        said.contains("pod pets/pet: no controller") && said.contains("was not touched"),
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

async fn puts_back_a_node_whose_time_is_over_and_leaves_an_admins_cordon(
    plane: &ControlPlane,
    name: &str,
) -> Result<()> {
    let scene = Scene::new(plane, name, "stubborn").await?;
    make_stubborn(&scene).await?;
    let said = expect(plane, 3, &["drain", name, "--timeout=4"]).await?;
    ensure!(
        said.contains("is not drained after 4 s: 2 pods are left: pod"),
        "{said}"
    );
    ensure!(
        said.contains("budget stubborn/db allows 0 disruptions (2 of 3 ready, 2 needed)"),
        "{said}"
    );
    ensure!(said.contains("its marks are lifted, it takes pods again"), "{said}");
    ensure_bare(plane, name).await?;

    scene.cordon().await?;
    let json = json_of(plane, 3, &["drain", name, "--timeout=3", "-o", "json"]).await?;
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

async fn ctrl_c_undoes_the_marks_and_a_killed_run_goes_on(plane: &ControlPlane, name: &str) -> Result<()> {
    let mut run = start(plane, &["drain", name])?;
    told(&mut run, "allows 0 disruptions").await?;
    ensure!(is_cordoned(&node(plane, name).await?));
    kill_process(
        Pid::from_raw(run.id().context("it ended")? as i32).context("a pid")?,
        Signal::INT,
    )?;
    let (code, said) = end(run).await?;
    ensure!(
        code == Some(1) && said.contains("stopped") && said.contains("its marks are lifted"),
        "{code:?} {said}"
    );
    ensure_bare(plane, name).await?;

    let mut run = start(plane, &["drain", name])?;
    told(&mut run, "allows 0 disruptions").await?;
    run.kill().await?;
    ensure!(is_cordoned(&node(plane, name).await?), "nobody could undo them");
    let said = expect(plane, 3, &["drain", name, "--timeout=2"]).await?;
    ensure!(said.contains("the marks of an earlier run stay"), "{said}");
    ensure!(is_cordoned(&node(plane, name).await?));
    expect(plane, 0, &["drain", "--cancel", name]).await?;
    ensure_bare(plane, name).await
}

async fn stops_when_somebody_uncordons_the_node(plane: &ControlPlane, name: &str) -> Result<()> {
    let mut run = start(plane, &["drain", name])?;
    told(&mut run, "allows 0 disruptions").await?;
    plane.kubectl(&["uncordon", name])?;
    let (code, said) = end(run).await?;
    ensure!(
        code == Some(1) && said.contains("somebody uncordoned it"),
        "{code:?} {said}"
    );
    ensure_bare(plane, name).await
}

async fn a_refused_cordon_evicts_nothing(plane: &ControlPlane, name: &str, other: &str) -> Result<()> {
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
    ensure!(said.contains("gitops holds .spec.unschedulable"), "{said}");
    let asked = asked(plane, since).await?;
    let evicted = asked
        .iter()
        .any(|request| request.resource == "pods/eviction" && !request.dry_run);
    ensure!(!evicted, "{asked:?}");
    ensure_bare(plane, name).await?;
    ensure_bare(plane, other).await
}

async fn refuses_a_node_that_the_operator_holds(plane: &ControlPlane, name: &str) -> Result<()> {
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
            said.contains("is the operator's") && said.contains("operation 7f3c"),
            "{said}"
        );
    }
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

async fn drains_as_the_nodes_own_policy_says(plane: &ControlPlane, name: &str) -> Result<()> {
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
    ensure!(said.contains("by policy strict"), "{said}");
    let said = expect(plane, 1, &["drain", name, "--policy=gentel"]).await?;
    ensure!(said.contains("did you mean gentle?"), "{said}");
    let said = expect(plane, 0, &["drain", name]).await?;
    ensure!(
        said.contains("by policy gentle: 1 pod to move") && said.contains("1 pod left it"),
        "{said}"
    );
    expect(plane, 0, &["drain", "--cancel", name]).await?;
    ensure_bare(plane, name).await
}

async fn reports_what_blocks_and_on_which_nodes(plane: &ControlPlane, blocked: &str, free: &str) -> Result<()> {
    let since = Utc::now();
    let said = expect(plane, 4, &["report"]).await?;
    ensure!(said.contains("1 of 9 nodes cannot be emptied today"), "{said}");
    ensure!(said.contains(&format!("on {blocked} (the defaults)")), "{said}");
    ensure!(
        said.contains("budget stubborn/db, which has no room just now"),
        "{said}"
    );
    let said = expect(plane, 0, &["report", free]).await?;
    ensure!(said.contains("all 1 nodes can be emptied today"), "{said}");
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

async fn node(plane: &ControlPlane, name: &str) -> Result<Node> {
    Ok(Api::<Node>::all(plane.client()).get(name).await?)
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// Nothing of a drain is on the node.
async fn ensure_bare(plane: &ControlPlane, name: &str) -> Result<()> {
    let node = node(plane, name).await?;
    ensure!(!is_cordoned(&node), "{name} is cordoned");
    for key in [
        names::KARPENTER_DO_NOT_DISRUPT,
        names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
    ] {
        ensure!(!node.annotations().contains_key(key), "{name} has {key}");
    }
    ensure!(
        !node.labels().contains_key(names::EXCLUDE_FROM_LOAD_BALANCERS),
        "{name} gets no traffic"
    );
    Ok(())
}

/// What the plugin has asked since then.
async fn asked(plane: &ControlPlane, since: DateTime<Utc>) -> Result<Vec<Request>> {
    // The audit log is written a moment later.
    sleep(Duration::from_secs(1)).await;
    let requests = plane.requests()?.into_iter();
    let ours = requests.filter(|request| request.program() == "kubectl-lockkeeper" && request.received >= since);
    Ok(ours.collect())
}

fn plugin(plane: &ControlPlane, arguments: &[&str]) -> Result<Command> {
    let program: PathBuf = program("kubectl-lockkeeper")?;
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(plane.kubeconfig());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

async fn run(plane: &ControlPlane, exit: i32, arguments: &[&str]) -> Result<Output> {
    let output = timeout(LONG, plugin(plane, arguments)?.output()).await;
    let output = output.with_context(|| format!("{arguments:?} does not end"))??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(exit),
        "{arguments:?}: {:?}: {said}",
        output.status
    );
    Ok(output)
}

/// Runs it to this end, and returns all that it said.
async fn expect(plane: &ControlPlane, exit: i32, arguments: &[&str]) -> Result<String> {
    let output = run(plane, exit, arguments).await?;
    Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
}

async fn json_of(plane: &ControlPlane, exit: i32, arguments: &[&str]) -> Result<Value> {
    let output = run(plane, exit, arguments).await?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {output:?}"))
}

/// Starts it and goes on.
fn start(plane: &ControlPlane, arguments: &[&str]) -> Result<Child> {
    let mut command = plugin(plane, arguments)?;
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Reads until a line has these words.
async fn told(run: &mut Child, words: &str) -> Result<()> {
    let out = run.stdout.take().context("it was told before")?;
    let mut lines = BufReader::new(out).lines();
    let find = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(words) {
                return anyhow::Ok(true);
            }
        }
        Ok(false)
    };
    let found = timeout(LONG, find)
        .await
        .with_context(|| format!("no word of \"{words}\""))??;
    ensure!(found, "it ended without a word of \"{words}\"");
    run.stdout = Some(lines.into_inner().into_inner());
    Ok(())
}

/// Waits for the end: exit code, and what was said on the way.
async fn end(mut run: Child) -> Result<(Option<i32>, String)> {
    let (mut out, mut err) = (String::new(), String::new());
    let mut stdout = run.stdout.take().context("standard output")?;
    let mut stderr = run.stderr.take().context("standard error")?;
    let all = async {
        tokio::join!(
            run.wait(),
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err)
        )
    };
    let (status, ..) = timeout(LONG, all).await.context("it does not end")?;
    Ok((status?.code(), out + &err))
}
