//! The safety rules, judged by what the server holds at each write.

use std::sync::{Arc, Mutex};

use lockkeeper_crds::names;
use lockkeeper_fake_api::{FakeApi, Key, Store, Verb, Written};
use serde_json::Value;

/// How many nodes may be in progress.
const LIMIT: usize = 1;

/// What was found; clones are the same.
#[derive(Clone, Default)]
pub struct Truth(Arc<Mutex<Vec<String>>>);

impl Truth {
    /// Judges each write to this server.
    pub fn observe(api: &FakeApi) -> Self {
        let truth = Self::default();
        let found = truth.0.clone();
        api.add_observer(Box::new(move |written, store| {
            let mut found = found.lock().unwrap();
            found.extend(judge(written, store).map(|rule| format!("{} {:?}: {rule}", written.client, written.key)));
        }));
        truth
    }

    /// Judges that a host goes down.
    pub fn reboots(&self, api: &FakeApi, node: &str, order: &str) {
        let object = api.get(&Key::cluster("nodes", node)).unwrap();
        let pods = api.all("pods");
        let mut found = self.0.lock().unwrap();
        if operation(&object).is_none_or(|operation| !order.starts_with(operation)) || !is_cordoned(&object) {
            found.push(format!("{node} goes down without the cordon of its operation"));
        }
        if let Some(pod) = pods.iter().find(|pod| leaves(pod, node)) {
            found.push(format!("{node} goes down with {}", pod["metadata"]["name"]));
        }
    }

    /// The violations so far.
    pub fn violations(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn judge(written: &Written, store: &Store) -> Option<String> {
    let after = written.after.as_ref();
    let name = written.key.name.as_str();
    match written.key.plural {
        "rebootlocks" => judge_lock(written.before.as_ref(), after?, store),
        "nodes" => {
            let (before, after) = (written.before.as_ref(), after?);
            let is_new = operation(after).is_some() && before.and_then(operation) != operation(after);
            (is_new && !is_held_for(store, name, operation(after)))
                .then(|| format!("{name} is cordoned without a holder in the lock"))
        }
        "nodereboots" => judge_order(written.before.as_ref(), after?, store, name),
        "pods" => {
            let asks = matches!(written.verb, Verb::Evict | Verb::Delete) && written.client != "cluster";
            let node = written.before.as_ref()?["spec"]["nodeName"].as_str()?;
            let object = store.get(&Key::cluster("nodes", node))?;
            let is_safe = is_cordoned(object) && is_held_for(store, node, operation(object));
            (asks && !is_safe).then(|| format!("a pod of {node} is evicted without cordon and holder"))
        }
        _ => None,
    }
}

fn judge_lock(before: Option<&Value>, after: &Value, store: &Store) -> Option<String> {
    let held = holders(after);
    if held.len() > LIMIT {
        return Some(format!("{} nodes are in progress", held.len()));
    }
    let stays = |one: &&Value| held.iter().any(|other| other["operationID"] == one["operationID"]);
    let left = before
        .map(holders)
        .unwrap_or_default()
        .into_iter()
        .filter(|one| !stays(one));
    for gone in left {
        let node = gone["node"].as_str().unwrap_or_default();
        let cordon = store.get(&Key::cluster("nodes", node)).and_then(operation);
        if cordon.is_some_and(|cordon| gone["operationID"] == cordon) {
            return Some(format!("the holder of {node} leaves before its cordon"));
        }
        if let Some(owner) = unready_workload(store, node, &gone["operationID"]) {
            return Some(format!("the holder of {node} leaves before {owner} is ready again"));
        }
    }
    None
}

/// A workload that this node evicted and that is not ready, although its operation ended as if it was.
fn unready_workload<'a>(store: &'a Store, node: &str, operation: &Value) -> Option<&'a str> {
    let record = store.get(&Key::cluster("nodereboots", node))?;
    let entry = &record["status"]["history"][0];
    let said = entry["message"].as_str().unwrap_or_default();
    if entry["operationID"] != *operation || entry["outcome"] != "Succeeded" || said.contains("of the uncordon") {
        return None;
    }
    let evicted = |owner: &&Value| owner["metadata"]["labels"]["example.com/evicted-from"] == node;
    let unready = |owner: &&Value| owner["status"]["readyReplicas"] != owner["spec"]["replicas"];
    let owner = store
        .all("replicasets")
        .find(|owner| evicted(owner) && unready(owner))?;
    owner["metadata"]["name"].as_str()
}

