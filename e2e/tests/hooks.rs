//! The hooks of a policy on a real control plane: Jobs on and off the node, annotations that another client sets, failures.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, Outcome, names};
use lockkeeper_e2e::hollow::{DOWN_SECONDS, RUN_SECONDS};
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload::is_ready;
use serde_json::{Value, json};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

/// The label by which DaemonSets of the Flatcar update operator's users select a node before its reboot.
const FLATCAR_LABEL: &str = "flatcar-linux-update.v1.flatcar-linux.net/before-reboot";

#[tokio::test]
async fn hooks_run_at_their_points_and_hold_up_their_own_node_only() {
    let mut stack = Stack::start("hooks", 4, 0).await.unwrap();
    stack.start_operator().unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    for node in stack.nodes.names() {
        stack.nodes.annotate(node, DOWN_SECONDS, Some("3")).await.unwrap();
    }
    what_makes_no_sense_is_refused_at_admission(&stack);
    a_job_needs_its_template_and_its_right_and_runs_before_the_drain(&stack).await;
    a_job_runs_on_the_cordoned_node_after_its_reboot(&stack).await;
    a_client_answers_on_the_node_across_a_crash_of_the_operator(&mut stack).await;
    a_key_of_others_needs_the_right_of_the_chart(&stack).await;
    a_job_that_fails_after_the_reboot_fails_the_node_until_a_retry(&stack).await;
    recorder.verdict(1, 0).await.unwrap();
    stack.workdir.passed();
}

fn what_makes_no_sense_is_refused_at_admission(stack: &Stack) {
    let job = json!({"cronJob": "move"});
    let annotation = json!({"key": "hook.lockkeeper.dev/moved"});
    let before = |hook: Value| json!({"beforeDrain": [hook]});
    for (hooks, words) in [
        (
            before(json!({"name": "nothing"})),
            "a hook needs exactly one of job and annotation",
        ),
        (
            before(json!({"name": "both", "job": job, "annotation": annotation})),
            "a hook needs exactly one of job and annotation",
        ),
        (before(json!({"name": "Upper", "job": job})), "should match"),
        (
            before(json!({"name": "key", "annotation": {"key": "a key"}})),
            "should match",
        ),
        (
            before(json!({"name": "long", "job": job, "timeoutSeconds": 90_000})),
            "less than or equal to 86400",
        ),
        (
            before(json!({"name": "policy", "job": job, "failurePolicy": "Retry"})),
            "Unsupported value",
        ),
        (
            json!({"afterReboot": [{"name": "same", "job": job}, {"name": "same", "job": job}]}),
            "Duplicate value",
        ),
    ] {
        let said = format!("{:#}", policy(stack, &hooks).expect_err(&format!("{hooks} was taken")));
        assert!(said.contains(words), "{hooks}: {said}");
    }
}

async fn a_job_needs_its_template_and_its_right_and_runs_before_the_drain(stack: &Stack) {
    let (node, next) = (name(stack, 0), name(stack, 1));
    deployment(stack, "web", node).await;
    policy(
        stack,
        &json!({"beforeDrain": [{"name": "move-primary", "job": {"cronJob": "move"}}]}),
    )
    .unwrap();
    stack.stage_cause(node, "job").await.unwrap();
    waits(stack, node, "HookUnavailable", "the chart's value jobs.templates").await;
    apply(stack, &rights()).unwrap();
    waits(stack, node, "HookUnavailable", "CronJob lockkeeper-system/move").await;
    apply(stack, &template("move", "4", None)).unwrap();
    let waiting = waits(
        stack,
        node,
        "HookRunning",
        "hook move-primary: Job lockkeeper-system/lockkeeper-",
    )
    .await;
    assert!(
        waiting.message.contains(" runs; it times out at "),
        "{}",
        waiting.message
    );
    assert!(
        cordoned(stack, node).await,
        "the node is cordoned before its first hook"
    );
    assert_eq!(pods_on(stack, "web", node).await.len(), 1, "nothing is evicted before");
    stack.stage_cause(next, "job").await.unwrap();
    waits(stack, next, "NoFreeSlot", node).await;
    rebooted(stack, node, "job").await;
    rebooted(stack, next, "job").await;
    let job = job_for(stack, node, "move-primary").await;
    let variables = &job.spec.unwrap().template.spec.unwrap().containers[0].env;
    let variables = variables.iter().flatten();
    let of_node = variables.filter(|one| one.name == "LOCKKEEPER_NODE" && one.value.as_deref() == Some(node));
    assert_eq!(of_node.count(), 1);
    let on = pods_of_jobs(stack).await;
    assert!(
        on.iter().all(|(for_node, on)| for_node != on),
        "a Job without onNode runs on other nodes: {on:?}"
    );
}

