//! An object that cannot be decoded concerns its own node only.

use lockkeeper_planner::*;

use crate::common::World;

fn record_invalid(node: &str) -> ViewGap {
    ViewGap::RecordInvalid {
        node: node.to_owned(),
        cause: "status.host.bootTime: trailing input".to_owned(),
    }
}

fn node_invalid(node: &str) -> ViewGap {
    ViewGap::NodeInvalid {
        node: node.to_owned(),
        cause: "spec.taints: expected a sequence".to_owned(),
    }
}

/// The record of this node can no longer be decoded.
fn poison_record(world: &mut World, node: &str) -> Option<Record> {
    let node_name = node.to_owned();
    let node = world.node(node);
    node.view_gap = Some(record_invalid(&node_name));
    node.record.take()
}

fn heal(world: &mut World, node: &str, record: Option<Record>) {
    let node = world.node(node);
    (node.view_gap, node.record) = (None, record);
}

#[test]
fn an_undecodable_record_makes_its_node_wait_and_the_others_go_on() {
    let mut world = World::new(3);
    let record = poison_record(&mut world, "n1");
    world.run_until_idle();
    world.run(300);
    for node in ["n2", "n3"] {
        assert!(world.record(node).last_reboot.is_some(), "{node}\n{}", world.trace);
    }
    assert_eq!(
        world.wait_reasons(),
        "n1 ViewIncomplete: NodeReboot n1 cannot be decoded (status.host.bootTime: trailing input); this node does not \
         start and keeps its slot until it is fixed\n"
    );
    heal(&mut world, "n1", record);
    world.run_until_idle();
    world.run(150);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_in_progress_with_an_undecodable_record_keeps_its_slot_and_goes_on_later() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").unschedulable);
    let record = poison_record(&mut world, "n1");
    let before = world.trace.clone();
    world.run(300);
    assert_eq!(world.trace, before, "nothing is written");
    assert_eq!(world.snapshot.lock.as_ref().unwrap().holders.len(), 1);
    assert!(
        world
            .wait_reasons()
            .contains("n2 NoFreeSlot: no free slot: n1 in progress")
    );
    world.blocked.clear();
    heal(&mut world, "n1", record);
    world.run_until_idle();
    world.run(300);
    for node in ["n1", "n2"] {
        assert!(world.record(node).last_reboot.is_some(), "{node}\n{}", world.trace);
    }
}

#[test]
fn a_cordon_of_an_undecodable_node_that_lost_its_slot_counts_and_stays() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    poison_record(&mut world, "n1");
    world.snapshot.lock = Some(Lock::default());
    world.run_until_idle();
    assert!(world.node("n1").unschedulable, "{}", world.trace);
    assert!(
        world
            .wait_reasons()
            .contains("n2 NoFreeSlot: no free slot: n1 in progress")
    );
}

#[test]
fn an_undecodable_node_counts_as_unavailable_even_if_it_is_new() {
    let mut world = World::new(2);
    let now = world.now;
    let node = world.node("n1");
    node.view_gap = Some(node_invalid("n1"));
    node.created = now;
    node.ready.ready = false;
    world.run_until_idle();
    assert_eq!(
        world.wait_reasons(),
        "n1 ViewIncomplete: Node n1 cannot be decoded (spec.taints: expected a sequence); it counts as unavailable and \
         keeps its slot until it is fixed\n\
         n2 TooManyUnavailable: 1 node unavailable, at most 1 allowed: n1 (cannot be decoded)\n"
    );
    assert_eq!(world.trace, "");
}

#[test]
fn a_plan_that_writes_about_an_undecodable_node_is_refused() {
    let mut world = World::new(1);
    world.pass(1);
    let plan = world.plan();
    assert!(!plan.actions.is_empty());
    world.node("n1").view_gap = Some(record_invalid("n1"));
    let violations = check(&world.snapshot, &plan, world.now);
    assert!(
        violations.iter().any(|violation| violation.rule == "S2"),
        "{violations:?}"
    );
}

#[test]
fn while_static_pods_are_unknown_other_nodes_start_one_at_a_time() {
    let mut world = World::new(3);
    world.limit(3);
    world.node("n1").control_plane = true;
    let gap = ViewGap::ControlPlaneUnknown {
        kind: "Pods of the control plane".to_owned(),
        error: "not permitted".to_owned(),
    };
    world.snapshot.control_plane_gap = Some(gap);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
    let waits = "ViewIncomplete: the watch on Pods of the control plane is failing: not permitted; control-plane nodes do \
                 not start, and all others one at a time";
    let reasons = world.wait_reasons();
    for node in ["n1", "n3"] {
        assert!(reasons.contains(&format!("{node} {waits}\n")), "{reasons}");
    }
    world.run(300);
    assert!(world.record("n3").last_reboot.is_some(), "{}", world.trace);
    assert!(world.record("n1").last_reboot.is_none());
    world.snapshot.control_plane_gap = None;
    world.run_until_idle();
    world.run(150);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn two_nodes_that_were_admitted_before_the_gap_are_not_cordoned_together() {
    let mut world = World::new(2);
    world.limit(2);
    world.silent = vec!["n1".to_owned(), "n2".to_owned()];
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    world.snapshot.control_plane_gap = Some(ViewGap::ControlPlaneUnknown {
        kind: "Pods of the control plane".to_owned(),
        error: "not permitted".to_owned(),
    });
    world.silent.clear();
    world.run_until_idle();
    for _ in 0..100 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
}
