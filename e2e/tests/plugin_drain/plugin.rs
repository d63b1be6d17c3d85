//! The plugin as a process, and what it leaves on a node.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::programs::program;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_mins(2);

pub(super) async fn node(plane: &ControlPlane, name: &str) -> Result<Node> {
    Ok(Api::<Node>::all(plane.client()).get(name).await?)
}

pub(super) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// Nothing of a drain is on the node.
pub(super) async fn ensure_bare(plane: &ControlPlane, name: &str) -> Result<()> {
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
pub(super) async fn asked(plane: &ControlPlane, since: DateTime<Utc>) -> Result<Vec<Request>> {
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
pub(super) async fn expect(plane: &ControlPlane, exit: i32, arguments: &[&str]) -> Result<String> {
    let output = run(plane, exit, arguments).await?;
    Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
}

pub(super) async fn json_of(plane: &ControlPlane, exit: i32, arguments: &[&str]) -> Result<Value> {
    let output = run(plane, exit, arguments).await?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {output:?}"))
}

/// Starts it and goes on.
pub(super) fn start(plane: &ControlPlane, arguments: &[&str]) -> Result<Child> {
    let mut command = plugin(plane, arguments)?;
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Reads until a line has these words.
pub(super) async fn told(run: &mut Child, words: &str) -> Result<()> {
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
pub(super) async fn end(mut run: Child) -> Result<(Option<i32>, String)> {
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