async fn a_job_runs_on_the_cordoned_node_after_its_reboot(stack: &Stack) {
    let node = name(stack, 0);
    apply(stack, &template("test", "3", None)).unwrap();
    let test = json!({"name": "smoke-test", "job": {"cronJob": "test", "onNode": true}});
    policy(stack, &json!({"beforeReboot": [test], "afterReboot": [test]})).unwrap();
    stack.stage_cause(node, "on-node").await.unwrap();
    let operation = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.operation.clone());
    let before = |reboot: &NodeReboot| {
        let ended = operation(reboot).map(|operation| operation.ended_hooks.len());
        ended == Some(1)
    };
    stack
        .wait_reboot(node, "one hook has ended", LONG, before)
        .await
        .unwrap();
    let after = |reboot: &NodeReboot| {
        let operation = operation(reboot);
        operation.is_some_and(|one| one.rebooted_time.is_some() && one.hook.is_some())
    };
    stack
        .wait_reboot(node, "the hook after the reboot", LONG, after)
        .await
        .unwrap();
    assert!(cordoned(stack, node).await, "it is uncordoned after its hooks");
    rebooted(stack, node, "on-node").await;
    let on = pods_of_jobs(stack).await;
    let own = on.iter().filter(|(for_node, on)| for_node == node && on == node);
    assert_eq!(own.count(), 2, "{on:?}");
}

async fn a_client_answers_on_the_node_across_a_crash_of_the_operator(stack: &mut Stack) {
    let node = &name(stack, 1).to_owned();
    let hook = |key: &str, label: &str| json!({"name": "storage", "timeoutSeconds": 600, "annotation": {"key": key, "label": label}});
    let key = "hook.lockkeeper.dev/flushed";
    policy(stack, &json!({"beforeReboot": [hook(key, FLATCAR_LABEL)]})).unwrap();
    // An answer from before does not count.
    stack.nodes.annotate(node, key, Some("true")).await.unwrap();
    stack.stage_cause(node, "answer").await.unwrap();
    let words = "hook storage: waiting until the annotation hook.lockkeeper.dev/flushed of the Node is set to \"true\"";
    waits(stack, node, "HookRunning", words).await;
    let marked = get(stack, node).await;
    assert_eq!(marked.labels().get(FLATCAR_LABEL).map(String::as_str), Some("true"));
    assert_eq!(marked.annotations().get(key), None);
    stack.kill_leader().await.unwrap();
    stack.start_operator().unwrap();
    stack.nodes.annotate(node, key, Some("false")).await.unwrap();
    waits(stack, node, "HookRunning", words).await;
    stack.nodes.annotate(node, key, Some("true")).await.unwrap();
    rebooted(stack, node, "answer").await;
    let after = get(stack, node).await;
    let left = [key, names::HOOK].map(|key| after.annotations().get(key).cloned());
    assert_eq!(left, [None, None], "nothing is left on the Node");
    assert_eq!(after.labels().get(FLATCAR_LABEL), None);
}

async fn a_key_of_others_needs_the_right_of_the_chart(stack: &Stack) {
    let node = name(stack, 2);
    let key = "storage.example.com/ready";
    stack.nodes.annotate(node, key, Some("true")).await.unwrap();
    let hook = json!({"name": "storage", "annotation": {"key": key}});
    policy(stack, &json!({"beforeDrain": [hook]})).unwrap();
    stack.stage_cause(node, "key").await.unwrap();
    let why = waits(stack, node, "BackingOff", "chart: hooks.nodeAnnotations").await;
    assert!(why.message.contains("WriteRefused"), "{}", why.message);
    assert!(!cordoned(stack, node).await, "its slot is free again");
    assert_eq!(
        get(stack, node).await.annotations().get(key).map(String::as_str),
        Some("true")
    );
}

async fn a_job_that_fails_after_the_reboot_fails_the_node_until_a_retry(stack: &Stack) {
    let node = name(stack, 3);
    apply(stack, &template("long", "60", Some(1))).unwrap();
    let ignored = json!({"name": "ignored", "failurePolicy": "Ignore", "job": {"cronJob": "long"}});
    let test = json!({"name": "test", "job": {"cronJob": "long"}});
    policy(stack, &json!({"beforeDrain": [ignored], "afterReboot": [test]})).unwrap();
    stack.stage_cause(node, "failing").await.unwrap();
    let waiting = waits(
        stack,
        node,
        "Failed",
        "hook test (hooks.afterReboot) failed: Job lockkeeper-system/",
    )
    .await;
    assert!(waiting.message.contains("DeadlineExceeded"), "{}", waiting.message);
    assert!(cordoned(stack, node).await);
    apply(stack, &template("long", "1", Some(60))).unwrap();
    let retried = stack.plugin(&["retry", node]).await.unwrap();
    assert!(retried.status.success(), "{retried:?}");
    rebooted(stack, node, "failing").await;
    let last = stack.reboot(node).await.unwrap().status.unwrap().last_reboot.unwrap();
    assert!(
        last.message
            .contains("hook ignored failed (failurePolicy: Ignore): Job lockkeeper-system/"),
        "{}",
        last.message
    );
}

