use super::*;
use serde_json::{Value, json};

fn seen(policies: &[(&str, Value)], nodes: &[(&str, Value)]) -> Seen {
    let policy = |(name, spec): &(&str, Value)| {
        let object = json!({"metadata": {"name": name}, "spec": spec, "apiVersion": "lockkeeper.dev/v1alpha1",
            "kind": "RebootPolicy"});
        ((*name).to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
    };
    let node = |(name, labels): &(&str, Value)| {
        let object = json!({"metadata": {"name": name, "uid": "u", "labels": labels}});
        ((*name).to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
    };
    Seen {
        policies: policies.iter().map(policy).collect(),
        nodes: nodes.iter().map(node).collect(),
        ..Seen::default()
    }
}

#[test]
fn a_policy_whose_selector_cannot_be_read_is_closed_and_closes_everything() {
    let bad = json!({"nodeSelector": {"matchExpressions": [{"key": "k", "operator": "Near"}]}});
    let seen = seen(&[("bad", bad), ("good", json!({}))], &[("n", json!({}))]);
    let snapshot = snapshot(&seen, &Local::default());
    assert!(
        snapshot.undecodable[0].contains("spec.nodeSelector"),
        "{:?}",
        snapshot.undecodable
    );
    let why = snapshot.policies["bad"].schedule.as_ref().unwrap_err();
    assert!(why.starts_with("spec.nodeSelector: "), "{why}");
    assert_eq!(snapshot.nodes["n"].policies, ["good"]);
}

#[test]
fn a_node_of_another_operating_system_is_none_of_ours() {
    let windows = json!({"kubernetes.io/os": "windows"});
    let seen = seen(&[("all", json!({}))], &[("l", json!({})), ("w", windows)]);
    let snapshot = snapshot(&seen, &Local::default());
    assert_eq!(snapshot.nodes.keys().collect::<Vec<_>>(), ["l"]);
}
