//! A month of a cluster: an update each day, a window each night, and a node that fails once. What Lockkeeper asks of the
//! API server, what it keeps in memory and what it stores must not grow with the time. The history of a node is full, with
//! ten operations, before the second week is over.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper_crds::names;
use lockkeeper_fake_api::{FakeApi, Key};
use lockkeeper_kube_util::Clock;
use lockkeeper_operator::election::Pace;
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::cluster::{BOOT, LOST, NODES, changes, pod};
use super::end::problems;
use super::processes::{Process, Program};
use super::requests::{Requests, count};
use super::story::{Story, paused_runtime, tell};
use super::truth::is_cordoned;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const DAY: Duration = Duration::from_hours(24);
const WEEK: u32 = 7;
/// From the start, at noon on a Tuesday, until the first update.
const UPDATE: Duration = Duration::from_hours(22);
/// The reboot, in the third week, after which a node comes back late, and how late.
const LATE: (usize, Duration) = (17, Duration::from_hours(1));
/// How many windows follow an update.
const REBOOTS: usize = 29;
/// How many pods each workload has. A budget lets one of the first one's go at a time.
const WORKLOADS: [(&str, usize); 3] = [("db", 2), ("web", 3), ("api", 1)];

/// How many bytes two weeks may add to the memory of the operator, the agents and the server. One byte for each of their
/// requests would be more.
const MAX_KEPT: usize = 40_000;
/// How many bytes an object may grow: a time or a number may have more digits.
const MORE_DIGITS: usize = 32;

/// A renewal each 3 s would be nine tenths of what this test does.
const PACE: Pace = Pace {
    renew: Duration::from_mins(1),
    deadline: Duration::from_mins(2),
    duration: Duration::from_mins(3),
};

#[allow(clippy::unnecessary_wraps, reason = "a host of another test never boots")]
fn boot_time(node: &str, reboot: usize) -> Option<Duration> {
    Some(if (node, reboot) == (LOST, LATE.0) { LATE.1 } else { BOOT })
}

/// A cluster that goes on for a month.
struct Month {
    runtime: Runtime,
    story: Story,
    requests: Arc<Mutex<Requests>>,
}

impl Month {
    fn begin() -> Self {
        let runtime = paused_runtime();
        let (story, requests) = runtime.block_on(async move {
            let mut story = Story::with_nodes(boot_time);
            let requests = count(&story.api);
            story.operator = Process::new(&story.api, story.clock, Program::Operator(PACE));
            create_policy(&story.api);
            let changed = changes(&story.api, &["pods", "nodes"]);
            tokio::spawn(keep_workload(story.api.clone(), story.clock, changed));
            for machine in &story.machines {
                let (host, clock) = (machine.host.clone(), story.clock);
                host.boot(format!("{}-boot-1", machine.node), clock.now());
                tokio::spawn(async move {
                    sleep(UPDATE).await;
                    for update in 1.. {
                        host.require_reboot(clock.now(), &format!("linux-image-6.12.{update}"));
                        sleep(DAY).await;
                    }
                });
            }
            story.start();
            (story, requests)
        });
        Self {
            runtime,
            story,
            requests,
        }
    }

    /// Goes on until so many days have passed. The server then forgets what real ones do not keep either: its history,
    /// and Events.
    fn run_until(&mut self, days: u32) {
        let Self { runtime, story, .. } = self;
        runtime.block_on(async {
            let crashes = story.run_until(DAY * days).await;
            assert_eq!(crashes, 0);
        });
        let api = &self.story.api;
        for event in api.all("events") {
            let text = |field: &str| event["metadata"][field].as_str().unwrap_or_default().to_owned();
            api.remove(&Key::namespaced("events", &text("namespace"), &text("name")));
        }
        api.compact();
        api.take_log();
    }

    /// Goes on for a week; returns its requests.
    fn week(&mut self, number: u32) -> Requests {
        self.requests.lock().unwrap().clear();
        for day in 1..=WEEK {
            self.run_until((number - 1) * WEEK + day);
        }
        self.requests.lock().unwrap().clone()
    }

    /// How many bytes each object of Lockkeeper has, and each Node, without what the server keeps about fields, and without
    /// the operations that were finished, which are counted: the newest ten are kept.
    fn sizes(&self) -> BTreeMap<String, usize> {
        let mut sizes = BTreeMap::new();
        for plural in ["nodes", "nodereboots", "rebootpolicies", "rebootlocks", "leases"] {
            for mut object in self.story.api.all(plural) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                object["metadata"]["managedFields"] = Value::Null;
                let history = object["status"]["history"].as_array().map_or(0, Vec::len);
                assert!(history <= 10, "{plural}/{name}: {history}");
                object["status"]["history"] = Value::Null;
                sizes.insert(format!("{plural}/{name}"), object.to_string().len());
            }
        }
        sizes
    }
}

