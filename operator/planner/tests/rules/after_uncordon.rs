//! After the uncordon the slot stays held until the evicted workloads are ready again, or their time is over.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

/// Two nodes; the first is uncordoned after its reboot, and a workload that it evicted is not ready yet.
fn uncordoned() -> World {
    let mut world = World::new(2);
    world.workloads = vec![EvictedWorkload {
        owner: "ReplicaSet shop/web-7d9c".to_owned(),
        deployment: Some("web".to_owned()),
        replicas: Some(2),
    }];
    world.node("n1").workloads = not_ready(1);
    world.run_until_idle();
    world.run(45);
    assert!(
        operation(&mut world).is_some_and(|operation| operation.uncordoned.is_some()),
        "{}",
        world.trace
    );
    world
}

fn operation(world: &mut World) -> Option<Operation> {
    world.record("n1").operation.as_deref().cloned()
}

fn not_ready(ready: i32) -> WorkloadReadiness {
    WorkloadReadiness::NotReady {
        workloads: vec![format!("Deployment shop/web ({ready} of 2 ready)")],
        failure: None,
    }
}

fn set(world: &mut World, workloads: WorkloadReadiness) {
    world.node("n1").workloads = workloads;
    world.run_until_idle();
}

fn ready(world: &mut World, ready: bool) {
    world.node("n1").ready = Ready {
        ready,
        since: world.now,
        heartbeat: world.now,
        message: "NodeStatusUnknown: Kubelet stopped posting node status.".to_owned(),
    };
    world.run_until_idle();
}

#[test]
fn a_slot_stays_held_until_the_evicted_workloads_are_ready_again() {
    let mut world = uncordoned();
    let node = world.node("n1");
    assert!(
        !node.unschedulable && node.cordoned_for.is_none(),
        "one node alone gets its pods back"
    );
    let waits = world.wait_reasons();
    assert!(
        waits.contains(
            "n1 WorkloadsNotReady: uncordoned; waiting until 2026-11-21T12:05:43Z at most for 1 evicted workload to be ready \
             again: Deployment shop/web (1 of 2 ready)"
        ),
        "{waits}"
    );
    assert!(waits.contains("n2 NoFreeSlot"), "{waits}");
    assert_eq!(world.plan().workload_probes, ["n1"]);
    world.run(60);
    assert_eq!(world.started(), ["n1"], "{}", world.trace);
    set(&mut world, WorkloadReadiness::Ready);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(world.started(), ["n1"], "n2 is asked first");
    world.run(2);
    assert_eq!(world.started(), ["n1", "n2"], "{}", world.trace);
    assert!(!world.plan().workload_probes.contains(&"n1".to_owned()));
}

#[test]
fn workloads_that_are_not_ready_in_time_are_named_in_the_history() {
    let mut world = uncordoned();
    world.run(296);
    assert_eq!(world.started(), ["n1"], "{}", world.trace);
    world.run(5);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(
        world.trace.contains(
            "Succeeded 1 evicted workload not ready again within 5 min of the uncordon: Deployment shop/web (1 of 2 ready)"
        ),
        "{}",
        world.trace
    );
    assert_eq!(world.started(), ["n1", "n2"], "{}", world.trace);
}

#[test]
fn a_workload_that_cannot_be_read_is_named_and_holds_the_slot_no_longer() {
    let mut world = uncordoned();
    let failure = "cannot read ReplicaSet shop/web-7d9c: not permitted; grant the permission";
    set(
        &mut world,
        WorkloadReadiness::NotReady {
            workloads: vec!["Deployment shop/web (not known)".to_owned()],
            failure: Some(failure.to_owned()),
        },
    );
    let waits = world.wait_reasons();
    assert!(
        waits.contains("Deployment shop/web (not known); cannot read ReplicaSet"),
        "{waits}"
    );
    world.run(301);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(
        world.trace.contains(&format!("(not known); {failure}")),
        "{}",
        world.trace
    );
}

#[test]
fn workloads_that_no_operator_has_checked_hold_the_slot_no_longer() {
    let mut world = uncordoned();
    set(&mut world, WorkloadReadiness::Unknown);
    let waits = world.wait_reasons();
    assert!(
        waits.contains(
            "checking whether the workloads that were evicted are ready again, until 2026-11-21T12:05:43Z at most"
        ),
        "{waits}"
    );
    world.run(301);
    let missing = "Succeeded the workloads that were evicted could not be checked within 5 min of the uncordon";
    assert!(world.trace.contains(missing), "{}", world.trace);
}

#[test]
fn a_node_without_evicted_workloads_ends_without_another_write() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(45);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    let writes: Vec<&str> = world
        .trace
        .lines()
        .skip_while(|line| !line.contains("Uncordon"))
        .collect();
    let actions: Vec<&str> = writes
        .iter()
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(
        actions,
        ["Uncordon", "SetSpec", "WriteRecord", "SetHolders"],
        "{}",
        world.trace
    );
}

