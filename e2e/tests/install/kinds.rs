//! The kinds take what is valid and refuse the rest with a reason, without a webhook.

use kube::Client;
use lockkeeper_crds::RebootPolicy;
use serde_json::{Value, json};

pub(crate) async fn takes_what_is_valid_and_refuses_the_rest_with_a_reason(admin: Client) {
    let window = |schedule: &str, seconds: i32, zone: &str| json!({"windows": [{"schedule": schedule, "durationSeconds": seconds, "timeZone": zone}]});
    for good in [
        json!({}),
        window("0 22 * * MON-THU", 21_600, "Europe/Berlin"),
        window("*/15 0,12 1-7 JAN,JUL 0", 60, "America/Argentina/Buenos_Aires"),
        window("0 2 * * 7", 604_800, "UTC"),
        window("0 22-4 * NOV-FEB fri-mon", 3600, "UTC"),
        json!({"disruption": {"maxInProgress": "10%", "maxUnavailable": 0}}),
        json!({"nodeSelector": {"matchLabels": {"pool": ""}}}),
    ] {
        assert_eq!(create(&admin, &good).await, Ok(()), "{good}");
    }
    for (bad, word) in [
        (window("0 22 * * *", 3600, "Europe/Berlim"), "timeZone"),
        (window("0 22 * * *", 3600, "Local"), "IANA"),
        (window("0 22 * *", 3600, "UTC"), "schedule"),
        (window("61 22 * * *", 3600, "UTC"), "schedule"),
        (window("@daily", 3600, "UTC"), "schedule"),
        (window("0 0 22 * * *", 3600, "UTC"), "schedule"),
        (window("0 22 L * *", 3600, "UTC"), "schedule"),
        (window("0 22 * * *", 59, "UTC"), "durationSeconds"),
        (window("0 22 * * *", 604_801, "UTC"), "durationSeconds"),
        (json!({"disruption": {"maxInProgress": "101%"}}), "maxInProgress"),
        (json!({"disruption": {"maxInProgress": "many"}}), "maxInProgress"),
        (json!({"disruption": {"maxInProgress": -1}}), "maxInProgress"),
        (json!({"disruption": {"maxUnavailable": "-1%"}}), "maxUnavailable"),
        (json!({"drain": {"timeoutSeconds": -5}}), "timeoutSeconds"),
        (json!({"drain": {"gracePeriodSeconds": 0}}), "gracePeriodSeconds"),
        (json!({"drain": {"unmanagedPods": "Perhaps"}}), "unmanagedPods"),
        (json!({"reboot": {"timeoutSeconds": -1}}), "timeoutSeconds"),
        (json!({"nodeSelector": {"matchLabels": {"": "x"}}}), "label key"),
        (
            json!({"nodeSelector": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}),
            "key",
        ),
        (
            json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "values",
        ),
        (json!({"windws": []}), "windws"),
    ] {
        let refused = create(&admin, &bad).await.expect_err(&format!("{bad} was taken"));
        assert!(refused.contains(word), "{bad}: {refused}");
    }
}

/// Tries a policy without keeping it; an unknown field is an error as with `kubectl apply`.
async fn create(admin: &Client, spec: &Value) -> Result<(), String> {
    let body = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "tried"}, "spec": spec});
    let request = http::Request::post("/apis/lockkeeper.dev/v1alpha1/rebootpolicies?dryRun=All&fieldValidation=Strict")
        .header("Content-Type", "application/json")
        .body(serde_json::to_vec(&body).unwrap())
        .unwrap();
    match admin.request::<RebootPolicy>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => panic!("{other}"),
    }
}
