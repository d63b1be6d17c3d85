//! The deadline of a policy and its urgent override, on a real control plane: what opens a closed policy, and what does not.

use std::time::Duration;

use chrono::{Datelike, SecondsFormat, TimeDelta, Utc};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use lockkeeper_crds::node_reboot::WaitingStatus;
use lockkeeper_crds::{NodeReboot, Override, RebootPolicy, RebootPolicyStatus, condition};
use lockkeeper_e2e::pages::block;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);

const PAGE: &str = "docs/deadline.md";

#[tokio::test]
async fn a_deadline_opens_a_closed_policy_and_an_exclusion_keeps_it_closed() {
    let mut stack = Stack::start("deadline", 3, 1).await.unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    what_makes_no_sense_is_refused_at_admission(&stack);
    the_examples_of_the_page_are_accepted(&stack);
    a_node_that_has_reached_a_rung_starts_in_a_closed_window(&stack).await;
    an_exclusion_keeps_an_overdue_node_waiting(&stack).await;
    the_plugin_declares_a_rollout_urgent_and_ends_that(&stack).await;
    recorder.verdict(1, 0).await.unwrap();
    stack.workdir.passed();
}

fn what_makes_no_sense_is_refused_at_admission(stack: &Stack) {
    let rung = |rung: Value| json!({"deadline": {"maxPendingSeconds": 3600, "ladder": [rung]}});
    let urgent = |change: &Value| {
        let mut urgent = json!({"reason": "CVE-2026-1234", "from": "2026-12-01T08:00:00Z", "until": "2026-12-01T18:00:00Z",
            "overrides": ["IgnoreWindows"]});
        for (key, value) in change.as_object().unwrap() {
            urgent[key] = value.clone();
        }
        json!({"urgent": urgent})
    };
    let window = json!({"schedule": "0 8 * * *", "durationSeconds": 3600});
    for (spec, words) in [
        (
            json!({"deadline": {"ladder": []}}),
            "spec.deadline.maxPendingSeconds: Required",
        ),
        (
            rung(json!({"afterSeconds": 60, "override": "ExtraWindow"})),
            "a rung has a window exactly if its override is",
        ),
        (
            rung(json!({"afterSeconds": 60, "override": "IgnoreWindows", "window": window})),
            "a rung has a window exactly if its override is",
        ),
        (
            rung(json!({"afterSeconds": 60, "override": "IgnoreLimits"})),
            "Unsupported value: \"IgnoreLimits\"",
        ),
        (
            rung(json!({"afterSeconds": 0, "override": "IgnoreWindows"})),
            "greater than or equal to 1",
        ),
        (
            urgent(&json!({"reason": " "})),
            "give the reason of the urgent override",
        ),
        (urgent(&json!({"reason": null})), "spec.urgent.reason: Required"),
        (
            urgent(&json!({"until": "2026-12-09T08:00:00Z"})),
            "an urgent override lasts at most 7 days",
        ),
        (
            urgent(&json!({"until": "2026-12-01T08:00:00Z"})),
            "from must be before until",
        ),
        (urgent(&json!({"overrides": []})), "should have at least 1 items"),
        (
            urgent(&json!({"overrides": ["ExtraWindow"]})),
            "add a further window to spec.windows",
        ),
    ] {
        let said = format!(
            "{:#}",
            apply(stack, &policy(&spec)).expect_err(&format!("{spec} was taken"))
        );
        assert!(said.contains(words), "{spec}: {said}");
    }
}

fn the_examples_of_the_page_are_accepted(stack: &Stack) {
    for name in ["deadline", "urgent"] {
        let file = stack.plane.dir().join(format!("{name}.yaml"));
        std::fs::write(&file, block(PAGE, name).unwrap()).unwrap();
        let file = file.to_string_lossy();
        stack
            .plane
            .kubectl(&["apply", "--dry-run=server", "-f", &file])
            .unwrap();
    }
}

async fn a_node_that_has_reached_a_rung_starts_in_a_closed_window(stack: &Stack) {
    let node = name(stack, 0);
    let rung = json!({"afterSeconds": 5, "override": "IgnoreWindows"});
    let deadline = json!({"maxPendingSeconds": 3600, "ladder": [rung]});
    apply(stack, &policy(&json!({"windows": [closed()], "deadline": deadline}))).unwrap();
    stack.stage_cause(node, "rung").await.unwrap();
    rebooted(stack, node, "rung").await;
    let last = stack.reboot(node).await.unwrap().status.unwrap().history.remove(0);
    let overridden = last.overridden.expect("recorded");
    assert_eq!(overridden.overrides, [Override::IgnoreWindows]);
    assert_eq!((overridden.after_seconds, overridden.urgent), (Some(5), None));
    assert!(last.waited_seconds >= Some(5), "{:?}", last.waited_seconds);
    event(stack, "RungReached", "IgnoreWindows applies to 1 node").await;
}