fn judge_order(before: Option<&Value>, after: &Value, store: &Store, node: &str) -> Option<String> {
    let order = &after["spec"]["order"];
    let is_new = order["action"] == "Reboot" && before.is_none_or(|before| before["spec"]["order"] != *order);
    if !is_new {
        return None;
    }
    let object = store.get(&Key::cluster("nodes", node))?;
    let lock = store.get(&Key::cluster("rebootlocks", names::LOCK))?;
    let announced = holders(lock)
        .iter()
        .any(|holder| holder["node"] == node && !holder["reboot"].is_null());
    if !is_cordoned(object) || operation(object).is_none() {
        return Some(format!("the reboot of {node} is ordered without a cordon"));
    }
    if !announced {
        return Some(format!("the reboot of {node} is ordered before the lock says so"));
    }
    if object["status"]["nodeInfo"]["bootID"] != order["bootID"] {
        return Some(format!("the reboot of {node} is ordered for another boot"));
    }
    let left = store.all("pods").find(|pod| leaves(pod, node))?;
    Some(format!(
        "the reboot of {node} is ordered with {}",
        left["metadata"]["name"]
    ))
}

fn holders(lock: &Value) -> Vec<&Value> {
    lock["status"]["holders"].as_array().into_iter().flatten().collect()
}

fn is_held_for(store: &Store, node: &str, operation: Option<&str>) -> bool {
    let lock = store.get(&Key::cluster("rebootlocks", names::LOCK));
    let held = lock.map(holders).unwrap_or_default();
    held.iter()
        .any(|holder| holder["node"] == node && holder["operationID"].as_str() == operation)
}

/// The operation that a Node is cordoned for.
pub fn operation(node: &Value) -> Option<&str> {
    node["metadata"]["annotations"][names::OPERATION].as_str()
}

/// Whether a Node takes no new pods.
pub fn is_cordoned(node: &Value) -> bool {
    node["spec"]["unschedulable"] == true
}

/// Whether a pod is one that has to leave this node.
fn leaves(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node && pod["metadata"]["ownerReferences"][0]["kind"] != "DaemonSet"
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lockkeeper_kube_util::Clock;
    use serde_json::json;

    use super::super::story::in_paused_time;
    use super::*;

    /// What is found when these objects are written one after the other.
    fn found(objects: &[Value]) -> Vec<String> {
        in_paused_time(async {
            let api = FakeApi::new(Clock::steady_from(DateTime::UNIX_EPOCH));
            let truth = Truth::observe(&api);
            for object in objects {
                api.put(object.clone());
            }
            truth.violations()
        })
    }

    fn lock(nodes: &[&str]) -> Value {
        let holder = |node: &&str| json!({"node": node, "operationID": "op", "reboot": {"bootIDBefore": "b-1"}});
        let holders: Vec<Value> = nodes.iter().map(holder).collect();
        json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootLock", "metadata": {"name": "cluster"},
            "status": {"holders": holders},
        })
    }

    fn node(is_cordoned: bool) -> Value {
        let annotations = if is_cordoned {
            json!({"lockkeeper.dev/operation": "op"})
        } else {
            json!({})
        };
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "annotations": annotations},
            "spec": {"unschedulable": is_cordoned}, "status": {"nodeInfo": {"bootID": "b-1"}},
        })
    }

    fn order() -> Value {
        json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "metadata": {"name": "n1"},
            "spec": {"order": {"id": "op-0", "action": "Reboot", "bootID": "b-1"}},
        })
    }

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"nodeName": "n1"},
        })
    }

    #[test]
    fn a_reboot_in_the_right_order_breaks_no_rule() {
        let whole = [node(false), lock(&["n1"]), node(true), order(), node(false), lock(&[])];
        assert_eq!(found(&whole), Vec::<String>::new());
    }

    #[test]
    fn each_rule_that_is_broken_is_noticed() {
        for (objects, rule) in [
            (vec![lock(&["n1", "n2"])], "2 nodes are in progress"),
            (
                vec![node(false), node(true)],
                "n1 is cordoned without a holder in the lock",
            ),
            (
                vec![lock(&["n1"]), node(true), lock(&[])],
                "the holder of n1 leaves before its cordon",
            ),
            (
                vec![lock(&["n1"]), node(false), order()],
                "the reboot of n1 is ordered without a cordon",
            ),
            (
                vec![lock(&["n1"]), node(true), pod(), order()],
                "the reboot of n1 is ordered with \"p\"",
            ),
        ] {
            let found = found(&objects);
            assert!(found.iter().any(|found| found.ends_with(rule)), "{rule}: {found:?}");
        }
    }
}
