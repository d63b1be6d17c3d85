//! Upgrade, rollback and uninstall of Lockkeeper during a rollout.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeState, RebootLock, RebootPolicy, names};
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::helm::{Helm, Version};
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::process::Process;
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workload;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{chart_dir, helm};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_mins(6);
/// Seconds that pods pinned to a node take to terminate, so that the changes happen during drains.
const SLOW: u32 = 4;

#[tokio::test]
async fn a_rollout_survives_upgrade_rollback_and_uninstall() {
    let mut stack = Stack::installed_by(
        |plane| {
            let chart = older_chart(plane.dir());
            let mut args = release("install");
            args.insert(2, &chart);
            args.extend(["--create-namespace", "--set-string", OPERATORS_PODS]);
            helm(plane, Version::Four).run(&args)?;
            grant_missing_permissions(plane)
        },
        "chart-rollout",
        4,
        2,
    )
    .await
    .unwrap();
    let helm = helm(&stack.plane, Version::Four);
    workload::start(&stack.plane.client(), 4, 3).await.unwrap();
    for node in stack.nodes.names() {
        workload::pin(&stack.plane.client(), node, SLOW).await.unwrap();
    }
    stack.plane.policy("general", json!({})).await.unwrap();
    let chart = chart_dir();
    // First with the permissions of the older chart.
    let (to_this, images) = (upgrade(&chart, IMAGES), "operator.image.tag=,agent.image.tag=");
    changes_in_mid_rollout(&mut stack, &helm, "older", &[to_this]).await;
    stack
        .plane
        .kubectl(&["delete", "clusterrolebinding,clusterrole", GRANTED])
        .unwrap();
    passes_helm_test(&stack, &helm).await;
    let mut rollback = release("rollback");
    rollback.insert(2, "2");
    let changes = [upgrade(&chart, images), rollback];
    changes_in_mid_rollout(&mut stack, &helm, "changes", &changes).await;
    leaves_no_cordon_behind(&mut stack, &helm).await;
    stack.workdir.passed();
}

fn release(verb: &str) -> Vec<&str> {
    vec![verb, "lockkeeper", "--namespace", names::NAMESPACE]
}

/// Permissions that the tests grant until the upgrade.
const GRANTED: &str = "current-program";
/// The operator's pods terminate after their processes.
const OPERATORS_PODS: &str = r"operator.podAnnotations.e2e\.lockkeeper\.dev/termination-seconds=10";
/// Image tags that differ from the current ones.
const IMAGES: &str = "operator.image.tag=0.0.9,agent.image.tag=0.0.9";
/// The plugin's pods run until this test ends them in the role of the kubelet.
const PLUGINS_PODS: &str = r"uninstall.podAnnotations.e2e\.lockkeeper\.dev/run-seconds=100000";

fn upgrade<'a>(chart: &'a str, images: &'a str) -> Vec<&'a str> {
    let mut args = release("upgrade");
    args.insert(2, chart);
    args.extend([
        "--reset-then-reuse-values",
        "--set",
        images,
        "--set-string",
        PLUGINS_PODS,
    ]);
    args
}

