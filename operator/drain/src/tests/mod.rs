//! The drain's tests: decisions and answers as tables, the engine over a fake API server with a paused clock.

mod answers;
mod at_cordon;
mod crashes;
mod daemons;
mod engine;
mod fake;
mod faults;
mod fuzz;
mod gates;
mod messages;
mod nodes;
mod page;
mod preflights;
mod races;
mod responders;
mod returns;
mod rules;
mod selection;
mod stuck;
mod tiers;
mod trials;
mod volumes;
mod workloads;
mod world;

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::{OwnPods, PodView, Progress, Settings};

/// Settings for node `n1`, cordoned long ago; volumes are not waited for.
fn settings() -> Settings {
    Settings {
        wait_for_volume_detach: Duration::ZERO,
        ..Settings::new("n1", OwnPods::in_namespace("lockkeeper-system"), DateTime::UNIX_EPOCH)
    }
}

/// The end of a drain without a word about data or volumes.
fn done(moved: usize, stayed: usize) -> Progress {
    Progress::Done {
        moved,
        stayed,
        with_empty_dir: 0,
        still_attached: Vec::new(),
        returning: Vec::new(),
    }
}

/// A running, ready pod of a `ReplicaSet` on `n1`: `shop/web-0` with the label `app=web`.
fn pod(name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let app = name.split('-').next().unwrap();
    json!({
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "labels": {"app": app},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": "owner", "controller": true}
            ],
        },
        "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// The same object with a change laid over it, as a merge patch would.
fn with(mut object: Value, change: &Value) -> Value {
    merge(&mut object, change);
    object
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// Node `n1`, Ready and cordoned.
fn node() -> Value {
    json!({
        "metadata": {"name": "n1", "uid": "uid-n1", "resourceVersion": "1"},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A budget over the pods labelled `app={name}`.
fn budget(name: &str, allowed: i32, healthy: i32, desired: i32, total: i32) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{name}"), "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": name}}},
        "status": {
            "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
            "desiredHealthy": desired, "expectedPods": total,
        },
    })
}

fn view(object: Value) -> PodView {
    serde_json::from_value::<crate::pod::SlimPod>(object).unwrap().into()
}