/// What the operator may do about Jobs: as the chart's value jobs.templates gives it.
fn rights() -> Value {
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let rules = [
        rule("batch", "cronjobs", &["get"]),
        rule("batch", "jobs", &["create", "get", "delete"]),
        rule("", "pods", &["list"]),
    ];
    let metadata = json!({"name": "jobs", "namespace": names::NAMESPACE});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jobs"},
            "subjects": [{"kind": "ServiceAccount", "name": "lockkeeper-operator", "namespace": names::NAMESPACE}]},
    ]})
}

/// A CronJob that never runs by itself, whose Jobs run for so many seconds.
fn template(name: &str, seconds: &str, deadline: Option<i64>) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": names::NAMESPACE},
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {"spec": {
                "backoffLimit": 0, "activeDeadlineSeconds": deadline,
                "template": {
                    "metadata": {"annotations": {RUN_SECONDS: seconds}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "lockkeeper/hook:e2e"}]},
                },
            }},
        },
    })
}

/// Runs a pod of a Deployment on this node.
async fn deployment(stack: &Stack, name: &str, node: &str) {
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
    let preferred = json!([{"weight": 100, "preference": term}]);
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}});
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"affinity": affinity, "containers": [{"name": "main", "image": "lockkeeper/web:e2e"}]},
            },
        },
    });
    apply(stack, &deployment).unwrap();
    eventually("its pod is ready", async || {
        let pods = pods_on(stack, name, node).await;
        pods.iter().any(is_ready).then_some(())
    })
    .await;
}

/// The pods of a Deployment on this node that are to stay.
async fn pods_on(stack: &Stack, name: &str, node: &str) -> Vec<Pod> {
    let like = ListParams::default().labels(&format!("app={name}"));
    let all = pods(stack, "default").list(&like).await.unwrap().items;
    let stays = |pod: &Pod| {
        let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        on == Some(node) && pod.metadata.deletion_timestamp.is_none()
    };
    all.into_iter().filter(stays).collect()
}

/// The Job of a hook that ran for a node.
async fn job_for(stack: &Stack, node: &str, hook: &str) -> Job {
    let jobs = Api::<Job>::namespaced(stack.plane.client(), names::NAMESPACE);
    let all = jobs.list(&ListParams::default()).await.unwrap().items;
    let of_hook = |job: &Job| {
        let labels = job.labels();
        job.name_any().contains(hook) && labels.get(names::JOB_NODE).map(String::as_str) == Some(node)
    };
    all.into_iter().find(of_hook).expect("the Job of the hook")
}

/// For each pod of a hook's Job: the node that it ran for, and the one that it ran on.
async fn pods_of_jobs(stack: &Stack) -> Vec<(String, String)> {
    let like = ListParams::default().labels(names::JOB_NODE);
    let all = pods(stack, names::NAMESPACE).list(&like).await.unwrap().items;
    let nodes = all.into_iter().filter_map(|pod| {
        let for_node = pod.labels().get(names::JOB_NODE)?.clone();
        Some((for_node, pod.spec?.node_name?))
    });
    nodes.collect()
}

fn pods(stack: &Stack, namespace: &str) -> Api<Pod> {
    Api::namespaced(stack.plane.client(), namespace)
}

/// The only policy has these hooks from now on.
fn policy(stack: &Stack, hooks: &Value) -> anyhow::Result<String> {
    let object = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "general"},
        "spec": {"order": "Name", "hooks": hooks}});
    apply(stack, &object)
}

fn apply(stack: &Stack, object: &Value) -> anyhow::Result<String> {
    let file = stack.plane.dir().join("object.json");
    std::fs::write(&file, object.to_string())?;
    stack.plane.kubectl(&["apply", "-f", &file.to_string_lossy()])
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}

async fn get(stack: &Stack, node: &str) -> Node {
    Api::all(stack.plane.client()).get(node).await.unwrap()
}

async fn cordoned(stack: &Stack, node: &str) -> bool {
    get(stack, node).await.spec.unwrap_or_default().unschedulable == Some(true)
}

/// Waits until a node waits for this reason, with these words.
async fn waits(stack: &Stack, node: &str, reason: &str, words: &str) -> WaitingStatus {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let is_wanted = |waiting: &WaitingStatus| waiting.reason == reason && waiting.message.contains(words);
    let reboot = stack
        .wait_reboot(node, &format!("{reason} {words}"), LONG, |reboot| {
            waiting(reboot).as_ref().is_some_and(is_wanted)
        })
        .await
        .unwrap();
    waiting(&reboot).unwrap()
}

async fn rebooted(stack: &Stack, node: &str, cause: &str) {
    stack.wait_rebooted_for(&[node.to_owned()], cause, LONG).await.unwrap();
    let reboot = stack.reboot(node).await.unwrap();
    let last = reboot.status.as_ref().map(|status| status.history[0].outcome);
    assert_eq!(last, Some(Outcome::Succeeded), "{}", reboot.name_any());
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