#[test]
fn a_policy_may_do_without_the_wait_for_workloads() {
    let mut world = World::new(1);
    world.policy().settings.workloads_timeout = TimeDelta::zero();
    world.workloads = vec![EvictedWorkload {
        owner: "StatefulSet shop/db".to_owned(),
        deployment: None,
        replicas: Some(1),
    }];
    world.run_until_idle();
    world.run(45);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.trace.contains("not ready"), "{}", world.trace);
}

#[test]
fn a_node_that_waits_for_workloads_does_not_fail_when_its_reboot_would_time_out() {
    let mut world = uncordoned();
    // The reboot itself was quick; the policy waits for workloads longer than a reboot may take.
    let settings = &mut world.record("n1").operation.as_mut().unwrap().settings;
    settings.reboot_timeout = TimeDelta::seconds(120);
    settings.workloads_timeout = TimeDelta::seconds(600);
    world.run(200);
    ready(&mut world, false);
    let waits = world.wait_reasons();
    assert!(waits.contains("n1 NodeNotReady"), "{waits}");
    assert_eq!(
        world.plan().workload_probes,
        Vec::<String>::new(),
        "not while the node is not Ready"
    );
    world.run(110);
    assert_eq!(
        operation(&mut world).unwrap().phase,
        Phase::Verifying,
        "{}",
        world.trace
    );
    ready(&mut world, true);
    assert!(
        world.wait_reasons().contains("n1 WorkloadsNotReady"),
        "{}",
        world.wait_reasons()
    );
    set(&mut world, WorkloadReadiness::Ready);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_that_stays_not_ready_after_its_uncordon_fails_and_recovers_by_itself() {
    let mut world = uncordoned();
    world.run(20);
    ready(&mut world, false);
    world.run(899);
    assert_eq!(
        operation(&mut world).unwrap().phase,
        Phase::Verifying,
        "{}",
        world.trace
    );
    world.run(2);
    assert_eq!(operation(&mut world).unwrap().phase, Phase::Failed, "{}", world.trace);
    let waits = world.wait_reasons();
    assert!(
        waits.contains(
            "n1 was healthy after its reboot and was uncordoned at 2026-11-21T12:00:43Z, but then was not Ready for 15 min: \
             NodeStatusUnknown"
        ),
        "{waits}"
    );
    ready(&mut world, true);
    let operation = operation(&mut world).unwrap();
    assert_eq!(operation.phase, Phase::Verifying, "{}", world.trace);
    assert_eq!(
        operation.uncordoned,
        Some(world.now),
        "the workloads get their time again"
    );
    set(&mut world, WorkloadReadiness::Ready);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_retry_gives_the_evicted_workloads_their_time_again() {
    let mut world = uncordoned();
    ready(&mut world, false);
    world.run(901);
    assert_eq!(operation(&mut world).unwrap().phase, Phase::Failed, "{}", world.trace);
    world.node("n1").ready.ready = true;
    world.command("retry", "n1");
    world.run_until_idle();
    assert_eq!(
        operation(&mut world).unwrap().uncordoned,
        Some(world.now),
        "{}",
        world.trace
    );
}

#[test]
fn an_operator_that_restarts_goes_on_waiting_for_the_same_time() {
    let mut world = uncordoned();
    let since = operation(&mut world).unwrap().uncordoned;
    world.restart_operator(100);
    set(&mut world, WorkloadReadiness::Unknown);
    assert_eq!(operation(&mut world).unwrap().uncordoned, since, "{}", world.trace);
    set(&mut world, WorkloadReadiness::Ready);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn the_end_of_the_wait_is_judged_on_a_view_that_is_younger_than_it() {
    let mut world = uncordoned();
    // No operator for longer than the wait; the next one has seen the cluster for a second.
    world.restart_operator(600);
    world.snapshot.watched_for = TimeDelta::seconds(1);
    set(&mut world, WorkloadReadiness::Unknown);
    assert_eq!(world.plan().workload_probes, ["n1"], "{}", world.trace);
    set(&mut world, WorkloadReadiness::Ready);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(!world.trace.contains("not be checked"), "{}", world.trace);
}

#[test]
fn a_time_of_the_uncordon_that_a_wrong_clock_recorded_holds_no_slot_for_longer() {
    let mut world = uncordoned();
    world.record("n1").operation.as_mut().unwrap().uncordoned = Some(world.now + TimeDelta::hours(3));
    world.run_until_idle();
    assert_eq!(
        operation(&mut world).unwrap().uncordoned,
        Some(world.now),
        "{}",
        world.trace
    );
}

#[test]
fn the_deadline_of_the_wait_for_workloads_ends_the_operation_as_succeeded() {
    let mut world = uncordoned();
    let operation = operation(&mut world).unwrap();
    let expected = Deadline {
        at: operation.uncordoned.unwrap() + TimeDelta::seconds(300),
        then: OnDeadline::Finish,
    };
    assert_eq!(deadline(&operation), Some(expected));
}
