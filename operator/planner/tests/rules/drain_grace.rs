//! How long a drain waits for pods that end by themselves, and what a gap or a wrong clock changes.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::drain_stages::{blocked, stage};
use crate::common::World;

/// One node whose pods are shutting down for so long from now on.
fn shutting_down(seconds: i64) -> World {
    let mut world = blocked(OnTimeout::Defer);
    world.run_until_idle();
    let ends = world.now + TimeDelta::seconds(seconds);
    world.node("n1").drain_details.grace_ends = Some(ends);
    world
}

#[test]
fn a_drain_waits_for_pods_within_their_own_grace_period() {
    let mut world = shutting_down(3600);
    let begun = world.now;
    world.run(901);
    let operation = world.record("n1").operation.clone().expect("it goes on");
    let until = begun + TimeDelta::seconds(3610);
    assert_eq!(operation.extended_until, Some(until));
    assert_eq!(deadline(&operation).map(|deadline| deadline.at), Some(until));
    world.run(2600);
    world.blocked.clear();
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_pod_that_outlasts_its_grace_period_ends_the_wait() {
    let mut world = shutting_down(1200);
    world.run(1205);
    assert!(world.record("n1").operation.is_some());
    world.node("n1").drain_details.grace_ends = None;
    world.run(10);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn a_drain_waits_no_longer_than_two_hours_for_a_grace_period() {
    let mut world = shutting_down(86_400);
    world.run(900 + 7190);
    assert!(world.record("n1").operation.is_some());
    world.run(20);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn a_policy_may_time_out_a_drain_within_a_grace_period() {
    let mut world = shutting_down(3600);
    world.policy().settings.wait_for_grace_period = false;
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.settings.wait_for_grace_period = false;
    world.run(910);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn neither_deletion_nor_reboot_cuts_a_grace_period_short() {
    for on_timeout in [OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.run_until_idle();
        let ends = world.now + TimeDelta::seconds(1800);
        world.node("n1").drain_details.grace_ends = Some(ends);
        world.run(1700);
        assert_eq!(stage(&mut world), None, "{}", world.trace);
        world.node("n1").drain_details.grace_ends = None;
        world.run(120);
        assert!(stage(&mut world).is_some() || world.record("n1").last_reboot.is_some());
    }
}

#[test]
fn no_stage_begins_before_evictions_were_asked_for_again_after_a_gap() {
    for on_timeout in [OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.run_until_idle();
        world.run(2);
        // The only operator dies right after the cordon and comes back after the time-out.
        world.restart_operator(1000);
        world.run_until_idle();
        assert_eq!(stage(&mut world), None, "{}", world.trace);
        let operation = world.record("n1").operation.clone().unwrap();
        let until = world.now + TimeDelta::seconds(900);
        assert_eq!(deadline(&operation).map(|deadline| deadline.at), Some(until));
        world.run(899);
        assert_eq!(stage(&mut world), None, "{}", world.trace);
        world.run(2);
        let begun = stage(&mut world).is_some() || world.trace.contains("OrderReboot");
        assert!(begun, "{}", world.trace);
    }
}

#[test]
fn a_clock_that_was_set_forward_begins_no_stage() {
    let mut world = blocked(OnTimeout::Delete);
    world.run_until_idle();
    world.run(100);
    let node = world.node("n1");
    let spent = node.drain_details.clone();
    world.now += TimeDelta::days(1);
    world.node("n1").drain_details = spent;
    world.run_until_idle();
    assert_eq!(stage(&mut world), None, "{}", world.trace);
    let extended = world.record("n1").operation.as_ref().unwrap().extended_until;
    assert_eq!(extended, Some(world.now + TimeDelta::seconds(802)));
}

#[test]
fn a_drain_is_not_deferred_the_moment_the_operator_comes_back() {
    let mut world = blocked(OnTimeout::Defer);
    world.run_until_idle();
    world.run(2);
    world.restart_operator(1000);
    world.run(890);
    assert!(world.record("n1").operation.is_some(), "{}", world.trace);
    world.run(20);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn a_drain_that_can_never_ask_for_evictions_is_deferred_after_twice_its_time() {
    for on_timeout in [OnTimeout::Defer, OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.run_until_idle();
        for _ in 0..1810 {
            world.now += TimeDelta::seconds(1);
            world.surroundings();
            world.node("n1").drain_details.evicting_for = TimeDelta::zero();
            world.run_until_idle();
        }
        assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
        assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    }
}
