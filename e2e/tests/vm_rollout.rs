//! Real nodes: systemd, containerd, kubelet, logind; our images inside; they really reboot. Minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers are not tests in clippy's eyes

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use lockkeeper_crds::{NodeReboot, NodeState};
use lockkeeper_e2e::programs::program;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::records::is_done;
use lockkeeper_e2e::vm_stack::VmStack;
use lockkeeper_e2e::workload;
use serde_json::json;

/// Emulated nodes on two busy cores.
const LONG: Duration = Duration::from_mins(12);

fn say(what: &str) {
    eprintln!("-- {what}");
}

fn state(reboot: &NodeReboot) -> Option<NodeState> {
    reboot.status.as_ref()?.state
}

fn plugin(stack: &VmStack, args: &[&str]) -> String {
    let output = Command::new(program("kubectl-lockkeeper").unwrap())
        .args(args)
        .arg(format!("--kubeconfig={}", stack.plane.kubeconfig().display()))
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "kubectl lockkeeper {args:?}: {said}");
    said
}

#[tokio::test]
async fn three_real_nodes_are_rebooted_one_at_a_time_and_one_that_stays_away_waits_for_a_person() {
    let mut stack = VmStack::start("vm-rollout", 3, &[], &say).await.unwrap();
    let names = stack.nodes.node_names();
    workload::start(&stack.plane.client(), 2, 1).await.unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    stack
        .plane
        .policy("general", json!({"reboot": {"timeoutSeconds": 400}}))
        .await
        .unwrap();
    let mut before = Vec::new();
    for name in &names {
        before.push(stack.nodes.boot_id(name).await.unwrap());
        stack
            .nodes
            .stage_update(name, &["linux-image-6.12.0-2", "libc6"])
            .await
            .unwrap();
    }
    say("an update is staged on every node");
    for name in &names {
        stack.wait_reboot(name, "rebooted", LONG, is_done).await.unwrap();
        say(&format!("{name} is done"));
    }
    for (name, before) in names.iter().zip(&before) {
        assert_ne!(
            &stack.nodes.boot_id(name).await.unwrap(),
            before,
            "{name} has its old boot id"
        );
    }
    let seen = recorder.verdict(1, 1).unwrap();
    assert_eq!(seen.cordoned, BTreeSet::new());
    drop(recorder);
    a_guest_that_ends_is_failed_until_a_person_retries(&mut stack, &names).await;
    stack.workdir.passed();
}

async fn a_guest_that_ends_is_failed_until_a_person_retries(stack: &mut VmStack, names: &[String]) {
    stack
        .plane
        .kubectl(&[
            "patch",
            "rbp",
            "general",
            "--type=merge",
            "-p",
            r#"{"spec":{"reboot":{"timeoutSeconds":150}}}"#,
        ])
        .unwrap();
    let (gone, next) = (&names[0], &names[1]);
    stack.nodes.stage_update(gone, &["systemd"]).await.unwrap();
    stack
        .wait_reboot(gone, "ordered to reboot", LONG, |reboot| {
            state(reboot) == Some(NodeState::Rebooting)
        })
        .await
        .unwrap();
    stack.nodes.power_off(gone).unwrap();
    say(&format!("{gone} ended instead of rebooting"));
    let failed = stack
        .wait_reboot(gone, "Failed", LONG, |reboot| state(reboot) == Some(NodeState::Failed))
        .await
        .unwrap();
    let why = failed
        .status
        .unwrap()
        .waiting
        .map(|waiting| waiting.message)
        .unwrap_or_default();
    say(&format!("Failed: {why}"));
    stack.nodes.stage_update(next, &["systemd"]).await.unwrap();
    let waits = |reboot: &NodeReboot| {
        let waiting = reboot.status.as_ref().and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason == "BreakerOpen")
    };
    stack
        .wait_reboot(next, "waiting for the failed one", LONG, waits)
        .await
        .unwrap();
    stack.nodes.restart(gone).unwrap();
    stack.nodes.wait_ready(LONG).await.unwrap();
    say(&plugin(stack, &["retry", gone]));
    for name in [gone, next] {
        let again = |reboot: &NodeReboot| {
            let reasons = reboot.status.as_ref().and_then(|status| status.last_reboot.as_ref());
            is_done(reboot) && reasons.is_some_and(|last| last.reasons.iter().any(|cause| cause.0 == "systemd"))
        };
        stack.wait_reboot(name, "rebooted again", LONG, again).await.unwrap();
        say(&format!("{name} is done"));
    }
}

#[tokio::test]
async fn a_cluster_of_one_node_reboots_itself_with_the_operator_on_it() {
    let mut stack = VmStack::start("vm-single", 1, &[], &say).await.unwrap();
    let name = stack.nodes.node_names().remove(0);
    stack.plane.policy("general", json!({})).await.unwrap();
    let before = stack.nodes.boot_id(&name).await.unwrap();
    stack
        .nodes
        .stage_update(&name, &["linux-image-6.12.0-2"])
        .await
        .unwrap();
    stack.wait_reboot(&name, "rebooted", LONG, is_done).await.unwrap();
    assert_ne!(stack.nodes.boot_id(&name).await.unwrap(), before);
    let node = stack
        .plane
        .kubectl(&["get", "node", &name, "-o", "jsonpath={.spec.unschedulable}"])
        .unwrap();
    assert_eq!(node, "", "it is still cordoned");
    stack.workdir.passed();
}
