//! The last gate: plans that a planner would make if it did not know one thing are refused by `check`.

use crate::common::{World, policy, windows};
use chrono::TimeDelta;
use lockkeeper_planner::*;

/// What `check` finds in the plan that is made of a doctored view.
fn found(world: &World, doctor: impl FnOnce(&mut Snapshot)) -> Vec<String> {
    let mut seen = world.snapshot.clone();
    doctor(&mut seen);
    let plan = plan(&seen, world.now);
    assert!(!plan.actions.is_empty(), "the doctored view starts nothing");
    let found = check(&world.snapshot, &plan, world.now);
    found.iter().map(Violation::to_string).collect()
}

/// `n1` is under a policy of its own and has waited longest; one slot for all.
fn own_node_under_another_policy() -> World {
    let mut world = World::new(3);
    world.snapshot.policies.insert("other".into(), policy());
    world.node("n1").policies = ["other".into()].into();
    world.record("n1").policy = Some("other".into());
    world.snapshot.own_node = Some("n1".to_owned());
    world
}

#[test]
fn check_refuses_the_operators_node_before_a_node_of_another_policy() {
    let mut world = own_node_under_another_policy();
    let unaware = |seen: &mut Snapshot| seen.own_node = None;
    assert_eq!(
        found(&world, unaware),
        ["S6: n1 runs the operator and starts while n2 could"]
    );
    world.node("n2").hold = Some(Hold {
        reason: "debugging".to_owned(),
        until: None,
        invalid_until: None,
    });
    assert_eq!(
        found(&world, unaware),
        ["S6: n1 runs the operator and starts while n3 could"]
    );
    // A node that could not start now delays no other.
    world.policy().schedule = Ok(windows(&[("0 3 * * *", 600)]));
    assert_eq!(found(&world, unaware), Vec::<String>::new());
}

#[test]
fn check_refuses_the_operators_node_ahead_in_the_same_pass() {
    let mut world = World::new(2);
    world.limit(2);
    world.snapshot.own_node = Some("n1".to_owned());
    assert_eq!(
        found(&world, |seen| seen.own_node = None),
        ["S6: n1 runs the operator and is not last"]
    );
}

#[test]
fn check_allows_the_operators_node_if_the_others_have_no_slot() {
    let mut world = own_node_under_another_policy();
    world.snapshot.lock.as_mut().unwrap().max_in_progress = Some(Limit::Count(2));
    world.run_until_idle();
    // `n2` has the one slot of its policy, `n3` waits for it; `World::plan` asks `check`.
    assert_eq!(world.in_progress(), ["n2", "n1"]);
}

#[test]
fn check_refuses_a_start_before_the_canary_has_passed() {
    let mut world = World::new(3);
    world.limit(3);
    let soak = TimeDelta::minutes(30);
    world.policy().canary = Some(Canary { nodes: 1, soak });
    let unaware = |seen: &mut Snapshot| seen.policies.get_mut("general").unwrap().canary = None;
    assert_eq!(
        found(&world, unaware),
        ["S2: 3 of general would be in progress, 1 until the canary has passed"]
    );
    world.run_until_idle();
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some());
    assert_eq!(
        found(&world, unaware),
        ["S2: 2 of general would be in progress, 0 until the canary has passed"]
    );
    world.now += soak;
    assert_eq!(found(&world, unaware), Vec::<String>::new());
}

#[test]
fn check_refuses_a_cordon_after_the_limit_was_lowered() {
    let mut world = World::new(2);
    world.limit(2);
    world.run_until_idle();
    world.now += TimeDelta::seconds(1);
    world.surroundings();
    world.limit(1);
    let found = found(&world, |seen| {
        let policy = seen.policies.get_mut("general").unwrap();
        policy.max_in_progress = Limit::Count(2);
        policy.max_unavailable = Limit::Count(2);
    });
    assert_eq!(
        found,
        [
            "S1: n2 would be one of 2 that are cordoned under general, 1 allowed",
            "S1: n2 would be one of 2 that are cordoned under all policies, 1 allowed",
            "S1: n2 would be cordoned while 2 are down, 1 allowed",
        ]
    );
}

#[test]
fn check_refuses_a_second_probe_of_the_breaker() {
    let mut world = World::new(4);
    world.limit(4);
    world.policy().pace = TimeDelta::seconds(905);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(904);
    assert!(world.wait_reasons().contains("n1 Failed"), "{}", world.wait_reasons());
    let failed = world.record("n1").operation.clone().unwrap().failure.unwrap();
    world.policy().pace = TimeDelta::zero();
    let unaware = |seen: &mut Snapshot| seen.policies.get_mut("general").unwrap().breaker.max_failed = 9;
    let first = |found: Vec<String>| found.into_iter().next().unwrap_or_default();
    assert_eq!(
        first(found(&world, unaware)),
        "S2: n2 would start while the breaker of general is open"
    );
    world.policy().acknowledged = Some(failed.time);
    assert_eq!(
        first(found(&world, unaware)),
        "S2: 3 of general would be in progress while its breaker waits for one probe"
    );
}

#[test]
fn check_refuses_a_start_that_does_not_fit_the_window() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 1200)]));
    world.now += TimeDelta::minutes(10);
    let unaware =
        |seen: &mut Snapshot| seen.policies.get_mut("general").unwrap().duration_estimate.cordoned = TimeDelta::zero();
    assert_eq!(
        found(&world, unaware),
        ["S2: n1 would start under general although it does not fit what is left of the window"]
    );
}
