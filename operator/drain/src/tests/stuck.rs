//! Pods that keep a node from being drained already before its drain: stuck in their shutdown, or opted out for a time.

use expect_test::expect;
use serde_json::{Value, json};

use super::fake::Fake;
use super::preflights::check;
use super::{node, pod, with};

/// A pod whose shutdown should have ended at this time.
fn shutting_down(name: &str, until: &str, finalizers: &[&str]) -> Value {
    let change = json!({"metadata": {
        "deletionTimestamp": until, "deletionGracePeriodSeconds": 5, "finalizers": finalizers,
    }});
    with(pod(name), &change)
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_stuck_already_blocks_before_anything_is_touched() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.put_pod(shutting_down(
        "shop/stuck-0",
        "2026-11-18T11:06:40Z",
        &["example.com/cleanup"],
    ));
    fake.put_pod(shutting_down(
        "shop/going-0",
        "2126-11-18T11:06:40Z",
        &["example.com/cleanup"],
    ));
    check(
        &fake,
        &expect![[r#"
            pod shop/stuck-0 has been past its grace period since 2026-11-18T11:06:40Z: held by finalizer example.com/cleanup
        "#]],
    )
    .await;
    assert_eq!(fake.count("GET"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_pod_without_a_finalizer_names_the_kubelet_or_the_node() {
    let fake = Fake::new();
    fake.put_pod(shutting_down("shop/stuck-0", "2026-11-18T11:06:40Z", &[]));
    fake.world().named.insert("nodes/n1".to_owned(), node());
    check(
        &fake,
        &expect![[r#"
            pod shop/stuck-0 has been past its grace period since 2026-11-18T11:06:40Z: the kubelet has not confirmed the shutdown
        "#]],
    )
    .await;
    let condition = json!([{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]);
    let node = with(node(), &json!({"status": {"conditions": condition}}));
    fake.world().named.insert("nodes/n1".to_owned(), node);
    check(
        &fake,
        &expect![[r#"
            pod shop/stuck-0 has been past its grace period since 2026-11-18T11:06:40Z: node n1 is not Ready: Kubelet stopped posting node status.
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_pod_that_stays_anyway_does_not_block() {
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true});
    let stays = [
        json!({"metadata": {"ownerReferences": [owner]}}),
        json!({"status": {"phase": "Failed"}}),
    ];
    for change in stays {
        let fake = Fake::new();
        let stuck = shutting_down("shop/stuck-0", "2026-11-18T11:06:40Z", &["example.com/cleanup"]);
        fake.put_pod(with(stuck, &change));
        check(&fake, &expect![""]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_opt_out_with_a_duration_blocks_until_its_end_and_is_shown_with_it() {
    let annotated = |name: &str, value: &str| {
        let change = json!({
            "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": value}},
            "status": {"startTime": "2026-11-18T11:06:40Z"},
        });
        with(pod(name), &change)
    };
    let fake = Fake::new();
    fake.put_pod(annotated("shop/over-0", "4h"));
    fake.put_pod(annotated("shop/long-0", "876000h"));
    fake.put_pod(annotated("shop/odd-0", "soon"));
    check(
        &fake,
        &expect![[r#"
            pod shop/long-0 opts out of eviction until 2126-10-25T11:06:40Z (annotation karpenter.sh/do-not-disrupt; the policy's drain.podOptOuts is Respect)
            pod shop/odd-0 opts out of eviction (annotation karpenter.sh/do-not-disrupt; the policy's drain.podOptOuts is Respect)
        "#]],
    )
    .await;
}
