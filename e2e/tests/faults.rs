//! Processes that are killed and an API server that is away: the rollout ends as if nothing had been.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use lockkeeper_crds::{NodeReboot, NodeState, Outcome, names};
use lockkeeper_e2e::recorder::{Recorder, Seen};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use rustix::process::Signal;
use serde_json::json;

/// Long enough for a busy machine, and for a budget that an outage left used: that ends after two minutes.
const LONG: Duration = Duration::from_mins(5);
/// Pods that are pinned to a node take so long to end: time enough to hit a drain.
const SLOW: u32 = 3;

#[tokio::test]
async fn a_rollout_succeeds_whichever_process_dies() {
    let mut stack = Stack::start("faults", 4, 2).await.unwrap();
    workload::start(&stack.plane.client(), 4, 3).await.unwrap();
    for node in stack.nodes.names() {
        workload::pin(&stack.plane.client(), node, SLOW).await.unwrap();
    }
    stack.plane.policy("general", json!({})).await.unwrap();
    if std::env::var_os("CRASH").is_some() {
        timed("crashes", the_leader_is_killed_again_and_again(&mut stack)).await;
        return;
    }
    timed("leader", the_leader_is_killed_in_the_middle_of_a_drain(&mut stack)).await;
    timed("agents", the_agents_are_killed_in_the_middle_of_preparing(&mut stack)).await;
    timed("SIGTERM", the_leader_is_asked_to_end(&mut stack)).await;
    timed("outage", the_api_server_is_away(&mut stack)).await;
    timed("crashes", the_leader_is_killed_again_and_again(&mut stack)).await;
    stack.workdir.passed();
}

async fn timed(what: &str, scenario: impl Future<Output = ()>) {
    let start = Instant::now();
    scenario.await;
    println!("{what}: {:.1} s", start.elapsed().as_secs_f32());
}

async fn the_leader_is_killed_in_the_middle_of_a_drain(stack: &mut Stack) {
    let nodes = stack.nodes.names()[..2].to_vec();
    let recorder = Recorder::start(&stack.plane.client());
    stage(stack, &nodes, "leader").await;
    let draining = wait_evicting(stack, &nodes).await;
    let killed = stack.kill_leader().await.unwrap();
    stack.wait_rebooted_for(&nodes, "leader", LONG).await.unwrap();
    let after = stack.leader().await.unwrap().expect("an operator leads");
    assert_ne!(stack.operators[after].name(), killed);
    assert!(
        stack.operators[after].exited().is_none(),
        "it lived through the drain of {draining}"
    );
    end_state(stack, &recorder, &nodes, READY).await;
    stack.start_operator().unwrap();
}

async fn the_agents_are_killed_in_the_middle_of_preparing(stack: &mut Stack) {
    let nodes = stack.nodes.names()[2..3].to_vec();
    let recorder = Recorder::start(&stack.plane.client());
    // Stopped, they cannot answer before they are killed.
    stack.agents.signal(Signal::STOP).unwrap();
    stack
        .nodes
        .annotate(&nodes[0], names::REBOOT_REQUESTED, Some("agents"))
        .await
        .unwrap();
    let preparing = |reboot: &NodeReboot| state(reboot) == Some(NodeState::Preparing);
    stack
        .wait_reboot(&nodes[0], "Preparing", LONG, preparing)
        .await
        .unwrap();
    stack.agents.restart().unwrap();
    stack.wait_rebooted_for(&nodes, "agents", LONG).await.unwrap();
    end_state(stack, &recorder, &nodes, READY).await;
}

