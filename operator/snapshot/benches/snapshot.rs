//! What a look at the cache costs, from 100 to 15,000 nodes: `cargo bench -p lockkeeper-snapshot`.
//!
//! Time and allocations. All of the cluster is converted in each pass, eleven allocations a node: for 15,000 of them 59 ms
//! at best on busy cores and 30 MB, some fifty times what a plan for a cluster that is up to date costs.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use divan::{AllocProfiler, Bencher};
use lockkeeper_snapshot::{Local, ObservedObjects, snapshot};
use serde_json::json;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 4] = [100, 1_000, 5_000, 15_000];

fn main() {
    divan::main();
}

/// A cluster of this size as a cloud makes it: a score of labels on each node, three zones, all up to date.
fn seen(size: usize) -> ObservedObjects {
    let policy = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "workers"},
        "spec": {"nodeSelector": {"matchLabels": {"node.example/pool": "workers"}},
            "disruption": {"topology": [{"key": "topology.kubernetes.io/zone", "maxDomains": 1}]}}});
    let mut seen = ObservedObjects::default();
    seen.policies
        .insert("workers".into(), Arc::new(serde_json::from_value(policy).unwrap()));
    for number in 0..size {
        let name = format!("worker-{number:05}.example");
        let (uid, boot) = (
            format!("8d5e6c1a-7f0b-4d8e-a2c5-{number:012}"),
            format!("0b2c8f5e-31f0-4a49-9d8a-{number:012}"),
        );
        let mut labels: serde_json::Map<String, serde_json::Value> = (0..16)
            .map(|label| (format!("feature.example/cpu-flag-{label}"), json!("true")))
            .collect();
        labels.insert("kubernetes.io/os".into(), json!("linux"));
        labels.insert("kubernetes.io/hostname".into(), json!(name));
        labels.insert("node.example/pool".into(), json!("workers"));
        labels.insert("topology.kubernetes.io/zone".into(), json!(format!("z{}", number % 3)));
        let node = json!({
            "metadata": {"name": name, "uid": uid, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z",
                "resourceVersion": "1", "annotations": {}},
            "status": {"nodeInfo": {"bootID": boot}, "conditions": [{"type": "Ready", "status": "True",
                "reason": "KubeletReady", "message": "kubelet is posting ready status",
                "lastHeartbeatTime": "2026-11-22T00:00:00Z", "lastTransitionTime": "2026-11-01T00:00:00Z"}]},
        });
        let reboot = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {"policy": "workers"},
            "metadata": {"name": name, "resourceVersion": "1", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]},
            "status": {"host": {"bootID": boot, "kernel": "6.1.0-27-amd64", "bootTime": "2026-11-01T00:00:00Z",
                "rebootCapable": true, "confined": true, "rebootRequired": {"required": false}}},
        });
        seen.nodes
            .insert(name.clone(), Arc::new(serde_json::from_value(node).unwrap()));
        seen.reboots
            .insert(name, Arc::new(serde_json::from_value(reboot).unwrap()));
    }
    seen
}

/// Nothing has changed, and all of it is read again: what a pass does before it plans.
#[divan::bench(args = SIZES)]
fn up_to_date(bencher: Bencher, size: usize) {
    let seen = seen(size);
    bencher.bench_local(|| snapshot(&seen, &Local::default()));
}
