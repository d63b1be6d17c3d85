//! A reboot that the agent refuses: the node stays cordoned until its kubelet shows that the host stays up.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::World;

/// The agent of `n1` refuses the reboot order, three seconds after the start.
fn refused() -> World {
    let mut world = World::new(2);
    world.run_until_idle();
    world.run(1);
    world.refusing = vec!["n1".to_owned()];
    world.run(2);
    world
}

/// The kubelet of `n1` reports that it is Ready.
fn report(world: &mut World) {
    world.node("n1").ready.heartbeat = world.now;
}

fn phase(world: &mut World) -> Option<Phase> {
    let operation = world.record("n1").operation.as_ref();
    operation.map(|operation| operation.phase)
}

#[test]
fn a_refused_node_keeps_slot_and_cordon_until_its_kubelet_reports() {
    let mut world = refused();
    expect![[r#"
        n1 RebootRefused: the reboot was refused (the agent cannot reboot this node: polkit asks for a password); the node stays cordoned until the kubelet confirms that the host stays up, or until 2026-11-21T12:15:02Z
        n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
    "#]]
    .assert_eq(&world.wait_reasons());
    // A report from right after the refusal shows nothing: a shutdown takes longer.
    report(&mut world);
    world.run(120);
    assert_eq!(world.in_progress(), ["n1"]);
    assert!(world.node("n1").unschedulable);
    report(&mut world);
    world.run_until_idle();
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
    expect![[r#"
        n1 BackingOff: deferred once (AgentIncapable: the agent cannot reboot this node: polkit asks for a password); next attempt at 2026-11-21T12:12:03Z
        n2 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:02:03Z)
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn a_kubelet_whose_clock_is_ahead_does_not_confirm_at_once() {
    let mut world = refused();
    world.node("n1").ready.heartbeat = world.now + TimeDelta::hours(1);
    world.run(58);
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(2);
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
}

#[test]
fn a_refused_node_that_goes_down_is_verified_in_its_new_boot() {
    let mut world = refused();
    world.node("n1").ready.ready = false;
    world.run(30);
    assert_eq!(phase(&mut world), Some(Phase::Rebooting));
    assert!(
        world.wait_reasons().starts_with("n1 Rebooting"),
        "{}",
        world.wait_reasons()
    );
    world.boot("n1");
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_refused_node_that_goes_down_for_good_is_failed() {
    let mut world = refused();
    world.node("n1").ready.ready = false;
    world.run(900);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
}

#[test]
fn a_refused_node_that_is_ready_when_its_reboot_times_out_is_deferred() {
    let mut world = refused();
    world.run(898);
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(2);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}
