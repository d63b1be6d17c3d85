//! The wait reason with which a phase is written: the one that the next pass finds.

use lockkeeper_planner::*;

use crate::common::World;

/// The first wait reason of `n1` by the snapshot before its phase was written, and what the plan says after it.
fn first_and_next(world: &mut World, before: Phase) -> (Option<WaitReason>, Option<WaitReason>) {
    let operation = world.record("n1").operation.clone().unwrap();
    let mut snapshot = world.snapshot.clone();
    let node = snapshot.nodes.get_mut("n1").unwrap();
    let record = node.record.as_mut().unwrap();
    record.operation = Some(Box::new(Operation {
        phase: before,
        ..Operation::clone(&operation)
    }));
    let next = plan(&world.snapshot, world.now);
    assert!(next.actions.is_empty(), "{:?}", next.actions);
    let next = next.wait_reasons.get("n1").cloned();
    (first_wait_reason(&snapshot, "n1", &operation), next)
}

fn run_until(world: &mut World, phase: Phase) {
    let is_in = |world: &mut World| {
        let operation = world.record("n1").operation.as_ref();
        operation.is_some_and(|operation| operation.phase == phase)
    };
    for _ in 0..1000 {
        if is_in(world) && world.plan().actions.is_empty() {
            return;
        }
        world.run(1);
    }
    panic!("{}", world.trace);
}

#[test]
fn a_rebooting_node_says_until_when_with_the_phase() {
    let mut world = World::new(1);
    run_until(&mut world, Phase::Rebooting);
    let (first, next) = first_and_next(&mut world, Phase::Draining);
    assert!(matches!(first, Some(WaitReason::Rebooting { .. })), "{first:?}");
    assert_eq!(first, next);
}

#[test]
fn a_node_that_is_back_and_not_ready_says_why_with_the_phase() {
    let mut world = World::new(1);
    run_until(&mut world, Phase::Rebooting);
    world.boot("n1");
    world.node("n1").ready.ready = false;
    world.node("n1").ready.message = "KubeletNotReady: no network".to_owned();
    world.run_until_idle();
    let (first, next) = first_and_next(&mut world, Phase::Rebooting);
    assert!(matches!(first, Some(WaitReason::NodeNotReady { .. })), "{first:?}");
    assert_eq!(first, next);
    // What a node that is Ready waits for is checked first.
    world.node("n1").ready.ready = true;
    let operation = world.record("n1").operation.clone().unwrap();
    assert_eq!(first_wait_reason(&world.snapshot, "n1", &operation), None);
}

#[test]
fn the_other_phases_are_written_without_a_wait_reason() {
    let mut world = World::new(1);
    run_until(&mut world, Phase::Rebooting);
    for phase in [Phase::Preparing, Phase::Draining, Phase::Failed] {
        let mut operation = world.record("n1").operation.clone().unwrap();
        operation.phase = phase;
        assert_eq!(first_wait_reason(&world.snapshot, "n1", &operation), None, "{phase:?}");
    }
}
