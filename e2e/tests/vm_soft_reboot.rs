//! Soft-reboots of a virtual machine with Debian's systemd: the boot stays, every process is a new one, and a kernel that is
//! pending gets a new boot. A quarter of an hour, so CI does not run it: `make vm`.

use std::time::Duration;

use lockkeeper_crds::{HistoryEntry, NodeReboot};
use lockkeeper_drain::{find_unready, ready_workloads};
use lockkeeper_e2e::records::is_done;
use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;
use serde_json::json;

/// An emulated node on two busy cores.
const LONG: Duration = Duration::from_mins(12);

fn say(what: &str) {
    eprintln!("-- {what}");
}

#[tokio::test]
async fn updates_of_the_userspace_are_soft_rebooted_and_a_kernel_gets_a_new_boot() {
    let mut stack = VmStack::start("vm-soft-reboot", 1, Release::Stable, &say)
        .await
        .unwrap();
    let node = stack.nodes.node_names().remove(0);
    // A device starts it at a boot. In a soft-reboot the device is there already, and starts nothing.
    let guest_agent = "systemctl add-wants multi-user.target qemu-guest-agent.service";
    stack.nodes.exec(&node, guest_agent).await.unwrap();
    let spec = json!({"reboot": {"method": "SoftReboot", "timeoutSeconds": 600}});
    stack.plane.policy("general", spec).await.unwrap();
    soft_reboots_for(&stack, &node, "libc6", 1).await;
    say("SoftReboot: the same boot, and all processes are new");

    // The list in /run still has libc6, too.
    let auto = r#"{"spec":{"reboot":{"method":"Auto"}}}"#;
    let patch = ["patch", "rebootpolicy", "general", "--type=merge", "-p", auto];
    stack.plane.kubectl(&patch).unwrap();
    soft_reboots_for(&stack, &node, "libssl3t64", 2).await;
    say("Auto has chosen a soft-reboot for libssl3t64");

    stack.reboot_for(&node, "linux-image-6.12.0-2", LONG).await.unwrap();
    assert_eq!(count(&stack, &node).await, 0, "a new boot has had no soft-reboot");
    say("Auto has chosen a new boot for linux-image");
    stack.workdir.passed();
}

/// systemd's own count.
async fn count(stack: &VmStack, node: &str) -> u32 {
    let said = stack
        .nodes
        .exec(node, "systemctl show --property=SoftRebootsCount --value")
        .await;
    said.unwrap().trim().parse().unwrap()
}

/// The processes that must end: systemd's own services, and those of pods.
async fn processes(stack: &VmStack, node: &str) -> Vec<String> {
    let command = "for name in kubelet containerd systemd-logind dbus-daemon lockkeeper-node-agent lockkeeper-actuator; do \
                   for pid in $(pidof $name); do echo $name $(cut -d' ' -f22 /proc/$pid/stat); done; done";
    let said = stack.nodes.exec(node, command).await.unwrap();
    said.lines().map(str::to_owned).collect()
}

fn last_reboot(reboot: &NodeReboot) -> Option<&HistoryEntry> {
    reboot.status.as_ref()?.last_reboot.as_deref()
}

/// Stages an update of this package, and waits until the host has soft-rebooted for it, the `expected`th time in this boot.
async fn soft_reboots_for(stack: &VmStack, node: &str, package: &str, expected: u32) {
    let client = stack.plane.client();
    let boot_id = stack.nodes.boot_id(node).await.unwrap();
    let before = processes(stack, node).await;
    assert!(before.len() >= 6, "{before:?}");
    let daemons = ready_workloads(&client, node).await.unwrap();
    assert!(!daemons.daemon_sets.is_empty(), "the agent's pod is one");
    assert_eq!(count(stack, node).await, expected - 1);
    stack.nodes.stage_update(node, &[package]).await.unwrap();
    let done = |reboot: &NodeReboot| {
        let of_package = |last: &HistoryEntry| last.reasons.iter().any(|reason| reason.0 == package);
        is_done(reboot) && last_reboot(reboot).is_some_and(of_package)
    };
    let reboot = stack.wait_reboot(node, "soft-rebooted", LONG, done).await.unwrap();
    let last = last_reboot(&reboot).unwrap();
    assert_eq!((&last.boot_id_before, &last.boot_id_after), (&boot_id, &boot_id));
    assert_eq!(stack.nodes.boot_id(node).await.unwrap(), boot_id);
    assert_eq!(count(stack, node).await, expected);
    let after = processes(stack, node).await;
    assert!(
        after.len() >= 6 && !before.iter().any(|one| after.contains(one)),
        "{before:?} {after:?}"
    );
    // What the operator waited for: the kubelet has set a new time of Ready for each pod.
    assert_eq!(find_unready(&client, node, &daemons).await.unwrap(), None);
    // The sentinel outlives the soft-reboot, and requires nothing any more.
    stack
        .nodes
        .exec(node, "cat /run/reboot-required /run/reboot-required.pkgs")
        .await
        .unwrap();
    let host = reboot.status.and_then(|status| status.host).unwrap();
    assert!(!host.reboot_required.required, "{:?}", host.reboot_required);
    let counted = host.soft_reboots.unwrap();
    assert_eq!(counted.count, i32::try_from(expected).unwrap());
    assert!(
        counted.last_time.is_some_and(|last| Some(last) > host.boot_time),
        "{counted:?}"
    );
}
