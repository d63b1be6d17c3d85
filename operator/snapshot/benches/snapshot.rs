//! What a look at the cache costs, from 100 to 15,000 nodes: `cargo bench -p lockkeeper-snapshot`.
//!
//! Time and allocations. The first look of a leader converts the whole cluster, eleven allocations a node. Each later one
//! costs what has changed: see `docs/scale.md` for the figures.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use divan::{AllocProfiler, Bencher};
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy};
use lockkeeper_planner::{check, plan};
use lockkeeper_snapshot::guarded::{UndecodablePolicy, UndecodableRecord};
use lockkeeper_snapshot::slim::Node;
use lockkeeper_snapshot::static_pod::StaticPod;
use lockkeeper_snapshot::{KeptSnapshot, Local, Objects, ObservedObjects, snapshot};
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

/// The cache of the operator, of which everything can be decoded.
struct Cache(ObservedObjects);

impl Objects for Cache {
    fn nodes(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.0.nodes.iter().map(|(name, node)| (name.as_str(), node))
    }

    fn reboots(&self) -> impl Iterator<Item = (&str, Result<&Arc<NodeReboot>, &Arc<UndecodableRecord>>)> {
        self.0.reboots.iter().map(|(name, reboot)| (name.as_str(), Ok(reboot)))
    }

    fn policies(&self) -> impl Iterator<Item = (&str, Result<&Arc<RebootPolicy>, &Arc<UndecodablePolicy>>)> {
        self.0.policies.iter().map(|(name, policy)| (name.as_str(), Ok(policy)))
    }

    fn lock(&self) -> Option<Result<&Arc<RebootLock>, &String>> {
        self.0.lock.as_ref().map(Ok)
    }

    fn static_pods(&self) -> impl Iterator<Item = &Arc<StaticPod>> {
        self.0.static_pods.iter()
    }
}

/// A kept snapshot, and after it the event of one Node.
fn changing(size: usize) -> (KeptSnapshot, Cache, impl FnMut(&mut Cache)) {
    let (mut kept, cache) = (KeptSnapshot::default(), Cache(seen(size)));
    kept.update(&cache, &Local::default());
    let name = format!("worker-{:05}.example", size / 2);
    let change = move |cache: &mut Cache| {
        if let Some(node) = cache.0.nodes.get_mut(&name) {
            let mut other = (**node).clone();
            other.spec.unschedulable = !other.spec.unschedulable;
            *node = Arc::new(other);
        }
    };
    (kept, cache, change)
}

/// One Node has changed since the last look.
#[divan::bench(args = SIZES)]
fn one_event(bencher: Bencher, size: usize) {
    let (mut kept, mut cache, mut change) = changing(size);
    bencher.bench_local(|| {
        change(&mut cache);
        kept.update(&cache, &Local::default());
    });
}

/// The same, with the plan and what judges it: a pass without a write.
#[divan::bench(args = SIZES)]
fn pass_after_one_event(bencher: Bencher, size: usize) {
    let (mut kept, mut cache, mut change) = changing(size);
    let now: DateTime<Utc> = "2026-11-22T00:00:00Z".parse().unwrap();
    bencher.bench_local(|| {
        change(&mut cache);
        kept.update(&cache, &Local::default());
        let (snapshot, _) = kept.parts();
        let plan = plan(snapshot, now);
        check(snapshot, &plan, now).len()
    });
}

/// The first look: the whole cluster is converted.
#[divan::bench(args = SIZES)]
fn from_nothing(bencher: Bencher, size: usize) {
    let seen = seen(size);
    bencher.bench_local(|| snapshot(&seen, &Local::default()));
}
