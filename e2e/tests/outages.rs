//! An API server that is away in each phase of a reboot: the node finishes, and nothing floods the server that is back.
//!
//! `OUTAGES=all` stays away for 3, 30 and 120 s in each phase; CI does the short ones.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{Outcome, Phase, names};
use lockkeeper_e2e::audit::{Request, count_by_program};
use lockkeeper_e2e::hollow::{BOOT_ID, DOWN_SECONDS, STARTUP_SECONDS};
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::scene::{LONG, eventually};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use rustix::process::Signal;
use serde_json::json;

/// How long a node needs in each phase: time enough to stop the API server in it.
const SLOW: u32 = 6;
/// How long a reboot may take; the longest outage is longer.
const REBOOT_SECONDS: u64 = 40;
/// For how long an order to prepare is valid at least, by the policy's `requireAgentSeconds`.
const ORDER_LIFETIME: Duration = Duration::from_secs(60);
const PHASES: [Phase; 4] = [Phase::Preparing, Phase::Draining, Phase::Rebooting, Phase::Verifying];
/// What our programs may ask in the first ten seconds, all together: a new watch of everything that they follow, and the
/// work that they were in the middle of.
const MOST_REQUESTS: usize = 150;

#[tokio::test]
async fn a_node_finishes_its_reboot_after_an_outage_in_any_phase() {
    let mut stack = Stack::start("outages", 3, 1).await.unwrap();
    for node in stack.nodes.names() {
        let seconds = SLOW.to_string();
        stack.nodes.annotate(node, DOWN_SECONDS, Some(&seconds)).await.unwrap();
        workload::pin(&stack.plane.client(), node, SLOW).await.unwrap();
    }
    slow_daemon_set(&stack).await;
    stack.plane.policy("general", json!({})).await.unwrap();
    println!("phase        away  requests of the operator and of the agents in the 10 s after it");
    for (round, (phase, away)) in outages().into_iter().enumerate() {
        one_outage(&mut stack, round, phase, away).await;
    }
    let patch = json!({"spec": {"reboot": {"timeoutSeconds": REBOOT_SECONDS}}}).to_string();
    let patched = ["patch", "rbp", "general", "--type=merge", "-p", &patch];
    stack.plane.kubectl(&patched).unwrap();
    let longer = Duration::from_secs(REBOOT_SECONDS + 20);
    one_outage(&mut stack, 100, Phase::Rebooting, longer).await;
    stack.workdir.passed();
}

fn outages() -> Vec<(Phase, Duration)> {
    let all = std::env::var("OUTAGES").is_ok_and(|value| value == "all");
    let seconds: &[u64] = if all { &[3, 30, 120] } else { &[3] };
    let each = |phase: Phase| seconds.iter().map(move |away| (phase, Duration::from_secs(*away)));
    PHASES.into_iter().flat_map(each).collect()
}

/// One node requires a reboot; the API server stops in this phase and starts again.
async fn one_outage(stack: &mut Stack, round: usize, phase: Phase, away: Duration) {
    let node = stack.name(round % stack.nodes.names().len()).to_owned();
    let cause = format!("outage-{round}");
    let recorder = Recorder::start(&stack.plane.client());
    if phase == Phase::Preparing {
        // Stopped, the agents cannot answer before the API server is away.
        stack.agents.signal(Signal::STOP).unwrap();
    }
    let requested = stack.nodes.annotate(&node, names::REBOOT_REQUESTED, Some(&cause));
    requested.await.unwrap();
    let boot = boot_id(stack, &node).await;
    stack.wait_phase(&node, phase).await.unwrap();
    if phase == Phase::Rebooting {
        // The agent reads its order once more before it obeys; an API server that is away lets the order expire.
        let obeyed = async || (boot_id(stack, &node).await != boot).then_some(());
        eventually("the host reboots", obeyed).await.unwrap();
    }
    stack.plane.stop_api_server();
    if phase == Phase::Preparing {
        stack.agents.signal(Signal::CONT).unwrap();
    }
    tokio::time::sleep(away).await;
    let back = Utc::now();
    stack.plane.start_api_server().await.unwrap();
    let ready = Utc::now();
    stack
        .wait_rebooted_for(std::slice::from_ref(&node), &cause, LONG)
        .await
        .unwrap();
    let status = stack.reboot(&node).await.unwrap().status.unwrap();
    let outcomes: Vec<Outcome> = status.history.iter().map(|entry| entry.outcome).collect();
    // An order to prepare that expired meanwhile ends its operation, and another one begins at once.
    let may_begin_anew = phase == Phase::Preparing && away > ORDER_LIFETIME;
    let expected =
        |outcome: &Outcome| *outcome == Outcome::Succeeded || *outcome == Outcome::Withdrawn && may_begin_anew;
    // The newest is the first; those of rounds before were looked at then.
    let newest = 1 + usize::from(may_begin_anew);
    assert!(
        outcomes.iter().take(newest).all(expected) && outcomes[0] == Outcome::Succeeded,
        "{node} has the history {outcomes:?}"
    );
    // An outage makes Kubernetes take nodes for lost whose kubelets were away as long: only ours count.
    let seen = recorder.verdict(usize::MAX, 0).await.unwrap();
    assert!(seen.most_marked.len() <= 1, "{:?}", seen.most_marked);
    let counts = count_by_program(&between(stack, back, ready + Duration::from_secs(10)));
    let of = |program: &str| counts.get(program).copied().unwrap_or_default();
    let (operator, agents) = (of("lockkeeper-operator"), of("lockkeeper-node-agent"));
    println!("{phase:<12?} {:>3} s  {operator} and {agents}", away.as_secs());
    assert!(operator + agents <= MOST_REQUESTS, "{counts:?}");
}

/// The boot that the host is in or goes to; the Node shows it later.
async fn boot_id(stack: &Stack, node: &str) -> Option<String> {
    let nodes: Api<Node> = Api::all(stack.plane.client());
    nodes.get(node).await.unwrap().annotations().get(BOOT_ID).cloned()
}

fn between(stack: &Stack, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Request> {
    let mut requests = stack.plane.requests().unwrap();
    requests.retain(|request| from <= request.received && request.received <= to);
    requests
}

/// A `DaemonSet` whose pods need a while to get ready, so that a node is verified for as long.
async fn slow_daemon_set(stack: &Stack) {
    let labels = json!({"app": "slow"});
    let set = json!({
        "metadata": {"name": "slow"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {STARTUP_SECONDS: SLOW.to_string()}},
                "spec": {"containers": [{"name": "main", "image": "lockkeeper/web:e2e"}]},
            },
        },
    });
    let sets: Api<DaemonSet> = Api::namespaced(stack.plane.client(), "default");
    let set: DaemonSet = serde_json::from_value(set).unwrap();
    sets.create(&PostParams::default(), &set).await.unwrap();
    let nodes = i32::try_from(stack.nodes.names().len()).unwrap();
    let ready = async || {
        let status = sets.get("slow").await.unwrap().status.unwrap_or_default();
        (status.number_ready == nodes).then_some(())
    };
    eventually("the DaemonSet is ready", ready).await.unwrap();
}
