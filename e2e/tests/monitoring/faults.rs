//! Faults of nodes and policies, all at once, each under a policy of its own; and how each is mended.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Timelike, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use lockkeeper_crds::{RebootLock, names};
use lockkeeper_e2e::hollow::{DOWN_SECONDS, NEVER_BACK, is_ready};
use lockkeeper_e2e::hollow_agents::{
    AGENT_DEAD, DETECTOR_FAILS, REBOOT_REQUIRED, REBOOT_REQUIRED_SINCE, STILL_REQUIRED,
};
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::{Value, json};

use super::LONG;

/// The policy of each node, by the node's number.
pub(crate) const POLICIES: [&str; 11] = [
    "lost", "stuck", "silent", "blind", "left", "stalled", "missed", "short", "short", "rare", "again",
];

/// What each fault must raise: alert, labels.
pub(crate) const RAISED: [(&str, &[(&str, &str)]); 16] = [
    (
        "LockkeeperNodeNotBackAfterReboot",
        &[("node", "hollow-0000"), ("policy", "lost"), ("severity", "critical")],
    ),
    ("LockkeeperNodeFailed", &[("node", "hollow-0000"), ("policy", "lost")]),
    ("LockkeeperBreakerOpen", &[("policy", "lost")]),
    ("LockkeeperDrainStuck", &[("node", "hollow-0001"), ("policy", "stuck")]),
    (
        "LockkeeperRebootBlocked",
        &[("policy", "stuck"), ("reason", "EvictionBlocked")],
    ),
    ("LockkeeperAgentMissing", &[("policy", "silent")]),
    (
        "LockkeeperDetectorFailing",
        &[("node", "hollow-0003"), ("policy", "blind")],
    ),
    (
        "LockkeeperOrphanedCordon",
        &[("node", "hollow-0004"), ("policy", "left")],
    ),
    ("LockkeeperRolloutStuck", &[("policy", "stalled")]),
    (
        "LockkeeperRebootOverdue",
        &[("node", "hollow-0005"), ("policy", "stalled")],
    ),
    ("LockkeeperWindowMissed", &[("policy", "missed")]),
    ("LockkeeperWindowTooShort", &[("policy", "short")]),
    ("LockkeeperScheduleTooTight", &[("policy", "rare")]),
    ("LockkeeperDeadlineMissed", &[("policy", "stalled")]),
    ("LockkeeperDeadlineAtRisk", &[("policy", "missed")]),
    (
        "LockkeeperPolicyDegraded",
        &[("policy", "again"), ("condition", "Degraded")],
    ),
];

/// A policy for each fault; nothing is wrong yet.
pub(crate) async fn make_policies(stack: &Stack) {
    for (number, policy) in POLICIES.iter().enumerate() {
        let label = format!("fault={policy}");
        stack
            .plane
            .kubectl(&["label", "node", name(stack, number), &label])
            .unwrap();
    }
    let start = Utc::now() - TimeDelta::minutes(1);
    let short = format!("{} {} * * *", start.minute(), start.hour());
    // A check that passes while the node soaks: its metric is seen as well.
    let no_batch =
        json!({"name": "batch", "pods": {"selector": {"matchLabels": {"app": "batch"}}, "expect": "NoneRunning"}});
    for (policy, more) in [
        ("lost", json!({"reboot": {"timeoutSeconds": 30}})),
        ("stuck", json!({})),
        ("silent", json!({})),
        ("blind", json!({})),
        ("left", json!({})),
        ("stalled", deadline(60, 1)),
        // Its node is held, and no forecast reboots it.
        ("missed", deadline(86_400, 3600)),
        (
            "short",
            json!({"windows": [{"schedule": short, "durationSeconds": 600}]}),
        ),
        ("rare", json!({})),
        ("again", json!({"checks": {"after": [no_batch], "soakSeconds": 5}})),
    ] {
        let mut spec = more;
        spec["nodeSelector"] = json!({"matchLabels": {"fault": policy}});
        stack.plane.policy(policy, spec).await.unwrap();
    }
    let locks: Api<RebootLock> = Api::all(stack.plane.client());
    let end = tokio::time::Instant::now() + LONG;
    while locks.get_opt(names::LOCK).await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < end, "no lock was made");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Else the first one that is stuck would keep all others out.
    patch(stack, "rlock", names::LOCK, &json!({"spec": {"maxInProgress": 8}}));
}

fn deadline(max_pending: i64, after: i64) -> Value {
    let rung = json!({"afterSeconds": after, "override": "IgnoreChecks"});
    json!({"deadline": {"maxPendingSeconds": max_pending, "ladder": [rung]}})
}

