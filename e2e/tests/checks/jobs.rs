//! Jobs of checks with the real Job controller: before a start and after a reboot, on the node and off it.

use lockkeeper_crds::names;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use super::{apply, name, policy, rebooted, waits};

/// What the chart's value jobs.templates gives the operator.
fn rights() -> Value {
    let namespace = names::NAMESPACE;
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "jobs", "namespace": namespace},
            "rules": [
                {"apiGroups": ["batch"], "resources": ["cronjobs"], "resourceNames": ["fsck"], "verbs": ["get"]},
                {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "delete"]},
            ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "jobs", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jobs"},
            "subjects": [{"kind": "ServiceAccount", "name": "lockkeeper-operator", "namespace": namespace}]},
    ]})
}

/// The template: its pods take so many seconds, and its Jobs have so many.
fn template(takes: u32, deadline: u32) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "CronJob",
    "metadata": {"name": "fsck", "namespace": names::NAMESPACE},
    "spec": {"suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {
        "backoffLimit": 0, "activeDeadlineSeconds": deadline,
        "template": {
            "metadata": {"annotations": {"e2e.lockkeeper.dev/run-seconds": takes.to_string()}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "fsck", "image": "fsck"}]},
        },
    }}}})
}

#[tokio::test]
async fn jobs_of_checks_run_before_a_start_and_after_a_reboot() {
    let mut stack = Stack::start("check-jobs", 3, 0).await.unwrap();
    stack
        .start_operator_with(|spec| {
            spec.arg("--check-interval-seconds=2")
                .env("RUST_LOG", "info,lockkeeper_operator=debug")
        })
        .unwrap();
    a_job_that_fails_defers_its_node(&stack).await;
    a_node_reboots_once_its_jobs_succeed(&stack).await;
    stack.workdir.passed();
}

async fn a_job_that_fails_defers_its_node(stack: &Stack) {
    let node = name(stack, 0);
    policy(
        stack,
        &json!({"before": [{"name": "disk", "job": {"cronJob": "fsck", "onNode": true}}]}),
    );
    stack.stage_cause(node, "fails").await.unwrap();
    waits(stack, node, "CheckUnavailable", "the chart's value jobs.templates").await;
    apply(stack, &rights()).unwrap();
    let words = "CronJob lockkeeper-system/fsck does not exist";
    waits(stack, node, "CheckUnavailable", words).await;
    apply(stack, &template(600, 5)).unwrap();
    waits(
        stack,
        node,
        "ChecksPending",
        "check disk: Job lockkeeper-system/lockkeeper-check-before-disk-",
    )
    .await;
    waits(stack, node, "BackingOff", "failed: DeadlineExceeded").await;
    let [job] = &*objects(stack, "jobs") else {
        panic!("one Job is expected")
    };
    assert_eq!(job["metadata"]["annotations"][names::JOB_NODE], node);
    let unschedulable = stack
        .plane
        .kubectl(&["get", "node", node, "-o", "jsonpath={.spec.unschedulable}"]);
    assert_eq!(unschedulable.unwrap(), "", "{node} was not cordoned");
}

async fn a_node_reboots_once_its_jobs_succeed(stack: &Stack) {
    let node = name(stack, 1);
    apply(stack, &template(1, 300)).unwrap();
    let off = json!({"name": "ping", "job": {"cronJob": "fsck"}});
    policy(
        stack,
        &json!({"before": [{"name": "disk", "job": {"cronJob": "fsck", "onNode": true}}], "after": [off]}),
    );
    stack.stage_cause(node, "jobs").await.unwrap();
    rebooted(stack, node, "jobs").await;
    let of_node = |object: &&Value| object["metadata"]["annotations"][names::JOB_NODE] == node;
    let purpose = |object: &Value| object["metadata"]["annotations"][names::JOB_PURPOSE].clone();
    let jobs = objects(stack, "jobs");
    let mut purposes: Vec<Value> = jobs.iter().filter(of_node).map(purpose).collect();
    purposes.sort_by_key(Value::to_string);
    assert_eq!(purposes, ["check-after-ping", "check-before-disk"]);
    for pod in objects(stack, "pods").iter().filter(of_node) {
        let is_here = pod["spec"]["nodeName"] == node;
        assert_eq!(is_here, purpose(pod) == "check-before-disk", "{pod:#}");
    }
}

/// The Jobs that ran for nodes, or their pods.
fn objects(stack: &Stack, kind: &str) -> Vec<Value> {
    let label = format!("--selector={}={}", names::COMPONENT_LABEL, names::JOB_COMPONENT);
    let found = stack
        .plane
        .kubectl(&["get", kind, "--namespace", names::NAMESPACE, &label, "--output=json"])
        .unwrap();
    let list: Value = serde_json::from_str(&found).unwrap();
    list["items"].as_array().cloned().unwrap_or_default()
}
