//! The whole product on virtual machines with systemd, containerd, kubelet and logind, which really reboot. Minutes.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::ResourceExt;
use kube::api::ListParams;
use lockkeeper_crds::{NodeReboot, NodeState, RebootLock, names};
use lockkeeper_drain::{ReadyWorkloads, find_unready, ready_workloads};
use lockkeeper_e2e::pages;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::records::is_done;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::{VmStack, release};
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

#[tokio::test]
async fn three_virtual_machines_reboot_one_at_a_time_and_one_that_stays_down_fails() {
    let mut stack = VmStack::start("vm-rollout", 3, Release::Stable, &say).await.unwrap();
    let names = stack.nodes.node_names();
    // At the same time as the workload: a pod takes half a minute to start on an emulated node.
    let helm = stack.helm();
    let tested = tokio::task::spawn_blocking(move || helm.run(&release("test", &[])));
    workload::start(&stack.plane.client(), 2, 1).await.unwrap();
    let tested = tested.await.unwrap().unwrap();
    assert!(tested.contains("Succeeded"), "{tested}");
    say("helm test has passed");
    the_agent_has_no_capabilities(&stack, &names[0]).await;
    let daemons = daemons_on(&stack, &names[0]).await;
    let recorder = Recorder::start(&stack.plane.client());
    stack
        .plane
        .policy("general", json!({"reboot": {"timeoutSeconds": 400}}))
        .await
        .unwrap();
    let mut before = Vec::new();
    for name in &names {
        before.push(stack.nodes.boot_id(name).await.unwrap());
    }
    follows_the_recipe_for_debian(&stack, &names[0]).await;
    for name in &names[1..] {
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
    let seen = recorder.verdict(1, 1).await.unwrap();
    assert_eq!(seen.cordoned, BTreeSet::new());
    drop(recorder);
    was_rebooted_for(&stack, &names[0], "linux-image-trial").await;
    daemons_reported_ready_since(&stack, &names[0], &daemons).await;
    a_shutdown_inhibitor_prevents_the_reboot(&stack, &names[2]).await;
    a_guest_that_stays_down_is_failed_until_it_is_back(&mut stack, &names).await;
    an_uninstall_during_a_rollout_leaves_no_cordon(&stack, &names[1]).await;
    stack.workdir.passed();
}

/// What docs/security.md says about the two containers of the agent, as the kernel sees it.
async fn the_agent_has_no_capabilities(stack: &VmStack, node: &str) {
    let command = "for name in lockkeeper-node-agent lockkeeper-actuator; do for p in $(pidof $name); do \
                   awk -v name=$name \
                   '/^Uid|^CapEff|^CapPrm|^NoNewPrivs/ {printf \"%s%s \", $1, $2} END {print name}' /proc/$p/status; done; done";
    let processes = stack.nodes.exec(node, command).await.unwrap();
    for (program, uid) in [
        ("lockkeeper-node-agent", "Uid:65532 "),
        ("lockkeeper-actuator", "Uid:0 "),
    ] {
        let status = processes.lines().find(|line| line.ends_with(program));
        let status = status.unwrap_or_default();
        for expected in [
            uid,
            "CapEff:0000000000000000 ",
            "CapPrm:0000000000000000 ",
            "NoNewPrivs:1 ",
        ] {
            assert!(status.contains(expected), "{expected} of {program} in:\n{processes}");
        }
    }
    let namespace = format!("--namespace={}", names::NAMESPACE);
    let agents = [
        "logs",
        "daemonset/lockkeeper-node-agent",
        "--all-containers",
        &namespace,
    ];
    let logs = stack.plane.kubectl(&agents).unwrap();
    assert!(!logs.contains("nothing confines this agent"), "{logs}");
}

async fn daemons_on(stack: &VmStack, node: &str) -> ReadyWorkloads {
    let client = stack.plane.client();
    let daemons = ready_workloads(&client, node).await.unwrap();
    assert!(!daemons.daemon_sets.is_empty(), "the agent's pod is one");
    let missing = find_unready(&client, node, &daemons).await.unwrap();
    assert!(missing.is_some(), "no kubelet has reported Ready again yet");
    daemons
}

/// The operator waits for this after a reboot: a kubelet that starts sets a new time of Ready for each pod.
async fn daemons_reported_ready_since(stack: &VmStack, node: &str, daemons: &ReadyWorkloads) {
    let missing = find_unready(&stack.plane.client(), node, daemons).await.unwrap();
    assert_eq!(missing, None);
}

/// A block lock of the real logind. It stays, so this node is not eligible for the rest of the test.
async fn a_shutdown_inhibitor_prevents_the_reboot(stack: &VmStack, node: &str) {
    let inhibit = "systemd-run --unit=busy systemd-inhibit --what=shutdown --mode=block --who=dpkg --why=mid-update \
                   sleep 3600; until systemd-inhibit --list | grep -q mid-update; do sleep 0.2; done";
    stack.nodes.exec(node, inhibit).await.unwrap();
    stack.nodes.stage_update(node, &["linux-image-6.12.0-3"]).await.unwrap();
    let is_inhibited = |reboot: &NodeReboot| {
        let waiting = reboot.status.as_ref().and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.message.contains("dpkg: mid-update"))
    };
    stack.wait_reboot(node, "inhibited", LONG, is_inhibited).await.unwrap();
    say(&format!("{node} waits: dpkg inhibits a shutdown"));
}

