//! A write that the API server refuses harms its own node only.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use lockkeeper_planner::Action;

use crate::common::World;

const REFUSAL: &str = "cannot cordon n1: field .spec.unschedulable is owned by argocd with a different value";

#[test]
fn a_node_whose_cordon_is_refused_is_deferred_and_the_next_one_starts() {
    let mut world = World::new(2);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    world.node("n1").refused_write = Some(REFUSAL.to_owned());
    world.run_until_idle();
    world.node("n1").refused_write = None;
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
    let reasons = world.wait_reasons();
    let words = format!("n1 BackingOff: deferred once (WriteRefused: {REFUSAL}); next attempt at ");
    assert!(reasons.contains(&words), "{reasons}");
}

#[test]
fn a_node_whose_record_cannot_be_written_takes_no_slot() {
    let mut world = World::new(2);
    world.pass(1);
    assert_eq!(world.in_progress(), ["n1"], "its operation is not written yet");
    world.node("n1").refused_write = Some(REFUSAL.to_owned());
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
    assert!(world.wait_reasons().contains("n1 WriteRefused: cannot cordon n1"));
}

#[test]
fn a_drain_whose_next_write_is_refused_is_deferred_before_its_reboot() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").unschedulable);
    world.node("n1").refused_write = Some(REFUSAL.to_owned());
    world.run_until_idle();
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
    assert_eq!(world.in_progress(), Vec::<String>::new());
}

const LOCK_REFUSAL: &str = "the API server refuses to write the holders of RebootLock cluster: not today";

#[test]
fn while_the_lock_is_refused_the_waiting_nodes_name_it_and_no_node_starts() {
    let mut world = World::new(2);
    world.snapshot.refused_lock_write = Some(LOCK_REFUSAL.to_owned());
    world.run_until_idle();
    assert_eq!(world.in_progress(), Vec::<String>::new());
    let expected = format!("n1 WriteRefused: {LOCK_REFUSAL}\nn2 WriteRefused: {LOCK_REFUSAL}\n");
    assert_eq!(world.wait_reasons(), expected);
    world.snapshot.refused_lock_write = None;
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"], "{}", world.trace);
}

#[test]
fn a_lock_that_may_not_be_created_is_the_reason_of_the_waiting_nodes() {
    let mut world = World::new(1);
    world.snapshot.lock = None;
    let refusal = "the API server refuses to create RebootLock cluster: not today".to_owned();
    world.snapshot.refused_lock_write = Some(refusal);
    let plan = world.plan();
    assert_eq!(plan.actions, [Action::CreateLock], "it is tried again");
    assert!(
        world
            .wait_reasons()
            .starts_with("n1 WriteRefused: the API server refuses to create RebootLock")
    );
}

#[test]
fn a_drain_is_deferred_if_the_lock_cannot_record_its_reboot() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").unschedulable);
    world.snapshot.refused_lock_write = Some(LOCK_REFUSAL.to_owned());
    let words = format!("deferred once (WriteRefused: {LOCK_REFUSAL}); next attempt at ");
    // The holder cannot be removed either: the write that would do so is left out.
    for _ in 0..5 {
        let plan = world.plan();
        let writes = plan.actions.iter().filter(|action| action.node().is_some());
        writes.for_each(|action| world.apply(action));
    }
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
    assert!(world.wait_reasons().contains(&words), "{}", world.wait_reasons());
    world.snapshot.refused_lock_write = None;
    world.run_until_idle();
    assert_eq!(world.in_progress(), Vec::<String>::new());
}

#[test]
fn a_node_that_reboots_goes_on_although_a_write_was_refused() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(10);
    world.node("n1").refused_write = Some(REFUSAL.to_owned());
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

/// S8: in each pass the actions about one node are left out, another one each time.
#[test]
fn a_plan_without_the_actions_about_one_node_is_safe() {
    for limit in [1, 2, 4] {
        let mut world = World::new(5);
        world.limit(limit);
        let mut pass = 0;
        for _ in 0..600 {
            world.now += chrono::TimeDelta::seconds(1);
            world.surroundings();
            for _ in 0..4 {
                pass += 1;
                let left_out = format!("n{}", pass % 5 + 1);
                let plan = world.plan();
                for action in plan.actions.iter().filter(|action| action.node() != Some(&left_out)) {
                    world.apply(action);
                }
                let cordoned = world.snapshot.nodes.values().filter(|node| node.cordoned_for.is_some());
                assert!(cordoned.count() <= limit, "limit {limit}\n{}", world.trace);
            }
        }
        let done: BTreeSet<&String> = world
            .snapshot
            .nodes
            .iter()
            .filter(|(_, node)| node.record.as_ref().is_some_and(|record| record.last_reboot.is_some()))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(done.len(), 5, "limit {limit}: {done:?}\n{}", world.wait_reasons());
    }
}

#[test]
fn the_operators_own_node_starts_while_the_only_other_one_cannot() {
    let causes: [fn(&mut World); 2] = [
        |world| world.node("n2").refused_write = Some("the API server refuses to cordon n2: not today".to_owned()),
        |world| {
            let until = world.now + TimeDelta::hours(1);
            world.record("n2").host.as_mut().unwrap().reboot_allowed = Some(until);
        },
    ];
    for cause in causes {
        let mut world = World::new(2);
        world.snapshot.own_node = Some("n1".to_owned());
        cause(&mut world);
        world.run_until_idle();
        assert_eq!(world.in_progress(), ["n1"], "{}", world.trace);
    }
}
