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

/// Until somebody is Failed.
fn until_failed(world: &mut World) {
    world.settle();
    for _ in 0..500 {
        world.run(1);
        if state(world).opened.is_some() {
            return;
        }
    }
    panic!("nobody failed\n{}", world.trace);
}

#[test]
fn after_the_first_failure_nothing_is_cordoned_and_what_reboots_finishes() {
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
            .waits()
            .contains("n6 BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue"),
        "{}",
        world.waits()
    );
}

#[test]
fn an_acknowledgement_lets_one_probe_go_and_its_success_closes_it() {
    let mut world = one_fails();
    until_failed(&mut world);
    world.run(100);
    world.policy().acknowledged = state(&world).opened;
    world.settle();
    assert_eq!(state(&world).state, BreakerState::Probing);
    let probe = world.inside().last().unwrap().clone();
    let names = world
        .waits()
        .lines()
        .filter(|l| l.contains(&format!("probing with {probe}")))
        .count();
    assert!(names > 0, "{}", world.waits());
    assert_eq!(world.inside().len(), 2, "the failed one and the probe");
    world.run(50);
    assert_eq!(state(&world).state, BreakerState::Closed);
    world.run(300);
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        assert!(world.record(name).last_reboot.is_some(), "{name}\n{}", world.trace);
    }
    assert_eq!(world.inside(), ["n1"]);
}

#[test]
fn a_probe_that_fails_opens_it_again_and_an_old_acknowledgement_does_not_count() {
    let mut world = one_fails();
    until_failed(&mut world);
    world.run(100);
    world.never_back.push("n4".to_owned());
    world.policy().acknowledged = state(&world).opened;
    world.settle();
    let probe = world.inside().last().unwrap().clone();
    world.never_back.push(probe.clone());
    world.run(200);
    let breaker = state(&world);
    assert_eq!(breaker.state, BreakerState::Open, "{}", world.trace);
    assert_eq!(breaker.failed, ["n1".to_owned(), probe]);
    assert!(breaker.opened > world.policy().acknowledged);
}

#[test]
fn an_acknowledgement_of_the_future_or_of_an_older_failure_is_none() {
    let mut world = one_fails();
    until_failed(&mut world);
    for wrong in [TimeDelta::hours(-1), TimeDelta::hours(1)] {
        let opened = state(&world).opened.unwrap();
        world.policy().acknowledged = Some(opened + wrong);
        assert_eq!(state(&world).state, BreakerState::Open, "{wrong}");
    }
}

#[test]
fn after_the_cooldown_a_probe_goes_by_itself() {
    let mut world = one_fails();
    world.policy().breaker.cooldown = Some(TimeDelta::seconds(600));
    until_failed(&mut world);
    world.run(60);
    let opened = state(&world).opened.unwrap();
    let words = format!("probe at {}", format_time(opened + TimeDelta::seconds(600)));
    assert!(world.waits().contains(&words), "{}", world.waits());
    assert_eq!(world.plan().recheck_at, Some(opened + TimeDelta::seconds(600)));
    world.run(700);
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        assert!(world.record(name).last_reboot.is_some(), "{name}\n{}", world.trace);
    }
}

#[test]
fn an_open_breaker_is_looked_at_when_it_lets_a_probe_in_though_nobody_waits_for_it() {
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
fn at_one_at_a_time_the_failed_node_keeps_the_slot_and_only_a_person_goes_on() {
    let mut world = World::new(2);
    world.policy().breaker.cooldown = Some(TimeDelta::seconds(60));
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(2000);
    assert_eq!(state(&world).state, BreakerState::Probing);
    assert_eq!(world.record("n2").last_reboot, None);
    assert!(
        world
            .waits()
            .contains("n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)"),
        "{}",
        world.waits()
    );
}

#[test]
fn it_opens_only_when_as_many_nodes_failed_as_the_policy_says() {
    let mut world = one_fails();
    world.policy().breaker.max_failed = 2;
    world.settle();
    world.run(600);
    assert_eq!(state(&world).state, BreakerState::Closed);
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        assert!(world.record(name).last_reboot.is_some(), "{name}\n{}", world.trace);
    }
}

#[test]
fn a_release_closes_it_and_a_retry_goes_on_although_another_node_is_failed() {
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
    world.settle();
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
fn a_blocked_drain_and_a_reboot_in_vain_never_open_it() {
    let mut world = World::new(3);
    world.blocked = vec!["n1".to_owned()];
    world.settle();
    world.run(1200);
    assert_eq!(state(&world), Breaker::default());
    assert!(world.record("n3").last_reboot.is_some());
}

#[test]
fn a_failed_node_takes_a_place_of_the_whole_cluster() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".into(), crate::common::policy());
    world.node("n2").policies = ["other".into()].into();
    world.never_back = vec!["n1".to_owned()];
    world.settle();
    world.run(1500);
    expect![[r#"
        n1 Failed: no new boot of n1 within 15 min of the order at 2026-11-21T12:00:02Z; look at its console or power, then retry or release
        n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, cluster limit)
    "#]]
    .assert_eq(&world.waits());
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
