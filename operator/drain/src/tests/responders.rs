//! Pods with responders: asked instead of evicted, shown with their progress, and evicted in the end if that does not help.

use std::collections::BTreeSet;

use expect_test::expect;
use serde_json::{Value, json};

use super::engine::{Running, blockers, seconds, start};
use super::fake::{Fake, Fault};
use super::world::ResponderApi;
use super::{budget, done, pod, settings, with};
use crate::responders::ObservedEviction;
use crate::{Deletion, Progress, Settings, Stage, preflight, withdraw_requests};

const DB: &str = "lockkeeper-uid-db-0";

fn asking() -> Settings {
    Settings {
        eviction_requests: true,
        ..settings()
    }
}

fn with_responders(name: &str) -> Value {
    let responders = json!([{"name": "virt.example/mover", "priority": 10000}]);
    with(pod(name), &json!({"spec": {"evictionResponders": responders}}))
}

/// One pod with responders.
fn one_pod() -> Fake {
    let fake = Fake::new();
    fake.put_pod(with_responders("shop/db-0"));
    fake
}

/// Changes our request as its controller does.
fn answer_request(fake: &Fake, status: &Value) {
    let mut world = fake.world();
    let request = with(world.eviction_requests[DB].clone(), &json!({"status": status}));
    world.put("evictionrequests", request);
}

/// The eviction of `db-0`, in which this responder is active and has reported this.
fn put_eviction(fake: &Fake, responder: &str, report: &Value) {
    let report = with(json!({"name": responder}), report);
    fake.world().put(
        "evictions",
        json!({
            "metadata": {"namespace": "shop", "name": "e-1"},
            "spec": {"target": {"pod": {"name": "db-0", "uid": "uid-db-0"}}},
            "status": {
                "observedGeneration": 1,
                "targetResponders": [{"name": responder, "priority": 10000, "state": "Active"}],
                "responders": [report],
            },
        }),
    );
}

