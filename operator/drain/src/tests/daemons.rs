//! Which `DaemonSet`s and static pods count on a node, and when they are ready on it again.

use serde_json::{Value, json};

use super::fake::Fake;
use super::{pod, with};
use crate::{PodName, ReadyWorkload, ReadyWorkloads, find_unready, ready_workloads};

const BEFORE: &str = "2026-11-13T12:00:00Z";
const AFTER: &str = "2026-11-21T12:03:00Z";

/// A pod of `DaemonSet` `kube-system/{set}` on `n1`, in this state since then.
fn of_set(set: &str, name: &str, ready: bool, since: &str) -> Value {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": set, "uid": "set", "controller": true}]);
    let condition = json!([{
        "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": since,
        "reason": if ready { "" } else { "ContainersNotReady" },
        "message": if ready { String::new() } else { format!("containers with unready status: [{set}]") },
    }]);
    let change = json!({"metadata": {"ownerReferences": owner}, "status": {"conditions": condition}});
    with(pod(&format!("kube-system/{name}")), &change)
}

fn set(spec: &Value) -> Value {
    json!({"metadata": {"name": "cni", "namespace": "kube-system"}, "spec": {"template": {"spec": spec}}})
}

fn ready_before(name: &str) -> ReadyWorkload {
    let name = PodName::new("kube-system", name);
    let since = Some(BEFORE.parse().unwrap());
    ReadyWorkload { name, since }
}

fn counted() -> ReadyWorkloads {
    ReadyWorkloads {
        daemon_sets: vec![ready_before("cni")],
        static_pods: vec![],
    }
}

/// A mirror pod `kube-system/{name}` on `n1`, in this state since then.
fn static_pod(name: &str, ready: bool, since: &str) -> Value {
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
    with(of_set("none", name, ready, since), &mirror)
}

async fn again(fake: &Fake) -> Option<String> {
    find_unready(&fake.client(), "n1", &counted()).await.unwrap()
}

#[tokio::test]
async fn ready_daemon_sets_and_static_pods_count() {
    let fake = Fake::new();
    fake.put_pod(of_set("cni", "cni-x", true, BEFORE));
    fake.put_pod(of_set("broken", "broken-x", false, BEFORE));
    fake.put_pod(pod("shop/web-0"));
    // The mirror of a static pod, whatever it says of its owner; and a pod that is on its way out.
    fake.put_pod(static_pod("etcd-n1", true, BEFORE));
    fake.put_pod(static_pod("broken-n1", false, BEFORE));
    let leaves = json!({"metadata": {"deletionTimestamp": AFTER}});
    fake.put_pod(with(of_set("old", "old-x", true, BEFORE), &leaves));
    let expected = ReadyWorkloads {
        static_pods: vec![ready_before("etcd-n1")],
        ..counted()
    };
    assert_eq!(ready_workloads(&fake.client(), "n1").await.unwrap(), expected);
    assert_eq!(fake.count(""), 1, "one list");
}

#[tokio::test]
async fn an_unready_daemon_set_pod_is_named_with_its_condition() {
    let fake = Fake::new();
    fake.put_pod(of_set("cni", "cni-x", false, AFTER));
    let words = "DaemonSet kube-system/cni: pod cni-x is not Ready: containers with unready status: [cni]";
    assert_eq!(again(&fake).await.as_deref(), Some(words));
    let no_word = json!({"status": {"conditions": null, "phase": "Pending"}});
    fake.put_pod(with(of_set("cni", "cni-x", false, AFTER), &no_word));
    let words = "DaemonSet kube-system/cni: pod cni-x is not Ready: Pending";
    assert_eq!(again(&fake).await.as_deref(), Some(words));
    fake.put_pod(of_set("cni", "cni-x", true, AFTER));
    assert_eq!(again(&fake).await, None);
    assert_eq!(fake.count(""), 3, "one list each");
}

#[tokio::test]
async fn a_ready_condition_from_before_the_reboot_does_not_count() {
    let fake = Fake::new();
    fake.put_pod(of_set("cni", "cni-x", true, BEFORE));
    let words = "DaemonSet kube-system/cni: pod cni-x has not reported Ready since the reboot";
    assert_eq!(again(&fake).await.as_deref(), Some(words));
}

#[tokio::test]
async fn a_static_pod_is_waited_for_until_it_is_ready_after_the_reboot() {
    let fake = Fake::new();
    let before = ReadyWorkloads {
        daemon_sets: vec![],
        static_pods: vec![ready_before("etcd-n1")],
    };
    let unready = async || find_unready(&fake.client(), "n1", &before).await.unwrap();
    let words = "static pod kube-system/etcd-n1: its mirror pod does not exist yet";
    assert_eq!(unready().await.as_deref(), Some(words));
    fake.put_pod(static_pod("etcd-n1", true, BEFORE));
    let words = "static pod kube-system/etcd-n1: pod etcd-n1 has not reported Ready since the reboot";
    assert_eq!(unready().await.as_deref(), Some(words));
    fake.put_pod(static_pod("etcd-n1", false, AFTER));
    let words = "static pod kube-system/etcd-n1: pod etcd-n1 is not Ready: containers with unready status: [none]";
    assert_eq!(unready().await.as_deref(), Some(words));
    fake.put_pod(static_pod("kube-scheduler-n1", false, AFTER));
    fake.put_pod(static_pod("etcd-n1", true, AFTER));
    assert_eq!(unready().await, None);
}

