use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lockkeeper_crds::{NodeReboot, NodeRebootStatus, names};
use lockkeeper_kube_util::Guarded;
use planner::PolicyName;

use super::*;
use crate::guarded::GuardedRecord;
use crate::hold::hold;
use crate::node_view::{deletion, record};
use crate::slim;
use serde_json::{Value, json};

fn seen(policies: &[(&str, Value)], nodes: &[(&str, Value)]) -> ObservedObjects {
    let policy = |(name, spec): &(&str, Value)| {
        let object = json!({"metadata": {"name": name}, "spec": spec, "apiVersion": "lockkeeper.dev/v1alpha1",
            "kind": "RebootPolicy"});
        ((*name).to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
    };
    let node = |(name, labels): &(&str, Value)| {
        let object = json!({"metadata": {"name": name, "uid": "u", "labels": labels}});
        ((*name).to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
    };
    ObservedObjects {
        policies: policies.iter().map(policy).collect(),
        nodes: nodes.iter().map(node).collect(),
        ..ObservedObjects::default()
    }
}

#[test]
fn a_policy_whose_selector_cannot_be_read_is_closed_and_closes_everything() {
    let bad = json!({"nodeSelector": {"matchExpressions": [{"key": "k", "operator": "Near"}]}});
    let seen = seen(&[("bad", bad), ("good", json!({}))], &[("n", json!({}))]);
    let snapshot = snapshot(&seen, &Local::default());
    assert!(
        snapshot.view_gaps[0].to_string().contains("spec.nodeSelector"),
        "{:?}",
        snapshot.view_gaps
    );
    let why = snapshot.policies["bad"].schedule.as_ref().unwrap_err();
    assert!(why.starts_with("spec.nodeSelector: "), "{why}");
    assert_eq!(*snapshot.nodes["n"].policies, [PolicyName::from("good")]);
}

#[test]
fn a_node_whose_object_cannot_be_decoded_has_a_gap_and_the_others_have_none() {
    let mut seen = seen(&[("all", json!({}))], &[("a", json!({})), ("b", json!({}))]);
    let node = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"unschedulable": "yes"}});
    let undecodable: slim::Node = serde_json::from_value::<Guarded<slim::Node>>(node).unwrap().into();
    seen.nodes.insert("a".to_owned(), Arc::new(undecodable));
    let view = snapshot(&seen, &Local::default());
    assert_eq!(
        view.nodes["a"].view_gap.as_ref().unwrap().to_string(),
        "Node a cannot be decoded (spec.unschedulable: invalid type: string \"yes\", expected a boolean); it counts as \
         unavailable and keeps its slot until it is fixed"
    );
    assert_eq!(view.nodes["b"].view_gap, None);
    assert_eq!((view.view_gaps, view.unlisted), (vec![], vec![]));
}

