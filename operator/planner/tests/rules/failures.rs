//! Failures, deferrals, and the commands that a person can give then; `UPDATE_EXPECT=1` writes the traces anew.

use chrono::TimeDelta;
use expect_test::{Expect, expect};
use lockkeeper_planner::*;

use crate::common::World;

#[allow(clippy::needless_pass_by_value)] // it is written in place
fn assert_wait_reasons(world: &World, expected: Expect) {
    expected.assert_eq(&world.wait_reasons());
}

#[test]
fn a_blocked_drain_is_deferred_when_it_times_out_and_the_next_starts() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 BackingOff: deferred once (EvictionBlocked: pod shop/db-0: budget shop/db allows 0); next attempt at 2026-11-21T12:25:01Z
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
fn a_node_that_does_not_come_back_keeps_its_slot_and_its_cordon() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(2000);
    assert!(world.node("n1").unschedulable);
    assert_eq!(world.record("n1").order, None, "a late agent must find no order");
    assert_eq!(world.record("n2").last_reboot, None);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
            n2 BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue
        "#]],
    );
}

#[test]
fn a_released_node_is_not_rebooted_again_for_the_same_cause() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
    world.command("release", "n1");
    world.run_until_idle();
    world.run(100);
    assert!(
        world.record("n2").last_reboot.is_none(),
        "n1 is still down: {}",
        world.wait_reasons()
    );
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 Released: released manually after a failure (n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it); not rebooted again for the same cause
            n2 TooManyUnavailable: 1 node unavailable, at most 1 allowed: n1 (NotReady)
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
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 Released: released manually after a failure (n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it); not rebooted again for the same cause
        "#]],
    );
    world.record("n1").host.as_mut().unwrap().reasons = vec!["libc6".to_owned()];
    world.never_back.clear();
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some());
}

#[test]
fn a_retry_verifies_a_node_that_came_back_late() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
    // As if the host had reported that it cannot reboot.
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.failure.as_mut().unwrap().timed_out = false;
    world.boot("n1");
    world.run_until_idle();
    assert_eq!(
        world.record("n1").operation.as_ref().unwrap().phase,
        Phase::Failed,
        "only a person goes on"
    );
    world.command("retry", "n1");
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(world.record("n1").command, None);
}

#[test]
fn a_retry_verifies_a_node_that_comes_back_afterwards() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
    world.command("retry", "n1");
    world.run_until_idle();
    assert_eq!(
        world.record("n1").operation.as_ref().unwrap().phase,
        Phase::Preparing,
        "it still has the old boot"
    );
    world.boot("n1");
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_retry_of_a_node_that_did_not_reboot_gives_a_new_order() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
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
    world.run_until_idle();
    assert_ne!(world.record("n1").order.as_ref().unwrap().id, first);
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_cancel_is_refused_after_the_reboot_order() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    world.command("cancel", "n1");
    world.run_until_idle();
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 BackingOff: deferred once (Cancelled: cancelled by a person); next attempt at 2026-11-21T12:10:05Z
        "#]],
    );
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(10);
    world.command("cancel", "n1");
    world.run_until_idle();
    let refused = world
        .trace
        .lines()
        .find(|line| line.contains("cancel"))
        .unwrap()
        .to_owned();
    assert!(refused.contains("cannot be cancelled"), "{refused}");
    assert_eq!(world.record("n1").command, None);
}

#[test]
fn an_uncordon_by_a_person_defers_the_node() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    world.node("n1").unschedulable = false;
    world.run_until_idle();
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 BackingOff: deferred once (Uncordoned: uncordoned by another client during the drain; deferred); next attempt at 2026-11-21T12:10:05Z
        "#]],
    );
    assert_eq!(world.node("n1").cordoned_for, None);
}

#[test]
fn a_node_whose_agent_is_silent_or_refuses_is_never_cordoned() {
    let mut world = World::new(2);
    world.silent = vec!["n1".to_owned()];
    world.refusing = vec!["n2".to_owned()];
    world.run_until_idle();
    world.run(70);
    assert!(!world.trace.contains("Cordon"), "{}", world.trace);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 BackingOff: deferred once (AgentNotAnswering: the node agent did not answer order ed0269c7-0 within 60 s); next attempt at 2026-11-21T12:11:00Z
            n2 BackingOff: deferred once (AgentIncapable: the agent cannot reboot this node: polkit asks for a password); next attempt at 2026-11-21T12:11:01Z
        "#]],
    );
}

#[test]
fn a_lost_record_of_a_cordoned_node_is_reported_as_failed() {
    let mut world = World::new(2);
    world.run_until_idle();
    world.run(3);
    world.record("n1").operation = None;
    world.run(10);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 Failed: the record of this operation was lost while the node was cordoned; check the node, then retry or release it
            n2 BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue
        "#]],
    );
}

#[test]
fn a_retry_after_a_lost_record_waits_for_the_agents_report() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(3);
    let boot_id = world.node("n1").boot_id.clone();
    let retry = |world: &mut World, answer: Option<Option<AnswerState>>| {
        *world.record("n1") = Record::default();
        world.node("n1").boot_id.clone_from(&boot_id);
        world.run_until_idle();
        world.record("n1").host = answer.map(|state| Host {
            boot_id: boot_id.clone(),
            answer: state.map(|state| HostAnswer {
                id: "ed0269c7-0".to_owned(),
                state,
                message: String::new(),
            }),
            ..Host::default()
        });
        world.command("retry", "n1");
        let plan = world.plan();
        let said = plan.actions.iter().find_map(|action| match action {
            Action::WriteRecord { change, .. } => change.answered_command.as_ref().map(|(_, said)| said.clone()),
            _ => None,
        });
        match said.unwrap() {
            Ok(said) | Err(said) => said,
        }
    };
    expect!["the record of the reboot was lost and the agent has not confirmed whether a reboot is in progress; retry after its next report or after 2026-11-21T12:15:03Z, or release the node"]
        .assert_eq(&retry(&mut world, None));
    expect!["the host accepted order ed0269c7-0 and is rebooting; retry when it is back or after 2026-11-21T12:15:03Z, or release the node"]
        .assert_eq(&retry(&mut world, Some(Some(AnswerState::Rebooting))));
    expect!["the node is prepared again"].assert_eq(&retry(&mut world, Some(None)));
    // It was not seen to go down in all the time that a reboot may take.
    *world.record("n1") = Record::default();
    world.run_until_idle();
    world.now += TimeDelta::minutes(15);
    world.command("retry", "n1");
    world.run_until_idle();
    assert_eq!(world.record("n1").operation.as_ref().unwrap().phase, Phase::Preparing);
}

#[test]
fn an_orphaned_cordon_is_removed_before_the_next_cordon() {
    let mut world = World::new(1);
    let now = world.now;
    world.node("n1").cordoned_for = Some("lost".to_owned());
    world.node("n1").unschedulable = true;
    world.node("n1").ready.ready = false;
    world.run_until_idle();
    world.node("n1").ready = Ready {
        ready: true,
        since: now,
        heartbeat: now,
        message: String::new(),
    };
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.node("n1").unschedulable);
}