async fn an_exclusion_keeps_an_overdue_node_waiting(stack: &Stack) {
    let node = name(stack, 1);
    let at = |time: chrono::DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let now = Utc::now();
    let freeze =
        json!({"from": at(now - TimeDelta::days(1)), "until": at(now + TimeDelta::days(1)), "reason": "freeze"});
    let deadline = json!({"maxPendingSeconds": 60, "ladder": [{"afterSeconds": 1, "override": "IgnoreWindows"}]});
    let spec = json!({"windows": [closed()], "exclusions": [freeze], "deadline": deadline});
    apply(stack, &policy(&spec)).unwrap();
    stack.stage_cause(node, "freeze").await.unwrap();
    let waiting = waits(stack, node, "Excluded").await;
    assert!(waiting.message.ends_with("freeze"), "{}", waiting.message);
    let status = policy_where(stack, |status| {
        status.deadline.as_ref().is_some_and(|deadline| deadline.overdue == 1)
    })
    .await;
    let missed = condition::find(&status.conditions, "DeadlineMissed").expect("missed");
    assert!(
        missed.message.starts_with("1 node has required a reboot"),
        "{}",
        missed.message
    );
    let said = stack.plugin(&["explain", node]).await.unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("overdue since") && said.contains("IgnoreWindows since"),
        "{said}"
    );
    let said = stack.plugin(&["status"]).await.unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("deadline: 1 overdue after 1 min, 0 more will be by the forecast"),
        "{said}"
    );
    let spec = json!({"windows": [closed()], "exclusions": null, "deadline": deadline});
    apply(stack, &policy(&spec)).unwrap();
    rebooted(stack, node, "freeze").await;
    let done = |status: &RebootPolicyStatus| condition::find(&status.conditions, "DeadlineMissed").is_none();
    policy_where(stack, done).await;
}

async fn the_plugin_declares_a_rollout_urgent_and_ends_that(stack: &Stack) {
    let node = name(stack, 2);
    apply(stack, &policy(&json!({"windows": [closed()], "deadline": null}))).unwrap();
    stack.stage_cause(node, "urgent").await.unwrap();
    waits(stack, node, "OutsideWindow").await;
    let rollout = policy_where(stack, |status| status.rollout.is_some())
        .await
        .rollout
        .unwrap()
        .id;
    let said = stack
        .plugin(&["urgent", "general", "--reason", "CVE-2026-1234", "--hours", "1"])
        .await
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains(&format!("IgnoreWindows for all its nodes in rollout {rollout}")),
        "{said}"
    );
    rebooted(stack, node, "urgent").await;
    let last = stack.reboot(node).await.unwrap().status.unwrap().history.remove(0);
    assert_eq!(last.overridden.unwrap().urgent.as_deref(), Some("CVE-2026-1234"));
    event(stack, "UrgentOverride", "CVE-2026-1234").await;
    // Its rollout is over, and so is the override, although its time is not.
    let ended = |status: &RebootPolicyStatus| condition::find(&status.conditions, "Urgent").is_none();
    policy_where(stack, ended).await;
    event(
        stack,
        "UrgentEnded",
        "windows, checks and disruption budgets apply again",
    )
    .await;
    let said = stack.plugin(&["urgent", "general", "--end"]).await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said.stdout).trim(),
        "policy general is not urgent any more"
    );
}

/// A window that opens in half a year, whenever that is.
fn closed() -> Value {
    let month = (Utc::now().month() + 5) % 12 + 1;
    json!({"schedule": format!("30 3 1 {month} *"), "durationSeconds": 60})
}

fn policy(spec: &Value) -> Value {
    json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "general"}, "spec": spec})
}

fn apply(stack: &Stack, object: &Value) -> anyhow::Result<String> {
    let file = stack.plane.dir().join("policy.json");
    std::fs::write(&file, object.to_string())?;
    stack.plane.kubectl(&["apply", "-f", &file.to_string_lossy()])
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}

async fn waits(stack: &Stack, node: &str, reason: &str) -> WaitingStatus {
    let waiting = |reboot: &NodeReboot| reboot.status.as_ref().and_then(|status| status.waiting.clone());
    let is_wanted = |reboot: &NodeReboot| waiting(reboot).is_some_and(|waiting| waiting.reason == reason);
    let reboot = stack.wait_reboot(node, reason, LONG, is_wanted).await.unwrap();
    waiting(&reboot).unwrap()
}

async fn rebooted(stack: &Stack, node: &str, cause: &str) {
    stack.wait_rebooted_for(&[node.to_owned()], cause, LONG).await.unwrap();
}

/// Waits until the status of the policy is as wanted.
async fn policy_where(stack: &Stack, is_wanted: impl Fn(&RebootPolicyStatus) -> bool) -> RebootPolicyStatus {
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let status = policies.get("general").await.unwrap().status.unwrap_or_default();
        if is_wanted(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < end, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for an Event about the policy with this reason and these words.
async fn event(stack: &Stack, reason: &str, words: &str) {
    let events: Api<Event> = Api::namespaced(stack.plane.client(), "default");
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let list = events.list(&ListParams::default()).await.unwrap();
        let mut found = list.iter().filter(|event| event.reason.as_deref() == Some(reason));
        if found.any(|event| event.note.as_deref().unwrap_or_default().contains(words)) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "no Event {reason}: {words}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
