//! Pods that come straight back to the node.

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::engine::{blockers, seconds, start};
use super::fake::Fake;
use super::{done, pod, settings, view, with};
use crate::{Behavior, Decision, Progress, Rule, Settings, StayReason, decide, remaining_pods};

/// Puts a pod on the node again whenever it is gone, `times` times at most.
fn recreate(fake: &Fake, first: Value, times: usize) -> JoinHandle<()> {
    let fake = fake.clone();
    fake.put_pod(first.clone());
    tokio::spawn(async move {
        let name = first["metadata"]["name"].as_str().unwrap().to_owned();
        let mut count = 0;
        while count < times {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let present = fake.world().pods.values().any(|pod| pod["metadata"]["name"] == name);
            if !present {
                count += 1;
                let uid = json!({"metadata": {"uid": format!("uid-{name}-{count}")}});
                fake.put_pod(with(first.clone(), &uid));
            }
        }
    })
}

fn owned(name: &str, api_version: &str, kind: &str) -> Value {
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": "x", "uid": "x", "controller": true});
    with(pod(name), &json!({"metadata": {"ownerReferences": [owner]}}))
}

fn tolerating(object: Value, toleration: &Value) -> Value {
    with(object, &json!({"spec": {"tolerations": [toleration]}}))
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_back_twice_is_no_longer_evicted() {
    let exists = json!({"operator": "Exists"});
    let unschedulable =
        json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
    let cases = [
        tolerating(owned("shop/set-0", "apps.kruise.io/v1alpha1", "CloneSet"), &exists),
        tolerating(owned("shop/set-0", "apps/v1", "ReplicaSet"), &unschedulable),
        // Placed by `nodeName`: the scheduler is not asked.
        owned("shop/set-0", "longhorn.io/v1beta2", "InstanceManager"),
    ];
    for case in cases {
        let fake = Fake::new();
        fake.world().shutdown = Some(Duration::from_secs(4));
        let controller = recreate(&fake, case, 100);
        fake.put_pod(pod("shop/web-0"));
        let running = start(&fake, settings());
        let state = running.progress.clone();
        let end = running.done().await;
        let Progress::Done {
            moved,
            stayed,
            returning,
            ..
        } = end
        else {
            panic!("{:?}", state.borrow())
        };
        controller.abort();
        assert_eq!((moved, stayed, returning.len()), (1, 1, 1), "{returning:?}");
        assert_eq!((fake.count("POST shop/set"), fake.count("POST shop/web")), (2, 1));
    }
}

/// As a ReplicaSet does it: the new pod is there as soon as the old one is shutting down.
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_replaced_before_it_is_gone_has_come_back() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(20));
    let tolerant = |name: &str| tolerating(owned(name, "apps/v1", "ReplicaSet"), &json!({"operator": "Exists"}));
    fake.put_pod(tolerant("shop/web-0"));
    let controller = {
        let fake = fake.clone();
        tokio::spawn(async move {
            for number in 1..100 {
                let before = format!("web-{}", number - 1);
                let leaves = |pod: &Value| {
                    pod["metadata"]["name"] == before.as_str() && !pod["metadata"]["deletionTimestamp"].is_null()
                };
                while !fake.world().pods.values().any(leaves) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                fake.put_pod(tolerant(&format!("shop/web-{number}")));
            }
        })
    };
    let running = start(&fake, settings());
    let end = running.done().await;
    controller.abort();
    assert!(
        matches!(&end, Progress::Done { stayed: 1, returning, .. } if returning.len() == 1),
        "{end:?}"
    );
    assert_eq!(fake.count("POST shop/web"), 2);
}

#[tokio::test(start_paused = true)]
async fn three_sets_that_return_do_not_keep_a_drain_from_its_end() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(1));
    let mut controllers = Vec::new();
    for name in ["one-0", "two-0", "three-0"] {
        let kind = format!("Set{name}");
        let set = owned(&format!("shop/{name}"), "apps.example.com/v1", &kind);
        controllers.push(recreate(&fake, tolerating(set, &json!({"operator": "Exists"})), 100));
    }
    for number in 0..8 {
        fake.put_pod(pod(&format!("shop/web-{number}")));
    }
    let end = start(&fake, settings()).done().await;
    controllers.iter().for_each(JoinHandle::abort);
    let Progress::Done {
        moved,
        stayed,
        returning,
        ..
    } = end
    else {
        panic!("it is done")
    };
    assert_eq!((moved, stayed), (8, 3));
    assert_eq!(fake.count("POST"), 8 + 3 * 2);
    let messages: Vec<String> = returning.iter().map(|one| format!("{one}\n")).collect();
    expect![[r#"
        pods of Setone-0.apps.example.com shop/x return to this node: they tolerate its cordon; they are no longer evicted and go down with it
        pods of Setthree-0.apps.example.com shop/x return to this node: they tolerate its cordon; they are no longer evicted and go down with it
        pods of Settwo-0.apps.example.com shop/x return to this node: they tolerate its cordon; they are no longer evicted and go down with it
    "#]]
    .assert_eq(&messages.concat());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_back_once_is_evicted_again() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(4));
    recreate(&fake, tolerating(pod("shop/web-0"), &json!({"operator": "Exists"})), 1);
    assert_eq!(start(&fake, settings()).done().await, done(2, 0));
}

#[tokio::test(start_paused = true)]
async fn pods_that_the_scheduler_binds_to_a_young_cordon_are_evicted() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_millis(500));
    recreate(&fake, pod("shop/web-0"), 4);
    assert_eq!(start(&fake, settings()).done().await, done(5, 0));
}

#[tokio::test(start_paused = true)]
async fn pods_that_return_block_if_a_rule_says_block() {
    let fake = Fake::new();
    let set = tolerating(pod("shop/web-0"), &json!({"operator": "Exists"}));
    recreate(&fake, set.clone(), 100);
    let settings = Settings {
        rules: vec![Rule::parse(0, None, None, Behavior::Block, 0).unwrap()],
        returning: ["ReplicaSet shop/web".to_owned()].into(),
        ..settings()
    };
    let running = start(&fake, settings.clone());
    seconds(600).await;
    assert_eq!((fake.count("POST"), blockers(&running.progress.borrow()).len()), (0, 1));
    let left = remaining_pods(&fake.client(), &settings).await.unwrap();
    assert_eq!(left.len(), 1);
    let free = Settings {
        rules: Vec::new(),
        ..settings
    };
    assert!(remaining_pods(&fake.client(), &free).await.unwrap().is_empty());
    let verdict = decide(
        &view(set),
        &crate::rule::Namespaces::new(),
        &free,
        chrono::DateTime::UNIX_EPOCH,
    );
    assert_eq!(verdict.decision, Decision::Skip(StayReason::Returns));
}

#[test]
fn a_toleration_of_the_cordon_is_recognized() {
    let key = "node.kubernetes.io/unschedulable";
    let cases = [
        (json!({"operator": "Exists"}), true),
        (json!({"operator": "Exists", "effect": "NoExecute"}), false),
        (json!({"key": key, "operator": "Exists"}), true),
        (json!({"key": key}), true),
        (
            json!({"key": key, "operator": "Equal", "value": "", "effect": "NoSchedule"}),
            true,
        ),
        (json!({"key": key, "value": "true"}), false),
        (json!({"key": key, "operator": "Exists", "effect": "NoExecute"}), false),
        (
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}),
            false,
        ),
    ];
    let found: BTreeSet<usize> = (0..cases.len())
        .filter(|index| {
            (view(tolerating(pod("shop/web-0"), &cases[*index].0)).tolerance == crate::Tolerance::None)
                == cases[*index].1
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