#[test]
fn an_undecodable_record_concerns_the_node_that_owns_it_alone() {
    let mut seen = seen(&[("all", json!({}))], &[("a", json!({})), ("b", json!({}))]);
    let record = |name: &str, owner: &str| {
        let record = json!({
            "metadata": {"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner}]},
            "spec": {}, "status": {"host": {"bootTime": "2026-11-21T12:00:00Ztrailing words"}},
        });
        let record: GuardedRecord = serde_json::from_value(record).unwrap();
        (name.to_owned(), Arc::new(record.0.unwrap_err()))
    };
    seen.undecodable.reboots = [record("a", "u"), record("b", "an-earlier-node")].into();
    let view = snapshot(&seen, &Local::default());
    let gap = view.nodes["a"].view_gap.as_ref().unwrap().to_string();
    assert!(
        gap.starts_with("NodeReboot a cannot be decoded (status.host.bootTime: "),
        "{gap}"
    );
    assert_eq!(view.nodes["b"].view_gap, None);
}

#[test]
fn without_a_lock_that_can_be_decoded_nothing_is_known() {
    let mut seen = seen(&[], &[]);
    seen.undecodable.lock = Some("status.holders[0].acquiredTime: trailing input".to_owned());
    assert_eq!(
        snapshot(&seen, &Local::default()).unlisted[0].to_string(),
        "RebootLock cluster cannot be decoded (status.holders[0].acquiredTime: trailing input); the operator does nothing \
         until it is fixed"
    );
}

#[test]
fn a_static_pod_that_cannot_be_decoded_counts_as_not_ready() {
    let mut seen = seen(&[], &[("c", json!({}))]);
    let pod = json!({
        "metadata": {"name": "etcd-c", "namespace": "kube-system", "annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"nodeName": "c"}, "status": {"conditions": [{"type": "Ready", "status": true}]},
    });
    let pod: StaticPod = serde_json::from_value::<Guarded<StaticPod, _>>(pod).unwrap().into();
    seen.static_pods = vec![Arc::new(pod)];
    let node = snapshot(&seen, &Local::default()).nodes.remove("c").unwrap();
    assert!(node.control_plane);
    assert_eq!(node.unready_static_pod.as_deref(), Some("kube-system/etcd-c"));
}

#[test]
fn a_node_of_another_operating_system_is_none_of_ours() {
    let windows = json!({"kubernetes.io/os": "windows"});
    let seen = seen(&[("all", json!({}))], &[("l", json!({})), ("w", windows)]);
    let snapshot = snapshot(&seen, &Local::default());
    assert_eq!(snapshot.nodes.keys().collect::<Vec<_>>(), ["l"]);
}

#[test]
fn control_plane_nodes_are_found_by_the_configured_labels_and_by_static_pods() {
    let microk8s = json!({"node.kubernetes.io/microk8s-controlplane": "microk8s-controlplane"});
    let mut seen = seen(
        &[],
        &[
            ("a", microk8s),
            ("b", json!({"datastore": ""})),
            ("c", json!({})),
            ("d", json!({})),
        ],
    );
    let pod = |name: &str, node: &str, mirror: bool, ready: &str| {
        let annotations = if mirror {
            json!({"kubernetes.io/config.mirror": "x"})
        } else {
            json!({})
        };
        let pod = json!({
            "metadata": {"name": name, "namespace": "kube-system", "annotations": annotations},
            "spec": {"nodeName": node}, "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    };
    seen.static_pods = vec![
        pod("kube-apiserver-c", "c", true, "False"),
        pod("etcd-c", "c", true, "False"),
        pod("etcd-operator", "d", false, "True"),
    ];
    let control_plane = |local: &Local| -> Vec<String> {
        let nodes = snapshot(&seen, local).nodes.into_iter();
        nodes
            .filter(|(_, node)| node.control_plane)
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(control_plane(&Local::default()), ["a", "c"]);
    let local = Local {
        control_plane_labels: vec!["datastore".to_owned()],
        ..Local::default()
    };
    assert_eq!(control_plane(&local), ["b", "c"]);
    let unready = snapshot(&seen, &local).nodes["c"].unready_static_pod.clone();
    assert_eq!(unready.as_deref(), Some("kube-system/etcd-c"));
}

#[test]
fn a_node_is_about_to_be_deleted_by_its_timestamp_or_a_known_taint() {
    let deletion = |node: Value, recorded: Value| {
        let status: NodeRebootStatus = serde_json::from_value(json!({"deletionTaint": recorded})).unwrap();
        deletion(&serde_json::from_value(node).unwrap(), Some(&status))
    };
    let taints = |key: &str| json!({"metadata": {}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}, {"key": key, "effect": "NoSchedule"}]}});
    let time = "2026-11-20T00:00:00Z";
    let since: DateTime<Utc> = time.parse().unwrap();
    let gone = json!({"metadata": {"deletionTimestamp": time}});
    assert_eq!(
        deletion(gone, Value::Null),
        Some(planner::Deletion::InProgress { since })
    );
    for taint in names::DELETION_TAINTS {
        let expected = |since| {
            Some(planner::Deletion::Tainted {
                taint: taint.to_owned(),
                since,
            })
        };
        assert_eq!(deletion(taints(taint), Value::Null), expected(None));
        let recorded = json!({"key": taint, "firstSeenTime": time});
        assert_eq!(deletion(taints(taint), recorded), expected(Some(since)));
        let other = json!({"key": "other", "firstSeenTime": time});
        assert_eq!(deletion(taints(taint), other), expected(None), "of another taint");
    }
    assert_eq!(deletion(taints("node.kubernetes.io/unreachable"), Value::Null), None);
}

#[test]
fn a_virtual_node_is_none_of_ours_unless_an_operation_is_in_progress() {
    let virtual_node = json!({"kubernetes.io/os": "linux", "type": "virtual-kubelet"});
    let mut seen = seen(&[("all", json!({}))], &[("l", json!({})), ("v", virtual_node)]);
    let names = |seen: &ObservedObjects| {
        let snapshot = snapshot(seen, &Local::default());
        snapshot.nodes.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&seen), ["l"]);
    let operation = json!({"id": "7f3c", "phase": "Draining", "policy": "all", "bootIDBefore": "b",
        "startedTime": "2026-11-24T22:04:00Z",
        "settings": {"drain": {"timeoutSeconds": 900}, "reboot": {"timeoutSeconds": 900}, "requireAgentSeconds": 60}});
    let record = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {},
        "metadata": {"name": "v", "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "v", "uid": "u"}]},
        "status": {"operation": operation},
    });
    let record = Arc::new(serde_json::from_value(record).unwrap());
    seen.reboots.insert("v".to_owned(), record);
    assert_eq!(names(&seen), ["l", "v"]);
}

/// Whether the record of node `v` with these labels, this boot and this status is not needed any more.
fn unmanaged_record(labels: &Value, boot_id: &str, status: &Value, uid: &str) -> bool {
    let node = json!({"metadata": {"name": "v", "uid": "u", "labels": labels}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": boot_id, "kernelVersion": boot_id}}});
    let mut seen = ObservedObjects::default();
    seen.nodes
        .insert("v".to_owned(), Arc::new(serde_json::from_value(node).unwrap()));
    let record = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {}, "status": status,
        "metadata": {"name": "v", "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "v", "uid": uid}]},
    });
    let record = serde_json::from_value(record).unwrap();
    seen.reboots.insert("v".to_owned(), Arc::new(record));
    snapshot(&seen, &Local::default()).unmanaged_records.contains("v")
}

#[test]
fn the_record_of_a_node_that_is_labelled_virtual_later_is_not_needed_any_more() {
    let host = &json!({"host": {"bootID": "b"}});
    let linux = &json!({"kubernetes.io/os": "linux"});
    let windows = &json!({"kubernetes.io/os": "windows"});
    let virtual_node = &json!({"kubernetes.io/os": "linux", "type": "virtual-kubelet"});
    assert!(unmanaged_record(virtual_node, "b", host, "u"));
    assert!(unmanaged_record(windows, "b", host, "u"));
    assert!(!unmanaged_record(linux, "b", host, "u"));
    assert!(
        !unmanaged_record(virtual_node, "b", host, "other"),
        "it belongs to another Node"
    );
    assert!(
        !unmanaged_record(linux, "", host, "u"),
        "its kubelet may not have reported yet"
    );
    assert!(unmanaged_record(linux, "", &json!({}), "u"));
}

fn reboot(outcome: &str, minutes: [i64; 3]) -> Arc<NodeReboot> {
    let entry = |index: i64| {
        let ended = "2026-11-20T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + chrono::TimeDelta::hours(index);
        let whole = chrono::TimeDelta::minutes(minutes.iter().sum());
        json!({"operationID": "op", "outcome": outcome, "startedTime": ended - whole, "endedTime": ended,
            "drainedSeconds": minutes[0] * 60, "downSeconds": minutes[1] * 60, "verifiedSeconds": minutes[2] * 60})
    };
    let history: Vec<Value> = (0..6).map(entry).collect();
    Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "metadata": {"name": "n"}, "spec": {},
            "status": {"history": history},
        }))
        .unwrap(),
    )
}

