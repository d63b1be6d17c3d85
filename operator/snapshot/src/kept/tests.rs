use lockkeeper_kube_util::Guarded;
use lockkeeper_planner::Preflight;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::guarded::{GuardedPolicy, GuardedRecord};

/// A cluster that changes.
#[derive(Default)]
struct Cluster {
    nodes: BTreeMap<String, Arc<slim::Node>>,
    reboots: BTreeMap<String, Result<Arc<NodeReboot>, Arc<UndecodableRecord>>>,
    policies: BTreeMap<String, Result<Arc<RebootPolicy>, Arc<UndecodablePolicy>>>,
    lock: Option<Result<Arc<RebootLock>, String>>,
    static_pods: BTreeMap<String, Arc<StaticPod>>,
    local: Local,
}

impl Objects for Cluster {
    fn nodes(&self) -> impl Iterator<Item = (&str, &Arc<slim::Node>)> {
        self.nodes.iter().map(|(name, node)| (name.as_str(), node))
    }

    fn reboots(&self) -> impl Iterator<Item = (&str, Result<&Arc<NodeReboot>, &Arc<UndecodableRecord>>)> {
        self.reboots
            .iter()
            .map(|(name, reboot)| (name.as_str(), reboot.as_ref()))
    }

    fn policies(&self) -> impl Iterator<Item = (&str, Result<&Arc<RebootPolicy>, &Arc<UndecodablePolicy>>)> {
        self.policies
            .iter()
            .map(|(name, policy)| (name.as_str(), policy.as_ref()))
    }

    fn lock(&self) -> Option<Result<&Arc<RebootLock>, &String>> {
        self.lock.as_ref().map(Result::as_ref)
    }

    fn static_pods(&self) -> impl Iterator<Item = &Arc<StaticPod>> {
        self.static_pods.values()
    }
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// One thing that happens to an object: which kind, which object, and how it is afterwards.
type Change = (usize, usize, usize);

impl Cluster {
    fn change(&mut self, (kind, index, variant): Change) {
        let name = format!("n{}", index % 5);
        match kind % 7 {
            0 => self.change_node(name, variant),
            1 => self.change_reboot(name, variant),
            2 => self.change_policy(["a", "b"][index % 2], variant),
            3 => self.change_lock(variant),
            4 => self.change_pod(&name, index, variant),
            5 => {
                self.local.own_node = (variant.is_multiple_of(2)).then_some(name);
                self.local.accepts_unconfined_agents = variant.is_multiple_of(3);
                self.local.control_plane_labels = vec![["pool", "other"][variant % 2].to_owned()];
            }
            // A new list: all objects are others, and the same.
            _ => self
                .nodes
                .values_mut()
                .for_each(|node| *node = Arc::new((**node).clone())),
        }
    }

    fn change_node(&mut self, name: String, variant: usize) {
        if variant.is_multiple_of(5) {
            self.nodes.remove(&name);
            return;
        }
        let os = if variant.is_multiple_of(7) { "windows" } else { "linux" };
        let pool = ["a", "b"][variant % 2];
        let labels = json!({"pool": pool, "kubernetes.io/os": os, "zone": format!("z{}", variant % 3)});
        let is_cordoned = variant.is_multiple_of(3);
        let node = json!({
            "metadata": {"name": name, "uid": format!("u{}", variant % 3), "labels": labels},
            "spec": {"unschedulable": is_cordoned},
            "status": {"nodeInfo": {"bootID": format!("b{variant}"), "kernelVersion": "6.1"}},
        });
        self.nodes.insert(name, Arc::new(object(node)));
    }

    fn change_reboot(&mut self, name: String, variant: usize) {
        if variant.is_multiple_of(5) {
            self.reboots.remove(&name);
            return;
        }
        let ended = format!("2026-11-21T1{}:00:00Z", variant % 10);
        let entry = json!({"operationID": "op", "policy": "a", "outcome": "Succeeded", "attempts": 1,
            "startedTime": "2026-11-21T09:00:00Z", "endedTime": ended, "drainedSeconds": variant, "downSeconds": 60});
        let history = if variant.is_multiple_of(4) {
            json!([entry])
        } else {
            json!([])
        };
        let boot_time = if variant.is_multiple_of(6) {
            "trailing"
        } else {
            "2026-11-21T09:00:00Z"
        };
        let required = variant.is_multiple_of(2);
        let reboot = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {"policy": "a"},
            "metadata": {"name": name, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": format!("u{}", variant % 3)}]},
            "status": {
                "host": {"bootID": format!("b{variant}"), "kernel": "6.1", "bootTime": boot_time, "rebootCapable": true,
                    "rebootRequired": {"required": required}},
                "history": history,
            },
        });
        let reboot: GuardedRecord = object(reboot);
        self.reboots.insert(name, reboot.0.map(Arc::new).map_err(Arc::new));
    }

