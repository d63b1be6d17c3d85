//! The way through the lock, told as stories; `UPDATE_EXPECT=1` writes the traces anew.

use chrono::TimeDelta;
use expect_test::{Expect, expect};
use lockkeeper_planner::*;

use crate::common::{World, at, windows};

#[allow(clippy::needless_pass_by_value)] // it is written in place
fn assert_wait_reasons(world: &World, expected: Expect) {
    expected.assert_eq(&world.wait_reasons());
}

#[test]
fn one_node_goes_through_all_phases_and_is_uncordoned() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(60);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
        1    n1 Cordon 
        1    n1 WriteRecord Draining
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot 
        2    n1 WriteRecord Rebooting
        43   n1 WriteRecord Verifying
        43   n1 Uncordon 
        43   n1 SetSpec no order
        43   n1 WriteRecord Succeeded 
        43   lock SetHolders n1 is free
    "#]]
    .assert_eq(&world.trace);
}

#[test]
fn nodes_go_one_at_a_time_and_the_longest_waiting_goes_first() {
    let mut world = World::new(3);
    world.run_until_idle();
    for _ in 0..200 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    let order: Vec<&str> = world
        .trace
        .lines()
        .filter(|line| line.contains("Cordon"))
        .map(|l| &l[5..7])
        .collect();
    assert_eq!(order, ["n1", "n2", "n3"]);
    assert_eq!(world.wait_reasons(), "");
    assert_eq!(world.snapshot.lock.as_ref().unwrap().holders, vec![]);
}

#[test]
fn waiting_nodes_name_the_nodes_in_progress() {
    let mut world = World::new(3);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 EvictionBlocked: pod shop/db-0: budget shop/db allows 0
            n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
            n3 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit); 1 node ahead in the queue
        "#]],
    );
}

#[test]
fn nothing_starts_outside_the_window_and_the_message_says_when_it_opens() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 22 * * *", 3600)]));
    world.run_until_idle();
    world.run(30);
    assert_eq!(world.trace, "");
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 OutsideWindow: the next window opens at 2026-11-21T22:00:00Z
        "#]],
    );
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T22:00:00Z")));
    world.now = at("2026-11-21T22:00:00Z");
    world.run_until_idle();
    world.run(60);
    assert_eq!(world.wait_reasons(), "");
}

#[test]
fn a_window_that_closes_before_the_cordon_releases_the_slot() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 60)]));
    world.silent = vec!["n1".to_owned()];
    world.now = at("2026-11-21T12:00:59Z");
    world.run_until_idle();
    world.silent.clear();
    world.run(3);
    expect![[r#"
        59   lock SetHolders n1 starts
        59   n1 WriteRecord Preparing
        59   n1 SetSpec Prepare
        60   n1 WriteRecord ends Withdrawn: the next window opens at 2026-11-22T12:00:00Z
        60   n1 SetSpec no order
        60   n1 WriteRecord Withdrawn the next window opens at 2026-11-22T12:00:00Z
        60   lock SetHolders n1 is free
    "#]]
    .assert_eq(&world.trace);
    assert_eq!(world.record("n1").deferred, None);
}

#[test]
fn a_cordoned_node_finishes_after_the_window_has_closed() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 60)]));
    world.now = at("2026-11-21T12:00:30Z");
    world.run_until_idle();
    world.run(300);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn an_invalid_window_never_opens_and_the_message_says_why() {
    let mut world = World::new(1);
    world.policy().schedule = Err("window 1: timeZone \"Mars/Base\" is not an IANA time zone".to_owned());
    world.run_until_idle();
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 OutsideWindow: no window can open because the schedule is invalid: window 1: timeZone "Mars/Base" is not an IANA time zone
        "#]],
    );
}

#[test]
fn a_hold_during_the_drain_releases_the_slot_and_keeps_the_cordon() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    world.node("n1").hold = Some(Hold {
        reason: "debugging the NIC".to_owned(),
        until: None,
        invalid_until: None,
    });
    world.run_until_idle();
    assert!(world.node("n1").unschedulable);
    assert_eq!(world.node("n1").cordoned_for, None);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 Held: held by annotation: "debugging the NIC"
            n2 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:05Z)
        "#]],
    );
    world.run(100);
    assert!(world.record("n2").last_reboot.is_some());
}

#[test]
fn an_unavailable_node_blocks_others_but_may_itself_be_rebooted() {
    let mut world = World::new(2);
    let now = world.now;
    let down = Ready {
        ready: false,
        since: now,
        heartbeat: now,
        message: "NodeStatusUnknown".to_owned(),
    };
    world.node("n2").ready = down;
    world.record("n2").host.as_mut().unwrap().required = false;
    world.run_until_idle();
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 TooManyUnavailable: 1 node unavailable, at most 1 allowed: n2 (NotReady)
        "#]],
    );
}

#[test]
fn two_control_plane_nodes_never_reboot_at_once() {
    let mut world = World::new(3);
    world.limit(3);
    for name in ["n1", "n2"] {
        world.node(name).control_plane = true;
    }
    world.run_until_idle();
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
            n2 ControlPlaneBusy: another control-plane node is down: n1
            n3 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        "#]],
    );
}

#[test]
fn the_operators_own_node_starts_last() {
    let mut world = World::new(3);
    world.snapshot.own_node = Some("n1".to_owned());
    world.run_until_idle();
    world.run(200);
    let order: Vec<&str> = world
        .trace
        .lines()
        .filter(|line| line.contains("Cordon"))
        .map(|l| &l[5..7])
        .collect();
    assert_eq!(order, ["n2", "n3", "n1"]);
}

#[test]
fn a_requested_reboot_happens_once_and_the_request_is_removed() {
    let mut world = World::new(1);
    world.record("n1").host.as_mut().unwrap().required = false;
    world.node("n1").requested = Some("firmware".to_owned());
    world.run_until_idle();
    world.run(60);
    assert_eq!(world.node("n1").requested, None);
    assert!(world.record("n1").last_reboot.is_some());
}

#[test]
fn a_time_that_has_passed_does_not_cause_another_pass() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    let past = world.now - TimeDelta::seconds(3);
    let waiting = WaitReason::PodTerminating {
        message: "pod shop/db-0 is shutting down".to_owned(),
        until: Some(past),
    };
    world.node("n1").drain = Drain::Running {
        moved: 1,
        waiting: Some(waiting),
    };
    let recheck = world.plan().recheck_at.unwrap();
    assert!(recheck > world.now, "{recheck}");
}
