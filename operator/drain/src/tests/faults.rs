//! Failures: none ends the drain, none causes many requests, and each is shown.

use expect_test::expect;
use serde_json::{Value, json};

use super::engine::{blockers, seconds, start, start_with};
use super::fake::{Fake, Fault};
use super::{budget, done, pod, settings};
use crate::{Blocker, Cause, DrainClients, PodName, Progress, group_by_cause};

fn refusal(code: u16, body: Value) -> Fault {
    Fault::Answer {
        code,
        retry_after: None,
        body,
    }
}

fn one_pod(faults: impl IntoIterator<Item = Fault>) -> Fake {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.world().faults.extend(faults);
    fake
}

async fn finishes(faults: Vec<Fault>, posts: usize, first_retry_ms: std::ops::Range<u128>) {
    let fake = one_pod(faults.clone());
    assert_eq!(start(&fake, settings()).done().await, done(1, 0), "{faults:?}");
    let times = fake.times("POST");
    assert_eq!(times.len(), posts, "{faults:?}: {times:?}");
    if let Some(second) = times.get(1) {
        assert!(first_retry_ms.contains(second), "{faults:?}: {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_do_not_concern_the_pod_are_retried_soon() {
    finishes(vec![Fault::Reset, Fault::Reset], 3, 100..201).await;
    finishes(
        vec![refusal(500, json!({"message": "etcdserver: leader changed"}))],
        2,
        100..201,
    )
    .await;
    finishes(vec![Fault::Hang], 2, 15_100..15_202).await;
    let busy = json!({"message": "Too many requests, please try again later."});
    finishes(
        vec![Fault::Answer {
            code: 429,
            retry_after: Some(1),
            body: busy,
        }],
        2,
        1000..1202,
    )
    .await;
    let timeout = json!({"message": "Timeout: request did not complete"});
    finishes(
        vec![Fault::Answer {
            code: 504,
            retry_after: Some(10),
            body: timeout,
        }],
        2,
        10_000..10_202,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_causes_no_second_eviction() {
    finishes(vec![Fault::LostReply], 1, 0..0).await;
}

#[tokio::test(start_paused = true)]
async fn a_single_failure_is_not_shown() {
    let fake = one_pod([Fault::Reset]);
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    assert!(shown[0].starts_with("pod shop/web-0 is shutting down"), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn the_backoff_grows_to_ten_seconds() {
    let fake = one_pod(std::iter::repeat_n(Fault::Reset, 40));
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    assert!(shown[0].starts_with("the API server is unavailable"), "{shown:?}");
    seconds(120).await;
    let times = fake.times("POST");
    let gaps: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap <= 10_010), "{gaps:?}");
    assert!(gaps[8..].iter().all(|gap| *gap >= 5000), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_webhooks_message_is_shown_and_the_request_retried_slowly() {
    for code in [403, 429] {
        let body = json!({"message": "admission webhook \"virt.example\" denied the request: migrating"});
        let fake = one_pod(std::iter::repeat_n(refusal(code, body), 3));
        let mut running = start(&fake, settings());
        let shown = running.blocked().await;
        expect![[r#"pod shop/web-0: admission webhook "virt.example" denied the request: migrating"#]]
            .assert_eq(&shown[0]);
        seconds(60).await;
        assert!((3..=5).contains(&fake.count("POST")), "{:?}", fake.times("POST"));
        running.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_pod_do_not_cause_requests() {
    let body = json!({"message": "admission webhook \"virt.example\" denied the request: migrating"});
    let fake = one_pod([refusal(403, body)]);
    let _running = start(&fake, settings());
    for second in 0..14 {
        seconds(1).await;
        fake.change_pod(
            "uid-web-0",
            &json!({"metadata": {"labels": {"second": second.to_string()}}}),
        );
    }
    assert_eq!(fake.count("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_named_and_does_not_delay_other_pods() {
    let message = "pods \"web-0\" is forbidden: User \"u\" cannot create resource \"pods/eviction\" in API group \"\" in \
                   the namespace \"shop\"";
    let fake = one_pod([refusal(403, json!({"message": message}))]);
    fake.put_pod(pod("shop/web-1"));
    let mut running = start(&fake, settings());
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
        shown[0].contains("not permitted: ") && shown[0].contains("\"pods/eviction\""),
        "{shown:?}"
    );
    running.done().await;
    let times = fake.times("POST shop/web-0");
    assert!(times.len() == 2 && times[1] >= 2500, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_stays_missing_causes_few_requests() {
    let body = json!({"message": "forbidden: User \"u\" cannot create resource \"pods/eviction\""});
    let fake = one_pod(std::iter::repeat_n(refusal(403, body), 100));
    let _running = start(&fake, settings());
    seconds(600).await;
    let posts = fake.count("POST");
    assert!((10..=25).contains(&posts), "{posts} requests in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_terminating_namespace_are_waited_for() {
    let body = json!({"message": "forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
    let fake = one_pod([refusal(403, body)]);
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    expect!["pod shop/web-0: its namespace is being deleted"].assert_eq(&shown[0]);
    seconds(50).await;
    assert_eq!(fake.count("POST"), 1);
    fake.remove_pod("uid-web-0");
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_minute_does_not_end_the_drain() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 3, 3));
    fake.put_pod(pod("shop/db-0"));
    for number in 0..20 {
        fake.put_pod(pod(&format!("shop/web-{number}")));
    }
    let mut running = start(&fake, settings());
    seconds(1).await;
    fake.go_down();
    let away = |cause: &Cause| matches!(cause.blocker, Blocker::ApiUnavailable { .. });
    running.until(|progress| blockers(progress).iter().any(away)).await;
    seconds(60).await;
    fake.come_back();
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 20,
                    remaining: 1,
                    ..
                }
            )
        })
        .await;
    fake.change_budget("db", &json!({"status": {"disruptionsAllowed": 1}}));
    assert_eq!(running.done().await, done(21, 0));
    assert_eq!(fake.count("POST shop/web"), 20);
}

#[tokio::test(start_paused = true)]
async fn an_outage_at_the_start_does_not_end_the_drain() {
    let fake = one_pod([]);
    fake.go_down();
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    assert!(
        shown[0].contains("the watch on the node") && shown[0].contains("connection reset"),
        "{shown:?}"
    );
    seconds(30).await;
    fake.come_back();
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn failing_lists_cause_few_requests() {
    let fake = one_pod([]);
    fake.go_down_for_lists();
    let _running = start(&fake, settings());
    seconds(60).await;
    for kind in ["pods", "nodes"] {
        let times = fake.times(&format!("LIST {kind}"));
        assert!((10..=18).contains(&times.len()), "{kind}: {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_last_list_is_repeated() {
    let fake = one_pod([]);
    fake.world().shutdown = None;
    let mut running = start(&fake, settings());
    running.blocked().await;
    fake.go_down_for_lists();
    fake.remove_pod("uid-web-0");
    seconds(5).await;
    assert!(!running.task.is_finished());
    fake.come_back();
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_watches_with_the_client_for_watches() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 0, 2, 2, 3));
    fake.put_pod(pod("shop/web-0"));
    let clients = DrainClients {
        requests: fake.client_without_watches(),
        watches: fake.client(),
    };
    let mut running = start_with(clients, settings());
    let shown = running.blocked().await;
    assert!(shown[0].starts_with("pod shop/web-0: budget shop/web"), "{shown:?}");
    seconds(120).await;
    let shown: Vec<String> = blockers(&running.progress.borrow())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(fake.count("WATCH"), 3, "a quiet watch is not opened anew");
}

#[tokio::test(start_paused = true)]
async fn watches_that_break_together_are_not_shown_as_an_outage() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 0, 2, 2, 3));
    fake.put_pod(pod("shop/web-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    for _ in 0..3 {
        fake.break_watches();
        for _ in 0..25 {
            seconds(1).await;
            let shown = blockers(&running.progress.borrow()).to_vec();
            assert_eq!(shown.len(), 1, "{shown:?}");
        }
    }
}

#[test]
fn trouble_with_the_api_server_is_shown_after_the_pods() {
    let away = || Blocker::ApiUnavailable {
        message: "timed out".to_owned(),
    };
    let web = || PodName::new("shop", "web-0");
    let until = chrono::DateTime::UNIX_EPOCH;
    let others = [
        Blocker::Terminating {
            pod: web(),
            until,
            grace: 30,
        },
        Blocker::MayComplete { pod: web(), rule: 0 },
        Blocker::VolumesAttached {
            names: vec!["pv-1".to_owned()],
            count: 1,
            until,
        },
        Blocker::NamespaceTerminating { pod: web() },
    ];
    for other in others {
        let causes = group_by_cause(vec![away(), other.clone()]);
        assert_eq!(causes[0].blocker, other);
        assert_eq!(causes[0].reason(), other.reason());
    }
}
