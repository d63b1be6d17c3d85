//! Ports on the loopback that no other process of the harness takes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, flock};

/// Below the kernel's range for outgoing connections, or one of those takes the port before its server starts.
const PORTS: Range<u16> = 20_000..32_000;

/// A TCP port on 127.0.0.1 that is free, and that no other harness on this machine gets while this one runs.
pub fn free_port() -> Result<u16> {
    /// The lock files of the ports given out; the kernel lets go of them when the harness ends.
    static TAKEN: Mutex<BTreeMap<u16, File>> = Mutex::new(BTreeMap::new());
    let mut taken = TAKEN.lock().map_err(|_| anyhow!("the table of ports is poisoned"))?;
    let directory = lock_directory();
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    // Where to begin differs per process, so that two of them rarely meet.
    let count = PORTS.end - PORTS.start;
    let first = (std::process::id().wrapping_mul(61) % u32::from(count)) as u16;
    for step in 0..count {
        let port = PORTS.start + (first + step) % count;
        if taken.contains_key(&port) {
            continue;
        }
        let path = directory.join(port.to_string());
        let lock = File::create(&path).with_context(|| format!("open {}", path.display()))?;
        let ours = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if ours && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port, lock);
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)
}

/// One directory per user, because a user cannot open the lock files of another.
fn lock_directory() -> PathBuf {
    std::env::temp_dir().join(format!("lockkeeper-ports-{}", rustix::process::getuid().as_raw()))
}
