//! A whole rollout on hollow nodes, seen from outside.

use std::time::Duration;

use chrono::Utc;
use lockkeeper_e2e::audit::{count, count_by_program};
use lockkeeper_e2e::recorder::Recorder;
use lockkeeper_e2e::stack::Stack;
use lockkeeper_e2e::workload;
use serde_json::json;

#[tokio::test]
async fn six_nodes_are_rebooted_one_at_a_time_and_the_workload_does_not_notice() {
    let mut stack = Stack::start("rollout", 6, 2).await.unwrap();
    workload::start(&stack.plane.client(), 4, 3).await.unwrap();
    let recorder = Recorder::start(&stack.plane.client());
    stack.plane.policy("general", json!({})).await.unwrap();
    stack
        .plane
        .kubectl(&["wait", "--for=condition=UpToDate", "rbp/general", "--timeout=300s"])
        .unwrap();
    let began = Utc::now();
    for name in stack.nodes.names().to_vec() {
        stack.stage_update(&name).await.unwrap();
    }
    let done = stack.wait_all_rebooted(Duration::from_mins(10)).await.unwrap();
    let seen = recorder.verdict(1, 3).await.unwrap();
    assert_eq!(done.len(), 6);
    for name in stack.nodes.names() {
        assert_eq!(
            seen.boots[name].len(),
            2,
            "{name} had other boots than two: {:?}",
            seen.boots[name]
        );
    }
    assert_eq!(seen.cordoned, std::collections::BTreeSet::new());
    println!("{}", stack.plane.kubectl(&["get", "rbp,nrb,rlock"]).unwrap());
    let requests = stack.plane.requests().unwrap();
    let rollout: Vec<_> = requests
        .iter()
        .filter(|request| request.received >= began)
        .cloned()
        .collect();
    for (program, count) in count_by_program(&rollout) {
        println!("{program} {count}");
    }
    for (key, count) in count(&rollout) {
        if key.program.starts_with("lockkeeper") {
            println!("{} {} {} {count}", key.program, key.verb, key.resource);
        }
    }
    if std::env::var_os("KEEP").is_none() {
        stack.workdir.passed();
    }
}
