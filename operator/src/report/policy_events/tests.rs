use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn check(before: &Value, after: &Value, expected: &Expect) {
    let status = |value: &Value| serde_json::from_value::<RebootPolicyStatus>(value.clone()).unwrap();
    let events = events("workers", &status(before), &status(after));
    let lines: Vec<String> = events
        .iter()
        .map(|event| format!("{:?} {}: {}", event.severity, event.reason.as_str(), event.message))
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

fn rollout(canary: Option<&str>) -> Value {
    json!({"nodes": 12, "upToDate": 7, "rollout": {
        "id": "7f3c", "startedTime": "2026-11-24T22:00:00Z", "canaryPassedTime": canary,
    }})
}

fn breaker(state: &str) -> Value {
    json!({"breaker": {"state": state, "openedTime": "2026-11-24T22:10:00Z", "failedNodes": ["w-01"]}})
}

#[test]
fn a_rollout_its_canary_and_its_end_have_one_event_each() {
    let passed = Some("2026-11-24T22:30:00Z");
    check(
        &json!({}),
        &rollout(None),
        &expect!["Normal RolloutStarted: rollout 7f3c: 5 of 12 nodes are not up to date"],
    );
    check(&rollout(None), &rollout(None), &expect![""]);
    check(
        &rollout(None),
        &rollout(passed),
        &expect!["Normal CanaryPassed: the canary stayed healthy until 2026-11-24T22:30:00Z; other nodes may start"],
    );
    check(
        &rollout(passed),
        &json!({}),
        &expect!["Normal RolloutFinished: rollout 7f3c finished: no node requires a reboot"],
    );
}

#[test]
fn the_event_of_an_open_breaker_names_the_failed_nodes_and_how_it_closes() {
    check(
        &json!({}),
        &breaker("Open"),
        &expect![
            "Warning BreakerOpened: breaker open: no node starts after 1 failed node (w-01); retry or release it, or allow one more node: kubectl annotate rbp workers --overwrite lockkeeper.dev/breaker-acknowledged=2026-11-24T22:10:00Z"
        ],
    );
    check(&breaker("Open"), &breaker("Open"), &expect![""]);
    check(
        &breaker("Open"),
        &breaker("Probing"),
        &expect!["Normal BreakerProbing: allowing one node as a probe"],
    );
    check(
        &breaker("Probing"),
        &json!({}),
        &expect!["Normal BreakerClosed: nodes may start again"],
    );
}

#[test]
fn a_condition_that_becomes_bad_is_an_event_with_its_message() {
    let ready = |status: &str| {
        json!({"conditions": [{"type": "Ready", "status": status, "reason": "NodesFailed", "message": "w-01 failed",
            "lastTransitionTime": "2026-11-24T22:10:00Z"}]})
    };
    check(
        &json!({}),
        &ready("False"),
        &expect!["Warning NodesFailed: w-01 failed"],
    );
    check(&ready("False"), &ready("False"), &expect![""]);
    check(&ready("False"), &ready("True"), &expect![""]);
}
