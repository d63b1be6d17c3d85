//! The checks of a policy against real sources: Prometheus, a TLS server with a private authority, objects, pods, conditions,
//! Jobs.

mod jobs;
mod server;

use std::time::Duration;

use kube::ResourceExt;
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, Outcome, Phase, names};
use lockkeeper_e2e::prometheus::Monitoring;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use server::{Gauge, TOKEN, TlsServer};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

/// An alert that fires while the gauge of the test is not 0.
const RULES: &str = r#"
groups:
  - name: checks
    interval: 1s
    rules:
      - {alert: ShopIsDown, expr: "test_gate > 0", labels: {severity: critical}}
      - {alert: Watchdog, expr: "vector(1)", labels: {severity: critical}}
"#;

/// What the operator may read for the checks of this test: as the chart's values checks.secrets and checks.objects give it.
fn rights() -> Value {
    let account = "lockkeeper-operator";
    let rule = |resource: &str, name: &str| json!({"apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get"]});
    let role = |namespace: &str, rule: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [rule],
            "metadata": {"name": "checks", "namespace": namespace}})
    };
    let binding = |namespace: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "checks", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "checks"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": names::NAMESPACE}]})
    };
    let (own, shop) = (names::NAMESPACE, "default");
    json!({"apiVersion": "v1", "kind": "List", "items": [
        role(own, rule("secrets", "shop-health")), binding(own),
        role(shop, rule("configmaps", "database")), binding(shop),
    ]})
}

#[tokio::test]
async fn checks_close_the_gate_before_a_start_and_hold_the_slot_after_a_reboot() {
    let mut stack = Stack::start("checks", 6, 0).await.unwrap();
    stack
        .start_operator_with(|spec| {
            spec.arg("--check-interval-seconds=2")
                .env("RUST_LOG", "info,lockkeeper_operator=debug")
        })
        .unwrap();
    let gauge = Gauge::start().await.unwrap();
    let (binaries, dir) = (stack.plane.binaries(), stack.plane.dir());
    let monitoring = Monitoring::start(binaries, dir, RULES, None).await.unwrap();
    monitoring.scrape(&[("test".to_owned(), gauge.address())]).unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    what_makes_no_sense_is_refused_at_admission(&stack);
    an_alert_that_fires_closes_the_gate(&stack, &monitoring, &gauge, &recorder).await;
    a_source_that_cannot_be_asked_closes_the_gate(&stack, &monitoring, &recorder).await;
    a_check_needs_its_right_and_then_passes_or_fails(&stack, &recorder).await;
    what_is_new_after_the_reboot_holds_the_slot(&stack, &monitoring, &gauge).await;
    checks_that_do_not_pass_in_time_fail_the_node(&stack, &monitoring, &gauge).await;
    recorder.verdict(1, 0).await.unwrap();
    stack.workdir.passed();
}

fn what_makes_no_sense_is_refused_at_admission(stack: &Stack) {
    let before = |check: Value| json!({"checks": {"before": [check]}});
    let url = "https://prometheus";
    for (spec, words) in [
        (
            before(json!({"name": "nothing"})),
            "a check needs exactly one of prometheus",
        ),
        (
            before(
                json!({"name": "two", "http": {"url": url}, "nodeConditions": [{"type": "Ready", "status": "True"}]}),
            ),
            "a check needs exactly one of prometheus",
        ),
        (before(json!({"name": "Upper", "http": {"url": url}})), "should match"),
        (
            before(json!({"name": "file", "http": {"url": "file:///etc/passwd"}})),
            "should match",
        ),
        (
            before(json!({"name": "user", "http": {"url": "https://me:secret@shop"}})),
            "should match",
        ),
        (
            before(json!({"name": "both", "prometheus": {"url": url, "alerts": {}, "query": {"expression": "up"}}})),
            "prometheus needs exactly one of alerts and query",
        ),
        (
            before(
                json!({"name": "matcher", "prometheus": {"url": url, "alerts": {"matchers": ["severity=critical"]}}}),
            ),
            "should match",
        ),
        (
            json!({"checks": {"soakSeconds": 1800}}),
            "soakSeconds must be less than timeoutSeconds",
        ),
        (
            json!({"checks": {"before": [{"name": "same", "http": {"url": url}}, {"name": "same", "http": {"url": url}}]}}),
            "Duplicate value",
        ),
    ] {
        let object = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "nonsense"},
            "spec": spec});
        let said = format!("{:#}", apply(stack, &object).expect_err(&format!("{spec} was taken")));
        assert!(said.contains(words), "{spec}: {said}");
    }
}

