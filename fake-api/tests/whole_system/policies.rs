//! A node leaves its policy and comes back, and a policy is deleted and created again, while the node waits or is in
//! progress. Before its reboot is ordered the operation is deferred; afterwards it ends under the policy that it began with.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use lockkeeper_fake_api::{FakeApi, Key};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::cluster::{BOOT, BootTime, LOST, NODES, changes, pod, usual_boot};
use super::end::section;
use super::story::{End, Story, counts, in_paused_time, tell};

/// When each node has had its turn, with the back-off of one that was deferred.
const LENGTH: Duration = Duration::from_mins(40);
/// The node that is disturbed.
const NODE: &str = "n1";
/// When the policy `b` is deleted in the end, and how long after that the metrics are read.
const SCRAPE: Duration = Duration::from_mins(1);

/// What is done to the node or to its policy; all of it is undone.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The node moves from `a` to `b`, and back after this time.
    Moves(Duration),
    /// The policy `a` is deleted, and created again after this time.
    Recreates(Duration),
}

const CHANGES: [Change; 4] = [
    Change::Moves(Duration::ZERO),
    Change::Moves(Duration::from_secs(20)),
    Change::Recreates(Duration::ZERO),
    Change::Recreates(Duration::from_secs(20)),
];

impl Change {
    async fn make(self, api: &FakeApi) {
        let node = Key::cluster("nodes", NODE);
        let pool = |name: &str| json!({"metadata": {"labels": {"pool": name}}});
        match self {
            Self::Moves(back_after) => {
                api.change(&node, &pool("b"));
                sleep(back_after).await;
                api.change(&node, &pool("a"));
            }
            Self::Recreates(again_after) => {
                api.remove(&Key::cluster("rebootpolicies", "a"));
                sleep(again_after).await;
                api.put(policy("a"));
            }
        }
    }
}

/// A policy for the nodes of the pool with its name.
pub fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"matchLabels": {"pool": name}}, "order": "Name",
            "drain": {"timeoutSeconds": 60}, "reboot": {"timeoutSeconds": 120},
        },
    })
}

/// Two policies, and all nodes in the pool of the first one. The pod of each node takes a while to leave.
fn begin(boot_time: BootTime) -> Story {
    let story = Story::with_nodes(boot_time);
    let booted = story.clock.now() - TimeDelta::days(30);
    for name in ["a", "b"] {
        story.api.put(policy(name));
    }
    for (index, node) in NODES.iter().enumerate() {
        let pool = json!({"metadata": {"labels": {"pool": "a"}}});
        story.api.change(&Key::cluster("nodes", node), &pool);
        story
            .api
            .put(pod("shop", &format!("web-{index}"), node, "ReplicaSet", booted));
    }
    story
}

/// Waits until the record of the node shows this, and does it to the node or its policy.
async fn change_when(api: FakeApi, written: Arc<Notify>, is_reached: fn(&Value) -> bool, change: Change) {
    let record = Key::cluster("nodereboots", NODE);
    while !api.get(&record).is_some_and(|record| is_reached(&record)) {
        written.notified().await;
    }
    change.make(&api).await;
}

fn phase(record: &Value) -> &str {
    record["status"]["operation"]["phase"].as_str().unwrap_or_default()
}

/// The story with one change at one moment, and the metrics after `b` was deleted in the end.
fn with_change(boot_time: BootTime, is_reached: fn(&Value) -> bool, change: Change) -> (End, String) {
    with_change_and_crash(boot_time, is_reached, change, usize::MAX)
}

/// Of so many crash points one is tried; with `CRASHES=all`, each one (ten minutes).
const EVERY: usize = 8;

/// The same; the operator crashes right after its write of this number.
fn with_change_and_crash(
    boot_time: BootTime,
    is_reached: fn(&Value) -> bool,
    change: Change,
    crash_at: usize,
) -> (End, String) {
    in_paused_time(async {
        let mut story = begin(boot_time);
        story.api.crash_at(crash_at, counts("operator/"));
        let written = changes(&story.api, &["nodereboots"]);
        let changing = tokio::spawn(change_when(story.api.clone(), written, is_reached, change));
        story.start();
        let mut crashes = story.run_until(LENGTH).await;
        assert!(changing.is_finished(), "{change:?}: the moment never came");
        story.api.remove(&Key::cluster("rebootpolicies", "b"));
        crashes += story.run_until(LENGTH + SCRAPE).await;
        let metrics = story.operator.metrics();
        (story.end(crashes), metrics)
    })
}

#[allow(clippy::unnecessary_wraps, reason = "a host of another test never boots")]
fn all_boot(_: &str, _: usize) -> Option<Duration> {
    Some(BOOT)
}

/// The gauges, not the counters, that name a policy.
fn gauges_of(metrics: &str, policy: &str) -> Vec<String> {
    let label = format!("policy=\"{policy}\"");
    let of_policy = metrics.lines().filter(|line| line.contains(&label));
    of_policy
        .filter(|line| !line.contains("_total{") && !line.contains("_seconds_"))
        .map(str::to_owned)
        .collect()
}

