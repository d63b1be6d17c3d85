//! `kubectl lockkeeper drain` beside `kubectl drain`: same machine, same control plane, same pods, turn by turn.
//!
//! `make bench-drain`, with `ROUNDS` (5 unless set), `CASES` (a part of a case's name) and `DOCS=1`, which writes the tables
//! into `docs/drain-benchmark.md`. Counts come from the audit log, are exact, and are what the benchmark fails on; times
//! depend on the machine.

mod cases;
mod table;

use std::process::Output;
use std::time::Duration;

use crate::drain::fixture::Scene;
use anyhow::{Context, Result, ensure};
use cases::{CASES, Case, Obstacle};
use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::hollow::{self, HollowCluster};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::workdir::Workdir;
use serde_json::{Value, json};
use table::{Measured, Run};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// How long the blocked pod is blocked, and from when on requests are counted: the first look is over by then.
const BLOCKED: Duration = Duration::from_secs(65);
const COUNTED_FROM: TimeDelta = TimeDelta::seconds(5);
const COUNTED_TO: TimeDelta = TimeDelta::seconds(65);

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Kubectl,
}

#[tokio::test(flavor = "multi_thread")]
async fn our_drain_beside_kubectl() -> Result<()> {
    let mut workdir = Workdir::new("bench-drain")?;
    let plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    let hollow = HollowCluster::start(&plane, 2).await?;
    let names = [hollow.names()[0].as_str(), hollow.names()[1].as_str()];
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: usize = rounds.unwrap_or(5);
    let wanted = std::env::var("CASES").unwrap_or_default();
    let mut results = Vec::new();
    for case in CASES.iter().filter(|case| case.name.contains(&wanted)) {
        let result = run_case(&plane, names, case, rounds).await.context(case.name)?;
        println!("{}", result.line());
        results.push(result);
    }
    let tables = table::tables(&results, rounds);
    println!("\n{tables}");
    if std::env::var("DOCS").is_ok_and(|docs| docs == "1") {
        table::write_docs(&tables)?;
    }
    drop((hollow, plane));
    let failed: Vec<String> = results.iter().flat_map(Measured::broken_gates).collect();
    ensure!(failed.is_empty(), "gates: {}", failed.join("; "));
    workdir.passed();
    Ok(())
}

async fn run_case(plane: &ControlPlane, nodes: [&str; 2], case: &'static Case, rounds: usize) -> Result<Measured> {
    let namespace = format!("bench-{}", case.name.replace([' ', ','], "").to_lowercase());
    let scene = Scene::new(plane, nodes[0], &namespace).await?;
    let annotations = json!({
        hollow::TERMINATION_SECONDS: case.shutdown.to_string(),
        hollow::STARTUP_SECONDS: case.startup.to_string(),
    });
    scene.at(nodes[1]).cordon().await?;
    for set in 0..case.sets {
        let app = format!("web-{set}");
        scene.make(&app, case.pods, &nodes, &annotations).await?;
        match case.obstacle {
            Obstacle::None => {}
            Obstacle::OneAtATime => scene.budget(&app, &app, json!({"maxUnavailable": 1})).await?,
            Obstacle::Blocked => block(&scene, &app).await?,
        }
    }
    let mut result = Measured::new(case);
    // Turn by turn, each time from the node where the pods are to the other one.
    for turn in 0..2 * rounds {
        let (from, to) = (nodes[turn % 2], nodes[(turn + 1) % 2]);
        for set in 0..case.sets {
            scene.wait_ready(&format!("web-{set}"), case.pods).await?;
        }
        reset(plane, &scene.at(to)).await?;
        let who = if (turn + turn / 2) % 2 == 0 {
            Who::Ours
        } else {
            Who::Kubectl
        };
        let run = drain(plane, &scene.at(from), case, who).await?;
        match who {
            Who::Ours => result.ours.push(run),
            Who::Kubectl => result.theirs.push(run),
        }
    }
    for node in nodes {
        reset(plane, &scene.at(node)).await?;
    }
    remove(&scene).await?;
    Ok(result)
}