#[test]
fn a_policy_learns_from_the_successes_of_its_nodes_and_from_nothing_else() {
    let minutes = |outcome: &str| {
        let mut seen = seen(&[("all", json!({}))], &[("n", json!({}))]);
        seen.reboots.insert("n".into(), reboot(outcome, [1, 2, 3]));
        snapshot(&seen, &Local::default()).policies["all"]
            .duration_estimate
            .cordoned
            .num_minutes()
    };
    assert_eq!(minutes("Succeeded"), 6);
    assert_eq!(minutes("Deferred"), 15);
}

#[test]
fn a_node_has_the_values_of_the_labels_that_some_topology_names() {
    let zone = json!({"disruption": {"topology": [{"key": "zone", "maxDomains": 1}]}});
    let seen = seen(
        &[("all", zone)],
        &[("n", json!({"zone": "a", "rack": "7"})), ("m", json!({}))],
    );
    let snapshot = snapshot(&seen, &Local::default());
    assert_eq!(
        snapshot.nodes["n"].domains,
        [("zone".to_owned(), "a".to_owned())].into()
    );
    assert_eq!(snapshot.nodes["m"].domains, BTreeMap::new());
}

#[test]
fn a_hold_with_an_invalid_end_holds_and_is_reported() {
    let node = |until: &str| {
        let annotations = json!({"lockkeeper.dev/hold": "kernel debugging", "lockkeeper.dev/hold-until": until});
        let object = json!({"metadata": {"name": "n", "uid": "u", "annotations": annotations}});
        serde_json::from_value::<slim::Node>(object).unwrap()
    };
    let invalid = hold(&node("tomorrow")).unwrap();
    assert_eq!(
        (invalid.until, invalid.invalid_until.as_deref()),
        (None, Some("tomorrow"))
    );
    assert!(invalid.holds(DateTime::<Utc>::MAX_UTC));
    let valid = hold(&node("2026-12-01T06:00:00Z")).unwrap();
    assert_eq!(valid.invalid_until, None);
    assert!(valid.until.is_some());
}

