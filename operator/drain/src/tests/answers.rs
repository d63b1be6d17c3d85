//! What each answer of the API server means; the bodies are a real one's, shortened.

use std::time::Duration;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::answer::{EvictionAnswer, classify};

fn check(code: u16, retry_after: Option<u64>, body: &Value, expected: &Expect) {
    let answer = classify(code, retry_after.map(Duration::from_secs), body.to_string().as_bytes());
    expected.assert_eq(&format!("{answer:?}"));
}

fn budget_429(cause: &str) -> Value {
    json!({
        "kind": "Status", "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "reason": "TooManyRequests", "code": 429,
        "details": {"causes": [{"reason": "DisruptionBudget", "message": cause}]},
    })
}

fn status(message: &str) -> Value {
    json!({"kind": "Status", "message": message})
}

#[test]
fn a_created_eviction_is_granted() {
    check(
        201,
        None,
        &json!({"kind": "Status", "status": "Success", "code": 201}),
        &expect!["Granted"],
    );
}

#[test]
fn a_missing_pod_counts_as_gone() {
    check(404, None, &status("pods \"web-0\" not found"), &expect!["Gone"]);
}

#[test]
fn another_pod_of_the_same_name_counts_as_gone() {
    let message = "Operation cannot be fulfilled on pods \"web-0\": the UID in the precondition (a) does not match the \
                   UID in record (b). The object might have been deleted and then recreated";
    check(409, None, &status(message), &expect!["Gone"]);
}

#[test]
fn a_write_conflict_is_retried() {
    let message = "Operation cannot be fulfilled on pods \"web-0\": the object has been modified";
    check(
        409,
        None,
        &status(message),
        &expect![[
            r#"Unavailable { message: "Operation cannot be fulfilled on pods \"web-0\": the object has been modified", retry_after: None }"#
        ]],
    );
}

#[test]
fn an_exhausted_budget_is_named() {
    let cause = "The disruption budget web needs 2 healthy pods and has 2 currently";
    check(
        429,
        None,
        &budget_429(cause),
        &expect![[
            r#"Budget { name: Some("web"), message: "The disruption budget web needs 2 healthy pods and has 2 currently", retry_after: None }"#
        ]],
    );
}

#[test]
fn a_budget_that_is_being_recomputed_says_when_to_retry() {
    let cause = "The disruption budget web is still being processed by the server.";
    check(
        429,
        Some(10),
        &budget_429(cause),
        &expect![[
            r#"Budget { name: Some("web"), message: "The disruption budget web is still being processed by the server.", retry_after: Some(10s) }"#
        ]],
    );
}

#[test]
fn a_busy_api_server_is_no_refusal_of_the_pod() {
    check(
        429,
        Some(1),
        &status("Too many requests, please try again later."),
        &expect!["Busy { retry_after: Some(1s) }"],
    );
    check(
        429,
        None,
        &json!("not even a status"),
        &expect!["Busy { retry_after: None }"],
    );
}

#[test]
fn the_message_of_a_429_that_is_no_overload_is_kept() {
    let own = "admission webhook \"virt.example\" denied the request: evacuation of the VM has started";
    for message in [own, "pod web-0 is being migrated, try again in a minute"] {
        let mut body = status(message);
        let expected = EvictionAnswer::Webhook {
            code: 429,
            message: message.to_owned(),
        };
        assert_eq!(classify(429, None, body.to_string().as_bytes()), expected);
        body["reason"] = json!("TooManyRequests");
        assert_eq!(classify(429, None, body.to_string().as_bytes()), expected);
    }
    let mut body = budget_429("The disruption budget web needs 2 healthy pods and has 2 currently");
    body["message"] = json!(own);
    let expected = EvictionAnswer::Webhook {
        code: 429,
        message: own.to_owned(),
    };
    assert_eq!(classify(429, None, body.to_string().as_bytes()), expected);
}

#[test]
fn a_webhook_may_refuse_with_any_status_code() {
    for code in [400, 403, 409, 422, 429, 500] {
        let message = "admission webhook \"virt.example\" denied the request: migration first";
        let answer = classify(code, None, status(message).to_string().as_bytes());
        let message = message.to_owned();
        assert_eq!(answer, EvictionAnswer::Webhook { code, message });
    }
}

#[test]
fn a_webhook_that_cannot_be_called_is_named() {
    let message = "Internal error occurred: failed calling webhook \"virt.example\": connection refused";
    check(
        500,
        None,
        &status(message),
        &expect![[
            r#"Webhook { code: 500, message: "Internal error occurred: failed calling webhook \"virt.example\": connection refused" }"#
        ]],
    );
}

#[test]
fn a_missing_permission_differs_from_other_refusals() {
    let message = "pods \"web-0\" is forbidden: User \"u\" cannot create resource \"pods/eviction\" in API group \"\"";
    check(
        403,
        None,
        &status(message),
        &expect![[
            r#"Forbidden { message: "pods \"web-0\" is forbidden: User \"u\" cannot create resource \"pods/eviction\" in API group \"\"" }"#
        ]],
    );
    let body = json!({"message": "forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
    check(403, None, &body, &expect!["NamespaceTerminating"]);
    let body = json!({
        "message": "pdb disruptions allowed is negative",
        "details": {"kind": "poddisruptionbudgets", "name": "web"},
    });
    check(
        403,
        None,
        &body,
        &expect![[
            r#"Budget { name: Some("web"), message: "pdb disruptions allowed is negative", retry_after: None }"#
        ]],
    );
    check(
        403,
        None,
        &status("denied by policy"),
        &expect![[r#"Refused { code: 403, message: "denied by policy" }"#]],
    );
}

#[test]
fn two_budgets_differ_from_other_errors_of_the_server() {
    let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    check(500, None, &status(message), &expect!["TwoBudgets"]);
    check(
        500,
        None,
        &status("etcdserver: leader changed"),
        &expect![[r#"Unavailable { message: "etcdserver: leader changed", retry_after: None }"#]],
    );
    check(
        504,
        Some(10),
        &status("Timeout: request did not complete"),
        &expect![[r#"Unavailable { message: "Timeout: request did not complete", retry_after: Some(10s) }"#]],
    );
    check(
        502,
        None,
        &json!("<html>"),
        &expect![[r#"Unavailable { message: "HTTP status 502", retry_after: None }"#]],
    );
}

#[test]
fn an_invalid_request_is_shown_and_not_retried_at_once() {
    check(
        400,
        None,
        &status("unknown field \"x\""),
        &expect![[r#"Refused { code: 400, message: "unknown field \"x\"" }"#]],
    );
}

#[test]
fn a_terminal_obeys_no_character_of_a_webhooks_words() {
    let message = "admission webhook \"w\" denied the request: \u{1b}[2Jno\u{202e}\nway";
    check(
        403,
        None,
        &status(message),
        &expect![[r#"Webhook { code: 403, message: "admission webhook \"w\" denied the request: �[2Jno� way" }"#]],
    );
}