/// Runs the commands of docs/recipes.md.
async fn follows_the_recipe_for_debian(stack: &VmStack, node: &str) {
    for part in ["debian", "debian-trial"] {
        let commands = pages::block("docs/recipes.md", part).unwrap();
        let said = stack.nodes.exec(node, &format!("set -e\n{commands}")).await.unwrap();
        say(&format!("docs/recipes.md, {part}: {}", said.trim()));
    }
}

/// The reason is the package that requires the reboot. Its name is written after the sentinel file, possibly after the order.
async fn was_rebooted_for(stack: &VmStack, node: &str, cause: &str) {
    let reboot = stack.wait_reboot(node, "done", LONG, is_done).await.unwrap();
    let last = reboot.status.and_then(|status| status.last_reboot).unwrap();
    let why: Vec<&str> = last.reasons.iter().map(|reason| reason.0.as_str()).collect();
    assert!(why == [cause] || why == ["reboot-required"], "{why:?}");
}

/// Sets how long a node may take to return from its reboot.
fn reboot_timeout(stack: &VmStack, seconds: u32) {
    let patch = json!({"spec": {"reboot": {"timeoutSeconds": seconds}}}).to_string();
    let patched = stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=merge", "-p", &patch]);
    patched.unwrap();
}

async fn a_guest_that_stays_down_is_failed_until_it_is_back(stack: &mut VmStack, names: &[String]) {
    reboot_timeout(stack, 150);
    let (gone, next) = (&names[0], &names[1]);
    stack.nodes.stage_update(gone, &["linux-image-6.12.0-3"]).await.unwrap();
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
    reboot_timeout(stack, 900);
    stack.nodes.stage_update(next, &["linux-image-6.12.0-3"]).await.unwrap();
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
    was_rebooted_for(stack, gone, "linux-image-6.12.0-3").await;
    say(&format!("{gone} is done"));
}

/// The node that waited has its slot now: `helm uninstall` waits until it has finished, in whichever phase it is.
async fn an_uninstall_during_a_rollout_leaves_no_cordon(stack: &VmStack, holder: &str) {
    let has_its_slot = |reboot: &NodeReboot| state(reboot).is_some_and(|state| state != NodeState::Pending);
    let seen = stack
        .wait_reboot(holder, "in progress", LONG, has_its_slot)
        .await
        .unwrap();
    say(&format!("helm uninstall, while {holder} is {:?}", state(&seen)));
    let helm = stack.helm();
    let uninstall = move || helm.run(&release("uninstall", &["--timeout=20m"]));
    tokio::task::spawn_blocking(uninstall).await.unwrap().unwrap();
    let nodes = Api::<Node>::all(stack.plane.client());
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        assert!(!cordoned, "{} is still cordoned", node.name_any());
        assert!(
            !node.annotations().contains_key(names::OPERATION),
            "{}",
            node.name_any()
        );
    }
    let locks = Api::<RebootLock>::all(stack.plane.client());
    let lock = locks.get(names::LOCK).await.unwrap();
    assert_eq!(lock.status.unwrap_or_default().holders, vec![]);
    let namespace = format!("--namespace={}", names::NAMESPACE);
    let left = stack
        .plane
        .kubectl(&["get", "deployments,daemonsets,jobs", &namespace, "--output=name"]);
    assert_eq!(left.unwrap(), "");
    let ended = Api::<NodeReboot>::all(stack.plane.client()).get(holder).await.unwrap();
    say(&format!("uninstalled; {holder} was last {:?}", state(&ended)));
}

#[tokio::test]
async fn a_single_node_reboots_although_the_operator_runs_on_it() {
    let mut stack = VmStack::start("vm-single", 1, Release::Stable, &say).await.unwrap();
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
