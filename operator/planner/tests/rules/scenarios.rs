//! The way through the lock, told as stories; `UPDATE_EXPECT=1` writes the traces anew.

use chrono::TimeDelta;
use expect_test::{Expect, expect};
use lockkeeper_planner::*;

use crate::common::{World, at, windows};

#[allow(clippy::needless_pass_by_value)] // it is written in place
fn waits(world: &World, expected: Expect) {
    expected.assert_eq(&world.waits());
}

#[test]
fn one_node_goes_all_the_way_through_the_lock() {
    let mut world = World::new(1);
    world.settle();
    world.run(60);
    expect![[r#"
        0    lock SetHolders n1 goes in
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
        1    n1 Cordon 
        1    n1 WriteRecord Draining
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
    world.settle();
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
    assert_eq!(world.waits(), "");
    assert_eq!(world.snapshot.lock.as_ref().unwrap().holders, vec![]);
}

#[test]
fn those_who_wait_say_for_whom() {
    let mut world = World::new(3);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(5);
    waits(
        &world,
        expect![[r#"
            n1 EvictionBlocked: pod shop/db-0: budget shop/db allows 0
            n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
            n3 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit); 1 node ahead in the queue
        "#]],
    );
}

#[test]
fn starts_nothing_outside_the_window_and_says_when_it_opens() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 22 * * *", 3600)]));
    world.settle();
    world.run(30);
    assert_eq!(world.trace, "");
    waits(
        &world,
        expect![[r#"
            n1 OutsideWindow: the next window opens at 2026-11-21T22:00:00Z
        "#]],
    );
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T22:00:00Z")));
    world.now = at("2026-11-21T22:00:00Z");
    world.settle();
    world.run(60);
    assert_eq!(world.waits(), "");
}

#[test]
fn a_window_that_closes_before_the_cordon_frees_the_slot_without_back_off() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 60)]));
    world.silent = vec!["n1".to_owned()];
    world.now = at("2026-11-21T12:00:59Z");
    world.settle();
    world.silent.clear();
    world.run(3);
    expect![[r#"
        59   lock SetHolders n1 goes in
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
fn what_is_cordoned_finishes_after_the_windows_close() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 60)]));
    world.now = at("2026-11-21T12:00:30Z");
    world.settle();
    world.run(300);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_window_that_cannot_be_read_is_closed_and_says_why() {
    let mut world = World::new(1);
    world.policy().schedule = Err("window 1: timeZone \"Mars/Base\" is not an IANA time zone".to_owned());
    world.settle();
    waits(
        &world,
        expect![[r#"
            n1 OutsideWindow: no window can open because the schedule is invalid: window 1: timeZone "Mars/Base" is not an IANA time zone
        "#]],
    );
}

#[test]
fn a_hold_before_the_reboot_order_frees_the_slot_and_leaves_the_node_cordoned() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(5);
    world.node("n1").hold = Some(Hold {
        reason: "debugging the NIC".to_owned(),
        until: None,
        invalid_until: None,
    });
    world.settle();
    assert!(world.node("n1").unschedulable);
    assert_eq!(world.node("n1").cordoned_for, None);
    waits(
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
fn a_node_that_is_down_by_itself_takes_the_room_of_one_that_is_up_but_may_itself_be_rebooted() {
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
    world.settle();
    waits(
        &world,
        expect![[r#"
            n1 TooManyUnavailable: 1 node unavailable, at most 1 allowed: n2 (NotReady)
        "#]],
    );
}

#[test]
fn control_plane_nodes_are_never_two_at_once_whatever_the_limits_say() {
    let mut world = World::new(3);
    world.limit(3);
    for name in ["n1", "n2"] {
        world.node(name).control_plane = true;
    }
    world.settle();
    waits(
        &world,
        expect![[r#"
            n1 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
            n2 ControlPlaneBusy: another control-plane node is down: n1
            n3 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        "#]],
    );
}

#[test]
fn the_operators_own_node_goes_last() {
    let mut world = World::new(3);
    world.snapshot.own_node = Some("n1".to_owned());
    world.settle();
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
fn a_requested_reboot_is_done_once_and_the_request_goes_away() {
    let mut world = World::new(1);
    world.record("n1").host.as_mut().unwrap().required = false;
    world.node("n1").requested = Some("firmware".to_owned());
    world.settle();
    world.run(60);
    assert_eq!(world.node("n1").requested, None);
    assert!(world.record("n1").last_reboot.is_some());
}

#[test]
fn a_time_that_has_passed_is_not_looked_at_again_and_again() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
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
