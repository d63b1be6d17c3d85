//! Budgets: no more requests than they allow, and none for nothing.

use std::time::Duration;

use expect_test::expect;
use serde_json::json;

use super::engine::{seconds, start};
use super::fake::{Fake, Fault};
use super::world::exhausted_body;
use super::{budget, done, pod, settings, with};
use crate::Progress;

fn replicas(fake: &Fake, app: &str, count: usize) {
    for number in 0..count {
        fake.put_pod(pod(&format!("shop/{app}-{number}")));
    }
}

/// Does the work of the disruption controller for ten sets of ten: a pod that is gone is ready elsewhere 3 s later.
async fn replace_pods_of_ten_sets(fake: Fake) {
    let mut gone = [0; 10];
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for (set, gone) in gone.iter_mut().enumerate() {
            let app = format!("set{set}");
            let left = fake
                .world()
                .pods
                .values()
                .filter(|pod| pod["metadata"]["labels"]["app"] == app)
                .count();
            if 10 - left > *gone {
                *gone = 10 - left;
                let fake = fake.clone();
                tokio::spawn(async move {
                    seconds(3).await;
                    let open = json!({"status": {"disruptionsAllowed": 1, "disruptedPods": null}});
                    fake.change_budget(&app, &open);
                });
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_per_pod_even_with_ten_budgets_of_one_disruption() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(1));
    for set in 0..10 {
        fake.put_budget(budget(&format!("shop/set{set}"), 1, 10, 9, 10));
        replicas(&fake, &format!("set{set}"), 10);
    }
    let replacing = tokio::spawn(replace_pods_of_ten_sets(fake.clone()));
    assert_eq!(start(&fake, settings()).done().await, done(100, 0));
    replacing.abort();
    let requests = fake.world().requests.len();
    assert_eq!(fake.count("POST"), 100);
    assert_eq!(
        requests, 107,
        "a list and a watch each of pods, node, budgets, and the last list"
    );
    // Nine waits of 4 s, then one shutdown.
    assert!((37..40).contains(&fake.age().as_secs()), "{:?}", fake.age());
}

#[tokio::test(start_paused = true)]
async fn a_blocked_pod_costs_at_most_six_requests_a_minute() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 0, 2, 3, 3));
    replicas(&fake, "web", 1);
    let _running = start(&fake, settings());
    seconds(1).await;
    let before = fake.world().requests.len();
    seconds(600).await;
    let requests = fake.world().requests.len() - before;
    assert!((20..=60).contains(&requests), "{requests} requests in ten minutes");
}

