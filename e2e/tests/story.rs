//! What a person sees of a rollout with kubectl alone, and in the operator's log; and that nothing is said or written
//! again while nothing changes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Api;
use lockkeeper_crds::{RebootPolicy, condition};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::hollow::DOWN_SECONDS;
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(5);
/// As long as the issue asks for.
const IDLE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn kubectl_alone_shows_the_course_of_a_rollout() {
    let mut stack = Stack::start("story", 3, 0).await.unwrap();
    stack
        .start_operator_with(|spec| spec.arg("--log-format=json").env("RUST_LOG", ""))
        .unwrap();
    stack.plane.policy("general", json!({})).await.unwrap();
    stack
        .plane
        .kubectl(&["wait", "--for=condition=Ready", "rbp/general", "--timeout=300s"])
        .unwrap();
    for node in stack.nodes.names().to_vec() {
        stack.nodes.annotate(&node, DOWN_SECONDS, Some("10")).await.unwrap();
        stack.stage_update(&node).await.unwrap();
    }
    get_shows_which_node_is_in_progress_and_why_the_others_wait(&stack).await;
    is_understood_by_kstatus(&stack, false).await;
    stack
        .plane
        .kubectl(&["wait", "--for=condition=UpToDate", "rbp/general", "--timeout=600s"])
        .unwrap();
    is_understood_by_kstatus(&stack, true).await;
    // One of them started at once, the others waited first.
    for node in stack.nodes.names() {
        describe_shows_our_events_in_their_order(&stack, node).await;
    }
    an_idle_minute_costs_no_write_but_the_lease(&stack).await;
    each_decision_is_one_line_of_the_log(&stack);
    stack.workdir.passed();
}

/// The cells of a table's row that are not empty.
fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

