//! Whether guests run on KVM or are emulated.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// A kernel on working KVM gets to its panic in well under two seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(50);

/// QEMU's accelerator and CPU arguments for this machine; asked once.
pub(super) fn arguments(kernel: &Path) -> [&'static str; 4] {
    static KVM: OnceLock<bool> = OnceLock::new();
    if *KVM.get_or_init(|| kvm_works(kernel)) {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=multi", "-cpu", "max"]
    }
}

/// Boots the guests' own kernel without a disk: it panics if KVM works.
///
/// The device file proves nothing: it may exist and hang, or run only the first instructions of a kernel.
fn kvm_works(kernel: &Path) -> bool {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let Ok((mut probe, log)) = start_probe(kernel) else {
        return false;
    };
    let deadline = Instant::now() + PROBE_LIMIT;
    let works = loop {
        // Asked before the output is read: its last words are written by then.
        let ended = probe.try_wait().is_ok_and(|status| status.is_some());
        let said = fs::read(log.path()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        if said.contains("Kernel panic") {
            break true;
        }
        // QEMU stays, stopped, after an error of KVM's.
        if ended || said.contains("KVM internal error") || Instant::now() > deadline {
            break false;
        }
        thread::sleep(POLL);
    };
    // Killed and looked at once: a process that hangs in the device does not end, and is not waited for.
    if probe.kill().is_ok() {
        thread::sleep(POLL);
        let _ = probe.try_wait();
    }
    works
}

fn start_probe(kernel: &Path) -> io::Result<(Child, NamedTempFile)> {
    let log = NamedTempFile::new()?;
    let probe = Command::new("qemu-system-x86_64")
        .args("-accel kvm -cpu host -M q35 -m 256 -nodefaults -display none -no-reboot -serial stdio".split(' '))
        .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(File::options().append(true).open(log.path())?)
        .stderr(File::options().append(true).open(log.path())?)
        .spawn()?;
    Ok((probe, log))
}