/// Everything goes wrong.
pub(crate) async fn stage(stack: &Stack) {
    let [lost, blocked, silent, blind, left, stalled, missed] = [0, 1, 2, 3, 4, 5, 6].map(|number| name(stack, number));
    workload::pin(&stack.plane.client(), blocked, 1).await.unwrap();
    workload::guard(&stack.plane.client(), blocked).await.unwrap();
    for node in [lost, left] {
        set(stack, node, NEVER_BACK, Some("true")).await;
    }
    stack.nodes.reboot(left).await.unwrap();
    set(
        stack,
        blind,
        DETECTOR_FAILS,
        Some("SUSE sentinel cannot be read: not a regular file"),
    )
    .await;
    set(stack, silent, AGENT_DEAD, Some("true")).await;
    set(stack, stalled, names::HOLD, Some("until an admin has looked")).await;
    let since = (Utc::now() - TimeDelta::days(20)).to_rfc3339_opts(SecondsFormat::Secs, true);
    set(stack, stalled, REBOOT_REQUIRED_SINCE, Some(&since)).await;
    set(stack, missed, names::HOLD, Some("until the window is over")).await;
    set(stack, name(stack, 10), STILL_REQUIRED, Some("true")).await;
    for number in [7, 8] {
        set(stack, name(stack, number), DOWN_SECONDS, Some("15")).await;
    }
    for number in [0, 1, 5, 6, 7, 8, 10] {
        stack.stage_update(name(stack, number)).await.unwrap();
    }
    let rare = json!({"spec": {"windows": [{"schedule": "0 3 1 1 *", "durationSeconds": 60}]}});
    patch(stack, "rbp", "rare", &rare);
    stack.plane.kubectl(&["delete", "nrb", silent]).unwrap();
    leave_cordoned(stack, left).await;
    pending(stack, missed).await;
    freeze(stack, "missed");
}

/// Whatever window of the policy is open closes now.
pub(crate) fn freeze(stack: &Stack, policy: &str) {
    let (from, until) = (Utc::now() - TimeDelta::minutes(1), Utc::now() + TimeDelta::days(1));
    let [from, until] = [from, until].map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let freeze = json!([{"from": from, "until": until, "reason": "freeze"}]);
    patch(stack, "rbp", policy, &json!({"spec": {"exclusions": freeze}}));
}

/// The node of this policy needs a reboot and is held, and the policy's status says so.
pub(crate) async fn wait_held(stack: &Stack, policy: &str) {
    let number = POLICIES.iter().position(|one| *one == policy).unwrap();
    let node = name(stack, number);
    set(stack, node, names::HOLD, Some("until the window is over")).await;
    stack.stage_update(node).await.unwrap();
    pending(stack, node).await;
    let (policy, limit) = (format!("rbp/{policy}"), format!("--timeout={}s", LONG.as_secs()));
    let wait = ["wait", &policy, "--for=jsonpath={.status.pending}=1", &limit];
    stack.plane.kubectl(&wait).unwrap();
}

/// A node with an orphaned cordon, as a restored backup leaves it: cordoned by us, and not in progress.
async fn leave_cordoned(stack: &Stack, node: &str) {
    let nodes: Api<Node> = Api::all(stack.plane.client());
    let end = tokio::time::Instant::now() + LONG;
    while is_ready(&nodes.get(node).await.unwrap()) {
        assert!(tokio::time::Instant::now() < end, "{node} does not go down");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stack.plane.kubectl(&["cordon", node]).unwrap();
    set(stack, node, names::OPERATION, Some("0ld")).await;
}

async fn pending(stack: &Stack, node: &str) {
    let held = |reboot: &lockkeeper_crds::NodeReboot| {
        let waiting = reboot.status.as_ref().and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason == "Held")
    };
    stack.wait_reboot(node, "held", LONG, held).await.unwrap();
}

/// The node of this policy is held no more; its name.
pub(crate) async fn release(stack: &Stack, policy: &str) -> String {
    let number = POLICIES.iter().position(|one| *one == policy).unwrap();
    set(stack, name(stack, number), names::HOLD, None).await;
    name(stack, number).to_owned()
}

/// Everything is put right by a person.
pub(crate) async fn mend(stack: &Stack) {
    let [lost, blocked, silent, blind, left, stalled, missed] = [0, 1, 2, 3, 4, 5, 6].map(|number| name(stack, number));
    for node in [lost, left] {
        set(stack, node, NEVER_BACK, None).await;
    }
    let said = stack.plugin(&["retry", lost]).await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let budget = format!("pinned-{blocked}");
    stack
        .plane
        .kubectl(&["delete", "poddisruptionbudget", &budget])
        .unwrap();
    set(stack, silent, AGENT_DEAD, None).await;
    set(stack, blind, DETECTOR_FAILS, None).await;
    set(stack, left, names::OPERATION, None).await;
    stack.plane.kubectl(&["uncordon", left]).unwrap();
    for node in [stalled, missed] {
        set(stack, node, names::HOLD, None).await;
    }
    patch(stack, "rbp", "missed", &json!({"spec": {"exclusions": null}}));
    patch(stack, "rbp", "rare", &json!({"spec": {"windows": null}}));
    let again = name(stack, 10);
    set(stack, again, STILL_REQUIRED, None).await;
    set(stack, again, REBOOT_REQUIRED, None).await;
}

pub(crate) fn patch(stack: &Stack, kind: &str, name: &str, patch: &Value) {
    let patch = format!("--patch={patch}");
    stack
        .plane
        .kubectl(&["patch", kind, name, "--type=merge", &patch])
        .unwrap();
}

async fn set(stack: &Stack, node: &str, key: &str, value: Option<&str>) {
    stack.nodes.annotate(node, key, value).await.unwrap();
}

fn name(stack: &Stack, number: usize) -> &str {
    &stack.nodes.names()[number]
}