#[test]
fn texts_of_hosts_people_and_kubelets_are_cleaned() {
    let poison = "\u{1b}[2J\u{202e}x\ny";
    let clean = "�[2J�x y";
    let mut seen = seen(&[], &[]);
    let node = json!({
        "metadata": {"name": "n", "uid": "u", "annotations": {"lockkeeper.dev/hold": poison,
            "lockkeeper.dev/hold-until": poison, "lockkeeper.dev/reboot-requested": poison, "lockkeeper.dev/approved": poison}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": poison}],
            "nodeInfo": {"bootID": "b", "kernelVersion": "6.1"}},
    });
    let host = json!({"bootID": "b", "kernel": poison, "rebootCapable": false, "rebootCapableMessage": poison,
        "rebootRequired": {"required": true, "reasons": [poison]}, "inhibitors": [{"who": poison, "why": poison}],
        "order": {"id": "op-0", "state": "Refused", "message": poison}});
    let reboot = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {}, "status": {"host": host},
        "metadata": {"name": "n", "annotations": {"lockkeeper.dev/command": poison},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]},
    });
    let node = Arc::new(serde_json::from_value(node).unwrap());
    seen.nodes.insert("n".to_owned(), node);
    let reboot = Arc::new(serde_json::from_value(reboot).unwrap());
    seen.reboots.insert("n".to_owned(), reboot);
    let node = snapshot(&seen, &Local::default()).nodes.remove("n").unwrap();
    let debug = format!("{node:#?}");
    let left: Vec<&str> = debug
        .lines()
        .filter(|line| line.contains("\\u{1b}") || line.contains("\\u{202e}") || line.contains("\\n"))
        .collect();
    assert_eq!(left, Vec::<&str>::new());
    assert_eq!(node.hold.unwrap().reason, clean);
    let host = node.record.unwrap().host.unwrap();
    assert_eq!((host.kernel.as_str(), host.reasons), (clean, vec![clean.to_owned()]));
    assert_eq!(host.inhibitors, [(clean.to_owned(), clean.to_owned())]);
}

#[test]
fn a_command_of_any_length_equals_its_recorded_answer() {
    let text = format!(
        "please-release-the-node-{} because {}",
        "x".repeat(50),
        "y ".repeat(200)
    );
    let command = convert::command(&text);
    let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
    let answer = convert::answered_command(&command, "Refused", "unknown", now);
    let reboot = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {},
        "metadata": {"name": "n", "annotations": {"lockkeeper.dev/command": text}}, "status": {"lastCommand": answer},
    });
    let record = record(&serde_json::from_value(reboot).unwrap());
    assert!(record.command.is_some());
    assert_eq!(record.command, record.answered_command);
}
