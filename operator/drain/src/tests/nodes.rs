//! What the node itself does while it is drained.

use serde_json::json;

use super::engine::{blockers, seconds, start};
use super::fake::Fake;
use super::{budget, done, pod, settings, with};
use crate::{Deletion, Error, Settings, Stage};

#[tokio::test(start_paused = true)]
async fn a_node_that_vanishes_ends_its_drain_by_name() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 2, 2));
    fake.put_pod(pod("shop/db-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    fake.world().remove("nodes", "n1");
    let error = running.task.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::NodeGone { node } if node == "n1"));
    assert_eq!(error.to_string(), "node n1 is gone: there is nothing left to drain");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_was_or_vanished_while_nobody_watched_ends_its_drain_too() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/db-0"));
    fake.world().remove("nodes", "n1");
    let error = start(&fake, settings()).task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NodeGone { .. }));
    assert_eq!(fake.count("POST"), 0);
}

#[tokio::test(start_paused = true)]
async fn another_node_under_the_same_name_is_not_drained() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 2, 2));
    fake.put_pod(pod("shop/db-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    fake.change_node(&json!({"metadata": {"uid": "uid-new"}}));
    assert!(matches!(running.task.await.unwrap(), Err(Error::NodeGone { .. })));
}

#[tokio::test(start_paused = true)]
async fn asks_nobody_to_leave_a_node_that_is_not_cordoned_and_is_not_done_with_it() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.change_node(&json!({"spec": {"unschedulable": null}}));
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    assert_eq!(shown[0], "node n1 is not cordoned: pods would come back to it");
    fake.remove_pod("uid-web-0");
    seconds(60).await;
    assert_eq!((fake.count("POST"), running.task.is_finished()), (0, false));
    fake.change_node(&json!({"spec": {"unschedulable": true}}));
    assert_eq!(running.done().await, done(1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_go_from_a_node_that_is_not_ready_names_the_node() {
    let fake = Fake::new();
    fake.world().shutdown = None;
    fake.put_pod(pod("shop/db-0"));
    let condition = json!([{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]);
    fake.change_node(&json!({"status": {"conditions": condition}}));
    let mut running = start(&fake, settings());
    let shown = running
        .until(|progress| {
            blockers(progress)
                .iter()
                .any(|cause| cause.reason().as_str() == "PodStuck")
        })
        .await;
    let words = blockers(&shown)[0].to_string();
    assert!(
        words.ends_with("Z: node n1 is not Ready: Kubelet stopped posting node status."),
        "{words}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_stateful_set_is_not_deleted_from_a_node_that_may_be_alive() {
    let fake = Fake::new();
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "db", "controller": true}]);
    fake.put_pod(with(pod("shop/db-0"), &json!({"metadata": {"ownerReferences": owner}})));
    fake.put_pod(pod("shop/web-0"));
    fake.put_budget(budget("shop/db", 0, 1, 1, 1));
    fake.put_budget(budget("shop/web", 0, 1, 1, 1));
    let condition = json!([{"type": "Ready", "status": "Unknown"}]);
    fake.change_node(&json!({"status": {"conditions": condition}}));
    let deletion = Deletion {
        since: fake.world().now(),
        until: None,
        exempt: None,
    };
    let settings = Settings {
        stage: Stage::Delete(deletion),
        ..settings()
    };
    let running = start(&fake, settings);
    seconds(5).await;
    assert_eq!(fake.count("DELETE"), 1);
    assert_eq!((fake.count("DELETE shop/web-0"), fake.count("POST shop/db-0")), (1, 1));
    fake.change_node(&json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    assert_eq!(running.done().await, done(2, 0));
    assert_eq!(fake.count("DELETE shop/db-0"), 1);
}
