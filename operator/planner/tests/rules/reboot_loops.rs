//! Nodes that require a reboot again after each one, for another reason each time.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::RebootSeries;

use crate::common::{World, at};

/// The agent of `n1` reports a reason that it never had before, and that it has had it for long.
fn require(world: &mut World, number: usize) {
    let host = world.record("n1").host.as_mut().unwrap();
    host.required = true;
    host.required_since = Some(at("2026-11-20T00:00:00Z"));
    host.reasons = vec![format!("needrestart: sshd (pid {number})")];
}

/// How often `n1` is rebooted within this time, if it requires one again after each.
fn reboots(world: &mut World, seconds: i64) -> usize {
    let before = world.trace.matches("n1 OrderReboot").count();
    for number in 0..seconds / 50 {
        if world.record("n1").host.as_ref().is_some_and(|host| !host.required) {
            require(world, number as usize);
        }
        world.run(50);
    }
    world.trace.matches("n1 OrderReboot").count() - before
}

fn series(world: &mut World) -> Option<RebootSeries> {
    world.record("n1").last_reboot.as_ref()?.series
}

#[test]
fn a_node_is_rebooted_three_times_a_day_whatever_its_reasons_are() {
    let mut world = World::new(1);
    assert_eq!(reboots(&mut world, 3600), 3, "{}", world.trace);
    expect![[r#"
        n1 StillRequired: requires a reboot again after 3 reboots since 2026-11-21T12:00:01Z, the last at 2026-11-21T12:02:24Z; next attempt not before 2026-11-22T12:02:24Z
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn each_further_reboot_of_a_loop_doubles_the_pause() {
    let mut world = World::new(1);
    reboots(&mut world, 300);
    for days in [1, 2, 4, 8, 16, 28, 28] {
        let last = world.record("n1").last_reboot.clone().unwrap();
        world.now = last.time + TimeDelta::days(days) - TimeDelta::seconds(1);
        world.run_until_idle();
        assert!(world.in_progress().is_empty(), "before {days} days: {}", world.trace);
        assert_eq!(
            reboots(&mut world, 200),
            1,
            "after {days} days: {}",
            world.wait_reasons()
        );
    }
}

#[test]
fn a_node_that_was_rebooted_a_short_time_ago_queues_behind_the_others() {
    let mut world = World::new(4);
    world.run_until_idle();
    for number in 0..6 {
        world.run(50);
        require(&mut world, number);
    }
    let first: Vec<String> = world.started().into_iter().take(5).collect();
    assert_eq!(first, ["n1", "n2", "n3", "n4", "n1"]);
}

#[test]
fn a_request_reboots_a_node_at_once_and_begins_a_new_series() {
    let mut world = World::new(1);
    reboots(&mut world, 300);
    world.node("n1").requested = Some("look again".to_owned());
    world.run(60);
    assert_eq!(world.trace.matches("n1 OrderReboot").count(), 4, "{}", world.trace);
    assert_eq!(series(&mut world), None);
    require(&mut world, 99);
    world.run(60);
    assert_eq!(series(&mut world).map(|series| series.reboots), Some(1));
}

#[test]
fn two_reboots_a_day_for_different_reasons_are_no_loop() {
    let mut world = World::new(1);
    for number in 0..8 {
        require(&mut world, number);
        let before = world.record("n1").last_reboot.clone();
        world.run(60);
        let after = world.record("n1").last_reboot.clone();
        assert_ne!(after, before, "{}", world.wait_reasons());
        world.now += TimeDelta::hours(13);
    }
}
