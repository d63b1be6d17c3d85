//! A rollout's notifications at real HTTP receivers: in each format, and without waiting for those that do not accept them.

mod receivers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper_e2e::scene::{LONG, eventually};
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};
use tokio::time::Instant;

use receivers::{Received, Receivers};

/// In every URL and token of the test: it must be in no log.
const SECRET: &str = "hunter2";
/// What the receivers of one format get in this test.
const EVENTS: &str = "[RolloutStarted, RolloutFinished, RebootSucceeded]";
/// Far less than the time for which a message is sent again.
const ROLLOUT: Duration = Duration::from_mins(4);

#[tokio::test]
async fn a_rollout_is_told_in_each_format_and_waits_for_no_receiver() {
    let mut stack = Stack::start("notifications", 2, 0).await.unwrap();
    let receivers = Receivers::start().await;
    let config = configure(stack.plane.dir(), &receivers, "");
    start_operator(&mut stack, &config);
    stack.plane.policy("general", json!({})).await.unwrap();
    let begin = Instant::now();
    for node in stack.nodes.names().to_vec() {
        stack.stage_update(&node).await.unwrap();
    }
    stack.wait_all_rebooted(ROLLOUT).await.unwrap();
    println!("two nodes rebooted in {:?}", begin.elapsed());
    for path in ["/slack", "/json", "/cloudevents", "/batch"] {
        let what = format!("the end of the rollout at {path}");
        let told = async || told_of(&receivers.at(path), "RolloutFinished").then_some(());
        eventually(&what, told).await.unwrap();
    }
    slack_has_the_words_of_the_events(&stack, &receivers.at("/slack"));
    json_names_both_nodes(&stack, &receivers.at("/json"));
    cloud_events_have_their_attributes(&receivers.at("/cloudevents"), &receivers.at("/batch"));
    assert!(
        !receivers.at("/hang").is_empty() && receivers.at("/broken").len() > 1,
        "both were tried"
    );
    the_counters_tell_what_was_sent(&stack).await;
    a_bad_file_is_named_and_stops_no_reboot(&mut stack, &receivers, &config).await;
    no_log_has_the_secret(&stack);
    stack.workdir.passed();
}

fn configure(dir: &Path, receivers: &Receivers, more: &str) -> PathBuf {
    let base = format!("http://{}", receivers.address);
    let receiver = |name: &str, format: &str, path: &str| {
        format!(
            "- {{name: {name}, format: {format}, url: '{base}{path}?key={SECRET}', bearerToken: {SECRET}, \
             events: {EVENTS}, minSecondsBetween: 1}}\n"
        )
    };
    let text = [
        "cluster: e2e\nreceivers:\n".to_owned(),
        receiver("hangs", "Slack", "/hang"),
        receiver("broken", "JSON", "/broken"),
        receiver("slack", "Slack", "/slack"),
        receiver("json", "JSON", "/json"),
        receiver("cloudevents", "CloudEvents", "/cloudevents"),
        receiver("batch", "CloudEventsBatch", "/batch"),
        more.to_owned(),
    ];
    let path = dir.join("notifications.yaml");
    std::fs::write(&path, text.concat()).unwrap();
    path
}

/// It logs all that it can log of notifications and of their connections.
fn start_operator(stack: &mut Stack, config: &Path) {
    let argument = format!("--notifications-config={}", config.display());
    let changed = stack.start_operator_with(|spec| {
        spec.arg(argument).env(
            "RUST_LOG",
            "info,lockkeeper_operator=debug,lockkeeper_notify=trace,hyper=trace,rustls=trace",
        )
    });
    changed.unwrap();
}

/// Whether an Event with this reason is among the bodies.
fn told_of(received: &[Received], reason: &str) -> bool {
    received.iter().any(|request| request.body.to_string().contains(reason))
}

