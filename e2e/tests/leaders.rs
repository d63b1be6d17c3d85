//! Two operators with work to do: one that was paused past the end of its lease does nothing more, and a killed one is
//! replaced in the time that the lease takes to end.
//!
//! `ROUNDS=20` repeats each scene so often; CI does three.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lockkeeper_crds::{NodeReboot, Phase, names};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::scene::{LONG, eventually};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use rustix::process::Signal;
use serde_json::json;

/// The pod of each node takes so long to end: time enough to stop a leader in the middle of a drain.
const SLOW: u32 = 3;
/// What the workload's budget keeps.
const READY: usize = 1;

#[tokio::test]
async fn a_leader_that_was_paused_or_killed_does_no_harm() {
    let mut stack = Stack::start("leaders", 3, 2).await.unwrap();
    workload::start(&stack.plane.client(), 2, 1).await.unwrap();
    for node in stack.nodes.names() {
        workload::pin(&stack.plane.client(), node, SLOW).await.unwrap();
    }
    stack.plane.policy("general", json!({})).await.unwrap();
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: usize = rounds.unwrap_or(3);
    for round in 0..rounds {
        a_paused_leader_writes_nothing_after_it_lost_the_lease(&mut stack, round).await;
    }
    let mut gaps = vec![];
    for round in 0..rounds {
        gaps.push(the_other_operator_continues_when_the_leader_is_killed(&mut stack, round).await);
    }
    gaps.sort_unstable();
    println!("from SIGKILL to the next write, {rounds} times: {gaps:.1?}");
    // The lease of 8 s, a retry after 1 s, and a busy machine.
    assert!(
        gaps.last().is_some_and(|gap| *gap <= Duration::from_secs(20)),
        "{gaps:?}"
    );
    stack.workdir.passed();
}

/// The pause begins in the middle of a drain. It ends as soon as the other one leads, in the middle of the other one's
/// work, or after it.
async fn a_paused_leader_writes_nothing_after_it_lost_the_lease(stack: &mut Stack, round: usize) {
    let cause = format!("pause-{round}");
    let recorder = Recorder::start(&stack.plane.client());
    let nodes = request_all(stack, &cause).await;
    wait_draining(stack).await;
    let paused = wait_leader(stack, None).await;
    stack.operators[paused].signal(Signal::STOP).unwrap();
    let other = wait_leader(stack, Some(paused)).await;
    match round % 3 {
        0 => {}
        1 => wait_draining(stack).await,
        _ => stack.wait_rebooted_for(&nodes, &cause, LONG).await.unwrap(),
    }
    let resumed = Utc::now();
    stack.operators[paused].signal(Signal::CONT).unwrap();
    stack.wait_rebooted_for(&nodes, &cause, LONG).await.unwrap();
    assert_eq!(
        wait_leader(stack, None).await,
        other,
        "the one that was paused must wait"
    );
    let seen = recorder.verdict(1, READY).await.unwrap();
    assert!(seen.cordoned.is_empty(), "still cordoned: {:?}", seen.cordoned);
    let pod = stack.pod_of(&stack.operators[paused]).unwrap();
    let mut late: Vec<Request> = writes(stack, pod, resumed);
    // A request may leave between the look at the lease and its end: it is withdrawn at once, and refused.
    late.retain(|request| request.code < 400);
    assert!(late.is_empty(), "written by {pod} after it lost the lease: {late:#?}");
}

/// Answers how long no operator wrote.
async fn the_other_operator_continues_when_the_leader_is_killed(stack: &mut Stack, round: usize) -> Duration {
    let cause = format!("kill-{round}");
    let recorder = Recorder::start(&stack.plane.client());
    let nodes = request_all(stack, &cause).await;
    wait_draining(stack).await;
    let leader = wait_leader(stack, None).await;
    let killed = stack.operators[leader].name().to_owned();
    let at = Utc::now();
    stack.operators[leader].kill();
    let other = wait_leader(stack, Some(leader)).await;
    let pod = stack.pod_of(&stack.operators[other]).unwrap().to_owned();
    let first = eventually("a write of the next leader", async || {
        writes(stack, &pod, at).first().map(|request| request.received)
    });
    let gap = (first.await.unwrap() - at).to_std().unwrap();
    stack.operators.retain(|operator| operator.name() != killed);
    stack.wait_rebooted_for(&nodes, &cause, LONG).await.unwrap();
    let seen = recorder.verdict(1, READY).await.unwrap();
    assert!(seen.cordoned.is_empty(), "still cordoned: {:?}", seen.cordoned);
    // The number that a new one gets must name another pod than that of the one that lives.
    while stack.operators.len() < 2 {
        stack.start_operator().unwrap();
        let new = stack.operators.last().unwrap();
        if stack.pod_of(new) == Some(&pod) {
            drop(stack.operators.pop());
        }
    }
    gap
}

/// A person requests a reboot of each node.
async fn request_all(stack: &Stack, cause: &str) -> Vec<String> {
    for node in stack.nodes.names() {
        let requested = stack.nodes.annotate(node, names::REBOOT_REQUESTED, Some(cause));
        requested.await.unwrap();
    }
    stack.nodes.names().to_vec()
}

/// Waits until any node is drained.
async fn wait_draining(stack: &Stack) {
    let draining = |reboot: &NodeReboot| {
        let operation = reboot.status.as_ref().and_then(|status| status.operation.as_ref());
        operation.is_some_and(|operation| operation.phase == Phase::Draining)
    };
    let look = async || {
        for node in stack.nodes.names() {
            if draining(&stack.reboot(node).await.ok()?) {
                return Some(());
            }
        }
        None
    };
    eventually("a node is drained", look).await.unwrap();
}

/// Waits until an operator leads, another one than this, and answers its place.
async fn wait_leader(stack: &Stack, not: Option<usize>) -> usize {
    let begin = Instant::now();
    let look = async || stack.leader().await.unwrap().filter(|leader| Some(*leader) != not);
    let leader = eventually("an operator leads", look).await.unwrap();
    if not.is_some() {
        println!("another one leads after {:.1?}", begin.elapsed());
    }
    leader
}

/// What an operator wrote from then on, the Lease and Events left out.
fn writes(stack: &Stack, pod: &str, from: DateTime<Utc>) -> Vec<Request> {
    let mut requests = stack.plane.requests().unwrap();
    requests.retain(|request| {
        let about_us = matches!(request.resource.as_str(), "leases" | "events");
        request.pod == pod && request.received >= from && request.writes() && !about_us
    });
    requests
}
