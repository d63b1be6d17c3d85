//! Writes about nodes that are not in progress: one that cannot be made keeps no other one from being made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockkeeper_fake_api::{FakeApi, Key, Refusal, Verb};
use serde_json::{Value, json};

use super::cluster::usual_boot;
use super::policies::policy;
use super::story::{Story, in_paused_time};

/// How many nodes there are beside those that have agents.
const OTHERS: usize = 30;
/// How long the policies cannot be read.
const OUTAGE: Duration = Duration::from_secs(10);

fn other(number: usize) -> String {
    format!("other-{number}")
}

fn add_node(api: &FakeApi, name: &str) {
    api.put(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "pool": "a"}}, "spec": {},
        "status": {"nodeInfo": {"bootID": format!("{name}-boot-1"), "operatingSystem": "linux"}, "conditions": []},
    }));
}

fn record(api: &FakeApi, node: &str) -> Option<Value> {
    api.get(&Key::cluster("nodereboots", node))
}

/// How many of the other nodes' records name this policy.
fn named(api: &FakeApi, policy: &str) -> usize {
    let records = (0..OTHERS).filter_map(|number| record(api, &other(number)));
    records.filter(|record| record["spec"]["policy"] == policy).count()
}

/// While this is true, the server refuses to list the policies; watches go on.
fn refuse_policies(api: &FakeApi) -> Arc<AtomicBool> {
    let is_refused = Arc::new(AtomicBool::new(true));
    let refuses = is_refused.clone();
    api.add_admission(move |request| {
        let lists = request.verb == Verb::List && request.resource.plural == "rebootpolicies";
        let is_it = lists && refuses.load(Ordering::Relaxed);
        is_it.then(|| Refusal::new(500, "InternalError", "etcdserver: leader changed"))
    });
    is_refused
}

#[test]
fn records_are_created_and_deleted_while_the_policies_cannot_be_listed() {
    in_paused_time(async {
        let mut story = Story::with_nodes(usual_boot);
        story.api.put(policy("a"));
        story.api.put(policy("b"));
        add_node(&story.api, "leaves");
        for number in 0..OTHERS {
            add_node(&story.api, &other(number));
        }
        story.start();
        let begin = Duration::from_mins(1);
        story.run_until(begin).await;
        assert_eq!(named(&story.api, "a"), OTHERS);
        assert!(record(&story.api, "leaves").is_some());

        let is_refused = refuse_policies(&story.api);
        for number in 0..OTHERS {
            let pool = json!({"metadata": {"labels": {"pool": "b"}}});
            story.api.change(&Key::cluster("nodes", &other(number)), &pool);
        }
        add_node(&story.api, "comes");
        story.api.remove(&Key::cluster("nodes", "leaves"));
        story.api.take_log();
        story.run_until(begin + OUTAGE).await;
        let log = story.api.take_log();
        assert!(record(&story.api, "comes").is_some(), "{log:#?}");
        assert!(record(&story.api, "leaves").is_none(), "{log:#?}");
        assert_eq!(named(&story.api, "b"), 0);
        let lists = log.iter().filter(|line| line.contains("List rebootpolicies")).count();
        assert!((1..=10).contains(&lists), "{lists} lists of policies: {log:#?}");

        is_refused.store(false, Ordering::Relaxed);
        story.run_until(begin + OUTAGE + Duration::from_mins(1)).await;
        assert_eq!(named(&story.api, "b"), OTHERS);
    });
}