/// Does the work of the disruption controller: each pod that is gone is ready elsewhere 3 s later.
async fn replace_pods(fake: Fake, count: usize) {
    let mut gone = 0;
    while gone < count {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = fake.world().pods.len();
        if count - left > gone {
            gone = count - left;
            seconds(3).await;
            fake.change_budget(
                "web",
                &json!({"status": {"disruptionsAllowed": 1, "disruptedPods": null}}),
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_one_disruption_is_used_pod_by_pod_without_a_refusal() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 1, 10, 9, 10));
    replicas(&fake, "web", 10);
    tokio::spawn(replace_pods(fake.clone(), 10));
    assert_eq!(start(&fake, settings()).done().await, done(10, 0));
    assert_eq!(fake.count("POST"), 10);
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_three_disruptions_gets_three_requests() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(5));
    fake.put_budget(budget("shop/web", 3, 10, 7, 10));
    replicas(&fake, "web", 10);
    let _running = start(&fake, settings());
    seconds(4).await;
    assert_eq!(fake.count("POST"), 3);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_gets_one_request_and_then_few_probes() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 0, 2, 2, 3));
    replicas(&fake, "web", 10);
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    expect!["pods shop/web-0, shop/web-1, shop/web-2 and 7 more: budget shop/web allows 0 disruptions (2 of 3 ready, 2 needed)"].assert_eq(&shown.join("\n"));
    seconds(60).await;
    let posts = fake.count("POST");
    assert!((3..=5).contains(&posts), "{posts} requests in a minute");
    assert_eq!(fake.count("LIST"), 3, "nothing is polled");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_never_allows_a_disruption_is_reported_as_such() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 0, 1, 1, 1));
    replicas(&fake, "web", 1);
    let shown = start(&fake, settings()).blocked().await;
    expect!["pod shop/web-0: budget shop/web allows 0 disruptions (1 of 1 ready, 1 needed) and never will: run more replicas or relax the budget"].assert_eq(&shown[0]);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_follows_at_once_when_the_budget_allows_it() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 0, 2, 3, 3));
    replicas(&fake, "web", 1);
    let mut running = start(&fake, settings());
    running.blocked().await;
    seconds(7).await;
    fake.change_budget("web", &json!({"status": {"disruptionsAllowed": 1}}));
    running.done().await;
    let times = fake.times("POST");
    assert!(times.len() == 2 && (7000..7100).contains(&times[1]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_budget_that_is_being_recomputed_is_respected() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 1, 3, 2, 3));
    replicas(&fake, "web", 1);
    let body = exhausted_body("The disruption budget web is still being processed by the server.");
    fake.world().faults.push_back(Fault::Answer {
        code: 429,
        retry_after: Some(10),
        body,
    });
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    expect!["pod shop/web-0: budget shop/web allows 1 disruption (3 of 3 ready, 2 needed): The disruption budget web is still being processed by the server."].assert_eq(&shown[0]);
    running.done().await;
    let times = fake.times("POST");
    assert!(times.len() == 2 && times[1] >= 10_000, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_an_unknown_budget_is_respected() {
    let fake = Fake::new();
    replicas(&fake, "web", 1);
    let body = exhausted_body("The disruption budget web needs 3 healthy pods and has 2 currently");
    fake.world().faults.push_back(Fault::Answer {
        code: 429,
        retry_after: None,
        body,
    });
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    expect!["pod shop/web-0: budget shop/web: The disruption budget web needs 3 healthy pods and has 2 currently"]
        .assert_eq(&shown[0]);
    fake.put_budget(budget("shop/web", 0, 2, 3, 3));
    seconds(10).await;
    assert_eq!(fake.count("POST"), 1, "its gate is closed already");
    fake.change_budget("web", &json!({"status": {"disruptionsAllowed": 1}}));
    running.done().await;
    let times = fake.times("POST");
    assert!(times.len() == 2 && (10_000..10_100).contains(&times[1]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_under_two_budgets_names_both_and_delays_no_other_pod() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 1, 3, 2, 3));
    fake.put_budget(with(
        budget("shop/extra", 1, 3, 2, 3),
        &json!({"spec": {"selector": {"matchLabels": {"app": "db"}}}}),
    ));
    fake.put_pod(pod("shop/db-0"));
    replicas(&fake, "web", 3);
    let mut running = start(&fake, settings());
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 3,
                    remaining: 1,
                    ..
                }
            )
        })
        .await;
    let shown = running.blocked().await;
    expect!["pod shop/db-0: more than one budget selects it (shop/db, shop/extra), so it cannot be evicted"]
        .assert_eq(&shown[0]);
    assert_eq!(fake.count("POST shop/db-0"), 0, "the API server could only say no");
    fake.change_budget(
        "extra",
        &json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
    );
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_their_budget_does_not_guard_are_evicted() {
    let fake = Fake::new();
    let open_to_unready = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    fake.put_budget(with(budget("shop/web", 0, 1, 3, 3), &open_to_unready));
    fake.put_budget(budget("shop/slow", 0, 0, 2, 2));
    let unready = json!({"status": {"conditions": null}});
    let pending = json!({"status": {"phase": "Pending", "conditions": null}});
    for (name, change) in [
        ("web-0", &unready),
        ("web-1", &unready),
        ("slow-0", &pending),
        ("slow-1", &pending),
    ] {
        fake.put_pod(with(pod(&format!("shop/{name}")), change));
    }
    assert_eq!(start(&fake, settings()).done().await, done(4, 0));
    assert_eq!(fake.times("POST"), [0, 0, 0, 0]);
}