/// The node takes pods again, whoever has drained it.
async fn reset(plane: &ControlPlane, scene: &Scene) -> Result<()> {
    let output = ours(plane, &["drain", "--cancel", &scene.node]).await?;
    ensure!(output.status.success(), "reset: {output:?}");
    scene.uncordon().await?;
    // Left over from before: the budgets' last change, the scheduler's view of the nodes.
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn drain(plane: &ControlPlane, scene: &Scene, case: &Case, who: Who) -> Result<Run> {
    let node = scene.node.as_str();
    let (since, begin) = (Utc::now(), Instant::now());
    let drain = async {
        let output = match who {
            Who::Ours => ours(plane, &["drain", node]).await?,
            Who::Kubectl => theirs(plane, node).await?,
        };
        ensure!(output.status.success(), "{who:?}: {output:?}");
        anyhow::Ok((begin.elapsed(), Utc::now()))
    };
    let (wall, until) = match case.obstacle {
        Obstacle::None | Obstacle::OneAtATime => drain.await?,
        Obstacle::Blocked => {
            let open = async {
                sleep(BLOCKED).await;
                set_limit(scene, 2).await
            };
            let (ended, opened) = tokio::join!(drain, open);
            opened?;
            let ended = ended?;
            ensure!(ended.0 > BLOCKED, "{who:?}: the pod was not blocked");
            set_limit(scene, 1).await?;
            wait_closed(scene, "web-0").await?;
            ended
        }
    };
    let name = match who {
        Who::Ours => "kubectl-lockkeeper",
        Who::Kubectl => "kubectl",
    };
    count(plane, name, since, until, wall).await
}

async fn ours(plane: &ControlPlane, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program("kubectl-lockkeeper")?);
    command.arg("--kubeconfig").arg(plane.kubeconfig()).args(arguments);
    Ok(command.output().await?)
}

async fn theirs(plane: &ControlPlane, node: &str) -> Result<Output> {
    let mut command = Command::new(plane.binaries().program("kubectl"));
    command.arg("--kubeconfig").arg(plane.kubeconfig());
    let options = ["--ignore-daemonsets", "--delete-emptydir-data"];
    Ok(command.args(["drain", node]).args(options).output().await?)
}

/// Puts a pod that never gets ready beside the one on the node: their budget has no room, and could have some any time.
async fn block(scene: &Scene, app: &str) -> Result<()> {
    scene.make("spare", 1, &["nowhere"], &json!({})).await?;
    let both = json!([{"key": "app", "operator": "In", "values": [app, "spare"]}]);
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": null, "matchExpressions": both}});
    scene.budget(app, app, spec).await?;
    scene.wait_ready(app, 1).await?;
    wait_closed(scene, app).await
}

async fn set_limit(scene: &Scene, limit: u32) -> Result<()> {
    let patch: Patch<Value> = Patch::Merge(json!({"spec": {"maxUnavailable": limit}}));
    scene.budgets().patch("web-0", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn wait_closed(scene: &Scene, budget: &str) -> Result<()> {
    let begin = Instant::now();
    loop {
        let status = scene.budgets().get(budget).await?.status.unwrap_or_default();
        if (status.expected_pods, status.current_healthy, status.disruptions_allowed) == (2, 1, 0) {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < Duration::from_mins(2),
            "the budget does not close: {status:?}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// Removes the namespace with all that is in it, so that the next case has the machine to itself.
async fn remove(scene: &Scene) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await?;
    let begin = Instant::now();
    while namespaces.get_opt(&scene.namespace).await?.is_some() {
        ensure!(
            begin.elapsed() < Duration::from_mins(2),
            "namespace {} does not go away",
            scene.namespace
        );
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn count(
    plane: &ControlPlane,
    program: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    wall: Duration,
) -> Result<Run> {
    // The audit log is written a moment later.
    sleep(Duration::from_secs(1)).await;
    let requests = plane.requests()?.into_iter();
    let own = requests.filter(|request| request.program() == program);
    let own = own.filter(|request| (since..=until).contains(&request.received));
    let own: Vec<_> = own.collect();
    let minute = since + COUNTED_FROM..since + COUNTED_TO;
    Ok(Run::new(wall, &minute, &own))
}