    fn change_policy(&mut self, name: &str, variant: usize) {
        if variant.is_multiple_of(5) {
            self.policies.remove(name);
            return;
        }
        let pool = ["a", "b"][variant % 2];
        let selector = match variant % 4 {
            0 => json!({"matchExpressions": [{"key": "k", "operator": "Near"}]}),
            1 => json!({}),
            _ => json!({"matchLabels": {"pool": pool}}),
        };
        let limit = if variant.is_multiple_of(6) {
            json!({"not": "a limit"})
        } else {
            json!(variant % 3)
        };
        let topology = if variant.is_multiple_of(2) {
            json!([{"key": "zone", "maxDomains": 1}])
        } else {
            json!([])
        };
        let suspend = variant.is_multiple_of(3);
        let policy = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": name},
            "spec": {"nodeSelector": selector, "suspend": suspend,
                "disruption": {"maxInProgress": limit, "topology": topology}},
        });
        let policy: GuardedPolicy = object(policy);
        self.policies
            .insert(name.to_owned(), policy.0.map(Arc::new).map_err(Arc::new));
    }

    fn change_lock(&mut self, variant: usize) {
        let holder = json!({"node": "n1", "nodeUID": "u1", "policy": "a", "operationID": "op",
            "acquiredTime": "2026-11-21T09:00:00Z"});
        let holders = if variant.is_multiple_of(2) {
            json!([holder])
        } else {
            json!([])
        };
        let lock = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootLock", "metadata": {"name": "cluster"},
            "spec": {}, "status": {"holders": holders}});
        self.lock = match variant % 4 {
            0 => None,
            1 => Some(Err("status: not a lock".to_owned())),
            _ => Some(Ok(Arc::new(object(lock)))),
        };
    }

    fn change_pod(&mut self, node: &str, index: usize, variant: usize) {
        let name = format!("etcd-{}", index % 3);
        if variant.is_multiple_of(5) {
            self.static_pods.remove(&name);
            return;
        }
        let ready = if variant.is_multiple_of(2) { "True" } else { "False" };
        let pod = json!({
            "metadata": {"name": name, "namespace": "kube-system", "annotations": {"kubernetes.io/config.mirror": "x"}},
            "spec": {"nodeName": node}, "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        let pod: Guarded<StaticPod, _> = object(pod);
        self.static_pods.insert(name, Arc::new(pod.into()));
    }

    /// All of it, read anew.
    fn seen(&self) -> ObservedObjects {
        let mut seen = ObservedObjects {
            nodes: self.nodes.clone(),
            lock: self.lock.as_ref().and_then(|lock| lock.as_ref().ok()).cloned(),
            static_pods: self.static_pods.values().cloned().collect(),
            ..ObservedObjects::default()
        };
        seen.undecodable.lock = self.lock.as_ref().and_then(|lock| lock.as_ref().err()).cloned();
        for (name, reboot) in &self.reboots {
            match reboot {
                Ok(reboot) => drop(seen.reboots.insert(name.clone(), reboot.clone())),
                Err(rest) => drop(seen.undecodable.reboots.insert(name.clone(), rest.clone())),
            }
        }
        for (name, policy) in &self.policies {
            match policy {
                Ok(policy) => drop(seen.policies.insert(name.clone(), policy.clone())),
                Err(rest) => drop(seen.undecodable.policies.insert(name.clone(), rest.cause.clone())),
            }
        }
        seen
    }
}

/// What a pass leaves in the snapshot: answers of tasks about a node, and about the lock.
fn fill(kept: &mut KeptSnapshot, index: usize) {
    let (mut filling, _) = kept.fill();
    if let Some(node) = filling.node(&format!("n{}", index % 5)) {
        node.preflight = Preflight::Failed {
            why: "refused".to_owned(),
        };
        node.refused_write = Some("refused".to_owned());
    }
    filling.refuse_lock_write("refused".to_owned());
    // Then the pass writes a record, and has what it was answered.
    let (_, seen) = kept.parts();
    let written = seen.reboots.values().next_back().cloned();
    seen.replace_reboot(&format!("n{}", index % 5), written.filter(|_| index.is_multiple_of(2)));
}

proptest! {
    #[test]
    fn a_kept_snapshot_is_the_one_that_is_made_from_nothing(
        story in prop::collection::vec((0_usize..70, 0_usize..100, 0_usize..100), 1..60),
    ) {
        let (mut cluster, mut kept) = (Cluster::default(), KeptSnapshot::default());
        for change in story {
            cluster.change(change);
            // Several changes come between two passes.
            if change.1.is_multiple_of(4) {
                continue;
            }
            kept.update(&cluster, &cluster.local);
            let (known, _) = kept.parts();
            prop_assert_eq!(&*known, &snapshot(&cluster.seen(), &cluster.local), "after {:?}", change);
            fill(&mut kept, change.1);
        }
    }
}

#[test]
fn an_update_without_a_change_looks_at_no_node_again() {
    let (mut cluster, mut kept) = (Cluster::default(), KeptSnapshot::default());
    // More than are compared with a snapshot made from nothing.
    for index in 0..=COMPARED {
        cluster.change_node(format!("n{index}"), 1);
    }
    kept.update(&cluster, &cluster.local);
    // What no update would leave there if it looked again.
    kept.parts().0.nodes.get_mut("n3").unwrap().uid = "kept".to_owned();
    cluster.change_node("n4".to_owned(), 2);
    kept.update(&cluster, &cluster.local);
    let uids = ["n3", "n4"].map(|name| kept.parts().0.nodes[name].uid.clone());
    assert_eq!(uids, ["kept", "u2"]);
}
