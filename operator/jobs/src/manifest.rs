//! The Job of a run, made of its template.
//!
//! It stays JSON, so that a field of a newer Kubernetes is not lost on the way from the template to the Job.

use lockkeeper_crds::names;
use serde_json::{Value, json};

use crate::run::JobRun;

type Object = serde_json::Map<String, Value>;

/// How long a finished Job stays at least: longer than any check or hook waits for its result. A Job that is gone would be
/// run again.
const MIN_KEPT_SECONDS: i64 = 2 * 86_400;

/// The Job of a run; `template` is the CronJob.
pub(crate) fn job(run: &JobRun, namespace: &str, template: &Value) -> Value {
    let template = &template["spec"]["jobTemplate"];
    let metadata = json!({
        "namespace": namespace,
        "name": run.name(),
        "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"],
    });
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"],
    });
    let mut job = into_object(job);
    change_object(&mut job, "metadata", |metadata| mark(metadata, run));
    change_object(&mut job, "spec", |spec| {
        limit(spec, run);
        change_object(spec, "template", |pod| {
            change_object(pod, "metadata", |metadata| mark(metadata, run));
            change_object(pod, "spec", |spec| {
                place(spec, run);
                inform(spec, run);
            });
        });
    });
    Value::Object(job)
}

/// Labels and annotations; those of the run win over those of the template.
fn mark(metadata: &mut Object, run: &JobRun) {
    change_object(metadata, "labels", |labels| {
        labels.extend(run.labels().map(|(key, value)| (key.to_owned(), value.into())));
    });
    change_object(metadata, "annotations", |annotations| {
        annotations.extend(run.annotations().map(|(key, value)| (key.to_owned(), value.into())));
    });
}

/// How long it may run, and how long it stays after that.
fn limit(spec: &mut Object, run: &JobRun) {
    let timeout = i64::try_from(run.timeout.as_secs()).unwrap_or(i64::MAX).max(1);
    let own = |field: &str| spec.get(field).and_then(Value::as_i64);
    let deadline = own("activeDeadlineSeconds").map_or(timeout, |own| own.min(timeout));
    let kept = own("ttlSecondsAfterFinished").map_or(MIN_KEPT_SECONDS, |own| own.max(MIN_KEPT_SECONDS));
    spec.insert("activeDeadlineSeconds".to_owned(), deadline.into());
    spec.insert("ttlSecondsAfterFinished".to_owned(), kept.into());
}

/// On the node or off it, in addition to what the template says.
///
/// As for a DaemonSet, it is the scheduler that places the pod, and the pod tolerates the cordon.
fn place(pod: &mut Object, run: &JobRun) {
    pod.remove("nodeName");
    let operator = if run.on_node { "In" } else { "NotIn" };
    let field = json!({"key": "metadata.name", "operator": operator, "values": [run.node]});
    change_object(pod, "affinity", |affinity| {
        change_object(affinity, "nodeAffinity", |affinity| {
            change_object(affinity, "requiredDuringSchedulingIgnoredDuringExecution", |required| {
                change_list(required, "nodeSelectorTerms", |terms| require(terms, &field));
            });
        });
    });
    if run.on_node {
        let tolerate = |taint: &str| json!({"key": taint, "operator": "Exists", "effect": "NoSchedule"});
        let cordon = [names::TAINT_UNSCHEDULABLE, names::TAINT_REBOOTING].map(tolerate);
        change_list(pod, "tolerations", |tolerations| tolerations.extend(cordon));
    }
}

/// A node has to match one of the terms, so each of them gets the field.
fn require(terms: &mut Vec<Value>, field: &Value) {
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in terms {
        let mut required = into_object(term.take());
        change_list(&mut required, "matchFields", |fields| fields.push(field.clone()));
        *term = Value::Object(required);
    }
}

/// Tells each container what it runs for. The variables come first, so that those of the template can refer to them.
fn inform(pod: &mut Object, run: &JobRun) {
    let environment = run.environment();
    for kind in ["initContainers", "containers"] {
        if !pod.contains_key(kind) {
            continue;
        }
        change_list(pod, kind, |containers| {
            for container in containers {
                let mut informed = into_object(container.take());
                change_list(&mut informed, "env", |variables| {
                    variables.retain(|variable| environment.iter().all(|(name, _)| variable["name"] != *name));
                    let ours = environment.map(|(name, value)| json!({"name": name, "value": value}));
                    variables.splice(0..0, ours);
                });
                *container = Value::Object(informed);
            }
        });
    }
}

/// Changes the object under this key; anything else there counts as an empty one.
fn change_object(parent: &mut Object, key: &str, change: impl FnOnce(&mut Object)) {
    let mut object = into_object(parent.remove(key).unwrap_or_default());
    change(&mut object);
    parent.insert(key.to_owned(), Value::Object(object));
}

/// Changes the list under this key; anything else there counts as an empty one.
fn change_list(parent: &mut Object, key: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let mut list = match parent.remove(key) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    change(&mut list);
    parent.insert(key.to_owned(), Value::Array(list));
}

fn into_object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}
