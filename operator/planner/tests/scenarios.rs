//! What the planner decides, told as stories; `UPDATE_EXPECT=1` writes the traces anew.

mod common;

use chrono::TimeDelta;
use common::{World, at, windows};
use expect_test::{Expect, expect};
use lockkeeper_planner::*;

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
        1    n1 ApplyMarks 
        1    n1 WriteRecord Draining
        2    n1 OrderReboot 
        2    n1 WriteRecord Rebooting
        43   n1 WriteRecord Verifying
        43   n1 LiftMarks 
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
        .filter(|line| line.contains("ApplyMarks"))
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
        n2 NoFreeSlot: no free slot: n1 inside (1 of 1, policy)
        n3 NoFreeSlot: no free slot: n1 inside (1 of 1, policy); 1 before this one
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
        n1 OutsideWindow: the next window opens 2026-11-21T22:00:00Z
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
        60   n1 WriteRecord ends Withdrawn: the next window opens 2026-11-22T12:00:00Z
        60   n1 SetSpec no order
        60   n1 WriteRecord Withdrawn the next window opens 2026-11-22T12:00:00Z
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
        n1 OutsideWindow: no window can open: window 1: timeZone "Mars/Base" is not an IANA time zone
    "#]],
    );
}

#[test]
fn a_drain_that_is_blocked_past_its_time_out_is_put_back_and_the_next_one_goes_on() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(1000);
    waits(
        &world,
        expect![[r#"
            n1 BackingOff: put back once (EvictionBlocked: pod shop/db-0: budget shop/db allows 0); tried again 2026-11-21T12:25:01Z
        "#]],
    );
    assert!(world.record("n2").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.node("n1").unschedulable);
    world.blocked.clear();
    world.run(600);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(world.record("n1").deferred, None);
}

#[test]
fn a_node_that_never_comes_back_is_failed_and_keeps_its_slot_and_its_cordon() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(2000);
    assert!(world.node("n1").unschedulable);
    assert_eq!(world.record("n1").order, None, "a late agent must find no order");
    assert_eq!(world.record("n2").last_reboot, None);
    waits(
        &world,
        expect![[r#"
            n1 Failed: no new boot of n1 within 15 min of the order at 2026-11-21T12:00:02Z; look at its console or power, then retry or release
            n2 BreakerOpen: stopped after 1 failed node (n1); retry or release them to go on
        "#]],
    );
}

#[test]
fn a_released_node_frees_the_slot_and_is_not_rebooted_for_the_same_cause() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(1000);
    world.command("release", "n1");
    world.settle();
    world.run(100);
    assert!(
        world.record("n2").last_reboot.is_none(),
        "n1 is still down: {}",
        world.waits()
    );
    waits(
        &world,
        expect![[r#"
        n1 Released: released by a person after: no new boot of n1 within 15 min of the order at 2026-11-21T12:00:02Z; look at its console or power, then retry or release; not again for the same cause
        n2 TooManyUnavailable: 1 of at most 1 nodes are down: n1 (NotReady)
    "#]],
    );
    // It is repaired without a reboot: the same boot, and still asking for the same cause.
    let now = world.now;
    world.node("n1").ready = Ready {
        ready: true,
        since: now,
        heartbeat: now,
        message: String::new(),
    };
    world.run(100);
    assert!(world.record("n2").last_reboot.is_some());
    waits(
        &world,
        expect![[r#"
        n1 Released: released by a person after: no new boot of n1 within 15 min of the order at 2026-11-21T12:00:02Z; look at its console or power, then retry or release; not again for the same cause
    "#]],
    );
    world.record("n1").host.as_mut().unwrap().reasons = vec!["libc6".to_owned()];
    world.never_back.clear();
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some());
}

#[test]
fn retry_keeps_the_slot_and_verifies_a_node_that_came_back_late() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(1000);
    world.boot("n1");
    world.settle();
    assert_eq!(
        world.record("n1").operation.as_ref().unwrap().phase,
        Phase::Failed,
        "only a person goes on"
    );
    world.command("retry", "n1");
    world.settle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(world.record("n1").command, None);
}

#[test]
fn retry_of_a_node_that_is_about_to_come_back_verifies_it_once_it_is_there() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(1000);
    world.command("retry", "n1");
    world.settle();
    assert_eq!(
        world.record("n1").operation.as_ref().unwrap().phase,
        Phase::Preparing,
        "it still has the old boot"
    );
    world.boot("n1");
    world.settle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn retry_of_a_node_with_the_old_boot_gives_a_new_order() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(1000);
    let first = world.record("n1").operation.as_ref().unwrap().order_id();
    let now = world.now;
    world.never_back.clear();
    world.node("n1").ready = Ready {
        ready: true,
        since: now,
        heartbeat: now,
        message: String::new(),
    };
    world.command("retry", "n1");
    world.settle();
    assert_ne!(world.record("n1").order.as_ref().unwrap().id, first);
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn cancel_puts_back_before_the_reboot_order_and_is_refused_after_it() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(5);
    world.command("cancel", "n1");
    world.settle();
    waits(
        &world,
        expect![[r#"
            n1 BackingOff: put back once (Cancelled: cancelled by a person); tried again 2026-11-21T12:10:05Z
        "#]],
    );
    let mut world = World::new(1);
    world.settle();
    world.run(10);
    world.command("cancel", "n1");
    world.settle();
    let refused = world
        .trace
        .lines()
        .find(|line| line.contains("cancel"))
        .unwrap()
        .to_owned();
    assert!(refused.contains("cannot be called back"), "{refused}");
    assert_eq!(world.record("n1").command, None);
}

#[test]
fn an_uncordon_by_a_person_puts_the_node_back() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(5);
    world.node("n1").unschedulable = false;
    world.settle();
    waits(
        &world,
        expect![[r#"
            n1 BackingOff: put back once (Uncordoned: somebody uncordoned this node while it was being drained; put back); tried again 2026-11-21T12:10:05Z
        "#]],
    );
    assert_eq!(world.node("n1").mark, None);
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
    });
    world.settle();
    assert!(world.node("n1").unschedulable);
    assert_eq!(world.node("n1").mark, None);
    waits(
        &world,
        expect![[r#"
        n1 Held: held by annotation: "debugging the NIC"
        n2 Preparing: the agent was asked at 2026-11-21T12:00:05Z
    "#]],
    );
    world.run(100);
    assert!(world.record("n2").last_reboot.is_some());
}

#[test]
fn an_agent_that_does_not_answer_or_refuses_is_put_back_without_a_cordon() {
    let mut world = World::new(2);
    world.silent = vec!["n1".to_owned()];
    world.refusing = vec!["n2".to_owned()];
    world.settle();
    world.run(70);
    assert!(!world.trace.contains("ApplyMarks"), "{}", world.trace);
    waits(
        &world,
        expect![[r#"
            n1 BackingOff: put back once (AgentNotAnswering: the agent did not answer order ed0269c7-0 within 60 s); tried again 2026-11-21T12:11:00Z
            n2 BackingOff: put back once (AgentIncapable: the agent cannot reboot this node: polkit asks for a password); tried again 2026-11-21T12:11:01Z
        "#]],
    );
}

#[test]
fn a_report_from_another_boot_is_no_report() {
    let mut world = World::new(1);
    world.record("n1").host.as_mut().unwrap().boot_id = "somewhere-else".to_owned();
    world.settle();
    world.run(10);
    assert_eq!(world.trace, "");
    waits(
        &world,
        expect![[r#"
        n1 AgentMissing: no agent has reported from this node since 2026-11-13T12:02:00Z
    "#]],
    );
}

#[test]
fn a_node_of_two_policies_or_of_none_is_never_rebooted() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".to_owned(), common::policy());
    world.node("n1").policies = vec!["general".to_owned(), "other".to_owned()];
    world.node("n2").policies = vec![];
    world.settle();
    world.run(10);
    assert!(!world.trace.contains("goes in"), "{}", world.trace);
    waits(
        &world,
        expect![[r#"
        n1 PolicyConflict: matched by policies general, other: a node belongs to exactly one
        n2 NoPolicy: no policy selects this node
    "#]],
    );
}

#[test]
fn nothing_starts_while_a_policy_cannot_be_decoded_and_nothing_at_all_is_done_before_everything_was_listed() {
    let mut world = World::new(1);
    world.snapshot.undecodable = vec!["policy broken: windows[0].durationSeconds: expected i32".to_owned()];
    world.settle();
    waits(
        &world,
        expect![[r#"
        n1 ViewIncomplete: the operator has not seen policy broken: windows[0].durationSeconds: expected i32 yet
    "#]],
    );
    world.snapshot.unseen = vec!["the Nodes".to_owned()];
    assert_eq!(world.plan().actions, vec![]);
}

#[test]
fn two_policies_at_one_are_still_one_at_a_time() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".to_owned(), common::policy());
    world.node("n2").policies = vec!["other".to_owned()];
    world.settle();
    for _ in 0..150 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    assert!(world.record("n2").last_reboot.is_some(), "{}", world.trace);
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
        n1 TooManyUnavailable: 1 of at most 1 nodes are down: n2 (NotReady)
    "#]],
    );
}

#[test]
fn control_plane_nodes_are_never_two_at_once_whatever_the_limits_say() {
    let mut world = World::new(3);
    world.policy().max_in_progress = Limit::Count(3);
    world.policy().max_unavailable = Limit::Count(3);
    for name in ["n1", "n2"] {
        world.node(name).control_plane = true;
    }
    world.settle();
    waits(
        &world,
        expect![[r#"
        n1 Preparing: the agent was asked at 2026-11-21T12:00:00Z
        n2 ControlPlaneBusy: another control-plane node is down: n1
        n3 Preparing: the agent was asked at 2026-11-21T12:00:00Z
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
        .filter(|line| line.contains("ApplyMarks"))
        .map(|l| &l[5..7])
        .collect();
    assert_eq!(order, ["n2", "n3", "n1"]);
}

#[test]
fn a_lost_lock_is_not_nobody_inside() {
    let mut world = World::new(3);
    world.settle();
    world.run(5);
    world.snapshot.lock = None;
    for _ in 0..20 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    assert!(world.trace.contains("n1 got its entry back"), "{}", world.trace);
}

#[test]
fn a_hand_edited_lock_is_put_right_before_anybody_is_let_in() {
    let mut world = World::new(3);
    world.settle();
    world.run(5);
    let holders = &mut world.snapshot.lock.as_mut().unwrap().holders;
    holders[0].operation_id = "made-up".to_owned();
    holders.push(Holder {
        node: "ghost".to_owned(),
        ..holders[0].clone()
    });
    for _ in 0..200 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    assert_eq!(world.waits(), "");
}

#[test]
fn a_node_that_is_deleted_and_made_again_leaves_no_entry_behind() {
    let mut world = World::new(2);
    world.settle();
    world.run(5);
    let now = world.now;
    let node = world.node("n1");
    *node = Node {
        uid: "another".to_owned(),
        created: now,
        unschedulable: false,
        mark: None,
        record: None,
        drain: Drain::NotStarted,
        ..node.clone()
    };
    world.run(1);
    assert!(world.trace.contains("n1 is gone"), "{}", world.trace);
    world.run(100);
    assert!(world.record("n2").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_cordon_without_a_record_is_a_failure_for_a_person() {
    let mut world = World::new(2);
    world.settle();
    world.run(3);
    world.record("n1").operation = None;
    world.run(10);
    waits(
        &world,
        expect![[r#"
            n1 Failed: the record of this operation was lost while the node was cordoned; look at the node, then retry or release it
            n2 BreakerOpen: stopped after 1 failed node (n1); retry or release them to go on
        "#]],
    );
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
fn a_node_that_still_asks_for_the_same_cause_is_left_alone_for_a_day() {
    let mut world = World::new(1);
    world.settle();
    world.run(60);
    let host = world.record("n1").host.as_mut().unwrap();
    host.required = true;
    host.reasons = vec!["linux-image-6.1.0-28".to_owned()];
    world.settle();
    waits(
        &world,
        expect![[r#"
        n1 StillRequired: rebooted at 2026-11-21T12:00:43Z and still asks for a reboot for the same cause; not again before 2026-11-22T12:00:43Z
    "#]],
    );
    world.now += TimeDelta::hours(25);
    world.settle();
    assert_eq!(world.snapshot.lock.as_ref().unwrap().holders.len(), 1);
}

#[test]
fn a_time_that_has_passed_is_not_looked_at_again_and_again() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(5);
    let past = world.now - TimeDelta::seconds(3);
    let waiting = Waiting::PodTerminating {
        what: "pod shop/db-0 is shutting down".to_owned(),
        until: Some(past),
    };
    world.node("n1").drain = Drain::Running {
        moved: 1,
        waiting: Some(waiting),
    };
    let recheck = world.plan().recheck_at.unwrap();
    assert!(recheck > world.now, "{recheck}");
}
