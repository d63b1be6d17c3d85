//! The rest of the cluster: its objects, kubelets and machines.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_crds::names;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_fake_api::{FakeApi, Key};
use lockkeeper_kube_util::Clock;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::host::SimulatedHost;
use super::processes::{Process, Program};
use super::truth::Truth;

/// The nodes, in the order in which they reboot.
pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// The node that does not come back.
pub const LOST: &str = "n3";
/// From the request of a reboot until the host is down.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// From there until its kubelet is up again.
pub const BOOT: Duration = Duration::from_secs(20);
/// From there until the node is Ready, and from there until the pod of its DaemonSet is.
const START: Duration = Duration::from_secs(5);
/// From the end of the pod of `web` until another one is ready elsewhere: longer than its node takes to be back.
const REPLACEMENT: Duration = Duration::from_secs(60);
/// How long a pod takes to end.
const POD_END: Duration = Duration::from_secs(2);

/// How long the reboot of a node takes, from the shutdown until its kubelet is up again: its first one, its second one and
/// so on. None if it does not come back.
pub type BootTime = fn(node: &str, reboot: usize) -> Option<Duration>;

/// In the usual story one node does not come back.
pub fn usual_boot(node: &str, _: usize) -> Option<Duration> {
    (node != LOST).then_some(BOOT)
}

/// One machine with its agent.
pub struct Machine {
    pub node: &'static str,
    pub host: SimulatedHost,
    pub agent: Mutex<Process>,
    boot_time: BootTime,
}

/// Creates the nodes with their DaemonSet.
pub fn create_nodes(api: &FakeApi, clock: Clock) {
    for namespace in ["default", "kube-system", "shop", names::NAMESPACE] {
        api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    }
    let booted = clock.now() - TimeDelta::days(30);
    api.put(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "cni", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"app": "cni"}}, "template": {"metadata": {"labels": {"app": "cni"}}, "spec": {}}},
    }));
    for node in NODES {
        api.put(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": node}},
            "spec": {},
            "status": {
                "nodeInfo": {"bootID": format!("{node}-boot-1"), "kernelVersion": "6.1", "operatingSystem": "linux"},
                "conditions": [ready(true, booted)],
            },
        }));
        api.put(pod("kube-system", &format!("cni-{node}"), node, "DaemonSet", booted));
    }
}

/// Creates the pods and the policy of the usual story.
pub fn create_workload(api: &FakeApi, clock: Clock) {
    let booted = clock.now() - TimeDelta::days(30);
    api.put(pod("shop", "web-1", "n1", "ReplicaSet", booted));
    api.put(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"example.com/evicted-from": "n1"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}, "status": {"readyReplicas": 1},
    }));
    api.put(pod("shop", "db-1", "n2", "ReplicaSet", booted));
    api.put(pod("shop", "db-2", "n2", "ReplicaSet", booted));
    api.put(pod("shop", "api-1", "n3", "ReplicaSet", booted));
    // No controller makes new pods, so that the budget allows one eviction and then no more.
    api.put(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}},
        "status": {
            "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
        },
    }));
    api.put(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "all"},
        "spec": {
            "order": "Name", "drain": {"timeoutSeconds": 60}, "reboot": {"timeoutSeconds": 120},
        },
    }));
}

fn ready(is_ready: bool, since: DateTime<Utc>) -> Value {
    let status = if is_ready { "True" } else { "False" };
    let since = whole_seconds(since);
    json!({"type": "Ready", "status": status, "lastTransitionTime": since, "lastHeartbeatTime": since})
}

/// A pod that runs and is ready.
pub fn pod(namespace: &str, name: &str, node: &str, owner: &str, since: DateTime<Utc>) -> Value {
    let app = name.split('-').next().unwrap();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "labels": {"app": app},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": owner, "name": app, "uid": format!("uid-{app}"), "controller": true},
            ],
        },
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 5},
        "status": {"phase": "Running", "conditions": [ready(true, since)]},
    })
}

/// Notified of each change of these kinds.
pub fn changes(api: &FakeApi, plurals: &'static [&'static str]) -> Arc<Notify> {
    let changed = Arc::new(Notify::new());
    let notified = changed.clone();
    api.add_observer(Box::new(move |written, _| {
        if plurals.contains(&written.key.plural) {
            changed.notify_one();
        }
    }));
    notified
}