/// A moment in the life of a node, and whether its record shows it.
type Moment = (&'static str, fn(&Value) -> bool);

/// The moments in the life of a node that reboots.
const MOMENTS: [Moment; 5] = [
    ("waits", |record| phase(record).is_empty()),
    ("prepares", |record| phase(record) == "Preparing"),
    ("drains", |record| phase(record) == "Draining"),
    ("reboots", |record| phase(record) == "Rebooting"),
    ("is verified", |record| phase(record) == "Verifying"),
];

fn each_is_rebooted_once(end: &End, what: &str) {
    for node in NODES {
        let expected = format!("{node}: UpToDate waiting=- boot={node}-boot-2 reboots=1");
        assert_eq!(section(&end.dump, node)[0], expected, "{what}");
    }
}

#[test]
fn a_node_that_leaves_its_policy_and_comes_back_is_rebooted_once() {
    for (moment, is_reached) in MOMENTS {
        for change in CHANGES {
            let (end, metrics) = with_change(all_boot, is_reached, change);
            let what = format!("{change:?} while {NODE} {moment}\n{}\n{}", end.dump, end.log.join("\n"));
            assert_eq!(end.problems, Vec::<String>::new(), "{what}");
            each_is_rebooted_once(&end, &what);
            assert_eq!(gauges_of(&metrics, "b"), Vec::<String>::new(), "{what}");
            assert!(!gauges_of(&metrics, "a").is_empty(), "{what}");
        }
    }
}

#[test]
fn a_node_that_leaves_its_policy_is_rebooted_once_wherever_the_operator_crashes() {
    let all = std::env::var("CRASHES").is_ok_and(|value| value == "all");
    for ((moment, is_reached), change) in [(MOMENTS[2], CHANGES[1]), (MOMENTS[1], CHANGES[3])] {
        let mut tried = 0;
        for crash in (1..).step_by(if all { 1 } else { EVERY }) {
            let (end, _) = with_change_and_crash(all_boot, is_reached, change, crash);
            if end.crashes == 0 {
                break;
            }
            tried += 1;
            let what = format!("{change:?} while {NODE} {moment}, crash {crash}\n{}", end.dump);
            assert_eq!(end.problems, Vec::<String>::new(), "{what}\n{}", end.log.join("\n"));
            each_is_rebooted_once(&end, &what);
        }
        tell(&format!(
            "{tried} crash points of the operator, {change:?} while {NODE} {moment}"
        ));
        assert!(tried > 10, "the operator makes more writes");
    }
}

#[test]
fn a_node_whose_reboot_is_ordered_finishes_whatever_becomes_of_its_policy() {
    for (moment, is_reached) in &MOMENTS[3..] {
        for change in CHANGES {
            let (end, _) = with_change(all_boot, *is_reached, change);
            let what = format!("{change:?} while {NODE} {moment}\n{}\n{}", end.dump, end.log.join("\n"));
            let history = section(&end.dump, NODE)[1];
            assert!(history.ends_with(r#"history=["Succeeded"]"#), "{what}");
        }
    }
}

#[test]
fn a_node_that_leaves_its_policy_before_the_reboot_is_deferred_once() {
    for (moment, is_reached) in &MOMENTS[1..3] {
        for change in [CHANGES[1], CHANGES[3]] {
            let (end, _) = with_change(all_boot, *is_reached, change);
            let what = format!("{change:?} while {NODE} {moment}\n{}\n{}", end.dump, end.log.join("\n"));
            let history = section(&end.dump, NODE)[1];
            assert!(history.ends_with(r#"history=["Succeeded", "Deferred"]"#), "{what}");
        }
    }
}

#[test]
fn a_failed_node_stays_failed_and_keeps_its_slot_in_whatever_policy_it_is() {
    /// The node that is disturbed is the one that does not come back.
    fn first_is_lost(node: &str, reboot: usize) -> Option<Duration> {
        usual_boot(if node == NODE { LOST } else { NODES[1] }, reboot)
    }
    for change in CHANGES {
        let (end, metrics) = with_change(first_is_lost, |record| phase(record) == "Failed", change);
        let what = format!("{change:?}\n{}\n{}", end.dump, end.log.join("\n"));
        assert_eq!(end.problems, Vec::<String>::new(), "{what}");
        assert!(
            section(&end.dump, NODE)[0].starts_with("n1: Failed waiting=Failed"),
            "{what}"
        );
        assert!(end.dump.contains(r#"lock: ["n1 reboot=true"]"#), "{what}");
        for node in ["n2", "n3"] {
            let expected = format!("{node}: Pending waiting=BreakerOpen boot={node}-boot-1 reboots=0");
            assert_eq!(section(&end.dump, node)[0], expected, "{what}");
        }
        let failed = r#"lockkeeper_failed_nodes{policy="a"} 1"#;
        assert!(metrics.lines().any(|line| line == failed), "{what}\n{metrics}");
    }
}
