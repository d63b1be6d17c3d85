//! Whatever the API server holds: it is decoded or named, and no plan fails because of it.

// Helpers of tests, outside of the test functions that clippy.toml exempts.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lockkeeper_crds::{NodeReboot, RebootPolicy};
use lockkeeper_fuzz::fuzz;
use lockkeeper_kube_util::{Guarded, is_printable};
use lockkeeper_planner::plan;
use lockkeeper_snapshot::guarded::GuardedRecord;
use lockkeeper_snapshot::{Local, ObservedObjects, convert, slim, snapshot};
use serde_json::{Value, json};

fn now() -> DateTime<Utc> {
    "2026-11-24T22:10:00Z".parse().unwrap()
}

/// One policy, one node and its record; either may be what a fuzzer made of it.
fn observed(node: Option<slim::Node>, record: Option<GuardedRecord>) -> ObservedObjects {
    let policy = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "workers"}, "spec": {}});
    let policy: RebootPolicy = serde_json::from_value(policy).unwrap();
    let good = json!({"metadata": {"name": "w-01", "uid": "u-1"}, "status": {"nodeInfo": {"bootID": "b-1"},
        "conditions": [{"type": "Ready", "status": "True"}]}});
    let node = node.unwrap_or_else(|| serde_json::from_value(good).unwrap());
    let mut seen = ObservedObjects::default();
    seen.policies.insert("workers".to_owned(), Arc::new(policy));
    seen.nodes.insert("w-01".to_owned(), Arc::new(node));
    match record {
        Some(Guarded(Ok(record))) => drop(seen.reboots.insert("w-01".to_owned(), Arc::new(record))),
        Some(Guarded(Err(record))) => drop(seen.undecodable.reboots.insert("w-01".to_owned(), Arc::new(record))),
        None => {}
    }
    seen.lock = Some(Arc::new(
        serde_json::from_value(json!({"metadata": {"name": "cluster"}, "spec": {}})).unwrap(),
    ));
    seen
}

/// Plans, and judges the words of the plan.
fn judge(seen: &ObservedObjects) {
    let plan = plan(&snapshot(seen, &Local::default()), now());
    for waiting in plan.wait_reasons.values() {
        let words = waiting.to_string();
        assert!(words.chars().all(is_printable), "{words:?}");
    }
}

/// The part of an input that can be an object at all: kube does not read others.
fn object(input: &[u8]) -> Option<Value> {
    serde_json::from_slice(input).ok().filter(Value::is_object)
}

#[test]
fn a_record_is_decoded_or_named_and_plans_do_not_fail() {
    fuzz("node-reboot", |input| {
        let Some(object) = object(input) else { return };
        let record: GuardedRecord = serde_json::from_value(object.clone()).unwrap();
        match &record.0 {
            Ok(record) => {
                let again = serde_json::to_value(record).unwrap();
                assert_eq!(&serde_json::from_value::<NodeReboot>(again).unwrap(), record);
            }
            Err(undecodable) => {
                let cause = &undecodable.cause;
                assert!(
                    cause.chars().count() <= 512 && cause.chars().all(is_printable),
                    "{cause:?}"
                );
                assert_eq!(
                    undecodable.metadata.name.as_deref(),
                    object["metadata"]["name"].as_str()
                );
            }
        }
        judge(&observed(None, Some(record)));
    });
}

#[test]
fn a_node_is_decoded_or_named_and_plans_do_not_fail() {
    fuzz("node", |input| {
        let Some(object) = object(input) else { return };
        let node: Guarded<slim::Node> = serde_json::from_value(object).unwrap();
        let mut node = slim::Node::from(node);
        node.prune();
        judge(&observed(Some(node), None));
    });
}

#[test]
fn a_command_is_short_printable_and_equal_to_its_recorded_answer() {
    fuzz("command", |input| {
        let command = convert::command(&String::from_utf8_lossy(input));
        for (text, most) in [(&command.verb, 32), (&command.operation_id, 64)] {
            assert!(
                text.chars().count() <= most && text.chars().all(is_printable),
                "{text:?}"
            );
        }
        let answer = convert::answered_command(&command, "Refused", "no", now());
        assert_eq!(
            (&answer.verb, &answer.operation_id),
            (&command.verb, &command.operation_id)
        );
    });
}
