//! What one list right after the cordon shows.

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fake::Fake;
use super::{pod, settings, with};
use crate::{PodsAtCordon, Progress, Settings, pods_at_cordon};

/// Settings for `n1`, which was cordoned just now.
fn cordoned() -> Settings {
    let settings = settings();
    Settings {
        cordoned_at: settings.clock.now(),
        ..settings
    }
}

async fn listed(fake: &Fake, settings: &Settings) -> PodsAtCordon {
    pods_at_cordon(&fake.client(), settings, 100).await.unwrap()
}

fn of_daemon_set() -> serde_json::Value {
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "cni", "uid": "cni", "controller": true}]);
    with(
        pod("kube-system/cni-x"),
        &json!({"metadata": {"ownerReferences": owner}}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_node_from_which_no_pod_leaves_is_drained_without_a_request() {
    let fake = Fake::new();
    fake.put_pod(of_daemon_set());
    let found = listed(&fake, &cordoned()).await;
    assert_eq!(found.ready.daemon_sets.len(), 1);
    assert_eq!(fake.count(""), 1, "one list for all");
    let (sender, progress) = watch::channel(Progress::Starting);
    let (began, drain) = (Instant::now(), found.empty.unwrap().drain(sender));
    let drain = tokio::spawn(drain);
    tokio::task::yield_now().await;
    let Progress::Running { to_move, pods, .. } = progress.borrow().clone() else {
        panic!("the pods are known")
    };
    assert_eq!((to_move, pods.len()), (0, 1));
    drain.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3, "pods may land on it until then");
    assert!(matches!(
        *progress.borrow(),
        Progress::Done {
            moved: 0,
            stayed: 1,
            ..
        }
    ));
    assert_eq!(fake.count(""), 1);
}

#[tokio::test]
async fn a_node_with_a_pod_that_leaves_blocks_or_is_not_decoded_is_not_empty() {
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}});
    let unmanaged = json!({"metadata": {"ownerReferences": null}});
    let undecodable = json!({"spec": {"terminationGracePeriodSeconds": "long"}});
    for change in [json!({}), leaving, unmanaged, undecodable] {
        let fake = Fake::new();
        fake.put_pod(of_daemon_set());
        fake.put_pod(with(pod("shop/web-0"), &change));
        assert_eq!(listed(&fake, &cordoned()).await.empty, None, "{change}");
    }
}

#[tokio::test]
async fn a_node_whose_cordon_is_old_may_have_had_pods_and_is_not_empty() {
    let fake = Fake::new();
    let mut settings = cordoned();
    settings.cordoned_at -= TimeDelta::seconds(11);
    assert_eq!(listed(&fake, &settings).await.empty, None);
}
