//! Which pods leave: the rows of the decision table.

use chrono::DateTime;
use expect_test::{Expect, expect};
use lockkeeper_kube_util::Guarded;
use serde_json::{Value, json};

use super::{pod, settings, view, with};
use crate::{Namespaces, Settings, Unmanaged, decide};

#[expect(clippy::needless_pass_by_value, reason = "reads better with literals")]
fn check(change: Value, settings: &Settings, expected: Expect) {
    let pod = view(with(pod("shop/web-0"), &change));
    expected.assert_eq(&format!(
        "{:?}",
        decide(&pod, &Namespaces::new(), settings, DateTime::UNIX_EPOCH).decision
    ));
}

fn evicting_unmanaged() -> Settings {
    Settings {
        unmanaged: Unmanaged::Evict,
        ..settings()
    }
}

fn owned_by(kind: &str, api_version: &str) -> Value {
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": "x", "uid": "x", "controller": true});
    json!({"metadata": {"ownerReferences": [owner]}})
}

#[test]
fn a_running_pod_of_any_controller_is_evicted() {
    for kind in ["ReplicaSet", "StatefulSet", "Job", "ReplicationController", "Foo"] {
        check(owned_by(kind, "apps/v1"), &settings(), expect!["Evict"]);
    }
}

#[test]
fn a_pod_that_cannot_be_decoded_blocks_unless_its_metadata_let_it_stay() {
    let undecodable = |change: Value| {
        let object = with(pod("shop/web-0"), &json!({"status": {"phase": 5}}));
        let pod: Guarded<crate::pod::SlimPod> = serde_json::from_value(with(object, &change)).unwrap();
        let verdict = decide(&pod.into(), &Namespaces::new(), &settings(), DateTime::UNIX_EPOCH);
        format!("{:?}", verdict.decision)
    };
    assert_eq!(undecodable(json!({})), "Block([Undecodable])");
    assert_eq!(undecodable(owned_by("DaemonSet", "apps/v1")), "Skip(DaemonSet)");
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}});
    assert_eq!(undecodable(deleted), "Wait");
}

#[test]
fn daemon_set_pods_stay() {
    check(
        owned_by("DaemonSet", "apps/v1"),
        &settings(),
        expect!["Skip(DaemonSet)"],
    );
    check(
        owned_by("DaemonSet", "apps/v1"),
        &evicting_unmanaged(),
        expect!["Skip(DaemonSet)"],
    );
}

#[test]
fn pods_of_a_daemon_set_of_any_api_group_stay() {
    for version in ["apps.kruise.io/v1alpha1", "apps.example.com/v2", "extensions/v1beta1"] {
        check(owned_by("DaemonSet", version), &settings(), expect!["Skip(DaemonSet)"]);
    }
    check(owned_by("CloneSet", "apps.kruise.io/v1"), &settings(), expect!["Evict"]);
}

#[test]
fn static_pods_stay() {
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "abc"}, "ownerReferences": null}});
    check(mirror.clone(), &settings(), expect!["Skip(Mirror)"]);
    check(mirror, &evicting_unmanaged(), expect!["Skip(Mirror)"]);
}

#[test]
fn an_unmanaged_pod_blocks_unless_unmanaged_pods_is_evict() {
    let unmanaged = json!({"metadata": {"ownerReferences": null}});
    check(unmanaged.clone(), &settings(), expect!["Block([Unmanaged])"]);
    check(unmanaged, &evicting_unmanaged(), expect!["Evict"]);
}

#[test]
fn an_owner_that_is_no_controller_leaves_a_pod_unmanaged() {
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"});
    check(
        json!({"metadata": {"ownerReferences": [owner]}}),
        &settings(),
        expect!["Block([Unmanaged])"],
    );
}

#[test]
fn finished_pods_stay_even_unmanaged_or_terminating_ones() {
    for phase in ["Succeeded", "Failed"] {
        check(
            json!({"status": {"phase": phase}}),
            &settings(),
            expect!["Skip(Finished)"],
        );
        let unmanaged = json!({"status": {"phase": phase}, "metadata": {"ownerReferences": null}});
        check(unmanaged, &settings(), expect!["Skip(Finished)"]);
        let terminating =
            json!({"status": {"phase": phase}, "metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}});
        check(terminating, &settings(), expect!["Skip(Finished)"]);
    }
}

#[test]
fn pending_and_unknown_pods_are_evicted() {
    check(json!({"status": {"phase": "Pending"}}), &settings(), expect!["Evict"]);
    check(json!({"status": {"phase": "Unknown"}}), &settings(), expect!["Evict"]);
    check(json!({"status": null}), &settings(), expect!["Evict"]);
}

#[test]
fn a_pod_that_is_shutting_down_is_waited_for() {
    let terminating = json!({"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}});
    check(terminating.clone(), &settings(), expect!["Wait"]);
    check(
        with(terminating, &json!({"metadata": {"ownerReferences": null}})),
        &settings(),
        expect!["Wait"],
    );
}

#[test]
fn lockkeepers_own_pods_stay_but_no_others_with_its_label() {
    let own = json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "lockkeeper"}}});
    check(own.clone(), &settings(), expect!["Evict"]);
    let own = with(own, &json!({"metadata": {"namespace": "lockkeeper-system"}}));
    check(own.clone(), &settings(), expect!["Skip(Own)"]);
    check(
        with(own, &json!({"metadata": {"ownerReferences": null}})),
        &settings(),
        expect!["Skip(Own)"],
    );
    let other = json!({"metadata": {"namespace": "lockkeeper-system"}});
    check(other, &settings(), expect!["Evict"]);
}

/// The pod of a Job that runs for this node.
fn job_pod(node: &str) -> Value {
    let labels = json!({
        "app.kubernetes.io/part-of": "lockkeeper", "app.kubernetes.io/component": "job", "lockkeeper.dev/node": node,
    });
    let own = json!({"metadata": {"namespace": "lockkeeper-system", "labels": labels}});
    with(owned_by("Job", "batch/v1"), &own)
}

#[test]
fn the_pod_of_a_job_that_runs_for_the_node_stays_while_it_runs() {
    check(job_pod("n1"), &settings(), expect!["Skip(Own)"]);
    let finished = with(job_pod("n1"), &json!({"status": {"phase": "Succeeded"}}));
    check(finished, &settings(), expect!["Skip(Finished)"]);
}

#[test]
fn the_pod_of_a_job_for_another_node_or_of_another_namespace_is_evicted() {
    check(job_pod("n2"), &settings(), expect!["Evict"]);
    let elsewhere = with(job_pod("n1"), &json!({"metadata": {"namespace": "shop"}}));
    check(elsewhere, &settings(), expect!["Evict"]);
}

#[test]
fn a_node_with_a_name_that_is_too_long_for_a_label_keeps_the_pods_of_its_jobs() {
    let name = format!("{}.example.com", "n".repeat(60));
    let long = Settings {
        node: name.clone(),
        ..settings()
    };
    check(
        job_pod(&lockkeeper_kube_util::label_value(&name)),
        &long,
        expect!["Skip(Own)"],
    );
}
