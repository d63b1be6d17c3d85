//! What a lost record, a lost slot or an outdated snapshot may not lead to; each once broke a rule in the simulator.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

/// `n1` has the cordon of an operation whose record and slot are lost, and is down; its agent has not reported again.
fn orphaned_cordon(count: usize) -> World {
    let mut world = World::new(count);
    let node = world.node("n1");
    (node.cordoned_for, node.unschedulable, node.ready.ready) = (Some("lost".to_owned()), true, false);
    world.record("n1").host = None;
    world
}

/// The nodes that the plan cordons.
fn cordons(plan: &Plan) -> Vec<&str> {
    let cordons = |action: &&Action| matches!(action, Action::Cordon { .. });
    plan.actions.iter().filter(cordons).filter_map(Action::node).collect()
}

fn first_operation_id(world: &World) -> String {
    let holders = |action: &Action| match action {
        Action::SetHolders { holders, .. } => Some(holders[0].operation_id.clone()),
        _ => None,
    };
    world.plan().actions.iter().find_map(holders).unwrap()
}

#[test]
fn an_operation_has_another_id_than_the_one_before_it() {
    let mut world = World::new(1);
    let first = first_operation_id(&world);
    assert_eq!(first_operation_id(&world), first, "the id depends on nothing else");
    world.record("n1").finished = Some(first.clone());
    assert_ne!(first_operation_id(&world), first);
}

#[test]
fn two_operators_cordon_the_same_node_first() {
    let mut world = World::new(2);
    world.limit(2);
    world.silent = vec!["n1".to_owned(), "n2".to_owned()];
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    world.limit(1);
    world.silent.clear();
    world.now += TimeDelta::seconds(1);
    world.surroundings();
    let first = ["n1", "n2"].map(|own_node| {
        world.snapshot.own_node = Some(own_node.to_owned());
        let plan = world.plan();
        cordons(&plan).join(",")
    });
    assert_eq!(first[0], first[1]);
}

#[test]
fn the_pace_counts_after_a_reboot_but_not_for_the_operators_node() {
    let mut world = World::new(3);
    world.limit(2);
    let other = Policy {
        max_in_progress: Limit::Count(2),
        max_unavailable: Limit::Count(2),
        ..Policy::default()
    };
    world.snapshot.policies.insert("other".into(), other);
    world.policy().pace = TimeDelta::minutes(10);
    world.node("n3").policies = ["other".into()].into();
    world.snapshot.own_node = Some("n3".to_owned());
    world.run_until_idle();
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(world.wait_reasons().contains("n2 Pacing"), "{}", world.wait_reasons());
    assert!(world.record("n3").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_that_is_down_counts_only_under_the_policy_that_selects_it_now() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".into(), Policy::default());
    world.node("n1").ready.ready = false;
    world.record("n1").host.as_mut().unwrap().required = false;
    world.run_until_idle();
    assert!(
        world.wait_reasons().contains("n2 TooManyUnavailable"),
        "{}",
        world.wait_reasons()
    );
    world.node("n1").policies = ["other".into()].into();
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
}

#[test]
fn an_orphaned_cordon_does_not_choose_the_domain_that_goes_first() {
    let mut world = orphaned_cordon(3);
    world.limit(3);
    world.policy().topology = vec![Topology {
        key: "zone".to_owned(),
        max_domains: Some(1),
        max_in_progress_per_domain: None,
    }];
    for (name, zone) in [("n1", "a"), ("n2", "b"), ("n3", "a")] {
        world.node(name).domains = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    }
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
}

#[test]
fn an_orphaned_cordon_does_not_hold_back_the_operators_node() {
    let mut world = orphaned_cordon(2);
    world.limit(2);
    world.snapshot.own_node = Some("n2".to_owned());
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
}

#[test]
fn an_orphaned_cordon_counts_until_it_is_removed() {
    let mut world = World::new(2);
    let node = world.node("n1");
    (node.cordoned_for, node.unschedulable) = (Some("lost".to_owned()), true);
    // The API server refuses what is written about n1.
    for _ in 0..20 {
        world.now += TimeDelta::seconds(1);
        world.surroundings();
        for action in world.plan().actions.iter().filter(|action| action.node() != Some("n1")) {
            world.apply(action);
        }
        assert_eq!(world.in_progress(), Vec::<String>::new(), "{}", world.trace);
    }
    world.run(1);
    assert_eq!(world.in_progress().len(), 1, "{}", world.trace);
    assert_ne!(world.node("n1").cordoned_for.as_deref(), Some("lost"));
}
