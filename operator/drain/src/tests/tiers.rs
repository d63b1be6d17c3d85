//! One tier after the other, the delay before the first, and the stage that deletes.

use std::time::Duration;

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::{Value, json};

use super::engine::{blockers, seconds, start};
use super::fake::{Fake, Fault};
use super::{budget, done, pod, settings, with};
use crate::limits::ANNOUNCED_FOR;
use crate::{Behavior, Deletion, PodState, Progress, Rule, Settings, Stage};

fn ordered(app: &str, behavior: Behavior, order: i32) -> Rule {
    let pods = serde_json::from_value(json!({"matchLabels": {"app": app}})).unwrap();
    Rule::parse(0, Some(pods), None, behavior, order).unwrap()
}

fn labelled(namespace: &str, labels: &Value) -> (String, Value) {
    (
        format!("namespaces/{namespace}"),
        json!({"metadata": {"name": namespace, "labels": labels}}),
    )
}

/// When each pod was first asked, in whole seconds.
fn asked(fake: &Fake, names: &[&str]) -> Vec<u128> {
    let first = |name: &&str| fake.times(&format!("POST shop/{name}"))[0] / 1000;
    names.iter().map(first).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tier_begins_when_the_last_pod_of_the_one_before_is_gone() {
    let fake = Fake::new();
    for name in ["first-0", "first-1", "plain-0", "last-0"] {
        fake.put_pod(pod(&format!("shop/{name}")));
    }
    let critical = json!({"spec": {"priorityClassName": "system-cluster-critical"}});
    fake.put_pod(with(pod("shop/dns-0"), &critical));
    let settings = Settings {
        rules: vec![
            ordered("first", Behavior::Evict, -1),
            ordered("last", Behavior::Evict, 10),
        ],
        ..settings()
    };
    assert_eq!(start(&fake, settings).done().await, done(5, 0));
    let names = ["first-0", "first-1", "plain-0", "dns-0", "last-0"];
    assert_eq!(asked(&fake, &names), [0, 0, 2, 4, 6]);
    assert_eq!(fake.count("POST"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_blocked_or_still_shutting_down_holds_the_later_ones_which_are_counted() {
    let fake = Fake::new();
    fake.put_pod(with(
        pod("shop/first-0"),
        &json!({"metadata": {"deletionTimestamp": "2126-11-21T12:00:00Z", "deletionGracePeriodSeconds": 30}}),
    ));
    for name in ["plain-0", "plain-1", "last-0"] {
        fake.put_pod(pod(&format!("shop/{name}")));
    }
    let settings = Settings {
        rules: vec![
            ordered("first", Behavior::Evict, -1),
            ordered("last", Behavior::Evict, 10),
        ],
        ..settings()
    };
    let mut running = start(&fake, settings);
    running.blocked().await;
    seconds(60).await;
    assert_eq!(fake.count("POST"), 0);
    let shown = running.progress.borrow().clone();
    let Progress::Running { later, pods, .. } = shown else {
        panic!("{shown:?}")
    };
    let later: Vec<String> = later
        .iter()
        .map(|later| format!("{}: {}", later.tier, later.pods))
        .collect();
    assert_eq!(later, ["order 0: 2", "order 10: 1"]);
    let states: Vec<PodState> = pods.iter().map(|line| line.state).collect();
    assert_eq!(
        states,
        [PodState::Leaving, PodState::Later, PodState::Later, PodState::Later]
    );
    fake.remove_pod("uid-first-0");
    assert_eq!(running.done().await, done(4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_may_complete_is_never_asked_and_holds_the_node_until_it_has() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/batch-0"));
    fake.put_pod(pod("shop/web-0"));
    let settings = Settings {
        rules: vec![ordered("batch", Behavior::WaitCompleted, 5)],
        ..settings()
    };
    let mut running = start(&fake, settings);
    let shown = running
        .until(|progress| matches!(progress, Progress::Running { moved: 1, left: 1, .. }))
        .await;
    let cause = &blockers(&shown)[0];
    assert_eq!(cause.reason().as_str(), "PodRunning");
    expect!["pod shop/batch-0 may complete (the policy's drain.rules[0])"].assert_eq(&cause.to_string());
    seconds(600).await;
    fake.change_pod("uid-batch-0", &json!({"status": {"phase": "Succeeded"}}));
    assert_eq!(running.done().await, done(2, 0));
    assert_eq!(fake.count("POST shop/batch-0"), 0);
}

#[tokio::test(start_paused = true)]
async fn labels_of_a_namespace_are_read_once_and_only_where_a_rule_asks_for_them() {
    let fake = Fake::new();
    fake.world()
        .named
        .extend([labelled("shop", &json!({"keep": "yes"})), labelled("lab", &json!({}))]);
    for name in ["shop/web-0", "shop/web-1", "lab/cell-0"] {
        fake.put_pod(pod(name));
    }
    let keep = serde_json::from_value(json!({"matchLabels": {"keep": "yes"}})).unwrap();
    let settings = Settings {
        rules: vec![Rule::parse(0, None, Some(keep), Behavior::Skip, 0).unwrap()],
        ..settings()
    };
    assert_eq!(start(&fake, settings).done().await, done(1, 2));
    // Once for the drain and once for the last look, which trusts nobody.
    assert_eq!(fake.count("GET namespaces/shop"), 2);
    assert_eq!(fake.count("POST shop"), 0);
}

#[tokio::test(start_paused = true)]
async fn no_pod_is_asked_while_a_rule_cannot_be_decided() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let keep = serde_json::from_value(json!({"matchLabels": {"keep": "yes"}})).unwrap();
    let settings = Settings {
        rules: vec![Rule::parse(0, None, Some(keep), Behavior::Skip, 0).unwrap()],
        ..settings()
    };
    let mut running = start(&fake, settings);
    let shown = running.blocked().await;
    assert!(
        shown[0].starts_with("the API server cannot be asked: reading the labels of namespace shop"),
        "{shown:?}"
    );
    seconds(60).await;
    assert_eq!(fake.count("POST"), 0);
    assert!((12..=16).contains(&fake.count("GET")), "{}", fake.count("GET"));
    fake.world().named.extend([labelled("shop", &json!({}))]);
    assert_eq!(running.done().await, done(1, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_before_load_balancers_have_had_their_time() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let from = fake.world().now() + TimeDelta::seconds(30);
    let settings = Settings {
        evict_from: Some(from),
        ..settings()
    };
    let mut running = start(&fake, settings);
    let shown = running.until(|progress| !blockers(progress).is_empty()).await;
    let cause = &blockers(&shown)[0];
    assert_eq!(
        (cause.reason().as_str(), cause.until()),
        ("LoadBalancerDelay", Some(from))
    );
    assert!(
        cause
            .to_string()
            .starts_with("taken out of load balancers, evicting from 20")
    );
    running.done().await;
    assert_eq!(asked(&fake, &["web-0"]), [30]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_node_waits_for_no_load_balancer() {
    let fake = Fake::new();
    let settings = Settings {
        evict_from: Some(fake.world().now() + TimeDelta::seconds(300)),
        ..settings()
    };
    assert_eq!(start(&fake, settings).done().await, done(0, 0));
    assert!(fake.age() < Duration::from_secs(5));
}

fn deleting(fake: &Fake, until: i64) -> Settings {
    let now = fake.world().now();
    let exempt = serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>(
        json!({"matchLabels": {"app": "disk"}}),
    );
    let deletion = Deletion {
        since: now - ANNOUNCED_FOR,
        until: Some(now + TimeDelta::seconds(until)),
        exempt: Some(exempt.unwrap().try_into().unwrap()),
    };
    Settings {
        stage: Stage::Delete(deletion),
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn the_later_stage_deletes_past_a_closed_budget_by_uid_but_not_what_is_exempt() {
    let fake = Fake::new();
    for app in ["web", "disk"] {
        fake.put_budget(budget(&format!("shop/{app}"), 0, 1, 1, 1));
        fake.put_pod(pod(&format!("shop/{app}-0")));
    }
    let mut running = start(&fake, deleting(&fake, 600));
    running
        .until(|progress| matches!(progress, Progress::Running { moved: 1, left: 1, .. }))
        .await;
    let shown = running.blocked().await;
    assert!(
        shown[0].starts_with("pod shop/disk-0: budget shop/disk allows 0"),
        "{shown:?}"
    );
    let bodies = fake.world().evictions.clone();
    let delete = bodies.iter().find(|body| body["kind"] == "DeleteOptions").unwrap();
    assert_eq!(delete["preconditions"]["uid"], "uid-web-0");
    assert_eq!(
        delete.get("gracePeriodSeconds"),
        None,
        "its own 30 s are within the 600"
    );
    assert_eq!((fake.count("DELETE"), fake.count("POST shop/web-0")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_deletes_begins_two_seconds_after_it_was_said() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let mut settings = deleting(&fake, 600);
    if let Stage::Delete(deletion) = &mut settings.stage {
        deletion.since = fake.world().now();
    }
    start(&fake, settings).done().await;
    let times = fake.times("DELETE");
    assert!(times.len() == 1 && (2000..2100).contains(&times[0]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pods_grace_is_cut_to_what_is_left_and_never_to_zero() {
    for (until, grace) in [(10, 10), (0, 1), (-50, 1)] {
        let fake = Fake::new();
        fake.put_pod(pod("shop/web-0"));
        start(&fake, deleting(&fake, until)).done().await;
        let sent = fake.world().evictions[0]["gracePeriodSeconds"].as_i64().unwrap();
        assert!((grace - 1).max(1) <= sent && sent <= grace, "{until}: {sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_shutting_down_is_not_deleted_again() {
    let fake = Fake::new();
    fake.world().shutdown = None;
    fake.put_pod(pod("shop/web-0"));
    let first = start(&fake, settings());
    seconds(2).await;
    first.task.abort();
    let second = start(&fake, deleting(&fake, 5));
    seconds(60).await;
    assert_eq!((fake.count("POST"), fake.count("DELETE")), (1, 0));
    second.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refused_deletion_names_the_permission() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let body =
        json!({"message": "pods \"web-0\" is forbidden: User \"u\" cannot delete resource \"pods\" in API group \"\""});
    fake.world().faults.push_back(Fault::Answer {
        code: 403,
        retry_after: None,
        body,
    });
    let mut running = start(&fake, deleting(&fake, 600));
    let shown = running.blocked().await;
    assert!(
        shown[0].contains("not permitted: ") && shown[0].contains("cannot delete resource"),
        "{shown:?}"
    );
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_daemon_sets_leave_after_all_others() {
    let fake = Fake::new();
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true}]);
    fake.put_pod(with(
        pod("shop/agent-0"),
        &json!({"metadata": {"ownerReferences": owner}}),
    ));
    fake.put_pod(with(
        pod("shop/net-0"),
        &json!({"metadata": {"ownerReferences": owner}, "spec": {"priorityClassName": "system-node-critical"}}),
    ));
    fake.put_pod(pod("shop/web-0"));
    let settings = Settings {
        daemon_sets_last: true,
        ..settings()
    };
    assert_eq!(start(&fake, settings).done().await, done(2, 1));
    assert_eq!(asked(&fake, &["web-0", "agent-0"]), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_lose_data_are_counted() {
    let fake = Fake::new();
    let scratch = json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}});
    fake.put_pod(with(pod("shop/web-0"), &scratch));
    fake.put_pod(pod("shop/web-1"));
    let end = start(&fake, settings()).done().await;
    assert!(
        matches!(
            end,
            Progress::Done {
                moved: 2,
                with_empty_dir: 1,
                ..
            }
        ),
        "{end:?}"
    );
}