/// The chart of the last tag, or its first version in git, with today's CRDs; without git history, the current chart.
///
/// `v1alpha1` renames fields and values without an alias, so today's operator cannot run with the CRDs of before.
fn older_chart(dir: &Path) -> String {
    let script = r#"
        from=$(git describe --tags --abbrev=0 2>/dev/null ||
            git log --diff-filter=A --format=%H -- charts/lockkeeper/Chart.yaml | tail -1)
        [ -n "$from" ] && git archive "$from" charts/lockkeeper | tar --extract --directory "$0" &&
            cp charts/lockkeeper/files/crds/*.yaml "$0/charts/lockkeeper/files/crds/" && echo "$from""#;
    let ran = Command::new("bash")
        .args(["-o", "pipefail", "-c", script])
        .arg(dir)
        .current_dir(repository())
        .output()
        .unwrap();
    println!("from the chart of {}", String::from_utf8_lossy(&ran.stdout).trim());
    if ran.status.success() {
        dir.join("charts/lockkeeper").to_string_lossy().into_owned()
    } else {
        println!("the current chart: {}", String::from_utf8_lossy(&ran.stderr));
        chart_dir()
    }
}

/// Grants the permissions that the current program needs and the older chart lacks.
fn grant_missing_permissions(plane: &ControlPlane) -> anyhow::Result<()> {
    let role = [
        "create",
        "clusterrole",
        GRANTED,
        "--verb=get",
        "--resource=nodereboots.lockkeeper.dev",
    ];
    plane.kubectl(&role)?;
    let account = format!("--serviceaccount={}:lockkeeper-operator", names::NAMESPACE);
    let role = format!("--clusterrole={GRANTED}");
    plane.kubectl(&["create", "clusterrolebinding", GRANTED, &role, &account])?;
    Ok(())
}

/// `helm test`.
async fn passes_helm_test(stack: &Stack, helm: &Helm) {
    let running = helm.command(&release("test")).stdout(Stdio::null()).spawn().unwrap();
    run_hook_pod(stack, "test").await;
    ends_successfully(running).await;
}

/// Each change is made while a node is being drained.
async fn changes_in_mid_rollout(stack: &mut Stack, helm: &Helm, cause: &str, changes: &[Vec<&str>]) {
    let recorder = Recorder::start(&stack.plane.client());
    let nodes = stack.nodes.names().to_vec();
    // Some nodes per change, so that a slow Helm run still finds pending nodes.
    for (change, nodes) in changes.iter().zip(nodes.chunks(nodes.len().div_ceil(changes.len()))) {
        for name in nodes {
            stack.stage_cause(name, cause).await.unwrap();
        }
        wait_for_a_drain(stack).await;
        helm.run(change).unwrap();
        stack.replace_operators().await.unwrap();
    }
    stack.wait_rebooted_for(&nodes, cause, LONG).await.unwrap();
    let seen = recorder.verdict(1, 3).await.unwrap();
    for (name, boots) in &seen.boots {
        assert_eq!(boots.len(), 2, "{name} did not boot exactly twice: {boots:?}");
    }
    assert_eq!(seen.cordoned, BTreeSet::new());
}

async fn leaves_no_cordon_behind(stack: &mut Stack, helm: &Helm) {
    let lock = stack.plane.kubectl(&[
        "patch",
        "rlock",
        "cluster",
        "--type=merge",
        "-p",
        r#"{"spec":{"maxInProgress":"40%"}}"#,
    ]);
    lock.unwrap();
    for name in stack.nodes.names().to_vec() {
        stack.stage_cause(&name, "uninstall").await.unwrap();
    }
    wait_for_a_drain(stack).await;
    let running = helm
        .command(&[&release("uninstall")[..], &["--timeout=10m"]].concat())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pods = Api::namespaced(stack.plane.client(), names::NAMESPACE);
    let operators = std::mem::take(&mut stack.operators);
    tokio::join!(
        run_hook_pod(stack, "pause"),
        operators_end_with_their_pods(pods, operators)
    );
    ends_successfully(running).await;
    is_as_before(stack).await;
}

/// Ends the processes once all pods of the operator are being deleted.
async fn operators_end_with_their_pods(pods: Api<Pod>, mut operators: Vec<Process>) {
    let of_operator = ListParams::default().labels("app.kubernetes.io/component=operator");
    let deleted = async {
        loop {
            let all = pods.list(&of_operator).await.unwrap().items;
            if all.iter().all(|pod| pod.metadata.deletion_timestamp.is_some()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, deleted).await.expect("the operator is scaled to 0");
    for operator in &mut operators {
        operator.terminate(Duration::from_secs(15)).await.unwrap();
    }
}

async fn is_as_before(stack: &Stack) {
    let nodes = Api::<Node>::all(stack.plane.client())
        .list(&ListParams::default())
        .await
        .unwrap();
    for node in nodes {
        let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        assert!(!cordoned, "{} is still cordoned", node.name_any());
        assert!(
            !node.annotations().contains_key(names::OPERATION),
            "{} still has the annotation",
            node.name_any()
        );
    }
    let lock = Api::<RebootLock>::all(stack.plane.client())
        .get(names::LOCK)
        .await
        .unwrap();
    assert_eq!(
        json!(lock.spec.max_in_progress),
        json!("40%"),
        "the limit that the administrator set"
    );
    assert_eq!(lock.status.unwrap_or_default().holders, vec![]);
    assert!(
        !lock
            .metadata
            .annotations
            .unwrap_or_default()
            .contains_key(names::PAUSED_FROM)
    );
    let policies = Api::<RebootPolicy>::all(stack.plane.client())
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(policies.items.len(), 1, "policies are kept");
    // The garbage collector deletes the objects of a Deployment a moment after Helm has deleted the Deployment.
    let gone = async {
        loop {
            let args = ["get", "all", "--namespace", names::NAMESPACE, "--output=name"];
            let left = stack.plane.kubectl(&args).unwrap();
            if left.lines().all(|line| line.starts_with("pod/")) {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(LONG, gone).await.expect("only pods remain");
}

/// Waits until a node is being drained.
async fn wait_for_a_drain(stack: &Stack) {
    let reboots: Api<NodeReboot> = Api::all(stack.plane.client());
    let draining = async {
        loop {
            let all = reboots.list(&ListParams::default()).await.unwrap();
            let state = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.state);
            if all.iter().any(|reboot| state(reboot) == Some(NodeState::Draining)) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, draining).await.expect("a node is being drained");
}

/// Runs the command of the hook's pod with the pod's ServiceAccount, and writes the result into the pod's status.
async fn run_hook_pod(stack: &Stack, component: &str) {
    let pods: Api<Pod> = Api::namespaced(stack.plane.client(), names::NAMESPACE);
    let of_hook = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    let started = async {
        loop {
            let found = pods.list(&of_hook).await.unwrap().items;
            let running = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
            if let Some(pod) = found.into_iter().find(running) {
                return pod;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let pod = timeout(LONG, started).await.expect("the hook's pod runs");
    let name = pod.name_any();
    let spec = pod.spec.unwrap();
    let account = spec.service_account_name.unwrap();
    let account = Account {
        namespace: names::NAMESPACE,
        name: &account,
    };
    let kubeconfig = stack
        .plane
        .token_kubeconfig(component, account, Bound::Pod(&name))
        .await
        .unwrap();
    let container = &spec.containers[0];
    assert_eq!(container.command, Some(vec!["/kubectl-lockkeeper".to_owned()]));
    let output = tokio::process::Command::new(program("kubectl-lockkeeper").unwrap())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(container.args.clone().unwrap_or_default())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{component}: {}",
        String::from_utf8_lossy(&printed)
    );
    println!("{component}: {}", String::from_utf8_lossy(&printed));
    let ended = json!({"status": {"phase": "Succeeded"}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&ended))
        .await
        .unwrap();
}

async fn ends_successfully(mut running: std::process::Child) {
    let ended = async {
        loop {
            if let Some(status) = running.try_wait().unwrap() {
                return status;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let status = timeout(LONG, ended).await.expect("helm ends");
    assert!(status.success(), "helm ended with {status}");
}