async fn the_leader_is_asked_to_end(stack: &mut Stack) {
    let nodes = stack.nodes.names()[3..].to_vec();
    let recorder = Recorder::start(&stack.plane.client());
    stage(stack, &nodes, "farewell").await;
    wait_evicting(stack, &nodes).await;
    let leader = wait_leader(stack, |_| true).await;
    let asked = Instant::now();
    // Sooner than a kubelet would kill it.
    let status = stack.operators[leader]
        .terminate(Duration::from_secs(20))
        .await
        .unwrap();
    let took = asked.elapsed();
    assert!(status.success(), "{status}: {}", stack.operators[leader].log_tail(10));
    // Handed over before it ended: whoever leads then need not wait until the Lease has run out.
    assert_ne!(stack.leader().await.unwrap(), Some(leader), "it kept the Lease");
    let left = Instant::now();
    wait_leader(stack, |now| now != leader).await;
    println!("ended in {took:?}, the next one leads {:?} later", left.elapsed());
    stack.wait_rebooted_for(&nodes, "farewell", LONG).await.unwrap();
    end_state(stack, &recorder, &nodes, READY).await;
    stack.start_operator().unwrap();
}

async fn the_api_server_is_away(stack: &mut Stack) {
    /// The fault itself, not a wait for something.
    const AWAY: Duration = Duration::from_secs(10);
    let nodes = stack.nodes.names()[..2].to_vec();
    let recorder = Recorder::start(&stack.plane.client());
    stage(stack, &nodes, "outage").await;
    wait_evicting(stack, &nodes).await;
    stack.plane.stop_api_server();
    tokio::time::sleep(AWAY).await;
    stack.plane.start_api_server().await.unwrap();
    stack.wait_rebooted_for(&nodes, "outage", LONG).await.unwrap();
    // After an outage the ReplicaSet controller may have made one pod too many; it deletes that one without asking any
    // budget (seen: two evictions granted for five pods, and its own delete in the same moment).
    end_state(stack, &recorder, &nodes, READY - 1).await;
}

/// The Lease is removed with each leader, so that the test need not wait eight seconds after each kill.
async fn the_leader_is_killed_again_and_again(stack: &mut Stack) {
    let nodes = stack.nodes.names().to_vec();
    let recorder = Recorder::start(&stack.plane.client());
    stage(stack, &nodes, "crashes").await;
    let mut kills = 0_u32;
    let rollout = Instant::now();
    loop {
        let leader = wait_leader(stack, |_| true).await;
        // Other moments of the rollout each time; a new leader looks at an empty node for 3 s before it believes it.
        // On a machine that is too slow for that, later ones live longer, or none would get any further.
        let life = Duration::from_millis([900, 4300, 1700, 4800, 2600][kills as usize % 5]) * (1 + kills / 15);
        let done = stack.wait_rebooted_for(&nodes, "crashes", life).await.is_ok();
        if done {
            break;
        }
        if rollout.elapsed() > 2 * LONG {
            let table = stack
                .plane
                .kubectl(&["get", "nrb,rlock,pods", "-A", "-o", "wide"])
                .unwrap();
            panic!("not done after {kills} kills:\n{table}");
        }
        stack.operators[leader].kill();
        drop(stack.operators.swap_remove(leader));
        kills += 1;
        let lease = format!("lease/{}", names::LEASE);
        stack
            .plane
            .kubectl(&["-n", names::NAMESPACE, "delete", &lease])
            .unwrap();
        stack.start_operator().unwrap();
    }
    println!("{kills} leaders were killed");
    assert!(kills >= 5, "only {kills} leaders were killed");
    end_state(stack, &recorder, &nodes, READY).await;
}

async fn stage(stack: &Stack, nodes: &[String], cause: &str) {
    for node in nodes {
        stack.stage_cause(node, cause).await.unwrap();
    }
}