async fn an_alert_that_fires_closes_the_gate(
    stack: &Stack,
    monitoring: &Monitoring,
    gauge: &Gauge,
    recorder: &Recorder,
) {
    gauge.set(1);
    fires(monitoring, true).await;
    let alerts = json!({"url": monitoring.url(), "alerts": {"matchers": ["severity=\"critical\""]}});
    policy(stack, &json!({"before": [{"name": "alerts", "prometheus": alerts}]}));
    let node = name(stack, 0);
    stack.stage_cause(node, "gate").await.unwrap();
    let waiting = waits(stack, node, "CheckFailing", "").await;
    assert!(
        waiting
            .message
            .starts_with("check alerts fails: alert ShopIsDown fires {instance="),
        "{}",
        waiting.message
    );
    assert_eq!(recorder.seen().order, Vec::<String>::new());
    gauge.set(0);
    rebooted(stack, node, "gate").await;
}

async fn a_source_that_cannot_be_asked_closes_the_gate(stack: &Stack, monitoring: &Monitoring, recorder: &Recorder) {
    let node = name(stack, 1);
    let started = recorder.seen().order.len();
    let nowhere = "http://127.0.0.1:9";
    let query = |url: &str, expression: &str| json!({"url": url, "query": {"expression": expression}});
    let check = |source: Value| json!({"before": [{"name": "shop", "prometheus": source}]});
    policy(stack, &check(query(nowhere, "up")));
    stack.stage_cause(node, "unreachable").await.unwrap();
    waits(stack, node, "CheckUnavailable", nowhere).await;
    policy(stack, &check(query(&monitoring.url(), "up ====")));
    waits(stack, node, "CheckUnavailable", "Prometheus refuses the query: ").await;
    policy(stack, &check(query(&monitoring.url(), "scalar(test_gate)")));
    waits(stack, node, "CheckUnavailable", "use expect: True").await;
    policy(stack, &check(query(&monitoring.url(), "up == 1")));
    waits(stack, node, "CheckFailing", "the query returned {").await;
    assert_eq!(recorder.seen().order.len(), started, "no node has started");
    let ignored = json!({"before": [{"name": "shop", "onError": "Ignore", "prometheus": query(nowhere, "up")}]});
    policy(stack, &ignored);
    rebooted(stack, node, "unreachable").await;
}

async fn a_check_needs_its_right_and_then_passes_or_fails(stack: &Stack, recorder: &Recorder) {
    let node = name(stack, 2);
    let started = recorder.seen().order.len();
    let server = TlsServer::start(stack.plane.pki()).await.unwrap();
    let key = |key: &str| json!({"name": "shop-health", "key": key});
    let shop = json!({"name": "shop", "http": {"url": server.url(), "ca": key("ca.crt"), "bearerToken": key("token")}});
    let database = json!({"name": "database", "object": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default",
        "name": "database", "expression": "object.data.phase == 'Healthy'"}});
    let pods = json!({"name": "batch", "pods": {"namespace": "default", "selector": {"matchLabels": {"app": "batch"}},
        "expect": "NoneRunning"}});
    let conditions = json!({"name": "node", "nodeConditions": [{"type": "Ready", "status": "True"}]});
    policy(stack, &json!({"before": [shop, database, pods, conditions]}));
    stack.stage_cause(node, "rights").await.unwrap();
    waits(stack, node, "CheckUnavailable", "the chart's value checks.secrets").await;
    apply(stack, &rights()).unwrap();
    let metadata = json!({"name": "shop-health", "namespace": names::NAMESPACE});
    let secret = |token: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "stringData": {"ca.crt": stack.plane.pki().ca(), "token": token}})
    };
    apply(stack, &secret("wrong")).unwrap();
    waits(stack, node, "CheckFailing", "answers with status 401").await;
    apply(stack, &secret(TOKEN)).unwrap();
    waits(stack, node, "CheckUnavailable", "read ConfigMap default/database").await;
    let object = |phase: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "database", "namespace": "default"},
            "data": {"phase": phase}})
    };
    apply(stack, &object("Degraded")).unwrap();
    let words = "object.data.phase == 'Healthy' is false for ConfigMap default/database";
    waits(stack, node, "CheckFailing", words).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "batch-1", "namespace": "default",
        "labels": {"app": "batch"}}, "spec": {"nodeName": name(stack, 5), "containers": [{"name": "main", "image": "pause"}]}});
    apply(stack, &pod).unwrap();
    apply(stack, &object("Healthy")).unwrap();
    waits(stack, node, "CheckFailing", "pod default/batch-1 has not completed").await;
    assert_eq!(recorder.seen().order.len(), started, "no node has started");
    stack
        .plane
        .kubectl(&["delete", "pod", "batch-1", "--grace-period=0", "--force"])
        .unwrap();
    rebooted(stack, node, "rights").await;
    let log = std::fs::read_to_string(stack.operators[0].log_path()).unwrap();
    assert!(!log.contains(TOKEN), "the token is in the operator's log");
}