async fn get_shows_which_node_is_in_progress_and_why_the_others_wait(stack: &Stack) {
    let end = Instant::now() + LONG;
    loop {
        let shown = stack.plane.kubectl(&["get", "rbp,nrb"]).unwrap();
        let rows: Vec<Vec<&str>> = shown.lines().map(cells).collect();
        let is = |row: &&Vec<&str>, kind: &str| row.first().is_some_and(|name| name.starts_with(kind));
        // Who goes first is whose agent reported first.
        let nodes = || rows.iter().filter(|row| is(row, "nodereboot.lockkeeper.dev/"));
        let in_progress =
            |row: &&Vec<&str>| ["Preparing", "Draining", "Rebooting", "Verifying"].contains(row.get(1).unwrap_or(&""));
        let waits = |row: &&Vec<&str>| {
            row.get(1..4) == Some(&["Pending", "True", "NoFreeSlot"]) && row.get(5) == Some(&"general")
        };
        let policy = rows.iter().find(|row| is(row, "rebootpolicy.lockkeeper.dev/general"));
        let policy = policy.cloned().unwrap_or_default();
        let told = nodes().filter(in_progress).count() == 1
            && nodes().filter(waits).count() == 2
            && policy.get(1..7) == Some(&["True", "3", "0", "2", "1", "0"])
            && policy.get(7) == Some(&"Open");
        if told {
            println!("{shown}");
            return;
        }
        assert!(Instant::now() < end, "{shown}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// As tools such as Argo CD and Flux read it: observed, in progress or current, never stalled.
async fn is_understood_by_kstatus(stack: &Stack, up_to_date: bool) {
    let policies: Api<RebootPolicy> = Api::all(stack.plane.client());
    let policy = policies.get("general").await.unwrap();
    let status = policy.status.unwrap();
    assert_eq!(status.observed_generation, policy.metadata.generation);
    let word = |name: &str| condition::find(&status.conditions, name).map(|condition| condition.status.clone());
    assert_eq!(word("Ready").as_deref(), Some("True"));
    assert_eq!(word("Stalled"), None);
    let expected = if up_to_date { "True" } else { "False" };
    assert_eq!(word("UpToDate").as_deref(), Some(expected));
    for condition in &status.conditions {
        assert_eq!(
            condition.observed_generation, policy.metadata.generation,
            "{condition:?}"
        );
    }
}

async fn describe_shows_our_events_in_their_order(stack: &Stack, node: &str) {
    let wanted = [
        "LockAcquired",
        "DrainStarted",
        "RebootOrdered",
        "NodeRebooted",
        "RebootSucceeded",
    ];
    // They follow each other at once, and are written as one.
    let joined = ["; evicting 0 pods", "uncordoned; rebooted and verified"];
    let end = Instant::now() + LONG;
    loop {
        let shown = stack.plane.kubectl(&["describe", "node", node]).unwrap();
        let events = shown.split("\nEvents:").nth(1).unwrap_or_default();
        let ours = events.lines().filter(|line| line.contains("lockkeeper"));
        let reasons = ours.filter_map(|line| line.split_whitespace().nth(1));
        let told: Vec<&str> = reasons.filter(|reason| wanted.contains(reason)).collect();
        if told.len() >= wanted.len() {
            assert_eq!(told, wanted, "each once, in this order:\n{events}");
            for both in joined {
                assert!(events.contains(both), "{both}:\n{events}");
            }
            assert!(events.contains("reboot required: "), "{events}");
            println!("{events}");
            break;
        }
        assert!(Instant::now() < end, "{events}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn an_idle_minute_costs_no_write_but_the_lease(stack: &Stack) {
    let ours = ["lockkeeper-operator", "lockkeeper-node-agent", "lockkeeper-agent"];
    // What the end of the rollout still has to say is said first, however long a busy machine takes for it.
    let end = Instant::now() + LONG;
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let quiet_since = Utc::now() - TimeDelta::seconds(5);
        let requests = stack.plane.requests().unwrap();
        let late = |request: &&Request| request.received >= quiet_since && request.resource != "leases";
        let mut late = requests.iter().filter(late);
        if !late.any(|request| request.writes() && ours.contains(&request.program())) {
            break;
        }
        assert!(Instant::now() < end, "there is always something to write");
    }
    let begin = Utc::now();
    tokio::time::sleep(IDLE).await;
    let requests = stack.plane.requests().unwrap();
    let seen: BTreeSet<&str> = requests.iter().map(Request::program).collect();
    assert!(
        seen.contains("lockkeeper-operator") && seen.iter().any(|program| program.contains("agent")),
        "{seen:?}"
    );
    let writes = requests
        .iter()
        .filter(|request| request.received >= begin && request.writes() && ours.contains(&request.program()));
    let writes: Vec<_> = writes.filter(|request| request.resource != "leases").collect();
    assert!(writes.is_empty(), "{writes:#?}");
    let posted = requests
        .iter()
        .filter(|request| request.received >= begin && request.resource == "events");
    let posted: Vec<_> = posted.filter(|request| ours.contains(&request.program())).collect();
    assert!(posted.is_empty(), "{posted:#?}");
    println!("in {IDLE:?} without a change: 0 writes but to the Lease, 0 Events");
}

fn each_decision_is_one_line_of_the_log(stack: &Stack) {
    let log = std::fs::read_to_string(stack.operators[0].log_path()).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in log.lines() {
        assert!(line.len() < 1000, "{line}");
        for part in ["managedFields", "resourceVersion", "apiVersion", "ownerReferences"] {
            assert!(!line.contains(part), "an object in a line: {line}");
        }
    }
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let of_node = |action: &str| {
        let lines = lines
            .iter()
            .filter(|line| line["action"] == action && line["node"] == "hollow-0001");
        lines.cloned().collect::<Vec<_>>()
    };
    for action in ["WriteRecord", "SetSpec", "Cordon", "OrderReboot", "Uncordon"] {
        let said = of_node(action);
        assert!(!said.is_empty(), "no line of {action}");
        for line in said
            .iter()
            .filter(|line| action != "SetSpec" || line["operation"].is_string())
        {
            assert_eq!(text(line, "policy"), "general", "{line}");
            assert!(
                !text(line, "operation").is_empty() && !text(line, "message").is_empty(),
                "{line}"
            );
            assert!(text(line, "reason").contains("linux-image"), "{line}");
        }
    }
    let waits = |line: &&Value| text(line, "message").starts_with("waits: ") && line["reason"] == "NoFreeSlot";
    let waits: Vec<&Value> = lines.iter().filter(waits).collect();
    // All but the one whose agent reported first, whichever that was.
    let of_policy = waits.iter().filter(|line| line["policy"] == "general");
    let waited: BTreeSet<String> = of_policy.map(|line| text(line, "node")).collect();
    assert!(waited.len() >= 2, "{waits:#?}");
    let first = lines.first().map(|line| text(line, "timestamp")).unwrap();
    let age = Utc::now() - first.parse::<DateTime<Utc>>().unwrap();
    assert!(
        age < TimeDelta::hours(1) && lines.len() < 200,
        "{} lines in {age}",
        lines.len()
    );
    println!("{} lines of log", lines.len());
}