async fn shown(running: &mut Running) -> String {
    seconds(1).await;
    let progress = running.progress.borrow_and_update().clone();
    let shown: Vec<String> = blockers(&progress).iter().map(ToString::to_string).collect();
    shown.join("; ")
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_responders_is_left_to_them_and_the_others_are_evicted() {
    let fake = one_pod();
    fake.put_pod(pod("shop/web-0"));
    let mut running = start(&fake, asking());
    seconds(5).await;
    let time = |text: String| text.split("at 20").next().unwrap().to_owned();
    expect!["pod shop/db-0: waiting for an eviction responder (asked "].assert_eq(&time(shown(&mut running).await));
    answer_request(&fake, &json!({"observedGeneration": 1}));
    put_eviction(
        &fake,
        "virt.example/mover",
        &json!({"startTime": "2026-11-21T12:00:00Z"}),
    );
    expect!["pod shop/db-0: eviction responder virt.example/mover is active (no heartbeat yet)"]
        .assert_eq(&shown(&mut running).await);
    let report = json!({"heartbeatTime": "2026-11-21T12:00:20Z", "message": "copied 40%\nof it"});
    put_eviction(&fake, "virt.example/mover", &report);
    expect!["pod shop/db-0: eviction responder virt.example/mover is active (last heartbeat at 2026-11-21T12:00:20Z): copied 40% of it"]
        .assert_eq(&shown(&mut running).await);
    fake.remove_pod("uid-db-0");
    assert_eq!(running.done().await, done(2, 0));
    assert_eq!(fake.count("ASK"), 1);
    assert_eq!(fake.times("POST shop/").len(), 1, "only the other pod is evicted");
    assert_eq!(fake.world().granted, ["uid-web-0"]);
}

#[tokio::test(start_paused = true)]
async fn the_request_names_pod_requester_node_and_owner() {
    let fake = one_pod();
    let _running = start(&fake, asking());
    seconds(5).await;
    let request = fake.world().eviction_requests[DB].clone();
    let expected = json!({
        "apiVersion": "lifecycle.k8s.io/v1alpha1",
        "kind": "EvictionRequest",
        "metadata": {
            "namespace": "shop", "name": DB, "uid": format!("uid-of-{DB}"),
            "resourceVersion": request["metadata"]["resourceVersion"],
            "labels": {"app.kubernetes.io/part-of": "lockkeeper", "lockkeeper.dev/node": "n1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "uid-db-0"}],
        },
        "spec": {
            "target": {"pod": {"name": "db-0", "uid": "uid-db-0"}},
            "requester": "lockkeeper.dev/operator", "intent": "Eviction",
        },
    });
    assert_eq!(request, expected);
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_responders_is_evicted_unless_the_operator_is_told_to_ask() {
    let fake = one_pod();
    assert_eq!(start(&fake, settings()).done().await, done(1, 0));
    assert_eq!((fake.count("ASK"), fake.count("POST shop/db-0")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_responders_causes_no_request_to_their_api() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    start(&fake, asking()).done().await;
    let requests = fake.world().requests.len();
    let plain = Fake::new();
    plain.put_pod(pod("shop/web-0"));
    start(&plain, settings()).done().await;
    assert_eq!(requests, plain.world().requests.len());
    let daemon = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true}]);
    let fake = Fake::new();
    fake.put_pod(with(
        with_responders("shop/d-0"),
        &json!({"metadata": {"ownerReferences": daemon}}),
    ));
    let last = Settings {
        daemon_sets_last: true,
        ..asking()
    };
    start(&fake, last).done().await;
    assert_eq!((fake.count("ASK"), fake.count("POST shop/d-0")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_evicted_at_once_where_the_api_is_not_served() {
    let fake = one_pod();
    fake.world().responders = ResponderApi::Absent;
    assert_eq!(start(&fake, asking()).done().await, done(1, 0));
    assert_eq!((fake.count("POST not served"), fake.count("POST shop/db-0")), (1, 1));
    assert!(fake.times("POST shop/db-0")[0] < 100);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_evicted_a_minute_after_a_request_that_no_controller_answers() {
    let fake = one_pod();
    assert_eq!(start(&fake, asking()).done().await, done(1, 0));
    let evicted = fake.times("POST shop/db-0");
    assert!(
        evicted.len() == 1 && (60_000..60_100).contains(&evicted[0]),
        "{evicted:?}"
    );
    assert_eq!(fake.count("ASK"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_works_has_time_until_the_drain_times_out() {
    let fake = one_pod();
    let mut running = start(&fake, asking());
    seconds(1).await;
    answer_request(&fake, &json!({"observedGeneration": 1}));
    put_eviction(&fake, "virt.example/mover", &json!({"message": "copying"}));
    seconds(1200).await;
    assert_eq!(fake.count("POST shop/"), 0);
    let progress = running.progress.borrow_and_update().clone();
    assert!(
        matches!(progress, Progress::Running { evicting: true, .. }),
        "its time counts"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_evicted_once_its_responders_have_failed_or_the_default_one_is_active() {
    for fails in [true, false] {
        let fake = one_pod();
        let running = start(&fake, asking());
        seconds(5).await;
        if fails {
            let failed = json!([{"type": "Failed", "status": "True", "reason": "NoFurtherResponder"}]);
            answer_request(&fake, &json!({"observedGeneration": 1, "conditions": failed}));
        } else {
            put_eviction(&fake, "imperative-eviction.k8s.io/evictor", &json!({}));
        }
        assert_eq!(running.done().await, done(1, 0));
        let evicted = fake.times("POST shop/db-0");
        assert!(evicted.len() == 1 && evicted[0] < 5100, "{evicted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_holds_a_pod_whose_responders_have_ended() {
    let fake = one_pod();
    fake.put_budget(budget("shop/db", 0, 1, 1, 2));
    let mut running = start(&fake, asking());
    seconds(5).await;
    let failed = json!([{"type": "Failed", "status": "True"}]);
    answer_request(&fake, &json!({"observedGeneration": 1, "conditions": failed}));
    expect!["pod shop/db-0: budget shop/db allows 0 disruptions (1 of 2 ready, 1 needed)"]
        .assert_eq(&shown(&mut running).await);
    assert!(fake.world().granted.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_starts_anew_finds_its_request_and_waits_on() {
    let fake = one_pod();
    let first = start(&fake, asking());
    seconds(5).await;
    first.task.abort();
    answer_request(&fake, &json!({"observedGeneration": 1}));
    let mut second = start(&fake, asking());
    seconds(120).await;
    assert!(shown(&mut second).await.contains("waiting for an eviction responder"));
    assert_eq!((fake.count("ASK"), fake.count("POST shop/")), (2, 0));
    assert_eq!(fake.world().eviction_requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn responders_are_asked_again_after_their_request_was_deleted() {
    let fake = one_pod();
    let _running = start(&fake, asking());
    seconds(5).await;
    fake.world().remove("evictionrequests", DB);
    seconds(14).await;
    assert_eq!(fake.count("ASK"), 1);
    seconds(2).await;
    assert_eq!((fake.count("ASK"), fake.count("POST shop/")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_or_is_refused_is_repeated_and_evicts_nothing() {
    let fake = one_pod();
    fake.world().faults.extend([Fault::Reset, Fault::LostReply]);
    let _running = start(&fake, asking());
    seconds(5).await;
    assert_eq!((fake.count("ASK"), fake.world().eviction_requests.len()), (3, 1));
    let refusals = [
        (
            403,
            "evictionrequests.lifecycle.k8s.io is forbidden: User \"a\" cannot create resource \"evictionrequests\"",
        ),
        (422, "EvictionRequest is invalid: spec.requester"),
    ];
    let expected = [
        "pod shop/db-0: not permitted: evictionrequests.lifecycle.k8s.io is forbidden",
        "pod shop/db-0: the API server refuses the eviction (422): EvictionRequest is invalid: spec.requester",
    ];
    for ((code, message), expected) in refusals.into_iter().zip(expected) {
        let fake = one_pod();
        let body = json!({"kind": "Status", "message": message});
        let refusal = Fault::Answer {
            code,
            retry_after: None,
            body,
        };
        fake.world().faults.extend(std::iter::repeat_n(refusal, 20));
        let mut running = start(&fake, asking());
        seconds(90).await;
        let shown = shown(&mut running).await;
        assert!(shown.starts_with(expected), "{shown}");
        assert!((2..=12).contains(&fake.count("ASK")), "{:?}", fake.times("ASK"));
        assert_eq!(fake.count("POST shop/"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_is_named_and_the_time_of_the_drain_counts() {
    let fake = one_pod();
    fake.world().responders = ResponderApi::WithoutEvictions;
    let mut running = start(&fake, asking());
    seconds(5).await;
    answer_request(&fake, &json!({"observedGeneration": 1}));
    seconds(90).await;
    let shown = shown(&mut running).await;
    assert!(
        shown.contains("this may be out of date: the watch on the evictions of namespace shop is failing"),
        "{shown}"
    );
    let progress = running.progress.borrow_and_update().clone();
    assert!(matches!(progress, Progress::Running { evicting: true, .. }));
}

#[tokio::test(start_paused = true)]
async fn the_stage_delete_does_not_ask_responders() {
    let fake = one_pod();
    let since = fake.world().now();
    let deletes = Settings {
        stage: Stage::Delete(Deletion {
            since,
            until: None,
            exempt: None,
        }),
        ..asking()
    };
    assert_eq!(start(&fake, deletes).done().await, done(1, 0));
    assert_eq!((fake.count("ASK"), fake.count("DELETE shop/db-0")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_preflight_leaves_pods_with_responders_to_these() {
    let fake = one_pod();
    let never = with(budget("shop/db", 0, 1, 1, 1), &json!({"spec": {"maxUnavailable": 0}}));
    fake.put_budget(never);
    let found = preflight(&fake.client(), &asking()).await.unwrap();
    assert!(found.blockers.is_empty() && found.doubts().is_empty(), "{found:?}");
    assert_eq!(fake.count("DRY"), 0);
    let found = preflight(&fake.client(), &settings()).await.unwrap();
    assert_eq!(found.blockers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_for_other_nodes_are_withdrawn_and_no_others() {
    let fake = one_pod();
    let first = start(&fake, asking());
    seconds(5).await;
    first.task.abort();
    let here = BTreeSet::from(["n1".to_owned()]);
    assert_eq!(withdraw_requests(&fake.client(), &here).await.unwrap(), 0);
    assert_eq!(fake.world().eviction_requests.len(), 1);
    let elsewhere = BTreeSet::from(["n2".to_owned()]);
    // Another requester has copied our labels.
    let copy = json!({"metadata": {"name": "copy", "uid": "c"}, "spec": {"requester": "other.example/x"}});
    let copy = with(fake.world().eviction_requests[DB].clone(), &copy);
    fake.world().put("evictionrequests", copy);
    assert_eq!(withdraw_requests(&fake.client(), &elsewhere).await.unwrap(), 1);
    let left: Vec<String> = fake.world().eviction_requests.keys().cloned().collect();
    assert_eq!(left, ["copy"]);
    fake.world().responders = ResponderApi::Absent;
    assert_eq!(withdraw_requests(&fake.client(), &elsewhere).await.unwrap(), 0);
}

#[test]
fn an_object_of_an_unknown_form_counts_as_none() {
    let target = json!({"target": {"pod": {"name": "db-0", "uid": "u", "new": 1}}, "new": {}});
    let unknown = [
        json!(null),
        json!({}),
        json!({"spec": {"target": {}}}),
        json!({"spec": {"target": {"pod": 3}}}),
        json!({"spec": target, "status": {"observedGeneration": "one"}}),
        json!({"spec": target, "status": {"responders": [{"name": "a/b", "heartbeatTime": "soon"}]}}),
    ];
    for object in unknown {
        assert_eq!(ObservedEviction::decode(&object), None, "{object}");
    }
    let report = json!({"name": "a/b", "message": "m".repeat(4000), "new": [1]});
    let active = json!([{"name": "a/b", "state": "Active"}, {"name": "c/d", "state": "New"}]);
    let status = json!({"targetResponders": active, "responders": [report], "new": 1});
    let known = ObservedEviction::decode(&json!({"spec": target, "status": status})).unwrap();
    assert_eq!(known.active.unwrap().message.chars().count(), 300);
}
