use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn closed(spec: Value, why: &Expect) {
    let spec: api::RebootPolicySpec = serde_json::from_value(spec).unwrap();
    why.assert_eq(&policy(&spec).schedule.expect_err("it is open"));
}

#[test]
fn an_invalid_field_closes_the_policy_and_the_message_names_field_and_remedy() {
    closed(
        json!({"windows": [{"schedule": "@daily", "durationSeconds": 60}]}),
        &expect![[r#"spec.windows[0]: schedule "@daily" is not five fields of cron: it has 1 fields"#]],
    );
    closed(
        json!({"windows": [{"schedule": "0 1 * * *", "durationSeconds": 60, "timeZone": "Europe/Berlim"}]}),
        &expect![[r#"spec.windows[0]: timeZone "Europe/Berlim" is not an IANA time zone such as Europe/Berlin"#]],
    );
    closed(
        json!({"exclusions": [{"from": "2026-12-18T00:00:00Z"}]}),
        &expect!["spec.exclusions[0]: a dated exclusion needs both from and until"],
    );
    closed(
        json!({"exclusions": [{"from": "2026-12-18T00:00:00Z", "until": "2026-12-18T00:00:00Z"}]}),
        &expect!["spec.exclusions[0]: from must be before until"],
    );
    closed(
        json!({"exclusions": [{"schedule": "0 1 * * *"}]}),
        &expect!["spec.exclusions[0]: a recurring exclusion needs durationSeconds beside schedule"],
    );
    closed(
        json!({"exclusions": [{"schedule": "0 25 * * *", "durationSeconds": 60}]}),
        &expect![[r#"spec.exclusions[0]: schedule "0 25 * * *" is not five fields of cron: "25" in field 2"#]],
    );
    closed(
        json!({"exclusions": [{"reason": "freeze"}]}),
        &expect!["spec.exclusions[0]: give from and until, or schedule and durationSeconds"],
    );
    closed(
        json!({"deadline": {"maxPendingSeconds": 60, "ladder": [
            {"afterSeconds": 5, "override": "ExtraWindow", "window": {"schedule": "0 25 * * *", "durationSeconds": 60}},
        ]}}),
        &expect![[
            r#"spec.deadline.ladder[0]: window: schedule "0 25 * * *" is not five fields of cron: "25" in field 2"#
        ]],
    );
    closed(
        json!({"deadline": {"maxPendingSeconds": 60, "ladder": [{"afterSeconds": 5, "override": "ExtraWindow"}]}}),
        &expect!["spec.deadline.ladder[0]: ExtraWindow needs a window"],
    );
    closed(
        json!({"disruption": {"maxUnavailable": "150%"}}),
        &expect!["spec.disruption.maxUnavailable is neither a count nor a percentage from 0% to 100%"],
    );
}

#[test]
fn a_ladder_is_sorted_by_time_and_an_override_of_a_newer_version_overrides_nothing() {
    let spec = json!({
        "deadline": {"maxPendingSeconds": 700, "ladder": [
            {"afterSeconds": 90, "override": "DeletePods"},
            {"afterSeconds": 10, "override": "IgnoreLimits"},
            {"afterSeconds": 60, "override": "IgnoreWindows"},
        ]},
        "urgent": {
            "reason": "CVE", "from": "2026-12-01T08:00:00Z", "until": "2026-12-01T18:00:00Z",
            "overrides": ["IgnoreLimits", "ExtraWindow", "IgnoreChecks"],
        },
    });
    let policy = policy(&serde_json::from_value(spec).unwrap());
    let ladder = policy.deadline.unwrap().ladder;
    let ladder: Vec<_> = ladder
        .iter()
        .map(|rung| (rung.after.num_seconds(), rung.kind))
        .collect();
    assert_eq!(
        ladder,
        [
            (60, planner::Override::IgnoreWindows),
            (90, planner::Override::DeletePods)
        ]
    );
    assert_eq!(policy.urgent.unwrap().overrides, [planner::Override::IgnoreChecks]);
}

#[test]
fn a_dated_and_a_recurring_exclusion_keep_their_reasons() {
    let spec = json!({"exclusions": [
        {"from": "2026-12-18T00:00:00Z", "until": "2027-01-04T00:00:00Z", "reason": "freeze"},
        {"schedule": "0 12 * * *", "durationSeconds": 3600, "timeZone": "Europe/Berlin", "reason": "lunch"},
    ]});
    let schedule = schedule(&serde_json::from_value(spec).unwrap()).unwrap();
    let at = |text: &str| schedule.opening(text.parse().unwrap());
    let excluded = |text: &str| match at(text) {
        planner::Opening::Excluded { reason, .. } => reason,
        open => panic!("{open:?}"),
    };
    assert_eq!(excluded("2026-12-24T18:00:00Z"), "freeze");
    assert_eq!(excluded("2026-11-24T11:30:00Z"), "lunch");
}

#[test]
fn what_a_status_remembers_survives_the_way_there_and_back() {
    let time = |text: &str| text.parse().unwrap();
    let state = planner::PolicyState {
        rollout: Some(planner::Rollout {
            id: "7f3c".into(),
            started: time("2026-11-24T22:00:00Z"),
            canary_passed: Some(time("2026-11-24T22:30:00Z")),
        }),
        breaker: planner::Breaker {
            state: planner::BreakerState::Probing,
            opened: Some(time("2026-11-24T22:10:00Z")),
            failed: vec!["w-01".into()],
        },
    };
    let (rollout, breaker) = policy_state_to_api(&state);
    let status = api::RebootPolicyStatus {
        rollout,
        breaker,
        ..api::RebootPolicyStatus::default()
    };
    assert_eq!(policy_state(&status), state);
    assert_eq!(
        policy_state_to_api(&planner::PolicyState::default()),
        (None, None),
        "nothing is written while there is nothing to say"
    );
}

fn allowed(text: &str, total: usize) -> usize {
    limit(&serde_json::from_str(text).unwrap()).of(total)
}

#[test]
fn a_percentage_rounds_down_to_at_least_one_node() {
    assert_eq!(allowed("\"10%\"", 39), 3);
    assert_eq!(allowed("\"10%\"", 3), 1);
    assert_eq!(allowed("\"100%\"", 7), 7);
}

#[test]
fn a_limit_of_zero_or_an_invalid_one_lets_no_node_start() {
    for text in ["\"0%\"", "0", "\"101%\"", "\"ten\"", "-1"] {
        assert_eq!(allowed(text, 40), 0, "{text}");
    }
}
