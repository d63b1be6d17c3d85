//! The node is rebooted on a virtual machine with `SELinux` enforcing: as the chart installs Lockkeeper, and with the narrower types
//! of the shipped module. A quarter of an hour, so CI does not run it: `make vm`.
//!
//! The policy is Debian's. The container runtime and the kubelet are unconfined, as in RHEL's (`e2e/cluster/vm/selinux`).

use std::fs;
use std::time::Duration;

use lockkeeper_crds::host::DetectorState;
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::helm::chart;
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::records::capable_message;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::{VmStack, release};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// An emulated node on two busy cores.
const LONG: Duration = Duration::from_mins(12);
const POLL: Duration = Duration::from_secs(2);
/// Where the administrator of the guest copies the module.
const MODULE: &str = "/var/tmp/lockkeeper.cil";
/// The narrower types of the two containers.
const AGENT: &str = "lockkeeper_agent_t";
const ACTUATOR: &str = "lockkeeper_actuator_t";
/// Where the chart has the types of the two containers.
const AGENT_TYPE: &str = "agent.securityContext.seLinuxOptions.type";
const ACTUATOR_TYPE: &str = "agent.actuator.securityContext.seLinuxOptions.type";

fn say(what: &str) {
    eprintln!("-- {what}");
}

#[tokio::test]
async fn the_node_is_rebooted_under_selinux_as_installed_and_with_the_narrower_types() {
    let mut stack = VmStack::boot("vm-selinux", 1, Release::Selinux, &say).await.unwrap();
    let node = stack.nodes.node_names().remove(0);
    is_enforcing(&stack, &node).await;

    stack.install(&[], &say).unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    stack.reboot_for(&node, "linux-image-6.12.0-2", LONG).await.unwrap();
    has_types(&stack, &node, "spc_t", "spc_t").await;
    say("the container has rebooted it as the chart installs it");

    an_ordinary_actuator_is_refused(&stack, &node).await;
    an_ordinary_agent_reads_no_sentinel(&stack, &node).await;
    say("ordinary containers are refused, and the agent says so with the remedy");

    wait_for_the_module(&stack, &node).await;
    load_module(&stack, &node, &without_logind(&module())).await;
    let remedy = "SELinux keeps the actuator from the bus: give the actuator container seLinuxOptions {type: spc_t}";
    wait_capable(&stack, &node, "refused by the bus", |message| message.contains(remedy)).await;
    assert!(!may_send(&stack, &node, "systemd_logind_t").await);
    say("without the rules for logind the bus refuses the message");

    load_module(&stack, &node, &module()).await;
    wait_capable(&stack, &node, "capable with the module", str::is_empty).await;
    assert!(may_send(&stack, &node, "systemd_logind_t").await);
    assert!(
        may_send(&stack, &node, "init_t").await,
        "it may ask systemd for its soft-reboots"
    );
    stack.reboot_for(&node, "linux-image-6.12.0-3", LONG).await.unwrap();
    has_types(&stack, &node, AGENT, ACTUATOR).await;
    for domain in [AGENT, ACTUATOR] {
        assert_eq!(denials(&stack, &node, domain).await, "", "with the shipped module");
    }
    is_enforcing(&stack, &node).await;
    say("the container has rebooted it with the types of the shipped module");
    stack.workdir.passed();
}

async fn run(stack: &VmStack, node: &str, command: &str) -> String {
    stack.nodes.exec(node, command).await.unwrap()
}

/// The kernel enforces the policy, and so does the bus.
async fn is_enforcing(stack: &VmStack, node: &str) {
    assert_eq!(run(stack, node, "getenforce").await.trim(), "Enforcing");
    let log = run(stack, node, "journalctl --boot --no-pager --unit=dbus").await;
    assert!(log.contains("SELinux support is enabled"), "{log}");
}

/// The types of the two processes, as docs/security.md says how to look.
async fn has_types(stack: &VmStack, node: &str, agent: &str, actuator: &str) {
    for (program, wanted) in [("lockkeeper-node-agent", agent), ("lockkeeper-actuator", actuator)] {
        let label = run(stack, node, &format!("ps -o label= -p $(pidof {program})")).await;
        assert_eq!(label.split(':').nth(2), Some(wanted), "{program}: {label}");
    }
}

