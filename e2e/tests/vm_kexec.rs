//! `reboot.method: Kexec` on a virtual machine: its logind starts the kernel that is loaded, and reboots without one. Ten minutes,
//! so CI does not run it: `make vm`.

use std::time::Duration;

use lockkeeper_e2e::vm::image::Release;
use lockkeeper_e2e::vm_stack::VmStack;
use serde_json::json;

/// An emulated node on two busy cores.
const LONG: Duration = Duration::from_mins(12);
/// A word that only the command line of the kernel that was loaded with kexec has.
const MARK: &str = "started.by=kexec";

fn say(what: &str) {
    eprintln!("-- {what}");
}

#[tokio::test]
async fn kexec_starts_the_kernel_that_is_loaded_and_reboots_as_usual_without_one() {
    let mut stack = VmStack::start("vm-kexec", 1, Release::Newer, &say).await.unwrap();
    let node = stack.nodes.node_names().remove(0);
    let load = format!(
        "kexec --load /usr/lib/modules/$(uname -r)/vmlinuz --command-line=\"$(cat /proc/cmdline) {MARK}\" && \
         cat /sys/kernel/kexec_loaded"
    );
    assert_eq!(stack.nodes.exec(&node, &load).await.unwrap().trim(), "1");
    stack
        .plane
        .policy("general", json!({"reboot": {"method": "Kexec"}}))
        .await
        .unwrap();
    let line = reboots_for(&stack, &node, "linux-image-6.12.0-2").await;
    assert!(line.contains(MARK), "{line}");
    say("logind has started the kernel that was loaded");

    let line = reboots_for(&stack, &node, "libc6").await;
    assert!(!line.contains(MARK), "{line}");
    say("without a loaded kernel it was an ordinary reboot");
    stack.workdir.passed();
}

/// Waits for a new boot, and returns the command line of its kernel.
async fn reboots_for(stack: &VmStack, node: &str, package: &str) -> String {
    stack.reboot_for(node, package, LONG).await.unwrap();
    stack.nodes.exec(node, "cat /proc/cmdline").await.unwrap()
}
