//! What the API server refuses, and what happens to that which gets past it.

use lockkeeper_crds::condition;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use super::{change, policy_where};

pub(super) fn bad_values_are_refused_with_field_and_remedy(stack: &Stack) {
    for schedule in [
        "@daily",
        "0 0 L * *",
        "0 0 15W * *",
        "0 0 * * FRI#2",
        "0 0 * * 5L",
        "0 0 0 * * *",
    ] {
        let rule = json!([{"schedule": schedule, "durationSeconds": 60, "reason": "extras of other crons"}]);
        let said = refused(stack, &json!({"exclusions": rule}));
        assert!(said.contains("spec.exclusions[0].schedule"), "{schedule}: {said}");
        let said = refused(
            stack,
            &json!({"windows": [{"schedule": schedule, "durationSeconds": 60}]}),
        );
        assert!(said.contains("spec.windows[0].schedule"), "{schedule}: {said}");
    }
    let exclusion = |exclusion: Value| json!({"exclusions": [exclusion]});
    let (early, late) = ("2026-12-18T00:00:00Z", "2027-01-04T00:00:00Z");
    for (spec, words) in [
        (
            exclusion(json!({"from": early})),
            "a dated exclusion needs both from and until",
        ),
        (
            exclusion(json!({"from": late, "until": early})),
            "from must be before until",
        ),
        (
            exclusion(json!({"from": "tomorrow", "until": late})),
            "spec.exclusions[0].from",
        ),
        (
            exclusion(json!({"reason": "freeze"})),
            "an exclusion is either dated (from, until) or recurring",
        ),
        (
            exclusion(json!({"from": early, "until": late, "schedule": "0 1 * * *", "durationSeconds": 60})),
            "an exclusion is either dated (from, until) or recurring",
        ),
        (
            exclusion(json!({"schedule": "0 1 * * *"})),
            "a recurring exclusion needs both schedule and durationSeconds",
        ),
        (
            exclusion(json!({"schedule": "@daily", "durationSeconds": 60})),
            "spec.exclusions[0].schedule",
        ),
        (
            exclusion(json!({"schedule": "0 1 * * *", "durationSeconds": 60, "timeZone": "Europe/Berlim"})),
            "spec.exclusions[0].timeZone",
        ),
        (
            json!({"disruption": {"topology": [{"key": "zone"}]}}),
            "set maxDomains, maxInProgressPerDomain, or both",
        ),
        (
            json!({"disruption": {"topology": [{"key": "zone", "maxDomains": 0}]}}),
            "spec.disruption.topology[0].maxDomains",
        ),
        (
            json!({"disruption": {"minSecondsBetween": 0}}),
            "spec.disruption.minSecondsBetween",
        ),
        (json!({"order": "Random"}), "spec.order"),
        (json!({"canary": {"nodes": 0}}), "spec.canary.nodes"),
        (json!({"canary": {"soakSeconds": 60}}), "spec.canary.nodes"),
        (json!({"approval": "Sometimes"}), "spec.approval"),
        (json!({"breaker": {"maxFailedNodes": 0}}), "spec.breaker.maxFailedNodes"),
        (
            json!({"breaker": {"cooldownSeconds": 1}}),
            "spec.breaker.cooldownSeconds",
        ),
    ] {
        let said = refused(stack, &spec);
        assert!(said.contains(words), "{spec}: {said}");
    }
}

/// The API server knows the zone Factory, which is no place.
pub(super) async fn what_gets_past_admission_closes_the_policy_and_says_why(stack: &Stack) {
    let nowhere = json!([{"schedule": "0 1 * * *", "durationSeconds": 60, "timeZone": "Factory"}]);
    change(stack, &json!({"exclusions": nowhere}));
    let status = policy_where(stack, |status| condition::find(&status.conditions, "Stalled").is_some()).await;
    let ready = condition::find(&status.conditions, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "InvalidSpec"));
    let words = [
        "spec.exclusions[0]: timeZone \"Factory\"",
        "no node starts until it is fixed",
    ];
    assert!(
        words.iter().all(|words| ready.message.contains(words)),
        "{}",
        ready.message
    );
    change(stack, &json!({"exclusions": null}));
}

/// Creates a policy, which must not work, and returns what kubectl says.
fn refused(stack: &Stack, spec: &Value) -> String {
    let metadata = json!({"name": "nonsense"});
    let object =
        json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": metadata, "spec": spec});
    let file = stack.plane.dir().join("nonsense.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let created = stack.plane.kubectl(&["create", "-f", &file.to_string_lossy()]);
    let error = created.expect_err(&format!("{spec} was taken"));
    format!("{error:#}")
}
