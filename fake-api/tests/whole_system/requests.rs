//! What a reboot costs the API server: the requests for one node that runs nothing but a DaemonSet, counted one by one.
//!
//! The operator and the agents have been idle before, so that neither their start nor the Lease is counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expect_test::expect;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_fake_api::{FakeApi, Key, Verb};
use lockkeeper_kube_util::Clock;
use serde_json::json;
use tokio::time::sleep;

use super::cluster::BOOT;
use super::end::problems;
use super::story::{Story, in_paused_time};

/// The node that reboots.
const NODE: &str = "n1";
/// When all lists are made and nothing happens any more.
const QUIET: Duration = Duration::from_mins(1);
/// When the reboot is over. No watch is renewed by then.
const OVER: Duration = Duration::from_mins(4);

/// How many requests there were, by who asks, what is asked and for which kind.
pub type Requests = BTreeMap<(String, Verb, String), u64>;

/// Counts all requests from now on.
pub fn count(api: &FakeApi) -> Arc<Mutex<Requests>> {
    let requests = Arc::<Mutex<Requests>>::default();
    let counted = requests.clone();
    api.add_admission(move |request| {
        let who = request.client.split('/').next().unwrap_or_default().to_owned();
        let mut kind = request.resource.plural.to_owned();
        if !request.subresource.is_empty() {
            kind = format!("{kind}/{}", request.subresource);
        }
        let key = (who, request.verb, kind);
        *counted.lock().unwrap().entry(key).or_default() += 1;
        None
    });
    requests
}

/// A cluster in which no node requires a reboot, and that has been idle for a while; the counts begin then.
async fn idle() -> (Story, Arc<Mutex<Requests>>) {
    let mut story = Story::with_nodes(|_, _| Some(BOOT));
    story.api.put(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "all"}, "spec": {},
    }));
    for machine in &story.machines {
        machine.host.boot(format!("{}-boot-1", machine.node), story.clock.now());
    }
    story.start();
    story.run_until(QUIET).await;
    story.api.take_log();
    let requests = count(&story.api);
    (story, requests)
}

/// The requests without those for the Lease, which an idle leader makes too.
fn table(requests: &Requests) -> String {
    let mut table = String::new();
    let mut totals = BTreeMap::<&str, u64>::new();
    for ((who, verb, kind), number) in requests.iter().filter(|((.., kind), _)| kind != "leases") {
        writeln!(table, "{who} {verb:?} {kind}: {number}").unwrap();
        *totals.entry(who).or_default() += number;
    }
    for (who, number) in &totals {
        writeln!(table, "{who}: {number}").unwrap();
    }
    writeln!(table, "total: {}", totals.values().sum::<u64>()).unwrap();
    table
}

#[test]
fn the_reboot_of_an_empty_node_costs_these_requests() {
    in_paused_time(async {
        let (mut story, requests) = idle().await;
        let host = story.machines[0].host.clone();
        host.require_reboot(story.clock.now(), "linux-image");
        story.run_until(OVER).await;
        assert_eq!(host.state().executed.len(), 1);
        let found = problems(&story.api, story.machines.iter().map(|machine| &**machine));
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(story.truth.violations(), Vec::<String>::new());
        let log = story.api.take_log();
        let log: Vec<_> = log.iter().filter(|line| !line.contains("leases")).collect();
        println!("{log:#?}");
        expect![[r#"
            agent-n1 List nodereboots: 2
            agent-n1 Watch nodereboots: 1
            agent-n1 Apply nodereboots/status: 5
            operator Get nodereboots: 3
            operator Get nodes: 5
            operator Get rebootlocks: 3
            operator List nodes: 2
            operator List pods: 12
            operator List rebootpolicies: 1
            operator Watch nodes: 1
            operator Watch pods: 1
            operator Create events: 12
            operator Replace rebootlocks/status: 3
            operator Merge nodereboots: 3
            operator Merge nodereboots/status: 11
            operator Merge rebootpolicies/status: 8
            operator Apply nodes: 2
            agent-n1: 8
            operator: 67
            total: 75
        "#]]
        .assert_eq(&table(&requests.lock().unwrap()));
    });
}

/// How many passes the operator makes while nothing requires a reboot, and its requests.
fn at_rest(kubelet: fn(FakeApi, Clock)) -> (String, String) {
    in_paused_time(async {
        let (mut story, requests) = idle().await;
        kubelet(story.api.clone(), story.clock);
        story.run_until(OVER).await;
        let metrics = story.operator.metrics();
        let passes = metrics.lines().find(|line| line.starts_with("lockkeeper_passes_total"));
        (passes.unwrap().to_owned(), table(&requests.lock().unwrap()))
    })
}

/// A kubelet that reports every ten seconds what nobody plans with.
fn report(api: FakeApi, clock: Clock) {
    tokio::spawn(async move {
        for number in 0.. {
            let time = whole_seconds(clock.now());
            let mut node = api.get(&Key::cluster("nodes", NODE)).unwrap();
            let mut ready = node["status"]["conditions"][0].clone();
            ready["lastHeartbeatTime"] = json!(time);
            let pressure = json!({"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": time});
            node["status"]["conditions"] = json!([ready, pressure]);
            node["status"]["images"] = json!([{"names": [format!("image:{number}")], "sizeBytes": number}]);
            node["status"]["allocatable"] = json!({"memory": format!("{number}Ki")});
            node["status"]["nodeInfo"]["kubeletVersion"] = json!(format!("v1.{number}"));
            node["metadata"]["annotations"] = json!({"example.com/number": number.to_string()});
            api.put(node);
            sleep(Duration::from_secs(10)).await;
        }
    });
}

#[test]
fn what_a_kubelet_reports_of_an_idle_node_causes_no_pass_and_no_request() {
    let silent = at_rest(|_, _| {});
    assert_eq!(silent.1, "total: 0\n");
    assert_eq!(at_rest(report), silent);
}
