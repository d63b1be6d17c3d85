//! What a reboot costs the API server: the requests for one node that runs nothing but a DaemonSet, counted one by one.
//!
//! The operator and the agents have been idle before, so that neither their start nor the Lease is counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    api.add_spectator(move |request| {
        let who = request.client.split('/').next().unwrap_or_default().to_owned();
        let mut kind = request.resource.plural.to_owned();
        if !request.subresource.is_empty() {
            kind = format!("{kind}/{}", request.subresource);
        }
        if request.is_dry_run() {
            kind += " (dry run)";
        }
        let key = (who, request.verb, kind);
        *counted.lock().unwrap().entry(key).or_default() += 1;
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

/// A row of the page for each kind of request, without those for the Lease, which an idle leader makes too.
fn rows(requests: &Requests) -> Vec<String> {
    let counted = requests.iter().filter(|((.., kind), _)| kind != "leases");
    let rows = counted.map(|((client, verb, kind), number)| {
        let who = client.split('-').next().unwrap();
        let verb = match verb {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Replace => "update",
            Verb::Merge => "patch",
            Verb::Apply => "apply",
            Verb::Delete => "delete",
            Verb::Evict => "evict",
        };
        format!("{who} | {verb} {kind} | {number}")
    });
    rows.collect()
}

/// The rows of the page without their reasons, and the totals that it names.
fn page() -> (Vec<String>, String) {
    let page = include_str!("../../../docs/requests.md");
    let lines = page
        .lines()
        .filter(|line| line.starts_with("| operator |") || line.starts_with("| agent |"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        cells[1..4].join(" | ")
    };
    let total = page.lines().find(|line| line.starts_with("| total |")).unwrap();
    (
        lines.map(row).collect(),
        total.split('|').nth(3).unwrap().trim().to_owned(),
    )
}

#[test]
fn the_reboot_of_an_empty_node_costs_the_requests_that_the_page_lists() {
    in_paused_time(async {
        let (mut story, requests) = idle().await;
        let host = story.machines[0].host.clone();
        host.require_reboot(story.clock.now(), "linux-image");
        story.run_until(OVER).await;
        assert_eq!(host.state().executed.len(), 1);
        let found = problems(&story.api, story.machines.iter().map(|machine| &**machine));
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(story.truth.violations(), Vec::<String>::new());
        // Shown if a number differs.
        let log = story.api.take_log().into_iter();
        let log: Vec<_> = log.filter(|line| !line.contains("leases")).collect();
        println!("{}", log.join("\n"));
        let rows = rows(&requests.lock().unwrap());
        let (listed, total) = page();
        assert_eq!(rows, listed, "{}", rows.join("\n"));
        assert_eq!(log.len().to_string(), total);
    });
}

/// How many passes the operator makes while nothing requires a reboot, and its requests.
fn at_rest(kubelet: fn(FakeApi, Clock)) -> (String, Vec<String>) {
    in_paused_time(async {
        let (mut story, requests) = idle().await;
        kubelet(story.api.clone(), story.clock);
        story.run_until(OVER).await;
        let metrics = story.operator.metrics();
        let passes = metrics.lines().find(|line| line.starts_with("lockkeeper_passes_total"));
        (passes.unwrap().to_owned(), rows(&requests.lock().unwrap()))
    })
}

/// A kubelet that reports every ten seconds what no plan depends on.
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
    assert_eq!(silent.1, Vec::<String>::new());
    assert_eq!(at_rest(report), silent);
}