/// The kubelets' part in the end of pods: what is to be deleted is gone after a while.
pub async fn end_pods(api: FakeApi, changed: Arc<Notify>) {
    let mut ending = BTreeSet::<String>::new();
    loop {
        let pods = api.all("pods");
        ending.retain(|uid| pods.iter().any(|pod| pod["metadata"]["uid"] == **uid));
        for pod in pods {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
            if !pod["metadata"]["deletionTimestamp"].is_null() && ending.insert(text("uid")) {
                let key = Key::namespaced("pods", &text("namespace"), &text("name"));
                let api = api.clone();
                tokio::spawn(async move {
                    sleep(POD_END).await;
                    api.remove(&key);
                });
            }
        }
        changed.notified().await;
    }
}

/// The part of the controllers and of the other nodes: some time after the pod of `web` is gone, another one is ready.
pub async fn replace_pod(api: FakeApi, changed: Arc<Notify>) {
    let (pod, owner) = (
        Key::namespaced("pods", "shop", "web-1"),
        Key::namespaced("replicasets", "shop", "web"),
    );
    while api.get(&pod).is_some() {
        changed.notified().await;
    }
    api.change(&owner, &json!({"status": {"readyReplicas": null}}));
    sleep(REPLACEMENT).await;
    api.change(&owner, &json!({"status": {"readyReplicas": 1}}));
}

/// The life of a machine: it carries orders out.
pub async fn live(machine: Arc<Machine>, api: FakeApi, clock: Clock, truth: Truth) {
    let key = Key::cluster("nodes", machine.node);
    let daemon = Key::namespaced("pods", "kube-system", &format!("cni-{}", machine.node));
    for boot in 2.. {
        let is_soft = loop {
            let order = machine.host.order().await;
            // The actuator takes its time, and looks at the order once more.
            sleep(Duration::from_millis(300)).await;
            if machine.host.execute(&order) {
                truth.reboots(&api, machine.node, &order.id);
                break order.soft_reboots.is_some();
            }
        };
        sleep(SHUTDOWN).await;
        machine.agent.lock().unwrap().power_off();
        if is_soft {
            // Its kubelet is back before anybody misses it.
            sleep(START).await;
            machine.host.soft_reboot(clock.now());
            machine.agent.lock().unwrap().start();
            api.change(&key, &json!({"status": {"conditions": [ready(true, clock.now())]}}));
            api.change(&daemon, &json!({"status": {"conditions": [ready(false, clock.now())]}}));
            sleep(START).await;
            api.change(&daemon, &json!({"status": {"conditions": [ready(true, clock.now())]}}));
            continue;
        }
        api.change(&key, &json!({"status": {"conditions": [ready(false, clock.now())]}}));
        api.change(&daemon, &json!({"status": {"conditions": [ready(false, clock.now())]}}));
        let Some(boot_time) = (machine.boot_time)(machine.node, boot - 1) else {
            return;
        };
        sleep(boot_time).await;
        let boot_id = format!("{}-boot-{boot}", machine.node);
        machine.host.boot(boot_id.clone(), clock.now());
        let info = json!({"bootID": boot_id, "kernelVersion": "6.12"});
        api.change(&key, &json!({"status": {"nodeInfo": info}}));
        machine.agent.lock().unwrap().start();
        sleep(START).await;
        api.change(&key, &json!({"status": {"conditions": [ready(true, clock.now())]}}));
        sleep(START).await;
        api.change(&daemon, &json!({"status": {"conditions": [ready(true, clock.now())]}}));
    }
}

/// The machines, each with an agent that does not run yet.
pub fn machines(api: &FakeApi, clock: Clock, boot_time: BootTime) -> Vec<Arc<Machine>> {
    let booted = whole_seconds(clock.now() - TimeDelta::days(30));
    let machine = |node: &'static str| {
        let host = SimulatedHost::new(node, booted);
        let program = Program::Agent(node.to_owned(), host.clone());
        Arc::new(Machine {
            node,
            host,
            agent: Mutex::new(Process::new(api, clock, program)),
            boot_time,
        })
    };
    NODES.into_iter().map(machine).collect()
}
