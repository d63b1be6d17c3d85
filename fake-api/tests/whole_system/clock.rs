//! A clock that is set while the operator leads.

use std::time::Duration;

use chrono::TimeDelta;
use lockkeeper_crds::names;
use lockkeeper_fake_api::Key;
use lockkeeper_kube_util::Clock;
use lockkeeper_operator::election::Pace;
use serde_json::json;

use super::cluster::{NODES, usual_boot};
use super::processes::{Process, Program};
use super::story::{Story, in_paused_time};
use super::truth::is_cordoned;

const HOUR: Duration = Duration::from_hours(1);

/// The answers about the Lease tell that a clock is wrong; here the next one is up to a minute away.
const PACE: Pace = Pace {
    renew: Duration::from_mins(1),
    deadline: Duration::from_mins(2),
    duration: Duration::from_mins(3),
};

/// From noon on; the window opens at 02:00, in fourteen hours.
fn story() -> (Story, impl Fn(TimeDelta)) {
    let mut story = Story::with_nodes(usual_boot);
    let (clock, offset) = Clock::adjustable_from(story.clock.now());
    story.operator = Process::new(&story.api, clock, Program::Operator(PACE));
    story.api.put(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "all"},
        "spec": {
            "drain": {"timeoutSeconds": 600}, "reboot": {"timeoutSeconds": 120},
            "windows": [{"schedule": "0 2 * * *", "durationSeconds": 7200}],
        },
    }));
    (story, move |ahead| offset.set(ahead))
}

/// A change that makes the operator plan.
fn change_a_node(story: &Story) {
    let mut node = story.api.get(&Key::cluster("nodes", NODES[0])).unwrap();
    node["spec"]["taints"] = json!([{"key": "example.org/note", "effect": "PreferNoSchedule"}]);
    story.api.put(node);
}

/// No node is in progress or was rebooted.
fn nothing_has_started(story: &Story) -> bool {
    let lock = story.api.get(&Key::cluster("rebootlocks", names::LOCK)).unwrap();
    let is_free = lock["status"]["holders"].as_array().is_none_or(Vec::is_empty);
    let cordoned = |node: &&str| is_cordoned(&story.api.get(&Key::cluster("nodes", node)).unwrap());
    is_free && !NODES.iter().any(cordoned) && reboots(story) == [0, 0, 0]
}

fn reboots(story: &Story) -> [usize; 3] {
    [0, 1, 2].map(|machine| story.machines[machine].host.state().executed.len())
}

#[test]
fn a_clock_that_is_set_while_the_operator_leads_starts_no_node() {
    in_paused_time(async {
        let (mut story, set_ahead) = story();
        story.start();
        let between_two_renewals = HOUR + Duration::from_secs(20);
        story.run_until(between_two_renewals).await;
        assert!(nothing_has_started(&story));

        // By this clock the window is open.
        set_ahead(TimeDelta::minutes(13 * 60 + 30));
        change_a_node(&story);
        story.run_until(between_two_renewals + Duration::from_secs(20)).await;
        assert!(nothing_has_started(&story), "before the next answer about the Lease");
        story.run_until(HOUR * 2).await;
        assert!(nothing_has_started(&story), "after it");

        set_ahead(TimeDelta::zero());
        story.run_until(HOUR * 13).await;
        assert!(nothing_has_started(&story), "in time, and the window is closed");
        story.run_until(HOUR * 16).await;
        assert_eq!(reboots(&story), [1, 1, 1]);
        assert_eq!(story.truth.violations(), Vec::<String>::new());
    });
}
