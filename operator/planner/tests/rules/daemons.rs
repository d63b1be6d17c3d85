//! A node that has rebooted is uncordoned only once the `DaemonSet`s that were ready on it are ready again.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

const WHAT: &str = "DaemonSet kube-system/cni: pod cni-x is not ready: containers with unready status: [cni]";

/// A node that is back and Ready after a reboot, and is still cordoned.
fn back() -> World {
    let mut world = World::new(2);
    world.daemons = vec![CountedWorkload {
        name: "kube-system/cni".to_owned(),
        since: Some(world.now - TimeDelta::days(8)),
    }];
    world.run_until_idle();
    world.run(45);
    assert_eq!(phase(&mut world), Some(Phase::Verifying), "{}", world.trace);
    world
}

fn phase(world: &mut World) -> Option<Phase> {
    world.record("n1").operation.as_ref().map(|operation| operation.phase)
}

fn says(world: &mut World, daemons: DaemonSetReadiness) {
    world.node("n1").daemon_sets = daemons;
    world.run_until_idle();
}

fn not_ready() -> DaemonSetReadiness {
    DaemonSetReadiness::NotReady { what: WHAT.to_owned() }
}

#[test]
fn a_daemon_set_not_checked_since_the_reboot_counts_as_not_ready() {
    let mut world = back();
    assert_eq!(world.plan().daemon_set_probes, ["n1"]);
    assert!(world.node("n1").unschedulable);
    assert!(
        world.wait_reasons().contains("n1 NodeNotReady"),
        "{}",
        world.wait_reasons()
    );
    assert!(
        world
            .wait_reasons()
            .contains("its DaemonSets and static pods have not been checked yet"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_node_waits_until_its_daemon_sets_are_ready_again() {
    let mut world = back();
    says(&mut world, not_ready());
    assert!(
        world.node("n1").unschedulable && world.wait_reasons().contains(WHAT),
        "{}",
        world.wait_reasons()
    );
    assert_eq!(world.plan().daemon_set_probes, ["n1"], "looked at until they are ready");
    says(&mut world, DaemonSetReadiness::Ready);
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert_eq!(world.plan().daemon_set_probes, Vec::<String>::new());
}

#[test]
fn a_node_waits_until_its_static_pods_are_ready_again() {
    let mut world = back();
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.static_pods = std::mem::take(&mut operation.daemon_sets);
    let what = "static pod kube-system/etcd-n1: pod etcd-n1 is not Ready: CrashLoopBackOff";
    says(&mut world, DaemonSetReadiness::NotReady { what: what.to_owned() });
    assert!(world.node("n1").unschedulable, "{}", world.trace);
    assert!(world.wait_reasons().contains(what), "{}", world.wait_reasons());
    assert_eq!(world.plan().daemon_set_probes, ["n1"]);
    says(&mut world, DaemonSetReadiness::Ready);
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
}

#[test]
fn a_node_without_ready_daemon_sets_before_the_reboot_waits_for_none() {
    let mut world = back();
    world.node("n1").daemon_sets = not_ready();
    // One of an older version, or of a node without DaemonSets.
    world.record("n1").operation.as_mut().unwrap().daemon_sets.clear();
    assert_eq!(world.plan().daemon_set_probes, Vec::<String>::new());
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn daemon_sets_are_checked_only_once_the_node_is_ready() {
    let mut world = World::new(1);
    world.daemons = vec![CountedWorkload {
        name: "kube-system/cni".to_owned(),
        since: None,
    }];
    world.run_until_idle();
    for _ in 0..40 {
        assert_eq!(world.plan().daemon_set_probes, Vec::<String>::new(), "{}", world.trace);
        world.run(1);
    }
    world.run(5);
    assert_eq!(world.plan().daemon_set_probes, ["n1"]);
    world.node("n1").ready.ready = false;
    says(&mut world, DaemonSetReadiness::Ready);
    assert_eq!(world.plan().daemon_set_probes, Vec::<String>::new());
    assert!(world.node("n1").unschedulable, "not Ready");
}

#[test]
fn a_daemon_set_that_never_becomes_ready_fails_the_node() {
    let mut world = back();
    says(&mut world, not_ready());
    world.run(1000);
    let waits = world.wait_reasons();
    assert!(
        waits.contains("n1 Failed: n1 rebooted but was not healthy within 15 min: DaemonSet kube-system/cni")
            && waits
                .contains("check that pod; the node continues by itself once it is healthy; or retry or release it"),
        "{waits}"
    );
    assert!(world.node("n1").unschedulable);
    assert_eq!(world.record("n2").last_reboot, None, "no other node starts");
}

#[test]
fn a_retry_checks_the_daemon_sets_again_and_a_release_finishes() {
    let mut world = back();
    says(&mut world, not_ready());
    world.run(1000);
    world.command("retry", "n1");
    world.run_until_idle();
    assert_eq!(phase(&mut world), Some(Phase::Verifying));
    assert_eq!(world.plan().daemon_set_probes, ["n1"]);
    assert!(world.node("n1").unschedulable, "{}", world.trace);
    says(&mut world, DaemonSetReadiness::Ready);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);

    let mut world = back();
    says(&mut world, not_ready());
    world.run(1000);
    world.command("release", "n1");
    world.run_until_idle();
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
    assert_eq!(phase(&mut world), None);
}

#[test]
fn daemon_sets_are_not_checked_after_the_node_is_uncordoned() {
    let mut world = back();
    world.node("n1").daemon_sets = DaemonSetReadiness::Ready;
    // The node is uncordoned, and the operator dies; the next one has checked nothing yet.
    world.pass(1);
    assert!(world.node("n1").cordoned_for.is_none(), "{}", world.trace);
    world.node("n1").daemon_sets = DaemonSetReadiness::Unknown;
    assert_eq!(world.plan().daemon_set_probes, Vec::<String>::new());
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_that_failed_for_its_daemon_sets_recovers_once_they_are_ready() {
    let mut world = back();
    says(&mut world, not_ready());
    world.run(900);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    assert!(
        world
            .wait_reasons()
            .contains("the node continues by itself once it is healthy; or retry or release it"),
        "{}",
        world.wait_reasons()
    );
    assert_eq!(world.plan().daemon_set_probes, ["n1"], "looked at until they are ready");
    says(&mut world, DaemonSetReadiness::Ready);
    assert!(!world.node("n1").unschedulable, "{}", world.trace);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_that_failed_for_another_cause_does_not_recover_by_itself() {
    let mut world = back();
    world.node("n1").ready.ready = false;
    world.run(900);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    // As if its host had reported it.
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.failure.as_mut().unwrap().timed_out = false;
    world.node("n1").ready.ready = true;
    says(&mut world, DaemonSetReadiness::Ready);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
}

#[test]
fn daemon_sets_have_a_time_out_of_their_own_from_the_boot() {
    let mut world = back();
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.settings.daemon_sets_timeout = Some(TimeDelta::seconds(1800));
    let rebooted = operation.rebooted.unwrap();
    let until = rebooted + TimeDelta::seconds(1800);
    assert_eq!(deadline(operation).map(|deadline| deadline.at), Some(until));
    says(&mut world, not_ready());
    world.run((until - world.now).num_seconds() - 1);
    assert_eq!(phase(&mut world), Some(Phase::Verifying), "{}", world.trace);
    world.run(2);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    assert!(
        world.wait_reasons().contains("was not healthy within 30 min"),
        "{}",
        world.wait_reasons()
    );
}