#[tokio::test]
async fn daemon_sets_that_were_not_ready_before_are_not_waited_for() {
    let fake = Fake::new();
    fake.put_pod(of_set("cni", "cni-x", true, AFTER));
    fake.put_pod(of_set("broken", "broken-x", false, AFTER));
    fake.put_pod(of_set("new", "new-x", false, AFTER));
    assert_eq!(again(&fake).await, None);
}

#[tokio::test]
async fn a_replaced_daemon_set_pod_is_waited_for() {
    let fake = Fake::new();
    let leaves = json!({"metadata": {"deletionTimestamp": AFTER}});
    fake.put_pod(with(of_set("cni", "cni-x", true, AFTER), &leaves));
    let words = "DaemonSet kube-system/cni: pod cni-x is shutting down";
    assert_eq!(again(&fake).await.as_deref(), Some(words));
    fake.put_pod(of_set("cni", "cni-y", false, AFTER));
    assert!(again(&fake).await.is_some());
    fake.put_pod(of_set("cni", "cni-y", true, AFTER));
    assert_eq!(again(&fake).await, None);
}

#[tokio::test]
async fn a_missing_pod_is_waited_for_while_its_daemon_set_selects_the_node() {
    let fake = Fake::new();
    let node = json!({"metadata": {"name": "n1", "labels": {"kernel": "6.1.0-28"}}});
    fake.world().named.insert("nodes/n1".to_owned(), node);
    assert_eq!(again(&fake).await, None, "it was deleted");
    let says = async |spec: Value| {
        fake.world().named.insert("daemonsets/cni".to_owned(), set(&spec));
        again(&fake).await
    };
    let words = "DaemonSet kube-system/cni: its pod on n1 does not exist yet";
    assert_eq!(says(json!({})).await.as_deref(), Some(words));
    assert!(says(json!({"nodeSelector": {"kernel": "6.1.0-28"}})).await.is_some());
    assert_eq!(says(json!({"nodeSelector": {"kernel": "6.1.0-27"}})).await, None);
    let affinity = |terms: Value| {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    };
    let label = |operator: &str, values: Value| json!({"key": "kernel", "operator": operator, "values": values});
    for (term, wants) in [
        (
            json!({"matchExpressions": [label("In", json!(["6.1.0-28", "x"]))]}),
            true,
        ),
        (
            json!({"matchExpressions": [label("NotIn", json!(["6.1.0-28"]))]}),
            false,
        ),
        (
            json!({"matchExpressions": [label("Exists", json!([])), label("In", json!(["x"]))]}),
            false,
        ),
        (json!({"matchExpressions": [label("DoesNotExist", json!([]))]}), false),
        (json!({"matchExpressions": [label("Gt", json!(["5"]))]}), false),
        (json!({"matchExpressions": [label("Novel", json!(["5"]))]}), true),
        (
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
            true,
        ),
        (
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}),
            false,
        ),
        (json!({}), false),
    ] {
        let found = says(affinity(json!([term.clone()]))).await;
        assert_eq!(found.is_some(), wants, "{term}");
    }
    assert!(
        says(affinity(
            json!([{}, {"matchExpressions": [label("Exists", json!([]))]}])
        ))
        .await
        .is_some()
    );
}

#[tokio::test]
async fn the_first_unready_daemon_set_is_named_and_the_others_counted() {
    let fake = Fake::new();
    let names = ["csi", "cni", "logs"];
    for name in names {
        fake.put_pod(of_set(name, &format!("{name}-x"), false, AFTER));
    }
    let never = |name| ReadyWorkload {
        since: None,
        ..ready_before(name)
    };
    let counted = ReadyWorkloads {
        daemon_sets: ["cni", "csi", "logs"].map(never).into(),
        static_pods: vec![],
    };
    let words = find_unready(&fake.client(), "n1", &counted).await.unwrap().unwrap();
    assert_eq!(
        words,
        "DaemonSet kube-system/cni: pod cni-x is not Ready: containers with unready status: [cni]; and 2 more"
    );
}

#[tokio::test]
async fn a_failed_list_of_daemon_set_pods_is_an_error() {
    let fake = Fake::new();
    fake.put_pod(of_set("cni", "cni-x", true, AFTER));
    fake.go_down_for_lists();
    let error = find_unready(&fake.client(), "n1", &counted()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read the pods of node n1");
    assert!(ready_workloads(&fake.client(), "n1").await.is_err());
}