async fn wait_capable(stack: &VmStack, node: &str, what: &str, good: impl Fn(&str) -> bool) {
    let good = |reboot: &NodeReboot| capable_message(reboot).is_some_and(&good);
    stack.wait_reboot(node, what, LONG, good).await.unwrap();
}

/// The kernel keeps it from the socket of the bus.
async fn an_ordinary_actuator_is_refused(stack: &VmStack, node: &str) {
    stack.upgrade(&[&format!("{ACTUATOR_TYPE}=container_t")]).unwrap();
    let remedy = "seLinuxOptions {type: spc_t}";
    let refused = |message: &str| message.contains("refuses the actuator") && message.contains(remedy);
    wait_capable(stack, node, "refused by the kernel", refused).await;
    has_types(stack, node, "spc_t", "container_t").await;
    let denied = denials(stack, node, "container_t").await;
    assert!(denied.contains("name=\"system_bus_socket\""), "{denied}");
}

/// The update is staged while the node cannot be rebooted.
async fn an_ordinary_agent_reads_no_sentinel(stack: &VmStack, node: &str) {
    stack.nodes.stage_update(node, &["systemd"]).await.unwrap();
    stack.upgrade(&[&format!("{AGENT_TYPE}=container_t")]).unwrap();
    let failing = |reboot: &NodeReboot| {
        let host = reboot.status.as_ref().and_then(|status| status.host.as_ref());
        let detectors = host.map_or(&[][..], |host| &host.reboot_required.detectors);
        detectors.iter().any(|one| one.state == DetectorState::Failing)
    };
    let waited = stack
        .wait_reboot(node, "unable to read the sentinel", LONG, failing)
        .await;
    waited.unwrap();
    has_types(stack, node, "container_t", "container_t").await;
    run(stack, node, "rm /run/reboot-required /run/reboot-required.pkgs").await;
}

/// Sets the narrower types before the module is loaded: the containers do not start.
async fn wait_for_the_module(stack: &VmStack, node: &str) {
    let (chart, namespace) = (chart(), format!("--namespace={}", names::NAMESPACE));
    let values = format!("{AGENT_TYPE}={AGENT},{ACTUATOR_TYPE}={ACTUATOR}");
    let upgrade = [chart.as_str(), "--reset-then-reuse-values", "--set", values.as_str()];
    stack.helm().run(&release("upgrade", &upgrade)).unwrap();
    let output = "--output=jsonpath={.items[*].status.containerStatuses[*]}";
    let deadline = Instant::now() + LONG;
    loop {
        let containers = stack.plane.kubectl(&["get", "pods", &namespace, output]).unwrap();
        if containers.contains("/attr/") && containers.contains("invalid argument") {
            break;
        }
        assert!(Instant::now() < deadline, "{node} starts unknown types: {containers}");
        sleep(POLL).await;
    }
}

fn module() -> String {
    fs::read_to_string(repository().join("deploy/host/selinux/lockkeeper.cil")).unwrap()
}

fn without_logind(module: &str) -> String {
    let lines = module.lines().filter(|line| !line.contains("systemd_logind_t"));
    lines.map(|line| format!("{line}\n")).collect()
}

async fn load_module(stack: &VmStack, node: &str, text: &str) {
    stack.nodes.write(node, MODULE, text).await.unwrap();
    run(stack, node, &format!("semodule --install {MODULE}")).await;
}

/// Whether the policy that is loaded lets the actuator send messages to this type over the bus.
async fn may_send(stack: &VmStack, node: &str, receiver: &str) -> bool {
    let [from, to] = [ACTUATOR, receiver].map(|domain| format!("system_u:system_r:{domain}:s0"));
    let rights = run(stack, node, &format!("compute_av {from} {to} dbus")).await;
    let allowed = rights.lines().find(|line| line.starts_with("allowed"));
    allowed.expect("a line with what is allowed").contains("send_msg")
}

/// What `SELinux` refused to this type since the boot, by the kernel and by the bus.
async fn denials(stack: &VmStack, node: &str, domain: &str) -> String {
    let command =
        format!("journalctl --boot --no-pager | grep 'avc: .*denied' | grep 'scontext=[^ ]*:{domain}:' || true");
    run(stack, node, &command).await
}