/// Waits until one of these nodes is in the middle of its drain: each eviction was accepted, and a pod still ends.
///
/// Not while an eviction is on its way: Kubernetes books the disruption first and then deletes the pod, and if the one
/// who asks dies in between, the budget stays used for two minutes.
async fn wait_evicting(stack: &Stack, nodes: &[String]) -> String {
    let pods: Api<Pod> = Api::namespaced(stack.plane.client(), "default");
    let wait = async {
        loop {
            let list = pods.list(&ListParams::default()).await.unwrap();
            for node in nodes {
                let on_it = |pod: &&Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(node);
                let mut left = list.iter().filter(on_it).peekable();
                if left.peek().is_some() && left.all(|pod| pod.metadata.deletion_timestamp.is_some()) {
                    return node.clone();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("no node was drained")
}

/// Waits until an operator that runs and is wanted leads, and returns its place.
async fn wait_leader(stack: &mut Stack, wanted: impl Fn(usize) -> bool) -> usize {
    let end = Instant::now() + LONG;
    loop {
        if let Some(leader) = stack.leader().await.unwrap().filter(|leader| wanted(*leader))
            && stack.operators[leader].exited().is_none()
        {
            return leader;
        }
        assert!(Instant::now() < end, "no operator leads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the workload's budget keeps.
const READY: usize = 3;

/// One reboot each, all nodes uncordoned, at most one node down, no pod evicted without need.
async fn end_state(stack: &Stack, recorder: &Recorder, nodes: &[String], ready: usize) {
    let lock = stack
        .plane
        .kubectl(&["get", "rlock", "cluster", "-o", "jsonpath={.status.holders}"])
        .unwrap();
    assert_eq!(lock, "[]");
    for node in nodes {
        let status = stack.reboot(node).await.unwrap().status.unwrap();
        assert!(
            status.history.iter().all(|record| record.outcome == Outcome::Succeeded),
            "{node} has a history: {:#?}",
            status.history
        );
    }
    let seen = recorder.verdict(1, ready).await.unwrap();
    for (node, boots) in &seen.boots {
        let expected = if nodes.contains(node) { 2 } else { 1 };
        assert_eq!(boots.len(), expected, "{node} had the boots {boots:?}");
    }
    assert!(seen.cordoned.is_empty(), "still cordoned: {:?}", seen.cordoned);
    evictions(stack, &seen, nodes);
}

/// No eviction of a pod was granted more than twice, none at all elsewhere.
///
/// A request without a good answer may have been granted as well: who is killed while it is under way leaves one behind.
/// What a budget refused is no eviction: each new process asks for one pod of a closed budget once.
fn evictions(stack: &Stack, seen: &Seen, nodes: &[String]) {
    let mut answers: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for eviction in stack.plane.requests().unwrap() {
        let ours = eviction.program() == "lockkeeper-operator" && eviction.resource == "pods/eviction";
        // A ReplicaSet gives each pod a name of its own. Pods of earlier scenarios were gone when this one began.
        let Some(node) = seen.placed.get(&eviction.name).filter(|_| ours && !eviction.dry_run) else {
            continue;
        };
        answers.entry(eviction.name.clone()).or_default().push(eviction.code);
        assert!(nodes.contains(node), "{} was evicted from {node}", eviction.name);
    }
    assert!(!answers.is_empty(), "no pod was evicted");
    let granted = |code: &&u16| (200..300).contains(*code);
    let refused = |code: &&u16| (400..500).contains(*code);
    let count = |wanted: &dyn Fn(&&u16) -> bool| -> usize {
        answers
            .values()
            .map(|codes| codes.iter().filter(|code| wanted(code)).count())
            .sum()
    };
    println!(
        "{} pods: {} evictions granted, {} refused, {} asked otherwise",
        answers.len(),
        count(&granted),
        count(&refused),
        count(&|code| !granted(code) && !refused(code)),
    );
    for (pod, codes) in &answers {
        if codes.len() > 1 {
            println!("{pod}: {codes:?}");
        }
        let maybe = codes.iter().filter(|code| !refused(code)).count();
        assert!(maybe <= 2, "{pod} was evicted too often: {codes:?}");
    }
}

fn state(reboot: &NodeReboot) -> Option<NodeState> {
    reboot.status.as_ref().and_then(|status| status.state)
}
