//! Our drain beside `kubectl drain`: same machine, same control plane, same pods, turn by turn.
//!
//! `cargo test -p lockkeeper-e2e --test bench_drain -- --nocapture`, with `ROUNDS` (1 unless set) and `CASES`, a part of
//! a case's name. Counts come from the audit log and are exact; times depend on the machine.

#[path = "drain/fixture.rs"]
#[allow(dead_code, reason = "shared with the drain's tests, which use all of it")]
mod fixture;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use fixture::Scene;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::hollow::{self, HollowCluster};
use lockkeeper_e2e::workdir::Workdir;
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// What is drained.
struct Case {
    name: &'static str,
    /// Replica sets, each with a budget of one at a time if asked for.
    sets: usize,
    pods: usize,
    one_at_a_time: bool,
    /// How long a pod takes to shut down, and to get ready.
    shutdown: u32,
    startup: f32,
    /// What no drain can beat.
    bound: f32,
}

const CASES: [Case; 5] = [
    Case {
        name: "10 pods, 2 s",
        sets: 1,
        pods: 10,
        one_at_a_time: false,
        shutdown: 2,
        startup: 0.5,
        bound: 2.0,
    },
    Case {
        name: "50 pods, 2 s",
        sets: 1,
        pods: 50,
        one_at_a_time: false,
        shutdown: 2,
        startup: 0.5,
        bound: 2.0,
    },
    Case {
        name: "110 pods, 2 s",
        sets: 1,
        pods: 110,
        one_at_a_time: false,
        shutdown: 2,
        startup: 0.5,
        bound: 2.0,
    },
    Case {
        name: "110 pods, 30 s",
        sets: 1,
        pods: 110,
        one_at_a_time: false,
        shutdown: 30,
        startup: 0.5,
        bound: 30.0,
    },
    // The last pod of a set need not be ready elsewhere: nine waits of 3 s, then one shutdown.
    Case {
        name: "10 x 10, one at a time",
        sets: 10,
        pods: 10,
        one_at_a_time: true,
        shutdown: 1,
        startup: 3.0,
        bound: 28.0,
    },
];

/// One drain's cost.
struct Run {
    wall: Duration,
    requests: usize,
    refused: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn our_drain_beside_kubectl() -> Result<()> {
    let mut workdir = Workdir::new("bench-drain")?;
    let plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    let hollow = HollowCluster::start(&plane, 2).await?;
    let names = [hollow.names()[0].as_str(), hollow.names()[1].as_str()];
    let rounds: usize = std::env::var("ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(1);
    let wanted = std::env::var("CASES").unwrap_or_default();
    println!(
        "{:24} {:>7} {:>28} {:>28} {:>9}",
        "CASE", "BOUND", "LOCKKEEPER s, requests (429)", "KUBECTL s, requests (429)", "RATIO"
    );
    for case in CASES.iter().filter(|case| case.name.contains(&wanted)) {
        run_case(&plane, names, case, rounds).await.context(case.name)?;
    }
    drop((hollow, plane));
    workdir.passed();
    Ok(())
}

async fn run_case(plane: &ControlPlane, nodes: [&str; 2], case: &Case, rounds: usize) -> Result<()> {
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
        if case.one_at_a_time {
            scene.budget(&app, &app, json!({"maxUnavailable": 1})).await?;
        }
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // Turn by turn, each time from the node where the pods are to the other one.
    for turn in 0..2 * rounds {
        let from = nodes[turn % 2];
        for set in 0..case.sets {
            scene.wait_ready(&format!("web-{set}"), case.pods).await?;
        }
        scene.at(nodes[(turn + 1) % 2]).uncordon().await?;
        // Left over from before: the budgets' last change, the scheduler's view of the nodes.
        sleep(Duration::from_secs(3)).await;
        let scene = scene.at(from);
        if (turn + turn / 2) % 2 == 0 {
            ours.push(drain_ours(plane, &scene).await?);
        } else {
            theirs.push(drain_kubectl(plane, from).await?);
        }
    }
    let ratio = middle(&theirs).as_secs_f32() / middle(&ours).as_secs_f32();
    println!(
        "{:24} {:>5} s {:>28} {:>28} {:>8.1}x",
        case.name,
        case.bound,
        words(&ours),
        words(&theirs),
        ratio
    );
    remove(&scene).await
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

async fn drain_ours(plane: &ControlPlane, scene: &Scene) -> Result<Run> {
    let (since, begin) = (Utc::now(), Instant::now());
    // The cordon's request is the administrator's in the log: counted by hand.
    scene.drain().await?.done().await?;
    let mut run = count(plane, &scene.agent(), since, begin.elapsed()).await?;
    run.requests += 1;
    Ok(run)
}

async fn drain_kubectl(plane: &ControlPlane, node: &str) -> Result<Run> {
    let (since, begin) = (Utc::now(), Instant::now());
    let output = Command::new(plane.binaries().program("kubectl"))
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(["drain", node, "--ignore-daemonsets", "--delete-emptydir-data"])
        .output()
        .await?;
    let wall = begin.elapsed();
    ensure!(
        output.status.success(),
        "kubectl drain: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    count(plane, "kubectl", since, wall).await
}

async fn count(plane: &ControlPlane, program: &str, since: DateTime<Utc>, wall: Duration) -> Result<Run> {
    // The audit log is written a moment later.
    sleep(Duration::from_secs(1)).await;
    let requests = plane.requests()?;
    let own = requests
        .iter()
        .filter(|request| request.program() == program && request.received >= since);
    let codes: Vec<u16> = own.map(|request| request.code).collect();
    Ok(Run {
        wall,
        requests: codes.len(),
        refused: codes.iter().filter(|code| **code == 429).count(),
    })
}

fn middle(runs: &[Run]) -> Duration {
    let mut all: Vec<Duration> = runs.iter().map(|run| run.wall).collect();
    all.sort();
    all[all.len() / 2]
}

fn words(runs: &[Run]) -> String {
    let walls = || runs.iter().map(|run| run.wall.as_secs_f32());
    let (least, most) = (walls().fold(f32::MAX, f32::min), walls().fold(0.0, f32::max));
    let requests = runs.iter().map(|run| run.requests).max().unwrap_or_default();
    let refused = runs.iter().map(|run| run.refused).max().unwrap_or_default();
    let middle = middle(runs).as_secs_f32();
    match runs.len() {
        1 => format!("{middle:.1}, {requests} ({refused})"),
        _ => format!("{least:.1}/{middle:.1}/{most:.1}, {requests} ({refused})"),
    }
}
