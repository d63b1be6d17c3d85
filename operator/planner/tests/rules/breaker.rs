//! Failures stop a policy, a person or a probe lets it go on.

use crate::common::World;
use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

/// Six nodes, two at once; `n1` never comes back.
fn one_fails() -> World {
    let mut world = World::new(6);
    world.limit(2);
    world.never_back = vec!["n1".to_owned()];
    world.policy().settings.reboot_timeout = TimeDelta::seconds(60);
    world
}

fn state(world: &World) -> Breaker {
    world.plan().policies["general"].breaker.clone()
}

/// Until a node is Failed.
fn until_failed(world: &mut World) {
    world.run_until_idle();
    for _ in 0..500 {
        world.run(1);
        if state(world).opened.is_some() {
            return;
        }
    }
    panic!("no node failed\n{}", world.trace);
}

#[test]
fn after_the_first_failure_no_further_node_is_cordoned() {
    let mut world = one_fails();
    until_failed(&mut world);
    let cordoned = world.started().len();
    world.run(300);
    assert_eq!(world.started().len(), cordoned, "{}", world.trace);
    assert_eq!(state(&world).state, BreakerState::Open);
    assert_eq!(state(&world).failed, ["n1"]);
    assert!(world.record("n2").last_reboot.is_some());
    assert!(
        world
            .wait_reasons()
            .contains("n6 BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn an_acknowledgement_starts_one_probe_whose_success_closes_the_breaker() {
    let mut world = one_fails();
    until_failed(&mut world);
    world.run(100);
    world.policy().acknowledged = state(&world).opened;
    world.run_until_idle();
    assert_eq!(state(&world).state, BreakerState::Probing);
    let probe = world.in_progress().last().unwrap().clone();
    let names = world
        .wait_reasons()
        .lines()
        .filter(|l| l.contains(&format!("probing with {probe}")))
        .count();
    assert!(names > 0, "{}", world.wait_reasons());
    assert_eq!(world.in_progress().len(), 2, "the failed one and the probe");
    world.run(50);
    assert_eq!(state(&world).state, BreakerState::Closed);
    world.run(300);
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        assert!(world.record(name).last_reboot.is_some(), "{name}\n{}", world.trace);
    }
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_failed_probe_needs_a_new_acknowledgement() {
    let mut world = one_fails();
    until_failed(&mut world);
    world.run(100);
    world.never_back.push("n4".to_owned());
    world.policy().acknowledged = state(&world).opened;
    world.run_until_idle();
    let probe = world.in_progress().last().unwrap().clone();
    world.never_back.push(probe.clone());
    world.run(200);
    let breaker = state(&world);
    assert_eq!(breaker.state, BreakerState::Open, "{}", world.trace);
    assert_eq!(breaker.failed, ["n1".to_owned(), probe]);
    assert!(breaker.opened > world.policy().acknowledged);
}

#[test]
fn an_acknowledgement_of_another_time_does_not_count() {
    let mut world = one_fails();
    until_failed(&mut world);
    for wrong in [TimeDelta::hours(-1), TimeDelta::hours(1)] {
        let opened = state(&world).opened.unwrap();
        world.policy().acknowledged = Some(opened + wrong);
        assert_eq!(state(&world).state, BreakerState::Open, "{wrong}");
    }
}

#[test]
fn after_the_cooldown_a_probe_starts() {
    let mut world = one_fails();
    world.policy().breaker.cooldown = Some(TimeDelta::seconds(600));
    until_failed(&mut world);
    world.run(60);
    let opened = state(&world).opened.unwrap();
    let words = format!("probe at {}", format_time(opened + TimeDelta::seconds(600)));
    assert!(world.wait_reasons().contains(&words), "{}", world.wait_reasons());
    assert_eq!(world.plan().recheck_at, Some(opened + TimeDelta::seconds(600)));
    world.run(700);
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        assert!(world.record(name).last_reboot.is_some(), "{name}\n{}", world.trace);
    }
}

#[test]
fn a_pass_is_due_when_an_open_breaker_allows_a_probe() {
    let mut world = one_fails();
    until_failed(&mut world);
    world.run(60);
    world.policy().suspend = true;
    assert_eq!(world.plan().recheck_at, None);
    let opened = state(&world).opened.unwrap();
    let (cooled, said) = (opened + TimeDelta::hours(2), opened + TimeDelta::hours(1));
    world.policy().breaker.cooldown = Some(TimeDelta::hours(2));
    assert_eq!(world.plan().recheck_at, Some(cooled));
    world.policy().acknowledged = Some(said);
    assert_eq!(world.plan().recheck_at, Some(said));
    world.now = said;
    assert_eq!(state(&world).state, BreakerState::Probing);
}

#[test]
fn a_failed_node_keeps_the_only_slot_until_retry_or_release() {
    let mut world = World::new(2);
    world.policy().breaker.cooldown = Some(TimeDelta::seconds(60));
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(2000);
    assert_eq!(state(&world).state, BreakerState::Probing);
    assert_eq!(world.record("n2").last_reboot, None);
    assert!(
        world
            .wait_reasons()
            .contains("n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn the_breaker_opens_at_max_failed_nodes() {
    let mut world = one_fails();
    world.policy().breaker.max_failed = 2;
    world.run_until_idle();
    world.run(600);
    assert_eq!(state(&world).state, BreakerState::Closed);
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        assert!(world.record(name).last_reboot.is_some(), "{name}\n{}", world.trace);
    }
}

#[test]
fn a_release_closes_the_breaker_and_a_retry_starts_while_it_is_open() {
    let mut world = one_fails();
    world.never_back.push("n2".to_owned());
    until_failed(&mut world);
    world.run(100);
    assert_eq!(state(&world).failed, ["n1", "n2"]);
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
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(state(&world).failed, ["n2"]);
    world.boot("n2");
    world.command("release", "n2");
    world.run(60);
    assert_eq!(state(&world), Breaker::default());
    assert!(world.started().len() > 3, "{}", world.trace);
}

#[test]
fn deferrals_and_reboots_without_effect_do_not_open_the_breaker() {
    let mut world = World::new(3);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1200);
    assert_eq!(state(&world), Breaker::default());
    assert!(world.record("n3").last_reboot.is_some());
}

#[test]
fn a_failed_node_counts_against_the_cluster_limit() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".into(), crate::common::policy());
    world.node("n2").policies = ["other".into()].into();
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1500);
    expect![[r#"
        n1 Failed: n1 did not come back within 15 min of the reboot ordered at 2026-11-21T12:00:02Z; check its console and power; it continues by itself once it is back; or retry or release it
        n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, cluster limit)
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn a_lost_status_changes_no_decision() {
    let mut world = one_fails();
    until_failed(&mut world);
    world.run(30);
    let before = world.plan();
    world.policy().state = PolicyState::default();
    let after = world.plan();
    assert_eq!(before.policies["general"].breaker, after.policies["general"].breaker);
    assert_eq!(before.wait_reasons, after.wait_reasons);
}
