//! Budgets that their controller opens only once the node is cordoned.

use expect_test::expect;
use serde_json::{Value, json};

use super::engine::{blockers, seconds, start};
use super::fake::Fake;
use super::{budget, done, pod, settings, with};
use crate::{Behavior, Rule, Settings, preflight};

/// A pod of a storage cluster whose budget never allows a disruption, with these marks.
fn guarded(fake: &Fake, marks: &Value) {
    fake.put_pod(pod("storage/manager-0"));
    fake.put_budget(with(budget("storage/manager", 0, 1, 1, 1), marks));
}

fn trying() -> Settings {
    Settings {
        rules: vec![Rule::parse(0, None, None, Behavior::Try, 0).unwrap()],
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_its_controller_may_open_does_not_block_before_the_cordon() {
    let owner = json!([{"apiVersion": "v1", "kind": "StorageCluster", "name": "px", "uid": "px", "controller": true}]);
    let of_longhorn = json!({"longhorn.io/component": "instance-manager", "app": "manager"});
    let cases = [
        (json!({"metadata": {"ownerReferences": owner}}), settings(), 0),
        (
            json!({"metadata": {"labels": {"strimzi.io/cluster": "kafka"}}}),
            settings(),
            0,
        ),
        (
            json!({"metadata": {"labels": {"ceph.rook.io/cluster": "a"}}}),
            settings(),
            0,
        ),
        (json!({"metadata": {"labels": of_longhorn}}), settings(), 0),
        (json!({}), trying(), 0),
        (json!({"metadata": {"labels": {"app": "manager"}}}), settings(), 1),
    ];
    for (marks, settings, blocked) in cases {
        let fake = Fake::new();
        guarded(&fake, &marks);
        let found = preflight(&fake.client(), &settings).await.unwrap();
        assert_eq!(
            (found.blockers.len(), found.doubts().len()),
            (blocked, 1 - blocked),
            "{marks}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_tried_budget_is_requested_after_the_other_pods_have_left() {
    let fake = Fake::new();
    guarded(
        &fake,
        &json!({"metadata": {"labels": {"longhorn.io/managed-by": "longhorn-manager"}}}),
    );
    fake.put_pod(pod("shop/web-0"));
    let mut running = start(&fake, settings());
    seconds(10).await;
    let (web, manager) = (fake.times("POST shop/web"), fake.times("POST storage/manager"));
    assert!(
        web[0] < 100 && manager.len() == 1 && manager[0] >= 2000,
        "{web:?} {manager:?}"
    );
    let shown: Vec<String> = running.blocked().await;
    expect!["pod storage/manager-0: budget storage/manager allows none now; its controller may open it once the node is cordoned"].assert_eq(&shown[0]);
    fake.world().remove("poddisruptionbudgets", "manager");
    assert_eq!(running.done().await, done(2, 0));
}

#[tokio::test(start_paused = true)]
async fn each_pod_under_a_tried_budget_is_requested_at_least_once() {
    let fake = Fake::new();
    for number in 0..3 {
        fake.put_pod(pod(&format!("storage/manager-{number}")));
    }
    fake.put_budget(budget("storage/manager", 0, 3, 3, 3));
    let running = start(&fake, trying());
    seconds(5).await;
    for number in 0..3 {
        assert_eq!(fake.count(&format!("POST storage/manager-{number}")), 1);
    }
    let before = fake.count("POST");
    fake.change_budget("manager", &json!({"metadata": {"annotations": {"changed": "1"}}}));
    seconds(2).await;
    assert_eq!(
        fake.count("POST"),
        before + 1,
        "a change of the budget is worth another request"
    );
    assert_eq!(blockers(&running.progress.borrow()).len(), 1);
}
