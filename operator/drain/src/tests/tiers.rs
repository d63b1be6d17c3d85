//! One tier after the other, the delay before the first, and the stage that deletes.

use std::time::Duration;

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_reasons::ReasonName;
use serde_json::{Value, json};

use super::engine::{blockers, seconds, start};
use super::fake::{Fake, Fault};
use super::{budget, done, pod, settings, with};
use crate::limits::DELETE_ANNOUNCEMENT;
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
async fn a_tier_starts_when_the_last_pod_of_the_previous_tier_is_gone() {
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
async fn later_tiers_wait_for_a_pod_that_is_shutting_down_and_are_counted() {
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
    let Progress::Running {
        waiting_tiers, pods, ..
    } = shown
    else {
        panic!("{shown:?}")
    };
    let waiting: Vec<String> = waiting_tiers
        .iter()
        .map(|waiting| format!("{}: {}", waiting.tier, waiting.pods))
        .collect();
    assert_eq!(waiting, ["order 0: 2", "order 10: 1"]);
    let states: Vec<PodState> = pods.iter().map(|line| line.state).collect();
    assert_eq!(
        states,
        [PodState::Leaving, PodState::Later, PodState::Later, PodState::Later]
    );
    fake.remove_pod("uid-first-0");
    assert_eq!(running.done().await, done(4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_under_wait_completed_is_not_evicted_and_delays_the_drain() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/batch-0"));
    fake.put_pod(pod("shop/web-0"));
    let settings = Settings {
        rules: vec![ordered("batch", Behavior::WaitCompleted, 5)],
        ..settings()
    };
    let mut running = start(&fake, settings);
    let shown = running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 1,
                    remaining: 1,
                    ..
                }
            )
        })
        .await;
    let cause = &blockers(&shown)[0];
    assert_eq!(cause.reason(), ReasonName::PodRunning);
    expect!["pod shop/batch-0 may complete first (the policy's drain.rules[0])"].assert_eq(&cause.to_string());
    seconds(600).await;
    fake.change_pod("uid-batch-0", &json!({"status": {"phase": "Succeeded"}}));
    assert_eq!(running.done().await, done(2, 0));
    assert_eq!(fake.count("POST shop/batch-0"), 0);
}

#[tokio::test(start_paused = true)]
async fn namespace_labels_are_read_only_if_a_rule_needs_them() {
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
    // Once for the drain and once for the last look, which uses no cache.
    assert_eq!(fake.count("GET namespaces/shop"), 2);
    assert_eq!(fake.count("POST shop"), 0);
}

#[tokio::test(start_paused = true)]
async fn no_pod_is_evicted_while_a_rule_needs_unknown_namespace_labels() {
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
        shown[0].starts_with("the API server is unavailable: cannot read the labels of namespace shop"),
        "{shown:?}"
    );
    seconds(60).await;
    assert_eq!(fake.count("POST"), 0);
    assert!((12..=16).contains(&fake.count("GET")), "{}", fake.count("GET"));
    fake.world().named.extend([labelled("shop", &json!({}))]);
    assert_eq!(running.done().await, done(1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_pod_is_evicted_before_the_load_balancer_delay_ends() {
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
        (cause.reason(), cause.until()),
        (ReasonName::LoadBalancerDelay, Some(from))
    );
    assert!(
        cause
            .to_string()
            .starts_with("waiting for load balancers; evictions start at 20")
    );
    running.done().await;
    assert_eq!(asked(&fake, &["web-0"]), [30]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_node_does_not_wait_for_load_balancers() {
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
        since: now - DELETE_ANNOUNCEMENT,
        until: Some(now + TimeDelta::seconds(until)),
        exempt: Some(exempt.unwrap().try_into().unwrap()),
    };
    Settings {
        stage: Stage::Delete(deletion),
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn the_delete_stage_ignores_budgets_but_not_exemptions() {
    let fake = Fake::new();
    for app in ["web", "disk"] {
        fake.put_budget(budget(&format!("shop/{app}"), 0, 1, 1, 1));
        fake.put_pod(pod(&format!("shop/{app}-0")));
    }
    let mut running = start(&fake, deleting(&fake, 600));
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 1,
                    remaining: 1,
                    ..
                }
            )
        })
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
async fn the_first_deletion_is_two_seconds_after_the_start_of_its_stage() {
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
async fn a_deletion_cuts_the_grace_period_to_the_rest_of_the_stage() {
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
        shown[0].contains("not permitted: ")
            && shown[0].contains("cannot delete resource")
            && shown[0].contains("chart value rbac.deletePods"),
        "{shown:?}"
    );
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn daemon_set_pods_are_evicted_after_all_others() {
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
