//! The urgent override of a policy: for all its nodes, for a limited time, and for one rollout if it names one.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::{World, at, windows};
use crate::deadline::{failing_checks, fires, overridden};
use crate::drain_stages::{blocked, stage};

fn urgent(overrides: &[Override]) -> Urgent {
    Urgent {
        reason: "CVE-2026-1234".to_owned(),
        from: at("2026-11-21T13:00:00Z"),
        until: at("2026-11-21T15:00:00Z"),
        rollout: None,
        overrides: overrides.to_vec(),
    }
}

/// A policy that is closed until 3 at night.
fn closed(count: usize) -> World {
    let mut world = World::new(count);
    world.policy().schedule = Ok(windows(&[("0 3 * * *", 3600)]));
    world.policy().urgent = Some(urgent(&[Override::IgnoreWindows]));
    world
}

#[test]
fn an_urgent_override_opens_a_closed_policy_from_its_begin_until_its_end() {
    let mut world = closed(3);
    world.run_until_idle();
    assert_eq!(world.in_progress(), [] as [&str; 0]);
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T13:00:00Z")));
    world.now = at("2026-11-21T13:00:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    assert_eq!(overridden(&mut world).unwrap().urgent.as_deref(), Some("CVE-2026-1234"));
    world.now = at("2026-11-21T14:59:59Z");
    world.run_until_idle();
    world.run(1);
    world.run(300);
    assert!(!world.in_progress().contains(&"n3".to_owned()), "{}", world.trace);
    let waits = world.wait_reasons();
    assert!(waits.contains("n3 OutsideWindow"), "{waits}");
}

#[test]
fn an_urgent_override_that_names_a_rollout_ends_with_it() {
    let mut world = closed(1);
    world.now = at("2026-11-21T13:30:00Z");
    world.policy().suspend = true;
    world.run_until_idle();
    let rollout = world.policy().state.rollout.clone().unwrap().id;
    for (named, starts) in [("another", false), (rollout.as_str(), true)] {
        let policy = world.policy();
        policy.suspend = false;
        policy.urgent.as_mut().unwrap().rollout = Some(named.to_owned());
        let holders = world
            .plan()
            .actions
            .iter()
            .any(|action| matches!(action, Action::SetHolders { .. }));
        assert_eq!(holders, starts, "{named}");
    }
}

#[test]
fn an_urgent_override_of_checks_and_budgets_applies_to_nodes_without_a_deadline() {
    let mut world = blocked(OnTimeout::Defer);
    world.policy().checks = Some(failing_checks(false));
    world.checks = Some(vec![fires(CheckStage::Before)]);
    world.policy().urgent = Some(urgent(&[Override::IgnoreChecks, Override::DeletePods]));
    world.run(30);
    assert!(world.wait_reasons().starts_with("n1 CheckFailing"), "{}", world.trace);
    world.now = at("2026-11-21T13:00:00Z");
    world.run_until_idle();
    world.run(902);
    assert_eq!(stage(&mut world), Some(StageKind::Delete), "{}", world.trace);
}

#[test]
fn the_safety_rules_report_a_start_after_the_end_of_an_urgent_override() {
    let mut world = closed(1);
    world.now = at("2026-11-21T15:00:00Z");
    let mut other = world.snapshot.clone();
    let policy = other.policies.get_mut("general").unwrap();
    policy.urgent.as_mut().unwrap().until += TimeDelta::seconds(1);
    let plan = plan(&other, world.now);
    let rules: Vec<_> = check(&world.snapshot, &plan, world.now)
        .iter()
        .map(|violation| violation.rule)
        .collect();
    assert_eq!(rules.first(), Some(&"S2"));
}
