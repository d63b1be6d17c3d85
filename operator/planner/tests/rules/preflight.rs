//! Before a node takes a slot, a preflight checks whether its pods can leave. A node that cannot be drained blocks no other.

use crate::common::World;
use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

fn unknown(count: usize) -> World {
    let mut world = World::new(count);
    for node in world.snapshot.nodes.values_mut() {
        node.preflight = Preflight::Unknown;
    }
    world
}

fn answer(world: &mut World, name: &str, blocked: bool) {
    let at = world.now;
    world.node(name).preflight = if blocked {
        Preflight::Blocked {
            pod: "shop/db-0".to_owned(),
            why: "budget shop/db never allows a disruption".to_owned(),
            at,
        }
    } else {
        Preflight::Clear { at }
    };
}

#[test]
fn pods_are_checked_before_a_node_gets_a_slot_and_one_node_ahead() {
    let mut world = unknown(4);
    let plan = world.plan();
    assert_eq!(plan.preflight, ["n1", "n2"]);
    assert_eq!(plan.actions, vec![]);
    expect![[r#"
        n1 ViewIncomplete: checking whether its pods can be evicted
        n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit); 1 node ahead in the queue
        n3 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit); 2 nodes ahead in the queue
        n4 NoFreeSlot: no free slot (1, policy limit); 3 or more nodes ahead in the queue
    "#]]
    .assert_eq(&world.wait_reasons());
    // The second answers first: it waits for the first all the same.
    answer(&mut world, "n2", false);
    let plan = world.plan();
    assert_eq!((plan.preflight, plan.actions), (vec!["n1".to_owned()], vec![]));
    answer(&mut world, "n1", false);
    world.run_until_idle();
    assert!(
        world.trace.starts_with("0    lock SetHolders n1 starts\n"),
        "{}",
        world.trace
    );
    assert_eq!(
        world.plan().preflight,
        Vec::<String>::new(),
        "no preflight runs while no slot is free"
    );
}

#[test]
fn a_node_that_cannot_be_drained_is_skipped_and_checked_each_minute() {
    let mut world = unknown(3);
    answer(&mut world, "n1", true);
    answer(&mut world, "n2", false);
    let asked = world.now;
    assert_eq!(world.plan().recheck_at, Some(asked + TimeDelta::seconds(60)));
    world.run_until_idle();
    assert!(
        world.trace.starts_with("0    lock SetHolders n2 starts\n"),
        "{}",
        world.trace
    );
    world.run(50);
    answer(&mut world, "n3", false);
    world.run(50);
    assert!(world.record("n3").last_reboot.is_some(), "{}", world.trace);
    expect![[r#"
        n1 PreflightBlocked: cannot be drained: pod shop/db-0: budget shop/db never allows a disruption
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.plan().preflight, ["n1"]);
    answer(&mut world, "n1", false);
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_preflight_older_than_a_minute_does_not_count() {
    let mut world = unknown(1);
    answer(&mut world, "n1", false);
    world.now += TimeDelta::seconds(60);
    let plan = world.plan();
    assert_eq!((plan.preflight, plan.actions), (vec!["n1".to_owned()], vec![]));
}

#[test]
fn one_more_node_is_checked_than_there_are_free_slots() {
    let mut world = unknown(9);
    world.limit(3);
    assert_eq!(world.plan().preflight, ["n1", "n2", "n3", "n4"]);
    for name in ["n1", "n2", "n3"] {
        answer(&mut world, name, true);
    }
    // Those that cannot be drained hold no place.
    assert_eq!(world.plan().preflight, ["n4", "n5", "n6", "n7"]);
}

#[test]
fn a_node_whose_preflight_failed_is_skipped_and_shows_the_error() {
    let mut world = unknown(3);
    let why = "reading the pods of node n1: pods is forbidden; grant it".to_owned();
    world.node("n1").preflight = Preflight::Failed { why };
    assert_eq!(world.plan().preflight, ["n1", "n2"]);
    answer(&mut world, "n2", false);
    let waits = world.wait_reasons();
    let first = waits.lines().next().unwrap_or_default();
    let words = "the check whether its pods can be evicted failed: reading the pods of node n1: pods is forbidden; \
                 grant it; it is repeated";
    assert_eq!(first.trim(), format!("n1 ViewIncomplete: {words}"), "{waits}");
    world.run_until_idle();
    assert!(
        world.trace.starts_with("0    lock SetHolders n2 starts\n"),
        "{}",
        world.trace
    );
}

#[test]
fn a_node_whose_budgets_must_be_tried_starts_after_those_that_drain_surely() {
    let mut world = unknown(3);
    for name in ["n1", "n2", "n3"] {
        answer(&mut world, name, false);
    }
    world.node("n1").drain_details.doubtful = true;
    let plan = world.plan();
    assert!(
        world
            .wait_reasons()
            .lines()
            .any(|line| line.starts_with("n1 NoFreeSlot")),
        "{}",
        world.wait_reasons()
    );
    assert!(!plan.actions.is_empty());
    world.snapshot.nodes.retain(|name, _| name == "n1");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}
