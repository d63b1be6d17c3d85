//! A real Prometheus scrapes a real operator while faults are staged, and a real Alertmanager tells of each: the alerts
//! of the chart, with the chart's own expressions and shorter times.
//!
//! Four are tested by promtool alone: `LockkeeperRebootLoop`, `LockkeeperClockSkew`, `LockkeeperNotificationsFailing` and
//! `LockkeeperSilencesFailing` (charts/lockkeeper/tests/alerts).
//!
//! `LockkeeperPlanRefused` needs a bug: the operator with a planner that has one (`careless-operator`).

mod faults;
mod operators;
mod webhook;

use std::collections::BTreeSet;
use std::time::Duration;

use lockkeeper_crds::NodeReboot;
use lockkeeper_e2e::helm::{Helm, Version};
use lockkeeper_e2e::prometheus::{Monitoring, check_metrics, rules};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_operator::metrics::Metrics;
use tokio::time::Instant;

use webhook::Webhook;

/// A ceiling, not a measure.
pub(crate) const LONG: Duration = Duration::from_mins(5);

/// What makes the chart's alerts fire soon: everything else is as it is shipped.
const SOON: &str = "\
prometheusRule:
  rules:
    LockkeeperNodeNotBackAfterReboot: {for: 1s, params: {factor: 0.2}}
    LockkeeperNodeFailed: {for: 1s}
    LockkeeperDrainStuck: {for: 1s, params: {factor: 0.005}}
    LockkeeperRolloutStuck: {for: 1s, params: {range: 10s}}
    LockkeeperBreakerOpen: {for: 1s}
    LockkeeperRebootBlocked: {for: 1s}
    LockkeeperRebootOverdue: {for: 1s}
    LockkeeperOrphanedCordon: {for: 1s}
    LockkeeperWindowMissed: {params: {days: 0.5}}
    LockkeeperWindowTooShort: {for: 1s}
    LockkeeperScheduleTooTight: {for: 1s}
    LockkeeperDeadlineMissed: {for: 1s}
    LockkeeperDeadlineAtRisk: {for: 1s}
    LockkeeperPolicyDegraded: {for: 1s}
    LockkeeperViewIncomplete: {for: 1s}
    LockkeeperAgentMissing: {for: 1s}
    LockkeeperAgentNotConfined: {for: 1s}
    LockkeeperDetectorFailing: {for: 1s}
    LockkeeperOperatorDown: {for: 3s}
    LockkeeperNoLeader: {for: 3s}
    LockkeeperMultipleLeaders: {for: 1s}
    LockkeeperApiErrors: {for: 1s, params: {range: 15s}}
    LockkeeperPlanRefused: {params: {range: 15s}}
";

/// Prometheus, and what Alertmanager makes of it.
pub(crate) struct Watched {
    pub(crate) monitoring: Monitoring,
    webhook: Webhook,
}

impl Watched {
    async fn all_fire(&self, alerts: &[(&str, &[(&str, &str)])]) {
        self.all(alerts, true).await;
    }

    async fn all_resolve(&self, alerts: &[(&str, &[(&str, &str)])]) {
        self.all(alerts, false).await;
    }

    async fn all(&self, alerts: &[(&str, &[(&str, &str)])], firing: bool) {
        let start = Instant::now();
        for (alert, labels) in alerts {
            let told = self.webhook.wait(alert, labels, firing, LONG).await;
            let word = if firing { "fires" } else { "is resolved" };
            println!(
                "{alert} {word} after {:?}: {}",
                start.elapsed(),
                told.annotations["description"]
            );
        }
    }
}

#[tokio::test]
async fn each_fault_raises_its_alert_and_its_end_resolves_it() {
    let mut stack = Stack::start("monitoring", faults::POLICIES.len(), 1).await.unwrap();
    faults::make_policies(&stack).await;
    let watched = watch(&stack).await;
    nothing_is_told_of_a_healthy_cluster(&watched).await;
    watched.webhook.forget();
    faults::stage(&stack).await;
    watched.all_fire(&faults::RAISED).await;
    a_scrape_keeps_the_rules(&stack).await;
    faults::mend(&stack).await;
    watched.all_resolve(&faults::RAISED).await;
    unconfined_agents(&stack, &watched).await;
    operators::no_leader(&stack, &watched).await;
    operators::two_leaders(&stack, &watched).await;
    operators::blindness(&mut stack, &watched).await;
    operators::no_operator(&mut stack, &watched).await;
    operators::a_bug(&mut stack, &watched).await;
    every_metric_was_seen(&watched).await;
    every_alert_was_told(&watched);
    stack.workdir.passed();
}

