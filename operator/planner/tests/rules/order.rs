//! Who goes first: fair, predictable, and never a matter of safety.

use crate::common::{World, windows};
use chrono::TimeDelta;
use lockkeeper_planner::*;

fn since(world: &mut World, name: &str, minutes_ago: i64) {
    let now = world.now;
    world.record(name).host.as_mut().unwrap().required_since = Some(now - TimeDelta::minutes(minutes_ago));
}

#[test]
fn the_node_that_waits_longest_goes_first() {
    let mut world = World::new(3);
    since(&mut world, "n1", 10);
    since(&mut world, "n2", 30);
    since(&mut world, "n3", 20);
    world.run_until_idle();
    world.run(200);
    assert_eq!(world.started(), ["n2", "n3", "n1"]);
}

#[test]
fn nodes_go_by_name_if_the_policy_says_so() {
    let mut world = World::new(3);
    since(&mut world, "n3", 999);
    world.policy().order = QueueOrder::Name;
    world.run_until_idle();
    world.run(200);
    assert_eq!(world.started(), ["n1", "n2", "n3"]);
}

#[test]
fn a_node_left_over_in_one_window_goes_first_in_the_next() {
    let mut world = World::new(3);
    // Room for one node in each window, and every node asks again as soon as it was rebooted.
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 60)]));
    world.policy().duration_estimate.cordoned = TimeDelta::seconds(50);
    for update in 0..5 {
        world.run_until_idle();
        world.run(90);
        let now = world.now;
        for name in ["n1", "n2", "n3"] {
            let host = world.record(name).host.as_mut().unwrap();
            if !host.required {
                host.required = true;
                host.required_since = Some(now);
                host.reasons = vec![format!("update {update}")];
            }
        }
        world.now += TimeDelta::days(1) - TimeDelta::seconds(90);
    }
    assert_eq!(world.started(), ["n1", "n2", "n3", "n1", "n2"]);
}

#[test]
fn deferred_and_released_nodes_go_after_nodes_that_never_failed() {
    let mut world = World::new(3);
    world.record("n1").deferred = Some(Deferred {
        count: 1,
        cause: "EvictionBlocked".to_owned(),
        message: "pod shop/db-0".to_owned(),
        until: world.now,
    });
    world.record("n2").released = Some(Released {
        time: world.now,
        failure: "no new boot".to_owned(),
        reasons: vec!["another cause".to_owned()],
    });
    world.run_until_idle();
    world.run(200);
    assert_eq!(world.started(), ["n3", "n1", "n2"]);
}

#[test]
fn workers_go_first_then_the_control_plane_then_the_operators_node() {
    let mut world = World::new(4);
    world.node("n1").control_plane = true;
    world.snapshot.own_node = Some("n2".to_owned());
    world.run_until_idle();
    world.run(300);
    assert_eq!(world.started(), ["n3", "n4", "n1", "n2"]);
}

#[test]
fn a_held_node_does_not_hold_back_the_operators_own_node() {
    let mut world = World::new(2);
    world.snapshot.own_node = Some("n2".to_owned());
    world.node("n1").hold = Some(Hold {
        reason: "debugging".to_owned(),
        until: None,
        invalid_until: None,
    });
    world.run_until_idle();
    world.run(60);
    assert_eq!(world.started(), ["n2"]);
}

#[test]
fn a_requested_reboot_goes_before_those_that_hosts_require() {
    let mut world = World::new(3);
    world.record("n3").host.as_mut().unwrap().required = false;
    world.record("n3").host.as_mut().unwrap().required_since = None;
    world.node("n3").requested = Some("firmware".to_owned());
    world.run_until_idle();
    world.run(60);
    assert_eq!(world.started()[0], "n3");
}

#[test]
fn policies_that_share_a_cluster_limit_take_turns_by_waiting_time() {
    let mut world = World::new(4);
    world.snapshot.policies.insert("other".into(), crate::common::policy());
    for name in ["n3", "n4"] {
        world.node(name).policies = ["other".into()].into();
        world.record(name).policy = Some("other".into());
    }
    // By name n3 is first, but n4 has waited longest of all.
    world.snapshot.policies.get_mut("other").unwrap().order = QueueOrder::Name;
    since(&mut world, "n3", 1);
    since(&mut world, "n4", 9999);
    world.run_until_idle();
    world.run(300);
    assert_eq!(world.started(), ["n3", "n4", "n1", "n2"]);
}