/// A policy with a window each night, and a budget.
fn create_policy(api: &FakeApi) {
    api.put(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}},
    }));
    api.put(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "all"},
        "spec": {
            "order": "Name", "drain": {"timeoutSeconds": 600}, "reboot": {"timeoutSeconds": 120},
            "windows": [{"schedule": "0 2 * * *", "durationSeconds": 7200}],
        },
    }));
}

/// The part of the controllers: each workload has all its pods, on nodes that take them, and its budget counts them.
async fn keep_workload(api: FakeApi, clock: Clock, changed: Arc<Notify>) {
    let mut made = 0;
    loop {
        let pods = api.all("pods");
        for (app, wanted) in WORKLOADS {
            let of_app = |pod: &&Value| pod["metadata"]["labels"]["app"] == app;
            let stays = |pod: &&Value| of_app(pod) && pod["metadata"]["deletionTimestamp"].is_null();
            let present = pods.iter().filter(stays).count();
            for _ in present..wanted {
                let Some(node) = free_node(&api, made) else { break };
                made += 1;
                api.put(pod("shop", &format!("{app}-{made}"), node, "ReplicaSet", clock.now()));
            }
        }
        let healthy = WORKLOADS[0].1;
        let budget = Key::namespaced("poddisruptionbudgets", "shop", "db");
        if let Some(mut budget) = api.get(&budget) {
            budget["status"] = json!({
                "observedGeneration": 1, "disruptionsAllowed": healthy - 1, "currentHealthy": healthy,
                "desiredHealthy": 1, "expectedPods": healthy,
            });
            api.put(budget);
        }
        changed.notified().await;
    }
}

fn free_node(api: &FakeApi, number: usize) -> Option<&'static str> {
    let takes_pods = |node: &&&str| {
        let object = api.get(&Key::cluster("nodes", node)).unwrap_or_default();
        object["status"]["conditions"][0]["status"] == "True" && !is_cordoned(&object)
    };
    let free: Vec<&&str> = NODES.iter().filter(takes_pods).collect();
    free.get(number % free.len().max(1)).map(|node| **node)
}

/// The requests of which there are more or less than before.
fn differences(before: &Requests, after: &Requests) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let found = keys.into_iter().filter_map(|key| {
        let [before, after] = [before, after].map(|requests| requests.get(key).copied().unwrap_or_default());
        // A watch that ends just before or after the end of a week.
        let tolerated = 2 + before / 50;
        (before.abs_diff(after) > tolerated).then(|| format!("{key:?}: {before}, then {after}"))
    });
    found.collect()
}

/// Each update has rebooted each node once, and nothing is left of that but history.
fn check_outcome(story: &Story) {
    let api = &story.api;
    let reboots: Vec<usize> = story
        .machines
        .iter()
        .map(|machine| machine.host.state().executed.len())
        .collect();
    assert_eq!(reboots, [REBOOTS; 3], "{:#?}", api.all("nodereboots"));
    assert_eq!(story.truth.violations(), Vec::<String>::new());
    let found = problems(api, story.machines.iter().map(|machine| &**machine));
    assert_eq!(found, Vec::<String>::new());
    for node in NODES {
        let record = api.get(&Key::cluster("nodereboots", node)).unwrap();
        let history = record["status"]["history"].as_array().map(Vec::len);
        assert_eq!(history, Some(10), "{record:#}");
    }
    let lock = api.get(&Key::cluster("rebootlocks", names::LOCK)).unwrap();
    assert_eq!(lock["status"]["holders"], json!([]));
}

/// Whether this process runs no other test, whose memory would be counted.
const ALONE: &str = "LOCKKEEPER_TEST_ALONE";

#[test]
fn a_month_costs_no_more_at_its_end_than_at_its_beginning() {
    if std::env::var_os(ALONE).is_some() {
        return costs_of_a_month();
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let status = alone
        .args(["--exact", &name, "--nocapture"])
        .env(ALONE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "see above");
}

fn costs_of_a_month() {
    let mut month = Month::begin();
    month.week(1);
    let second = month.week(2);
    let sizes = month.sizes();
    let before = MEMORY.current_usage();
    month.week(3);
    let fourth = month.week(4);
    let kept = MEMORY.current_usage().saturating_sub(before);
    let sizes_after = month.sizes();
    month.run_until(30);

    let total: u64 = fourth.values().sum();
    tell(&format!(
        "{total} requests in the fourth week of a month; {kept} bytes more in memory than after the second"
    ));
    tell(&format!("sizes: {sizes:?}, then {sizes_after:?}"));
    check_outcome(&month.story);
    assert_eq!(differences(&second, &fourth), Vec::<String>::new());
    for (object, size) in &sizes_after {
        assert!(
            *size <= sizes[object] + MORE_DIGITS,
            "{object}: {}, then {size} bytes",
            sizes[object]
        );
    }
    assert!(kept < MAX_KEPT, "{kept} bytes");
}