fn slack_has_the_words_of_the_events(stack: &Stack, received: &[Received]) {
    let texts: Vec<&str> = received
        .iter()
        .map(|request| request.body["text"].as_str().unwrap())
        .collect();
    let all = texts.join("\n");
    let events = stack
        .plane
        .kubectl(&["get", "events", "-n", "default", "-o", "json"])
        .unwrap();
    let events: Value = serde_json::from_str(&events).unwrap();
    let of = |reason: &str| {
        let items = events["items"].as_array().unwrap().iter();
        let found = items.filter(|event| event["reason"] == reason && event["source"]["component"] != "kubelet");
        found
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (reason, count) in [("RolloutStarted", 1), ("RebootSucceeded", 2), ("RolloutFinished", 1)] {
        let messages = of(reason);
        assert_eq!(messages.len(), count, "{reason}: {messages:?}");
        for message in messages {
            // The Event tells the uncordon in the same line. Slack's own characters are escaped.
            let shown = message.trim_start_matches("uncordoned; ").replace('>', "&gt;");
            assert!(all.contains(&shown), "{shown} is not in {all}");
        }
    }
    assert!(all.contains("[e2e] "), "{all}");
}

fn json_names_both_nodes(stack: &Stack, received: &[Received]) {
    let succeeded: Vec<&Value> = received
        .iter()
        .flat_map(|request| request.body["events"].as_array().unwrap())
        .filter(|event| event["reason"] == "RebootSucceeded")
        .collect();
    for node in stack.nodes.names() {
        let event = succeeded.iter().find(|event| event["node"] == node.as_str());
        let event = event.unwrap_or_else(|| panic!("{node} is not in {succeeded:?}"));
        assert_eq!(event["policy"], "general");
        assert!(!event["operation"].as_str().unwrap().is_empty());
    }
    for request in received {
        assert_eq!(request.headers["authorization"], format!("Bearer {SECRET}"));
        assert_eq!(
            request.headers["user-agent"],
            format!("lockkeeper/{}", env!("CARGO_PKG_VERSION"))
        );
    }
}

fn cloud_events_have_their_attributes(single: &[Received], batches: &[Received]) {
    for request in single {
        assert_eq!(request.headers["content-type"], "application/cloudevents+json");
    }
    let mut batched = Vec::new();
    for request in batches {
        assert_eq!(request.headers["content-type"], "application/cloudevents-batch+json");
        batched.extend(request.body.as_array().unwrap().clone());
    }
    let single: Vec<Value> = single.iter().map(|request| request.body.clone()).collect();
    let ids = |events: &[Value]| {
        let mut ids: Vec<_> = events
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&single), ids(&batched), "the same Events in both modes");
    for event in &single {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], "/lockkeeper/e2e");
        assert!(
            event["type"].as_str().unwrap().starts_with("dev.lockkeeper."),
            "{event}"
        );
    }
}

async fn the_counters_tell_what_was_sent(stack: &Stack) {
    let metrics = stack.metrics().await.unwrap();
    let count = |receiver: &str, result: &str| {
        let series = format!("lockkeeper_notifications_total{{receiver=\"{receiver}\",result=\"{result}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(series.as_str()));
        value
            .unwrap_or_else(|| panic!("no {series} in {metrics}"))
            .parse::<u64>()
            .unwrap()
    };
    for receiver in ["slack", "json", "cloudevents", "batch"] {
        assert_eq!(
            (count(receiver, "sent"), count(receiver, "failed")),
            (4, 0),
            "{receiver}"
        );
    }
    assert_eq!((count("hangs", "sent"), count("broken", "sent")), (0, 0));
    assert!(
        metrics.contains("\nlockkeeper_notification_config_errors 0\n"),
        "{metrics}"
    );
}

/// The file changes while the operator runs: what is wrong in it is named, the rest of it counts.
async fn a_bad_file_is_named_and_stops_no_reboot(stack: &mut Stack, receivers: &Receivers, config: &Path) {
    configure(
        config.parent().unwrap(),
        receivers,
        &format!("- {{name: fax, format: Fax, url: 'http://{SECRET}/'}}\n"),
    );
    let node = stack.name(0).to_owned();
    let before = receivers.at("/json").len();
    stack.stage_cause(&node, "again").await.unwrap();
    stack.wait_rebooted_for(&[node], "again", LONG).await.unwrap();
    let told = async || (told_of(&receivers.at("/json")[before..], "RebootSucceeded")).then_some(());
    eventually("the second rollout at /json", told).await.unwrap();
    let log = std::fs::read_to_string(stack.operators[0].log_path()).unwrap();
    let error = "receivers[6].format must be Slack, JSON, CloudEvents or CloudEventsBatch";
    assert!(log.contains(error), "{log}");
    let metrics = stack.metrics().await.unwrap();
    assert!(
        metrics.contains("\nlockkeeper_notification_config_errors 1\n"),
        "{metrics}"
    );
}

fn no_log_has_the_secret(stack: &Stack) {
    let log = std::fs::read_to_string(stack.operators[0].log_path()).unwrap();
    assert!(log.contains("notifications go to 6 receivers"), "{log}");
    assert!(log.contains("/…"), "an attempt that failed is logged without the path");
    for line in log.lines() {
        assert!(!line.contains(SECRET), "{line}");
    }
}
