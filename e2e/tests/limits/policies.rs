//! What a policy says of itself: the breaker, an acknowledgement that means nothing, a schedule that is too tight, a
//! spec that cannot be decoded. Each reads the same in status, Event, metric and plugin.

use chrono::SecondsFormat;
use kube::Api;
use lockkeeper_crds::{BreakerState, RebootPolicy, RebootPolicyStatus, condition, names};
use lockkeeper_e2e::hollow_agents::REBOOT_FAILS;
use lockkeeper_e2e::stack::Stack;
use serde_json::json;

use super::same::{Words, condition_reads_the_same, reads_the_same, says_about_policy};
use super::{LONG, annotate, change, name, policy_where};

/// The node that fails, and one that waits for its sake.
const FAILS: usize = 2;
const WAITS: usize = 3;

pub(super) async fn a_failed_node_opens_the_breaker_and_a_probe_closes_it(stack: &Stack) {
    let two = json!({"maxInProgress": 2, "topology": null});
    change(stack, &json!({"approval": "Automatic", "disruption": two}));
    annotate(stack, FAILS, REBOOT_FAILS, Some("Access denied")).await;
    stack.stage_cause(name(stack, FAILS), "breaks").await.unwrap();
    let failed = reads_the_same(stack, name(stack, FAILS), "Failed", Words::All).await;
    assert!(failed.message.contains("Access denied"), "{}", failed.message);
    stack.stage_cause(name(stack, WAITS), "after-breaks").await.unwrap();
    let waiting = reads_the_same(stack, name(stack, WAITS), "BreakerOpen", Words::All).await;
    assert_eq!(
        waiting.message,
        format!(
            "breaker open: 1 failed node ({}); retry or release it to continue",
            name(stack, FAILS)
        )
    );
    let status = policy_where(stack, |status| state(status) == BreakerState::Open).await;
    let opened = status.breaker.unwrap().opened_time.unwrap();
    let opened = opened.to_rfc3339_opts(SecondsFormat::Secs, true);
    let note = says_about_policy(stack, "BreakerOpened").await;
    let remedy = format!("{}={opened}", names::BREAKER_ACKNOWLEDGED);
    assert!(note.contains(name(stack, FAILS)) && note.contains(&remedy), "{note}");
    metric(stack, "lockkeeper_breaker_open{policy=\"general\"} 1").await;
    acknowledge(stack, "yes");
    let words = condition_reads_the_same(stack, "AcknowledgementInvalid", "InvalidTime").await;
    assert!(words.contains(&format!("set it to {opened}")), "{words}");
    acknowledge(stack, &opened);
    let probe = [name(stack, WAITS).to_owned()];
    stack.wait_rebooted_for(&probe, "after-breaks", LONG).await.unwrap();
    let status = policy_where(stack, |status| state(status) == BreakerState::Closed).await;
    assert!(condition::find(&status.conditions, "AcknowledgementInvalid").is_none());
    assert_eq!(
        says_about_policy(stack, "BreakerProbing").await,
        "allowing one node as a probe"
    );
    assert_eq!(says_about_policy(stack, "BreakerClosed").await, "nodes may start again");
    metric(stack, "lockkeeper_breaker_open{policy=\"general\"} 0").await;
    annotate(stack, FAILS, REBOOT_FAILS, None).await;
    let output = stack.plugin(&["retry", name(stack, FAILS)]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let retried = [name(stack, FAILS).to_owned()];
    stack.wait_rebooted_for(&retried, "breaks", LONG).await.unwrap();
}

pub(super) async fn a_schedule_that_is_too_tight_warns_and_goes_on(stack: &Stack) {
    let monthly = json!([{"schedule": "0 3 1 * *", "durationSeconds": 3600, "timeZone": "Asia/Tokyo"}]);
    change(stack, &json!({"windows": monthly}));
    let words = condition_reads_the_same(stack, "ScheduleTooTight", "InsufficientWindowTime").await;
    assert!(
        words.starts_with("nodes may start for ") && words.contains("widen spec.windows"),
        "{words}"
    );
    let status = policy_where(stack, |_| true).await;
    assert!(condition::is_true(&status.conditions, "Ready"), "it is a warning");
    change(stack, &json!({"windows": null}));
    policy_where(stack, |status| {
        condition::find(&status.conditions, "ScheduleTooTight").is_none()
    })
    .await;
}

/// As under a definition that is older than the operator: the API server takes what the operator cannot read.
pub(super) async fn a_policy_that_cannot_be_decoded_says_so_and_nothing_starts(stack: &Stack) {
    const FIELD: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/disruption/properties/\
                         minSecondsBetween";
    let anything = json!([{"op": "replace", "path": FIELD, "value": {"x-kubernetes-preserve-unknown-fields": true}}]);
    let crd = ["patch", "crd", "rebootpolicies.lockkeeper.dev", "--type=json", "-p"];
    let loose = anything.to_string();
    stack.plane.kubectl(&[&crd[..], &[&loose]].concat()).unwrap();
    let spec =
        json!({"nodeSelector": {"matchLabels": {"none": "of-them"}}, "disruption": {"minSecondsBetween": "soon"}});
    let object = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "odd"},
        "spec": spec});
    let file = stack.plane.dir().join("odd.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let end = tokio::time::Instant::now() + LONG;
    // The new definition is not served at once.
    while let Err(error) = stack.plane.kubectl(&["create", "-f", &file.to_string_lossy()]) {
        assert!(tokio::time::Instant::now() < end, "{error:#}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    stack.stage_cause(name(stack, WAITS), "while-odd").await.unwrap();
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    let said = loop {
        let said = stack.plane.kubectl(&["get", "rbp", "odd", "-o", path]).unwrap();
        if !said.is_empty() {
            break said;
        }
        assert!(tokio::time::Instant::now() < end, "the policy says nothing");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let cause = "spec.disruption.minSecondsBetween: invalid type: string \"soon\", expected i32";
    assert!(
        said.starts_with(cause) && said.contains("kubectl edit rbp odd"),
        "{said}"
    );
    stack
        .wait_reboot(name(stack, WAITS), "ViewIncomplete", LONG, |reboot| {
            let waiting = reboot.status.as_ref().and_then(|status| status.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.reason == "ViewIncomplete" && waiting.message.contains(cause))
        })
        .await
        .unwrap();
    the_plugin_goes_on_beside_it(stack, cause).await;
    stack.plane.kubectl(&["delete", "rbp", "odd"]).unwrap();
    let last = [name(stack, WAITS).to_owned()];
    stack.wait_rebooted_for(&last, "while-odd", LONG).await.unwrap();
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    assert!(policies.get_opt("odd").await.unwrap().is_none());
}

/// The rollout is held up, so following it ends with the time; what is read meanwhile is whole.
async fn the_plugin_goes_on_beside_it(stack: &Stack, cause: &str) {
    let output = stack.plugin(&["status", "--watch", "--timeout=10"]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(cause) && said.contains("general"), "{output:?}");
}

fn state(status: &RebootPolicyStatus) -> BreakerState {
    status
        .breaker
        .as_ref()
        .map_or(BreakerState::Closed, |breaker| breaker.state)
}

fn acknowledge(stack: &Stack, word: &str) {
    let annotation = format!("{}={word}", names::BREAKER_ACKNOWLEDGED);
    let args = ["annotate", "rbp", "general", "--overwrite", &annotation];
    stack.plane.kubectl(&args).unwrap();
}

async fn metric(stack: &Stack, line: &str) {
    let end = tokio::time::Instant::now() + LONG;
    while !stack.metrics().await.unwrap().lines().any(|known| known == line) {
        assert!(tokio::time::Instant::now() < end, "no metric {line}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
