//! Whether guests run on KVM or are emulated.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// A kernel on working KVM gets to its panic in well under two seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(6);

/// QEMU's accelerator and CPU arguments for this machine; asked once.
pub(super) fn arguments(kernel: &Path) -> [&'static str; 4] {
    static KVM: OnceLock<bool> = OnceLock::new();
    if *KVM.get_or_init(|| kvm_works(kernel)) {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=multi", "-cpu", "max"]
    }
}

/// Boots the guests' own kernel without a disk: it panics if KVM works and says nothing if it does not.
///
/// The device file proves nothing: it may exist and hang, or run only the first instructions of a kernel.
fn kvm_works(kernel: &Path) -> bool {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let probe = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-M",
            "q35",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args([
            "-no-reboot",
            "-serial",
            "stdio",
            "-append",
            "console=ttyS0 quiet panic=-1",
            "-kernel",
        ])
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut probe) = probe else { return false };
    let deadline = Instant::now() + PROBE_LIMIT;
    while Instant::now() < deadline {
        if probe.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    // A process that hangs inside /dev/kvm may outlive the signal: its output is not waited for then.
    if probe.kill().is_err() || !ended(&mut probe) {
        return false;
    }
    probe
        .wait_with_output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Kernel panic"))
}

fn ended(probe: &mut std::process::Child) -> bool {
    (0..20).any(|_| {
        thread::sleep(Duration::from_millis(50));
        probe.try_wait().is_ok_and(|status| status.is_some())
    })
}
