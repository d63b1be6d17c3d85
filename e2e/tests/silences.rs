//! Silences in a real Alertmanager: exactly the node that is rebooted, for its time, and no rollout waits for them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_crds::Phase;
use lockkeeper_e2e::hollow::DOWN_SECONDS;
use lockkeeper_e2e::prometheus::Monitoring;
use lockkeeper_e2e::scene::{LONG, eventually};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use lockkeeper_outbound::{Client, Target, Url};
use serde_json::{Value, json};

#[tokio::test]
async fn alertmanager_silences_exactly_the_node_that_is_rebooted_for_its_time() {
    let mut stack = Stack::start("silences", 2, 0).await.unwrap();
    let monitoring = Monitoring::start(stack.plane.binaries(), stack.plane.dir(), "groups: []", None);
    let mut monitoring = monitoring.await.unwrap();
    let alertmanager = Alertmanager::at(&monitoring.alertmanager_url());
    let config = configure(stack.plane.dir(), &monitoring.alertmanager_url());
    start_operator(&mut stack, &config);
    slow_down(&stack).await;
    stack.plane.policy("general", json!({})).await.unwrap();
    alertmanager.alerts_of(stack.nodes.names()).await;

    let (node, other) = (stack.name(0).to_owned(), stack.name(1).to_owned());
    stack.stage_cause(&node, "first").await.unwrap();
    let reboot = stack.wait_phase(&node, Phase::Rebooting).await.unwrap();
    let silences = alertmanager.active().await;
    let [silence] = silences.as_slice() else {
        panic!("{silences:#?}")
    };
    let operation = reboot.status.unwrap().operation.unwrap();
    let began: DateTime<Utc> = silence["startsAt"].as_str().unwrap().parse().unwrap();
    // The record has whole seconds.
    let cordoned = operation.cordoned_time.unwrap() + TimeDelta::seconds(1);
    assert!(began < cordoned, "cordoned before {cordoned}: {silence:#}");
    assert_eq!(
        silence["matchers"],
        json!([{"name": "node", "value": node, "isRegex": false, "isEqual": true}])
    );
    let suppressed = async || (alertmanager.suppressed().await == [node.clone()]).then_some(());
    eventually("only the alert of this node is suppressed", suppressed)
        .await
        .unwrap();

    // Another process goes on with the same silence.
    stack.kill_leader().await.unwrap();
    start_operator(&mut stack, &config);
    stack.wait_rebooted_for(&[node.clone()], "first", LONG).await.unwrap();
    let over = async || alertmanager.active().await.is_empty().then_some(());
    eventually("the silence ends with the operation", over).await.unwrap();
    assert_eq!(alertmanager.of_node(&node).await.len(), 1, "one silence in all");
    eventually("no alert is suppressed", async || {
        alertmanager.suppressed().await.is_empty().then_some(())
    })
    .await
    .unwrap();

    monitoring.alertmanager.kill();
    stack.stage_cause(&other, "second").await.unwrap();
    stack.wait_rebooted_for(&[other], "second", LONG).await.unwrap();
    let metrics = stack.metrics().await.unwrap();
    let failed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("lockkeeper_silences_total{result=\"failed\"} "));
    assert_ne!(failed.unwrap(), "0", "it was tried");
    let log = std::fs::read_to_string(stack.operators.last().unwrap().log_path()).unwrap();
    assert!(log.contains("silences: cannot connect to http://127.0.0.1:"), "{log}");
    stack.workdir.passed();
}

fn configure(dir: &Path, url: &str) -> std::path::PathBuf {
    let path = dir.join("alertmanager.yaml");
    std::fs::write(&path, format!("url: {url}\nlingerSeconds: 0\n")).unwrap();
    path
}

fn start_operator(stack: &mut Stack, config: &Path) {
    let argument = format!("--alertmanager-config={}", config.display());
    stack
        .start_operator_with(|spec| spec.arg(argument).env("RUST_LOG", "info"))
        .unwrap();
}

/// Each node needs some seconds to drain and to boot.
async fn slow_down(stack: &Stack) {
    for node in stack.nodes.names() {
        stack.nodes.annotate(node, DOWN_SECONDS, Some("8")).await.unwrap();
        workload::pin(&stack.plane.client(), node, 3).await.unwrap();
    }
}

struct Alertmanager {
    target: Target,
    client: Client,
}

impl Alertmanager {
    fn at(url: &str) -> Self {
        Self {
            target: Target::new(Url::parse(url).unwrap()),
            client: Client::default(),
        }
    }

    async fn get(&self, path: &str) -> Vec<Value> {
        let body = self.client.get(&self.target.join(path, &[])).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// An alert of each node that fires for an hour.
    async fn alerts_of(&self, nodes: &[String]) {
        let end = Utc::now() + Duration::from_hours(1);
        let alerts: Vec<Value> = nodes
            .iter()
            .map(|node| json!({"labels": {"alertname": "NodeDown", "node": node}, "endsAt": end}))
            .collect();
        let body = Bytes::from(Value::from(alerts).to_string());
        let target = self.target.join("/api/v2/alerts", &[]);
        self.client.post(&target, "application/json", body).await.unwrap();
    }

    /// The nodes whose alerts are silenced.
    async fn suppressed(&self) -> Vec<String> {
        let alerts = self.get("/api/v2/alerts").await;
        let suppressed = alerts.iter().filter(|alert| alert["status"]["state"] == "suppressed");
        suppressed
            .map(|alert| alert["labels"]["node"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn active(&self) -> Vec<Value> {
        let all = self.get("/api/v2/silences").await;
        all.into_iter()
            .filter(|silence| silence["status"]["state"] == "active")
            .collect()
    }

    /// The silences of this node, also those that ended.
    async fn of_node(&self, node: &str) -> Vec<Value> {
        let all = self.get("/api/v2/silences").await;
        all.into_iter()
            .filter(|silence| silence["matchers"][0]["value"] == node)
            .collect()
    }
}
