//! Time-outs after an outage of the API server, and nodes that come back late.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::World;

/// `n1` of two nodes reboots, and no one reaches the API server for so long.
fn outage(seconds: i64) -> World {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(10);
    world.now += TimeDelta::seconds(seconds);
    world.snapshot.watched_for = TimeDelta::zero();
    world
}

/// Time goes on, and the watches work.
fn watch(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.run(1);
        world.snapshot.watched_for = (world.snapshot.watched_for + TimeDelta::seconds(1)).min(OBSERVATION_GRACE);
    }
}

fn phase(world: &mut World) -> Option<Phase> {
    let operation = world.record("n1").operation.as_ref();
    operation.map(|operation| operation.phase)
}

/// `n1` did not come back in time.
fn failed() -> World {
    let mut world = outage(1000);
    watch(&mut world, 62);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    world
}

#[test]
fn a_reboot_that_timed_out_during_an_outage_is_judged_a_minute_after_it() {
    let mut world = outage(1000);
    watch(&mut world, 59);
    assert_eq!(phase(&mut world), Some(Phase::Rebooting), "{}", world.trace);
    watch(&mut world, 3);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
}

#[test]
fn a_reboot_is_ordered_only_once_schedulers_know_the_cordon_after_an_outage() {
    let mut world = World::new(1);
    world.run_until_idle();
    while phase(&mut world) != Some(Phase::Draining) {
        world.run(1);
    }
    // The API server went away right after the cordon.
    world.snapshot.watched_for = TimeDelta::zero();
    watch(&mut world, 9);
    assert_eq!(phase(&mut world), Some(Phase::Draining), "{}", world.trace);
    let waits = world.plan().wait_reasons["n1"].to_string();
    assert!(waits.contains("a scheduler may still bind pods"), "{waits}");
    watch(&mut world, 2);
    assert_eq!(phase(&mut world), Some(Phase::Rebooting), "{}", world.trace);
}

#[test]
fn a_node_that_rebooted_during_an_outage_succeeds() {
    let mut world = outage(1000);
    watch(&mut world, 20);
    world.boot("n1");
    watch(&mut world, 5);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.trace.contains("Failed"), "{}", world.trace);
}

#[test]
fn an_agent_that_could_not_answer_during_an_outage_is_not_deferred_at_once() {
    let mut world = World::new(1);
    world.silent = vec!["n1".to_owned()];
    world.run_until_idle();
    world.now += TimeDelta::seconds(300);
    world.snapshot.watched_for = TimeDelta::zero();
    world.run_until_idle();
    assert_eq!(phase(&mut world), Some(Phase::Preparing), "{}", world.trace);
    world.silent.clear();
    watch(&mut world, 100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_whose_order_expired_during_an_outage_starts_again_at_once() {
    let mut world = World::new(1);
    world.silent = vec!["n1".to_owned()];
    world.run_until_idle();
    world.now += TimeDelta::seconds(300);
    world.snapshot.watched_for = TimeDelta::zero();
    let order = world.record("n1").order.clone().unwrap();
    world.record("n1").host.as_mut().unwrap().answer = Some(HostAnswer {
        id: order.id,
        state: AnswerState::Refused,
        message: "the order has expired".to_owned(),
    });
    world.silent.clear();
    watch(&mut world, 100);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.trace.contains("Deferred"), "{}", world.trace);
}

#[test]
fn a_node_that_comes_back_late_goes_on_by_itself_and_closes_the_breaker() {
    let mut world = failed();
    assert!(
        world.wait_reasons().contains("n2 BreakerOpen"),
        "{}",
        world.wait_reasons()
    );
    let breaker = |world: &World| world.plan().policies["general"].breaker.state;
    assert_eq!(breaker(&world), BreakerState::Open);
    world.boot("n1");
    world.run(60);
    assert_eq!(breaker(&world), BreakerState::Closed);
    assert!(world.record("n2").last_reboot.is_some(), "{}", world.trace);
    let line = world
        .trace
        .lines()
        .find(|line| line.contains("n1 WriteRecord Succeeded"));
    expect!["1073 n1 WriteRecord Succeeded came back late: 17 min after the reboot was ordered, 15 min were allowed"]
        .assert_eq(line.unwrap_or_default());
}

#[test]
fn a_failed_node_in_its_old_boot_does_not_go_on() {
    let mut world = failed();
    let now = world.now;
    world.node("n1").ready = Ready {
        ready: true,
        since: now,
        heartbeat: now,
        message: String::new(),
    };
    world.run(100);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
}

#[test]
fn a_failed_node_in_a_new_boot_goes_on_once_it_is_ready() {
    let mut world = failed();
    world.boot("n1");
    world.node("n1").ready.ready = false;
    world.run(100);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    world.node("n1").ready.ready = true;
    world.run(1);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_whose_host_did_not_reboot_waits_for_a_person() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(2);
    let order = world.record("n1").order.clone().unwrap();
    world.record("n1").host.as_mut().unwrap().answer = Some(HostAnswer {
        id: order.id,
        state: AnswerState::Failed,
        message: "logind did not reboot".to_owned(),
    });
    world.run_until_idle();
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    world.boot("n1");
    world.run(100);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
}

#[test]
fn a_deleted_node_is_failed_a_minute_after_an_outage_and_not_before() {
    let mut world = World::new(2);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(10);
    world.snapshot.nodes.remove("n1");
    world.run_until_idle();
    world.now += TimeDelta::seconds(1000);
    world.snapshot.watched_for = TimeDelta::zero();
    let failed = |world: &World| world.plan().policies["general"].breaker.failed.clone();
    assert_eq!(failed(&world), Vec::<String>::new());
    watch(&mut world, 60);
    assert_eq!(failed(&world), ["n1"]);
}
