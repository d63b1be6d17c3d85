//! Which workloads count before a drain, and what is known of their replicas after the reboot.

use serde_json::{Value, json};

use super::fake::Fake;
use super::{pod, settings, with};
use crate::{Behavior, Rule, Workload, WorkloadState, pods_at_cordon, workload_states};

/// A workload with so many replicas, of which so many are ready.
fn replicated(replicas: Option<i32>, ready: Option<i32>) -> Value {
    json!({"metadata": {}, "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}})
}

fn put(fake: &Fake, resource: &str, workload: Value) {
    fake.world().named.insert(resource.to_owned(), workload);
}

/// A pod on `n1` whose controlling owner is this.
fn owned(name: &str, api_version: &str, kind: &str, owner: &str) -> Value {
    let owners = json!([{"apiVersion": api_version, "kind": kind, "name": owner, "uid": "owner", "controller": true}]);
    with(pod(name), &json!({"metadata": {"ownerReferences": owners}}))
}

fn workload(owner: &str, deployment: Option<&str>, replicas: Option<i32>) -> Workload {
    Workload {
        owner: owner.to_owned(),
        deployment: deployment.map(str::to_owned),
        replicas,
    }
}

async fn counted(fake: &Fake) -> Vec<Workload> {
    pods_at_cordon(&fake.client(), &settings(), 100)
        .await
        .unwrap()
        .workloads
}

#[tokio::test]
async fn workloads_count_that_have_all_their_replicas_ready_before_the_drain() {
    let fake = Fake::new();
    for (name, kind, owner) in [
        ("shop/web-0", "ReplicaSet", "web"),
        ("shop/web-1", "ReplicaSet", "web"),
        ("shop/db-0", "StatefulSet", "db"),
        ("shop/cache-0", "StatefulSet", "cache"),
        ("shop/gone-0", "ReplicaSet", "gone"),
    ] {
        fake.put_pod(owned(name, "apps/v1", kind, owner));
    }
    fake.put_pod(owned("shop/old-0", "v1", "ReplicationController", "old"));
    fake.put_pod(owned("shop/job-0", "batch/v1", "Job", "job"));
    fake.put_pod(owned("shop/clone-0", "apps.kruise.io/v1alpha1", "StatefulSet", "clone"));
    let deployment =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}]);
    let of_deployment = json!({"metadata": {"ownerReferences": deployment}});
    put(
        &fake,
        "replicasets/web",
        with(replicated(Some(2), Some(2)), &of_deployment),
    );
    put(&fake, "statefulsets/db", replicated(None, Some(1)));
    put(&fake, "statefulsets/cache", replicated(Some(3), Some(2)));
    put(&fake, "replicationcontrollers/old", replicated(Some(1), Some(1)));
    let expected = [
        workload("ReplicaSet shop/web", Some("web"), Some(2)),
        workload("ReplicationController shop/old", None, Some(1)),
        workload("StatefulSet shop/db", None, Some(1)),
    ];
    assert_eq!(counted(&fake).await, expected);
    assert_eq!(fake.count("GET replicasets/web"), 1, "one read for each workload");
    let first = pods_at_cordon(&fake.client(), &settings(), 1).await.unwrap().workloads;
    assert_eq!(first, expected[..1]);
}

#[tokio::test]
async fn workloads_do_not_count_whose_pods_stay_on_the_node() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    put(&fake, "replicasets/web", replicated(Some(1), Some(1)));
    let mut settings = settings();
    settings.rules = vec![Rule {
        pods: None,
        namespaces: None,
        behavior: Behavior::Skip,
        order: 0,
    }];
    let found = pods_at_cordon(&fake.client(), &settings, 100).await.unwrap().workloads;
    assert_eq!(found, []);
    assert_eq!(fake.count("GET replicasets"), 0);
}

#[tokio::test]
async fn a_workload_that_cannot_be_read_counts() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    put(
        &fake,
        "replicasets/web",
        json!({"metadata": {}, "spec": {"replicas": "two"}}),
    );
    assert_eq!(counted(&fake).await, [workload("ReplicaSet shop/web", None, None)]);
}

#[tokio::test]
async fn a_failed_list_of_pods_is_an_error_before_the_drain() {
    let fake = Fake::new();
    fake.go_down_for_lists();
    assert!(pods_at_cordon(&fake.client(), &settings(), 100).await.is_err());
}

/// What is known of `ReplicaSet shop/web`, which had so many replicas.
async fn state(fake: &Fake, before: Option<i32>) -> WorkloadState {
    let workloads = [workload("ReplicaSet shop/web", None, before)];
    workload_states(&fake.client(), &workloads).await.pop().unwrap()
}

#[tokio::test]
async fn no_more_replicas_are_waited_for_than_there_were_or_are_to_be() {
    let fake = Fake::new();
    for (desired, ready, before, expected) in [
        (Some(2), Some(1), Some(2), Some((1, 2))),
        (Some(2), None, Some(2), Some((0, 2))),
        (Some(2), Some(2), Some(2), None),
        // Scaled up, scaled down, replaced by another ReplicaSet, and not known from before.
        (Some(5), Some(2), Some(2), None),
        (Some(1), Some(1), Some(2), None),
        (Some(0), None, Some(2), None),
        (Some(3), Some(2), None, Some((2, 3))),
        (None, Some(0), None, Some((0, 1))),
    ] {
        put(&fake, "replicasets/web", replicated(desired, ready));
        let found = match state(&fake, before).await {
            WorkloadState::Ready => None,
            WorkloadState::NotReady { ready, desired } => Some((ready, desired)),
            WorkloadState::Unreadable(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "{desired:?} {ready:?} {before:?}");
    }
}

#[tokio::test]
async fn a_workload_that_was_deleted_is_not_waited_for() {
    let state = state(&Fake::new(), Some(2)).await;
    assert!(matches!(state, WorkloadState::Ready), "{state:?}");
}

#[tokio::test]
async fn a_workload_that_cannot_be_read_is_named_by_the_error() {
    let fake = Fake::new();
    put(
        &fake,
        "replicasets/web",
        json!({"metadata": {}, "spec": {"replicas": "two"}}),
    );
    let WorkloadState::Unreadable(error) = state(&fake, Some(2)).await else {
        panic!("it was read")
    };
    assert_eq!(error.to_string(), "cannot read ReplicaSet shop/web");
}

#[test]
fn a_replica_set_is_shown_as_its_deployment() {
    let shown = |deployment| workload("ReplicaSet shop/web-7d9c", deployment, Some(1)).shown_name();
    assert_eq!(shown(Some("web")), "Deployment shop/web");
    assert_eq!(shown(None), "ReplicaSet shop/web-7d9c");
}
