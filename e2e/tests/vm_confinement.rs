//! How the host is rebooted, on a virtual machine whose AppArmor mediates D-Bus: by a service of the host, and by the container
//! of the actuator, unconfined and under the shipped profile. A quarter of an hour, so CI does not run it: `make vm`.

use std::fs;
use std::time::Duration;

use lockkeeper_crds::NodeReboot;
use lockkeeper_e2e::install::repository;
use lockkeeper_e2e::pages;
use lockkeeper_e2e::records::capable_message;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;
use serde_json::json;

/// An emulated node on two busy cores.
const LONG: Duration = Duration::from_mins(12);
/// A directory of the guest, for the files that an administrator copies there.
const COPIED: &str = "/opt/lockkeeper";
/// Where the chart has the AppArmor profile of the container.
const APPARMOR: &str = "agent.actuator.securityContext.appArmorProfile";

fn say(what: &str) {
    eprintln!("-- {what}");
}

#[tokio::test]
async fn a_service_of_the_host_reboots_it_and_so_does_the_container_under_apparmor() {
    let mut stack = VmStack::boot("vm-confinement", 1, Release::Newer, &say).await.unwrap();
    let node = stack.nodes.node_names().remove(0);
    let mask = run(&stack, &node, "cat /sys/kernel/security/apparmor/features/dbus/mask").await;
    assert!(mask.contains("send"), "AppArmor does not mediate D-Bus here: {mask}");

    install_the_service(&stack, &node).await;
    stack.install(&["agent.actuator.enabled=false"], &say).unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    only_the_service_is_an_actuator(&stack, &node).await;
    // The state is in the shared directory, not in the process.
    run(&stack, &node, "systemctl restart lockkeeper-actuator.service").await;
    stack.reboot_for(&node, "linux-image-6.12.0-2", LONG).await.unwrap();
    say("the service of the host has rebooted it");

    run(&stack, &node, "systemctl disable --now lockkeeper-actuator.service").await;
    stack.upgrade(&["agent.actuator.enabled=true"]).unwrap();
    stack.reboot_for(&node, "linux-image-6.12.0-3", LONG).await.unwrap();
    // containerd starts containers under the profile `runc`, which allows everything.
    let label = confinement(&stack, &node).await;
    assert!(["unconfined", "runc (unconfined)"].contains(&label.as_str()), "{label}");
    say("the container has rebooted it as the chart installs it");

    load_profile(&stack, &node, &profile().replace("CanReboot,", "")).await;
    let profile_type = format!("{APPARMOR}.type=Localhost");
    let profile_name = format!("{APPARMOR}.localhostProfile=lockkeeper-actuator");
    stack.upgrade(&[&profile_type, &profile_name]).unwrap();
    is_refused_by_apparmor(&stack, &node).await;
    say("a profile without CanReboot makes the agent incapable: AppArmor mediates the bus");

    load_profile(&stack, &node, &profile()).await;
    let capable = |reboot: &NodeReboot| capable_message(reboot).is_some_and(str::is_empty);
    stack
        .wait_reboot(&node, "capable under the profile", LONG, capable)
        .await
        .unwrap();
    stack.reboot_for(&node, "linux-image-6.12.0-4", LONG).await.unwrap();
    assert_eq!(confinement(&stack, &node).await, "lockkeeper-actuator (enforce)");
    say("the container has rebooted it under the shipped profile");
    stack.workdir.passed();
}

async fn run(stack: &VmStack, node: &str, command: &str) -> String {
    stack.nodes.exec(node, command).await.unwrap()
}

/// As docs/host-actuator.md says. The guest has booted a moment ago, so the service must not wait.
async fn install_the_service(stack: &VmStack, node: &str) {
    let image = concat!("docker.io/lockkeeper/node-agent:", env!("CARGO_PKG_VERSION"));
    let mount = format!(
        "mkdir -p {COPIED} /mnt/image && ctr --namespace k8s.io images mount {image} /mnt/image >/dev/null && \
         cp /mnt/image/lockkeeper-actuator {COPIED} && ctr --namespace k8s.io images unmount /mnt/image >/dev/null"
    );
    run(stack, node, &mount).await;
    for name in ["lockkeeper-actuator.service", "lockkeeper-actuator.tmpfiles"] {
        let text = fs::read_to_string(repository().join("deploy/host/systemd").join(name)).unwrap();
        let path = format!("{COPIED}/{name}");
        stack.nodes.write(node, &path, &text).await.unwrap();
    }
    let settings = "[Service]\nExecStart=\nExecStart=/usr/local/sbin/lockkeeper-actuator \
                    --channel-dir=/run/lockkeeper/channel --min-uptime-seconds=0\n";
    let folder = "/etc/systemd/system/lockkeeper-actuator.service.d";
    run(stack, node, &format!("mkdir -p {folder}")).await;
    let path = format!("{folder}/at-once.conf");
    stack.nodes.write(node, &path, settings).await.unwrap();
    let commands = pages::block("docs/host-actuator.md", "host-actuator").unwrap();
    run(stack, node, &format!("set -e\ncd {COPIED}\n{commands}")).await;
    say("the actuator is a service of the host");
}

async fn only_the_service_is_an_actuator(stack: &VmStack, node: &str) {
    let found = run(stack, node, "cat /proc/$(pidof lockkeeper-actuator)/cgroup").await;
    assert_eq!(found.trim(), "0::/system.slice/lockkeeper-actuator.service");
}

/// What AppArmor says of the only actuator that runs.
async fn confinement(stack: &VmStack, node: &str) -> String {
    let found = run(stack, node, "cat /proc/$(pidof lockkeeper-actuator)/attr/current").await;
    found.trim().to_owned()
}

/// With the abi that the profile asks for on a kernel which is not Ubuntu's.
fn profile() -> String {
    let text = fs::read_to_string(repository().join("deploy/host/apparmor/lockkeeper-actuator")).unwrap();
    text.replace("abi <abi/3.0>,", "abi <abi/5.0>,")
}

async fn load_profile(stack: &VmStack, node: &str, text: &str) {
    let path = "/etc/apparmor.d/lockkeeper-actuator";
    stack.nodes.write(node, path, text).await.unwrap();
    run(stack, node, &format!("apparmor_parser --replace {path}")).await;
}

async fn is_refused_by_apparmor(stack: &VmStack, node: &str) {
    let message = "AppArmor keeps the actuator from the bus";
    let refused = |reboot: &NodeReboot| capable_message(reboot).is_some_and(|text| text.contains(message));
    stack
        .wait_reboot(node, "incapable by AppArmor", LONG, refused)
        .await
        .unwrap();
}
