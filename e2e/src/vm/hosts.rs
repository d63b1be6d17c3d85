//! Names of the nodes, as the API server has to resolve them for `kubectl logs` and `exec`.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, ToSocketAddrs};

const FILE: &str = "/etc/hosts";

/// Makes every node's name resolve to the loopback, where its kubelet's port is forwarded.
///
/// Without the right to do so the cluster still works, so this only says what is missing.
pub(super) fn resolve_to_loopback(names: &[String]) {
    let missing: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !resolves(name))
        .collect();
    if missing.is_empty() {
        return;
    }
    let line = format!(
        "127.0.0.1 {} # Lockkeeper e2e: kubectl logs and exec\n",
        missing.join(" ")
    );
    let appended = fs::OpenOptions::new()
        .append(true)
        .open(FILE)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = appended {
        eprintln!("kubectl logs and exec will not reach the nodes ({FILE}: {error}); this line in it helps: {line}");
    }
}

fn resolves(name: &str) -> bool {
    let addresses = (name, 0).to_socket_addrs();
    addresses.is_ok_and(|mut found| found.any(|address| address.ip() == Ipv4Addr::LOCALHOST))
}
