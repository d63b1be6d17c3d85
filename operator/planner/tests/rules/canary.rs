//! The first nodes of a rollout, approval, and where a rollout begins and ends.

use crate::common::{World, at};
use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

fn canary(nodes: usize, soak_minutes: i64) -> World {
    let mut world = World::new(4);
    world.limit(4);
    world.policy().canary = Some(Canary {
        nodes,
        soak: TimeDelta::minutes(soak_minutes),
    });
    world
}

#[test]
fn the_other_nodes_start_once_the_canary_was_healthy_for_the_soak() {
    let mut world = canary(1, 30);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
    expect![[r#"
        n1 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        n2 CanarySoaking: waiting for canary n1 to finish and stay healthy
        n3 CanarySoaking: waiting for canary n1 to finish and stay healthy
        n4 CanarySoaking: waiting for canary n1 to finish and stay healthy
    "#]]
    .assert_eq(&world.wait_reasons());
    world.run(60);
    expect![[r#"
        n2 CanarySoaking: canary n1 must stay healthy until 2026-11-21T12:30:43Z
        n3 CanarySoaking: canary n1 must stay healthy until 2026-11-21T12:30:43Z
        n4 CanarySoaking: canary n1 must stay healthy until 2026-11-21T12:30:43Z
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T12:30:43Z")));
    world.now = at("2026-11-21T12:30:42Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), Vec::<String>::new());
    world.run(1);
    assert_eq!(world.in_progress(), ["n2", "n3", "n4"]);
    let rollout = world.plan().policies["general"].rollout.clone().unwrap();
    assert_eq!(rollout.canary_passed, Some(at("2026-11-21T12:30:43Z")));
    world.run(60);
    assert_eq!(world.wait_reasons(), "");
    assert_eq!(world.plan().policies["general"].rollout, None, "the rollout is over");
}

#[test]
fn a_canary_passes_after_its_soak_although_the_policy_is_suspended() {
    let mut world = canary(1, 30);
    world.run_until_idle();
    world.run(60);
    world.policy().suspend = true;
    let passes = at("2026-11-21T12:30:43Z");
    assert_eq!(world.plan().recheck_at, Some(passes));
    world.now = passes;
    let rollout = world.plan().policies["general"].rollout.clone().unwrap();
    assert_eq!(rollout.canary_passed, Some(passes));
    assert_eq!(world.plan().recheck_at, None);
}

#[test]
fn the_soak_starts_again_after_a_canary_was_not_ready() {
    let mut world = canary(1, 30);
    world.run_until_idle();
    world.run(60);
    let (now, mut ready) = (world.now, world.node("n1").ready.clone());
    ready.ready = false;
    ready.since = now;
    world.node("n1").ready = ready.clone();
    world.policy().max_unavailable = Limit::Count(9);
    world.now += TimeDelta::minutes(40);
    world.run_until_idle();
    expect![[r#"
        n2 CanarySoaking: waiting for canary n1 to finish and stay healthy
        n3 CanarySoaking: waiting for canary n1 to finish and stay healthy
        n4 CanarySoaking: waiting for canary n1 to finish and stay healthy
    "#]]
    .assert_eq(&world.wait_reasons());
    ready.ready = true;
    ready.since = world.now;
    world.node("n1").ready = ready;
    assert!(
        world.wait_reasons().contains("until 2026-11-21T13:11:00Z"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn two_canaries_must_both_finish() {
    let mut world = canary(2, 1);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    world.run(50);
    assert!(
        world
            .wait_reasons()
            .contains("n3 CanarySoaking: canary n1, n2 must stay healthy until"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn another_node_replaces_a_canary_that_cannot_be_drained() {
    let mut world = canary(1, 1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(910);
    assert_eq!(world.in_progress(), ["n2"]);
}

#[test]
fn a_failed_canary_stops_the_rollout_before_the_breaker_does() {
    let mut world = canary(1, 1);
    world.policy().breaker.max_failed = 3;
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(2000);
    assert_eq!(world.in_progress(), ["n1"]);
    assert!(
        world
            .wait_reasons()
            .contains("n2 CanarySoaking: waiting for canary n1 to finish"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_new_rollout_has_its_own_canary() {
    let mut world = canary(1, 1);
    world.run_until_idle();
    world.run(300);
    assert_eq!(world.wait_reasons(), "");
    let now = world.now;
    for name in ["n1", "n2", "n3", "n4"] {
        let host = world.record(name).host.as_mut().unwrap();
        host.required = true;
        host.required_since = Some(now);
        host.reasons = vec!["openssl".to_owned()];
    }
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_held_node_does_not_keep_a_rollout_from_finishing() {
    let mut world = World::new(2);
    world.node("n2").hold = Some(Hold {
        reason: "debugging".to_owned(),
        until: None,
        invalid_until: None,
    });
    world.run_until_idle();
    assert!(world.plan().policies["general"].rollout.is_some());
    world.run(60);
    assert_eq!(world.plan().policies["general"].rollout, None);
}

#[test]
fn each_node_needs_its_own_approval_which_is_used_once() {
    let mut world = World::new(2);
    world.policy().approval = Approval::Manual;
    world.run_until_idle();
    expect![[r#"
        n1 AwaitingApproval: waiting for manual approval (required by policy general)
        n2 AwaitingApproval: waiting for manual approval (required by policy general)
    "#]]
    .assert_eq(&world.wait_reasons());
    world.node("n2").approved = Some("change 4711".to_owned());
    world.run_until_idle();
    world.run(60);
    assert!(world.record("n2").last_reboot.is_some());
    assert_eq!(world.node("n2").approved, None);
    assert!(world.record("n1").last_reboot.is_none());
}

#[test]
fn an_approval_outlives_a_deferral() {
    let mut world = World::new(1);
    world.policy().approval = Approval::Manual;
    world.node("n1").approved = Some("change 4711".to_owned());
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
    assert!(world.record("n1").deferred.is_some());
    assert_eq!(world.node("n1").approved.as_deref(), Some("change 4711"));

    let mut world = World::new(1);
    world.policy().approval = Approval::Manual;
    world.node("n1").approved = Some("change 4711".to_owned());
    world.run_until_idle();
    world.node("n1").approved = None;
    world.run(5);
    assert_eq!(world.in_progress(), Vec::<String>::new());
    assert_eq!(world.started(), Vec::<String>::new());
}

#[test]
fn a_node_starts_when_its_hold_expires() {
    let mut world = World::new(1);
    world.node("n1").hold = Some(Hold {
        reason: "debugging".to_owned(),
        until: Some(at("2026-11-21T13:00:00Z")),
        invalid_until: None,
    });
    world.run_until_idle();
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T13:00:00Z")));
    assert_eq!(
        world.wait_reasons(),
        "n1 Held: held by annotation: \"debugging\", until 2026-11-21T13:00:00Z\n"
    );
    world.now = at("2026-11-21T13:00:00Z");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_suspended_policy_finishes_its_nodes_in_progress() {
    let mut world = World::new(2);
    world.run_until_idle();
    world.run(5);
    world.policy().suspend = true;
    world.run(100);
    assert!(world.record("n1").last_reboot.is_some());
    assert_eq!(world.wait_reasons(), "n2 Suspended: policy general is suspended\n");
}