async fn what_is_new_after_the_reboot_holds_the_slot(stack: &Stack, monitoring: &Monitoring, gauge: &Gauge) {
    let (node, next) = (name(stack, 3), name(stack, 4));
    policy(stack, &after(monitoring, 5, 600));
    stack.stage_cause(node, "soak").await.unwrap();
    let cordoned = |reboot: &NodeReboot| phase(reboot) == Some(Phase::Rebooting);
    stack.wait_reboot(node, "Rebooting", LONG, cordoned).await.unwrap();
    gauge.set(1);
    fires(monitoring, true).await;
    waits(stack, node, "CheckFailing", "alert ShopIsDown fires").await;
    let now = stack.reboot(node).await.unwrap();
    assert_eq!(phase(&now), Some(Phase::Verifying));
    stack.stage_cause(next, "soak").await.unwrap();
    waits(stack, next, "NoFreeSlot", "").await;
    gauge.set(0);
    waits(stack, node, "Soaking", "").await;
    rebooted(stack, node, "soak").await;
    rebooted(stack, next, "soak").await;
}

async fn checks_that_do_not_pass_in_time_fail_the_node(stack: &Stack, monitoring: &Monitoring, gauge: &Gauge) {
    let node = name(stack, 5);
    policy(stack, &after(monitoring, 0, 12));
    stack.stage_cause(node, "bad kernel").await.unwrap();
    let cordoned = |reboot: &NodeReboot| phase(reboot) == Some(Phase::Rebooting);
    stack.wait_reboot(node, "Rebooting", LONG, cordoned).await.unwrap();
    gauge.set(1);
    fires(monitoring, true).await;
    let waiting = waits(
        stack,
        node,
        "Failed",
        "its checks did not pass within 12 s of the uncordon",
    )
    .await;
    assert!(
        waiting.message.contains("alert ShopIsDown fires"),
        "{}",
        waiting.message
    );
    gauge.set(0);
    fires(monitoring, false).await;
    let retried = stack.plugin(&["retry", node]).await.unwrap();
    assert!(retried.status.success(), "{retried:?}");
    rebooted(stack, node, "bad kernel").await;
}

/// Alerts after the reboot.
fn after(monitoring: &Monitoring, soak: i32, timeout: i32) -> Value {
    let alerts = json!({"url": monitoring.url(), "alerts": {}});
    json!({"after": [{"name": "alerts", "prometheus": alerts}], "soakSeconds": soak, "timeoutSeconds": timeout})
}

/// The only policy has these checks from now on.
fn policy(stack: &Stack, checks: &Value) {
    let object = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "general"},
        "spec": {"checks": checks}});
    apply(stack, &object).unwrap();
}

fn apply(stack: &Stack, object: &Value) -> anyhow::Result<String> {
    let file = stack.plane.dir().join("object.json");
    std::fs::write(&file, object.to_string())?;
    stack.plane.kubectl(&["apply", "-f", &file.to_string_lossy()])
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}

fn phase(reboot: &NodeReboot) -> Option<Phase> {
    Some(reboot.status.as_ref()?.operation.as_ref()?.phase)
}

async fn fires(monitoring: &Monitoring, fires: bool) {
    let alert = r#"ALERTS{alertname="ShopIsDown",alertstate="firing"}"#;
    let good = |found: &[lockkeeper_e2e::prometheus::Sample]| found.is_empty() != fires;
    monitoring.wait(alert, LONG, good).await.unwrap();
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
