//! What the node itself does while it is drained.

use lockkeeper_reasons::ReasonName;
use serde_json::json;

use super::engine::{blockers, seconds, start};
use super::fake::Fake;
use super::{budget, done, pod, settings, with};
use crate::{Deletion, Error, Settings, Stage};

#[tokio::test(start_paused = true)]
async fn a_deleted_node_ends_its_drain_with_an_error() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 2, 2));
    fake.put_pod(pod("shop/db-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    fake.world().remove("nodes", "n1");
    let error = running.task.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::NodeDeleted { node } if node == "n1"));
    assert_eq!(error.to_string(), "node n1 was deleted; there is nothing left to drain");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_exist_at_the_start_ends_its_drain() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/db-0"));
    fake.world().remove("nodes", "n1");
    let error = start(&fake, settings()).task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NodeDeleted { .. }));
    assert_eq!(fake.count("POST"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_node_of_the_same_name_is_not_drained() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 2, 2));
    fake.put_pod(pod("shop/db-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    fake.change_node(&json!({"metadata": {"uid": "uid-new"}}));
    assert!(matches!(running.task.await.unwrap(), Err(Error::NodeDeleted { .. })));
}

#[tokio::test(start_paused = true)]
async fn no_pod_is_evicted_while_the_node_is_not_cordoned() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.change_node(&json!({"spec": {"unschedulable": null}}));
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    assert_eq!(
        shown[0],
        "node n1 is not cordoned: evicted pods could be scheduled to it again"
    );
    fake.remove_pod("uid-web-0");
    seconds(60).await;
    assert_eq!((fake.count("POST"), running.task.is_finished()), (0, false));
    fake.change_node(&json!({"spec": {"unschedulable": true}}));
    assert_eq!(running.done().await, done(1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_pod_on_a_node_that_is_not_ready_names_the_node() {
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
                .any(|cause| cause.reason() == ReasonName::PodStuck)
        })
        .await;
    let words = blockers(&shown)[0].to_string();
    assert!(
        words.ends_with("Z: node n1 is not Ready: Kubelet stopped posting node status."),
        "{words}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_pod_is_not_deleted_while_its_node_is_not_ready() {
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
