//! Windows, exclusions and limits on a real API server: what they let through, and that each wait reads the same in
//! status, Event, metric and plugin.

mod admission;
mod policies;
mod same;

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, RebootPolicy, RebootPolicyStatus, WindowState, names};
use lockkeeper_e2e::hollow::DOWN_SECONDS;
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use same::{Words, reads_the_same, says_about_policy};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);
const ZONE: &str = "topology.kubernetes.io/zone";
/// From one window to the other.
const LATER: TimeDelta = TimeDelta::hours(6);
/// The node that is on hold until the end.
const HELD: usize = 6;

#[tokio::test]
async fn each_limit_holds_and_has_the_same_message_everywhere() {
    let mut stack = Stack::start("limits", 7, 1).await.unwrap();
    zones(&stack);
    annotate(&stack, HELD, names::HOLD, Some("debugging the NIC")).await;
    let recorder = Recorder::start(&stack.plane.client());
    admission::bad_values_are_refused_with_field_and_remedy(&stack);
    nothing_starts_while_it_is_excluded(&stack).await;
    let (opens, closes) = a_window_that_is_about_to_open_is_told(&stack, &recorder).await;
    the_canary_goes_first_and_the_others_keep_their_distance(&stack).await;
    a_node_in_progress_finishes_after_the_window_and_no_other_starts(&stack, opens, closes).await;
    one_zone_at_a_time_and_half_of_the_nodes(&stack).await;
    an_approval_is_for_one_reboot(&stack).await;
    the_plugin_looks_back_and_ahead(&stack).await;
    admission::what_gets_past_admission_closes_the_policy_and_says_why(&stack).await;
    policies::a_failed_node_opens_the_breaker_and_a_probe_closes_it(&stack).await;
    policies::a_schedule_that_is_too_tight_warns_and_goes_on(&stack).await;
    policies::a_policy_that_cannot_be_decoded_says_so_and_nothing_starts(&stack).await;
    let seen = recorder.verdict(3, 0).await.unwrap();
    let is_in_a = |name: &String| stack.nodes.names()[..2].contains(name);
    assert!(
        seen.most_down.len() == 3 && !seen.most_down.iter().any(is_in_a),
        "{:?} were down at once",
        seen.most_down
    );
    stack.workdir.passed();
}

/// The first two nodes are in zone a, all others in b.
fn zones(stack: &Stack) {
    for (index, node) in stack.nodes.names().iter().enumerate() {
        let zone = if index < 2 { "a" } else { "b" };
        let label = format!("{ZONE}={zone}");
        stack
            .plane
            .kubectl(&["label", "node", node, "--overwrite", &label])
            .unwrap();
    }
}