/// The binding of the admission policy is deleted: an agent notices at a Prepare or after the boot, and no node starts then.
///
/// The API server applies the policy for a moment longer, so the first node may start.
async fn unconfined_agents(stack: &Stack, watched: &Watched) {
    watched.webhook.forget();
    let (kind, name) = ("validatingadmissionpolicybinding", "lockkeeper-agent");
    stack.plane.kubectl(&["delete", kind, name]).unwrap();
    let node = faults::release(stack, "silent").await;
    stack.stage_update(&node).await.unwrap();
    let alerts: [(&str, &[(&str, &str)]); 1] = [("LockkeeperAgentNotConfined", &[("policy", "silent")])];
    watched.all_fire(&alerts).await;
    stack.stage_cause(&node, "unconfined").await.unwrap();
    let waits = |reboot: &NodeReboot| {
        let waiting = reboot.status.as_ref().and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason == "AgentNotConfined")
    };
    stack
        .wait_reboot(&node, "waiting until its agent is confined", LONG, waits)
        .await
        .unwrap();
    stack.plane.install().unwrap();
    watched.all_resolve(&alerts).await;
    stack.wait_rebooted_for(&[node], "unconfined", LONG).await.unwrap();
}

async fn watch(stack: &Stack) -> Watched {
    let helm = Helm::new(stack.plane.binaries(), Version::Four, stack.plane.dir());
    let values = stack.plane.dir().join("soon.yaml");
    std::fs::write(&values, SOON).unwrap();
    let rules = rules(&helm, &["--values", values.to_str().unwrap()]).unwrap();
    let (webhook, address) = Webhook::start().await;
    let (binaries, dir) = (stack.plane.binaries(), stack.plane.dir());
    let monitoring = Monitoring::start(binaries, dir, &rules, Some(&address)).await.unwrap();
    monitoring.scrape(&stack.targets()).unwrap();
    Watched { monitoring, webhook }
}

async fn nothing_is_told_of_a_healthy_cluster(watched: &Watched) {
    let all_seen = r#"sum(lockkeeper_nodes{state="UpToDate"})"#;
    let nodes = faults::POLICIES.len() as f64;
    let done = |found: &[lockkeeper_e2e::prometheus::Sample]| found.iter().any(|one| (one.value - nodes).abs() < 0.5);
    watched.monitoring.wait(all_seen, LONG, done).await.unwrap();
    // Agents that have just started, and an operator that has just been found, are told of and resolved.
    let none = |found: &[lockkeeper_e2e::prometheus::Sample]| found.is_empty();
    let firing = r#"ALERTS{alertstate="firing"}"#;
    watched.monitoring.wait(firing, LONG, none).await.unwrap();
}

/// The names, types and texts of a scrape are as Prometheus wants them.
async fn a_scrape_keeps_the_rules(stack: &Stack) {
    let answer = stack.metrics().await.unwrap();
    let (_, scrape) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        scrape.contains("lockkeeper_node_reboot_ordered_timestamp_seconds{"),
        "{scrape}"
    );
    let complaint = check_metrics(stack.plane.binaries(), scrape).unwrap();
    assert_eq!(complaint, "");
}

/// No metric is only a name: each had a value at some time of this run.
async fn every_metric_was_seen(watched: &Watched) {
    let ever = r#"count by (__name__) (last_over_time({__name__=~"lockkeeper_.+"}[1h]))"#;
    let seen = watched.monitoring.query(ever).await.unwrap();
    let seen: BTreeSet<&str> = seen.iter().map(|one| one.labels["__name__"].as_str()).collect();
    for metric in Metrics::new().unwrap().described() {
        let tail = if metric.kind == "histogram" { "_bucket" } else { "" };
        let name = format!("lockkeeper_{}{tail}", metric.name);
        assert!(seen.contains(name.as_str()), "{name} was never seen; seen: {seen:#?}");
    }
}

fn every_alert_was_told(watched: &Watched) {
    let told = watched.webhook.all();
    let told: BTreeSet<&str> = told.iter().map(|told| told.labels["alertname"].as_str()).collect();
    let soon: BTreeSet<&str> = SOON
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Lockkeeper")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(soon.len(), 23, "all but the four above");
    for name in soon {
        assert!(told.contains(format!("Lockkeeper{name}").as_str()), "{name}: {told:?}");
    }
}
