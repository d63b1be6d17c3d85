//! Times that a clock which was ahead has left behind hold nothing up, and let nothing start.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::{World, at};

const DAYS: TimeDelta = TimeDelta::days(30);

/// `n1` was rebooted by a leader whose clock was ahead by so much.
fn rebooted_by_a_clock_ahead(world: &mut World, by: TimeDelta) {
    let now = world.now;
    world.record("n1").last_reboot = Some(LastReboot {
        started: now + by - TimeDelta::minutes(5),
        time: now + by,
        reasons: vec!["linux-image-6.1.0-28".to_owned()],
        repeats: 0,
        series: None,
    });
}

fn until_failed(world: &mut World) {
    world.run_until_idle();
    for _ in 0..500 {
        world.run(1);
        if world.wait_reasons().contains("Failed") {
            return;
        }
    }
    panic!("no node failed\n{}", world.trace);
}

#[test]
fn a_success_recorded_ahead_of_now_does_not_close_an_open_breaker() {
    for by in [DAYS, TimeDelta::seconds(90)] {
        let mut world = World::new(4);
        world.record("n1").host.as_mut().unwrap().required = false;
        world.never_back = vec!["n2".to_owned()];
        world.policy().settings.reboot_timeout = TimeDelta::seconds(60);
        until_failed(&mut world);
        world.limit(3);
        rebooted_by_a_clock_ahead(&mut world, by + TimeDelta::minutes(5));
        world.run(30);
        assert_eq!(world.in_progress(), ["n2"], "{by}: {}", world.trace);
        assert!(
            world.wait_reasons().contains("n3 BreakerOpen"),
            "{}",
            world.wait_reasons()
        );
    }
}

#[test]
fn a_failure_recorded_ahead_of_now_counts_from_now_on_and_can_be_acknowledged() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.policy().settings.reboot_timeout = TimeDelta::seconds(60);
    world.policy().breaker.cooldown = Some(TimeDelta::minutes(30));
    until_failed(&mut world);
    world.limit(2);
    let failed = world.now + DAYS;
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.failure.as_mut().unwrap().time = failed;
    world.run_until_idle();
    let opened = world.plan().policies["general"].breaker.opened;
    assert_eq!(opened, Some(world.now));
    world.node("n1").ready.ready = true;
    world.run(1798);
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(2);
    assert_eq!(world.in_progress(), ["n1", "n2"], "{}", world.wait_reasons());
}