async fn nothing_starts_while_it_is_excluded(stack: &Stack) {
    let exclusion = json!({"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "reason": "freeze"});
    let spec = json!({"exclusions": [exclusion]});
    stack.plane.policy("general", spec).await.unwrap();
    stage(stack, "first").await;
    let waiting = reads_the_same(stack, name(stack, 0), "Excluded", Words::All).await;
    assert_eq!(waiting.message, "excluded until 2099-01-01T00:00:00Z: freeze");
    assert_eq!(waiting.until_time, Some("2099-01-01T00:00:00Z".parse().unwrap()));
    let waiting = reads_the_same(stack, name(stack, HELD), "Held", Words::All).await;
    assert_eq!(waiting.message, "held by annotation: \"debugging the NIC\"");
    policy_where(stack, |status| status.rollout.is_some()).await;
    says_about_policy(stack, "RolloutStarted").await;
}

/// The window opens at a full minute and is open for one; another one, in another zone, opens six hours later.
async fn a_window_that_is_about_to_open_is_told(stack: &Stack, recorder: &Recorder) -> (DateTime<Utc>, DateTime<Utc>) {
    let minute = TimeDelta::minutes(1);
    // In 45 s at the earliest: a busy machine needs some for what is looked at before.
    let soon = Utc::now() + TimeDelta::seconds(105);
    let opens = soon.duration_trunc(minute).unwrap();
    let closes = opens + minute;
    let local = |time: DateTime<Utc>, minutes: i64, zone: &str| {
        let schedule = (time + TimeDelta::minutes(minutes)).format("%M %H * * *").to_string();
        json!({"schedule": schedule, "durationSeconds": 60, "timeZone": zone})
    };
    let windows = [
        local(opens + LATER, 9 * 60, "Asia/Tokyo"),
        local(opens, 5 * 60 + 30, "Asia/Kolkata"),
    ];
    change(
        stack,
        &json!({
            "exclusions": null, "windows": windows, "order": "Name", "canary": {"nodes": 1, "soakSeconds": 5},
            "disruption": {"minSecondsBetween": 20},
        }),
    );
    let waiting = reads_the_same(stack, name(stack, 0), "OutsideWindow", Words::All).await;
    assert_eq!(waiting.until_time, Some(opens));
    let until = (opens + TimeDelta::hours(1)).to_rfc3339();
    let next = plugin(stack, &["next", "general", "--until", &until, "-o", "json"]).await;
    let instant = |key: &str| {
        next["openings"][0][key]
            .as_str()
            .unwrap()
            .parse::<DateTime<Utc>>()
            .unwrap()
    };
    assert_eq!((instant("opens"), instant("closes")), (opens, closes));
    assert_eq!(next["openings"].as_array().unwrap().len(), 1);
    let policy = policy_where(stack, |status| status.next_window_time == Some(opens)).await;
    assert_eq!(policy.window, Some(WindowState::Closed));
    assert!(Utc::now() < opens, "the machine is too slow for this test");
    assert_eq!(recorder.seen().order, Vec::<String>::new());
    (opens, closes)
}

async fn the_canary_goes_first_and_the_others_keep_their_distance(stack: &Stack) {
    reads_the_same(stack, name(stack, 2), "CanarySoaking", Words::Shape).await;
    reads_the_same(stack, name(stack, 3), "Pacing", Words::Shape).await;
    let passed = |status: &RebootPolicyStatus| {
        let rollout = status.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.canary_passed_time.is_some())
            && status.estimated_completion_time.is_some()
    };
    policy_where(stack, passed).await;
    says_about_policy(stack, "CanaryPassed").await;
}

async fn a_node_in_progress_finishes_after_the_window_and_no_other_starts(
    stack: &Stack,
    opens: DateTime<Utc>,
    closes: DateTime<Utc>,
) {
    let last = name(stack, HELD - 1);
    let waiting = reads_the_same(stack, last, "OutsideWindow", Words::All).await;
    assert_eq!(waiting.until_time, Some(opens + LATER));
    policy_where(stack, |status| {
        status.in_progress == 0 && status.window == Some(WindowState::Closed)
    })
    .await;
    let starts = starts(stack).await;
    let within = |start: &DateTime<Utc>| opens <= *start && *start < closes;
    assert!(starts.iter().all(within), "{starts:?} within {opens} and {closes}");
    assert!((1..=3).contains(&starts.len()), "a start each 20 s in 60 s: {starts:?}");
    for pair in starts.windows(2) {
        assert!(pair[1] - pair[0] >= TimeDelta::seconds(20), "{starts:?}");
    }
}

async fn one_zone_at_a_time_and_half_of_the_nodes(stack: &Stack) {
    change(
        stack,
        &json!({
            "suspend": true, "windows": null, "canary": null,
            "disruption": {
                "minSecondsBetween": null, "maxInProgress": "50%", "topology": [{"key": ZONE, "maxDomains": 1}],
            },
        }),
    );
    stage(stack, "second").await;
    // Requested, or those that were rebooted a moment ago would queue behind the others.
    for node in 0..HELD {
        annotate(stack, node, names::REBOOT_REQUESTED, Some("second")).await;
    }
    policy_where(stack, |status| {
        status
            .waiting
            .iter()
            .any(|waiting| waiting.reason == "Suspended" && waiting.count >= 6)
    })
    .await;
    // Down for long enough that a busy machine can read in five places why the others wait meanwhile.
    for node in 0..HELD {
        annotate(stack, node, DOWN_SECONDS, Some("15")).await;
    }
    change(stack, &json!({"suspend": false}));
    let waiting = reads_the_same(stack, name(stack, 2), "TopologyFull", Words::Shape).await;
    assert!(
        waiting
            .message
            .starts_with(&format!("limit for {ZONE} a reached (in progress: ")),
        "{}",
        waiting.message
    );
    let waiting = reads_the_same(stack, name(stack, HELD - 1), "NoFreeSlot", Words::Shape).await;
    assert!(
        waiting.message.contains("(3 of 3, policy limit)"),
        "{}",
        waiting.message
    );
    let free = &stack.nodes.names()[..HELD];
    stack.wait_rebooted_for(free, "second", LONG).await.unwrap();
    for node in 0..HELD {
        annotate(stack, node, DOWN_SECONDS, None).await;
    }
}

async fn an_approval_is_for_one_reboot(stack: &Stack) {
    change(stack, &json!({"approval": "Manual"}));
    annotate(stack, HELD, names::HOLD, None).await;
    let node = name(stack, HELD);
    reads_the_same(stack, node, "AwaitingApproval", Words::All).await;
    annotate(stack, HELD, names::APPROVED, Some("seen by two")).await;
    let one = [node.to_owned()];
    stack.wait_rebooted_for(&one, "second", LONG).await.unwrap();
    let now: Node = Api::all(stack.plane.client()).get(node).await.unwrap();
    assert!(!now.annotations().contains_key(names::APPROVED), "it is used up");
    policy_where(stack, |status| {
        status.rollout.is_none() && status.estimated_completion_time.is_none()
    })
    .await;
    says_about_policy(stack, "RolloutFinished").await;
}

async fn the_plugin_looks_back_and_ahead(stack: &Stack) {
    let history = plugin(stack, &["history", "-o", "json"]).await;
    let records = history["entries"].as_array().unwrap();
    assert_eq!(records.len(), starts(stack).await.len());
    let ended: Vec<&str> = records
        .iter()
        .map(|record| record["endedTime"].as_str().unwrap())
        .collect();
    assert!(ended.is_sorted_by(|one, other| one >= other), "newest first: {ended:?}");
    let one = plugin(stack, &["history", name(stack, HELD), "-o", "json"]).await;
    assert_eq!(one["entries"][0]["outcome"], "Succeeded");
    let forecast = plugin(stack, &["forecast", "general", "-o", "json"]).await;
    assert_eq!(forecast["policies"][0]["nodes"], json!([]), "nothing is left to do");
    annotate(stack, 0, names::APPROVED, Some("again")).await;
    annotate(stack, 0, names::HOLD, Some("until the forecast was read")).await;
    annotate(stack, 1, names::REBOOT_REQUESTED, Some("again")).await;
    annotate(stack, 0, names::REBOOT_REQUESTED, Some("again")).await;
    let forecast = plugin(stack, &["forecast", "-o", "json"]).await;
    let never = forecast["policies"][0]["never"].as_array().unwrap();
    let reasons: Vec<&str> = never.iter().map(|node| node["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["Held", "AwaitingApproval"]);
}

/// When operations began, those that have ended and those that have not.
async fn starts(stack: &Stack) -> Vec<DateTime<Utc>> {
    let all = Api::<NodeReboot>::all(stack.plane.client());
    let all = all.list(&ListParams::default()).await.unwrap();
    let statuses = all.items.into_iter().filter_map(|reboot| reboot.status);
    let mut starts: Vec<DateTime<Utc>> = statuses
        .flat_map(|status| {
            let ended = status.history.into_iter().map(|record| record.started_time);
            ended.chain(status.operation.map(|operation| operation.started_time))
        })
        .collect();
    starts.sort_unstable();
    starts
}

/// All nodes ask for a reboot for this cause.
async fn stage(stack: &Stack, cause: &str) {
    for node in stack.nodes.names() {
        stack.stage_cause(node, cause).await.unwrap();
    }
}

/// Waits until the policy's status is of its present spec, and as wanted.
async fn policy_where(stack: &Stack, good: impl Fn(&RebootPolicyStatus) -> bool) -> RebootPolicyStatus {
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    let end = tokio::time::Instant::now() + LONG;
    loop {
        let policy = policies.get("general").await.unwrap();
        let status = policy.status.clone().unwrap_or_default();
        if status.observed_generation == policy.metadata.generation && good(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < end, "the policy stays {status:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn change(stack: &Stack, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    stack
        .plane
        .kubectl(&["patch", "rbp", "general", "--type=merge", "-p", &patch])
        .unwrap();
}

async fn plugin(stack: &Stack, args: &[&str]) -> Value {
    let output = stack.plugin(args).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn annotate(stack: &Stack, node: usize, key: &str, value: Option<&str>) {
    stack.nodes.annotate(name(stack, node), key, value).await.unwrap();
}

fn name(stack: &Stack, index: usize) -> &str {
    &stack.nodes.names()[index]
}