#[test]
fn a_back_off_recorded_by_a_clock_that_was_ahead_is_over() {
    let deferred = |world: &World, by: TimeDelta| Deferred {
        count: 1,
        cause: "EvictionBlocked".to_owned(),
        message: "blocked".to_owned(),
        until: world.now + TimeDelta::minutes(10) + by,
    };
    let mut world = World::new(1);
    let little = deferred(&world, TimeDelta::seconds(60));
    world.record("n1").deferred = Some(little);
    world.run_until_idle();
    assert!(world.wait_reasons().contains("12:11:00Z"), "{}", world.wait_reasons());
    let much = deferred(&world, DAYS);
    world.record("n1").deferred = Some(much);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_reboot_recorded_ahead_of_now_delays_neither_its_node_nor_the_next_start() {
    let mut world = World::new(2);
    world.policy().pace = TimeDelta::minutes(10);
    rebooted_by_a_clock_ahead(&mut world, DAYS);
    world.run_until_idle();
    assert!(!world.in_progress().is_empty(), "{}", world.wait_reasons());
}

#[test]
fn a_node_in_progress_whose_start_was_recorded_ahead_of_now_counts_as_started_now() {
    let mut world = World::new(2);
    world.limit(2);
    world.policy().pace = TimeDelta::minutes(10);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"], "{}", world.wait_reasons());
    let ahead = world.now + DAYS;
    world.snapshot.lock.as_mut().unwrap().holders[0].acquired = ahead;
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"], "{}", world.trace);
    assert!(world.wait_reasons().contains("n2 Pacing"), "{}", world.wait_reasons());
}

#[test]
fn a_canary_is_judged_anew_if_a_clock_that_was_ahead_let_it_pass() {
    let mut world = World::new(3);
    world.limit(3);
    let soak = TimeDelta::minutes(30);
    world.policy().canary = Some(Canary { nodes: 1, soak });
    let ahead = world.now + DAYS;
    world.policy().state.rollout = Some(Rollout {
        id: "wrong".to_owned(),
        started: ahead,
        canary_passed: Some(ahead),
    });
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"], "{}", world.wait_reasons());
    world.run(60);
    assert!(
        world
            .wait_reasons()
            .contains("canary n1 must stay healthy until 2026-11-21T12:30:")
    );
    world.run(1800);
    assert_eq!(world.in_progress(), ["n2", "n3"], "{}", world.wait_reasons());
}

#[test]
fn a_soak_is_counted_from_ready_if_the_end_of_the_reboot_lies_ahead() {
    let mut world = World::new(2);
    world.limit(2);
    let soak = TimeDelta::minutes(30);
    world.policy().canary = Some(Canary { nodes: 1, soak });
    world.run_until_idle();
    world.run(60);
    world.record("n1").last_reboot.as_mut().unwrap().time += DAYS;
    assert!(
        world.wait_reasons().contains("until 2026-11-21T12:30:"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_requirement_in_the_future_is_the_youngest_of_all() {
    let mut world = World::new(2);
    world.record("n1").host.as_mut().unwrap().required_since = Some(at("2099-01-01T00:00:00Z"));
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
}

#[test]
fn times_of_an_operation_that_lie_ahead_are_recorded_anew() {
    let mut world = World::new(1);
    world.silent = vec!["n1".to_owned()];
    world.run_until_idle();
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.started += DAYS;
    operation.asked += DAYS;
    world.run_until_idle();
    let asked = world.record("n1").operation.as_ref().unwrap().asked;
    assert_eq!(asked, world.now);
    world.run(60);
    assert!(
        world.wait_reasons().contains("AgentNotAnswering"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn times_of_a_holder_that_lie_ahead_are_recorded_anew() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    let lock = world.snapshot.lock.as_mut().unwrap();
    lock.holders[0].acquired += DAYS;
    let reboot = lock.holders[0].reboot.as_mut().unwrap();
    reboot.time += DAYS;
    reboot.deadline += DAYS;
    world.run_until_idle();
    let holder = world.snapshot.lock.as_ref().unwrap().holders[0].clone();
    assert_eq!(holder.acquired, world.now);
    let reboot = holder.reboot.unwrap();
    assert_eq!(
        (reboot.time, reboot.deadline),
        (world.now, world.now + TimeDelta::minutes(15))
    );
    assert!(
        world.trace.contains("n1 had times ahead of the clock"),
        "{}",
        world.trace
    );
}

#[test]
fn a_cordon_recorded_by_a_clock_that_is_ahead_is_no_load_balancer_delay() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(2);
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.cordoned = Some(operation.cordoned.unwrap() + TimeDelta::seconds(100));
    assert!(
        world.wait_reasons().contains("EvictionBlocked"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_boot_time_far_in_the_future_does_not_make_the_kubelet_silent() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(20);
    world.boot("n1");
    world.record("n1").host.as_mut().unwrap().boot_time = Some(world.now + DAYS);
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_created_in_the_future_is_not_being_set_up_until_then() {
    let mut world = World::new(2);
    let now = world.now;
    world.record("n2").host.as_mut().unwrap().required = false;
    let node = world.node("n2");
    node.created = now + DAYS;
    node.ready.since = now + DAYS;
    node.ready.ready = false;
    world.run_until_idle();
    assert!(
        world.wait_reasons().contains("n1 TooManyUnavailable"),
        "{}",
        world.wait_reasons()
    );
}
