//! A Node that is deleted while its machine reboots, as cloud controllers do it, and registers again under another uid.

use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::World;

/// Two nodes, one at a time; `n1` reboots, and its Node has been deleted with its record.
fn deleted() -> (World, Node) {
    deleted_of(2)
}

/// The same of so many nodes.
fn deleted_of(count: usize) -> (World, Node) {
    let mut world = World::new(count);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(10);
    let phase = world.record("n1").operation.as_ref().map(|operation| operation.phase);
    assert_eq!(phase, Some(Phase::Rebooting), "{}", world.trace);
    let node = world.snapshot.nodes.remove("n1").unwrap();
    world.run_until_idle();
    (world, node)
}

/// The node registers again: another uid, no cordon, no record, not Ready yet.
fn register(world: &mut World, before: &Node, boot_id: &str) {
    let now = world.now;
    let node = Node {
        uid: "uid-again".to_owned(),
        created: now,
        boot_id: boot_id.into(),
        unschedulable: false,
        cordoned_for: None,
        record: None,
        ready: Ready {
            ready: false,
            since: now,
            heartbeat: now,
            message: "KubeletNotReady: no network".to_owned(),
        },
        ..before.clone()
    };
    world.snapshot.nodes.insert("n1".to_owned(), node);
    world.run_until_idle();
}

fn holder(world: &World) -> Holder {
    let lock = world.snapshot.lock.as_ref().unwrap();
    lock.holders.iter().find(|holder| holder.node == "n1").unwrap().clone()
}

#[test]
fn a_node_deleted_while_it_reboots_keeps_its_slot_until_it_is_back() {
    let (mut world, before) = deleted();
    assert_eq!(world.in_progress(), ["n1"]);
    let waits = "n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)";
    assert!(world.wait_reasons().contains(waits), "{}", world.wait_reasons());
    world.run(100);
    assert_eq!(world.in_progress(), ["n1"]);

    register(&mut world, &before, "boot-1-1");
    assert_eq!(holder(&world).node_uid, "uid-again");
    let operation = world.record("n1").operation.clone().unwrap();
    assert_eq!(
        (operation.phase, operation.id),
        (Phase::Verifying, holder(&world).operation_id)
    );
    world.run(10);
    assert_eq!(world.in_progress(), ["n1"], "it is not Ready yet");

    world.boot("n1");
    world.run(3);
    let last = world.record("n1").last_reboot.as_ref().unwrap();
    assert!(last.started < last.time);
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
}

#[test]
fn an_operator_that_dies_after_each_write_does_not_lose_a_node_that_registers_again() {
    let (mut world, before) = deleted();
    let node = Node {
        uid: "uid-again".to_owned(),
        boot_id: "boot-1-1".into(),
        unschedulable: false,
        cordoned_for: None,
        record: None,
        ..before
    };
    world.snapshot.nodes.insert("n1".to_owned(), node);
    while world.pass(1) > 0 {
        assert_eq!(world.in_progress(), ["n1"], "{}", world.trace);
    }
    let phase = world.record("n1").operation.as_ref().map(|operation| operation.phase);
    assert_eq!(phase, Some(Phase::Verifying), "{}", world.trace);
}

#[test]
fn a_node_that_registered_again_keeps_its_slot_although_its_record_is_deleted() {
    let (mut world, before) = deleted();
    register(&mut world, &before, &before.boot_id);
    let id = world.record("n1").operation.as_ref().unwrap().id.clone();
    for answered in [false, true] {
        let host = world.record("n1").host.clone();
        world.node("n1").record = None;
        world.pass(usize::MAX);
        assert_eq!(world.in_progress(), ["n1"], "{}", world.trace);
        if answered {
            // Its agent says to the new record what it said to the old one.
            let answer = HostAnswer {
                id: format!("{id}-0"),
                state: AnswerState::Rebooting,
                message: String::new(),
            };
            world.record("n1").host = Some(Host {
                answer: Some(answer),
                ..host.unwrap_or_default()
            });
        }
        world.run_until_idle();
        let phase = world.record("n1").operation.as_ref().map(|operation| operation.phase);
        assert_eq!(phase, Some(Phase::Rebooting), "{}", world.trace);
        assert_eq!(world.in_progress(), ["n1"], "{}", world.trace);
    }
}

#[test]
fn an_operation_that_is_resumed_without_its_cordon_can_still_be_ordered() {
    let mut world = World::new(1);
    world.never_back = vec!["n1".to_owned()];
    while world.snapshot.lock.is_none() || world.in_progress().is_empty() || holder(&world).reboot.is_none() {
        world.run(1);
    }
    // The record is lost, and a watch that lags does not show the cordon yet.
    let cordoned_for = world.node("n1").cordoned_for.take();
    assert!(cordoned_for.is_some());
    world.node("n1").unschedulable = false;
    world.node("n1").record = None;
    world.pass(usize::MAX);
    world.pass(usize::MAX);
    let phase = world.record("n1").operation.as_ref().map(|operation| operation.phase);
    assert_eq!(phase, Some(Phase::Rebooting), "{}", world.trace);
    world.node("n1").cordoned_for = cordoned_for;
    world.node("n1").unschedulable = true;
    world.run_until_idle();
    let order = world.record("n1").order.clone();
    assert_eq!(order.map(|order| order.action), Some(OrderAction::Reboot));
    // The last look before an order refuses an operation that does not say since when its node is cordoned.
    let operation = world.record("n1").operation.clone().unwrap();
    assert!(operation.cordoned.is_some(), "{}", world.trace);
}

#[test]
fn a_node_deleted_before_its_reboot_frees_its_slot_at_once() {
    let mut world = World::new(2);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(10);
    assert!(world.node("n1").unschedulable, "{}", world.trace);
    world.snapshot.nodes.remove("n1");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
}

#[test]
fn a_deleted_node_that_does_not_come_back_fails_and_is_released_by_a_command() {
    let (mut world, _) = deleted();
    assert_eq!(world.plan().recheck_at, Some(holder(&world).reboot.unwrap().deadline));
    world.run(900);
    expect![[r#"
        n2 BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.in_progress(), ["n1"]);

    let command = |operation_id: &str| Command {
        verb: "release".to_owned(),
        operation_id: operation_id.to_owned(),
    };
    let lock = world.snapshot.lock.as_mut().unwrap();
    lock.command = Some(command("another"));
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);

    let operation = holder(&world).operation_id;
    world.snapshot.lock.as_mut().unwrap().command = Some(command(&operation));
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
    assert!(world.trace.contains("n1 is gone and was released"), "{}", world.trace);
}

#[test]
fn a_node_that_registers_again_in_its_old_boot_is_not_ordered_to_reboot_again() {
    let (mut world, before) = deleted();
    let boot_id = before.boot_id.to_string();
    register(&mut world, &before, &boot_id);
    let phase = |world: &mut World| world.record("n1").operation.as_ref().map(|operation| operation.phase);
    assert_eq!(phase(&mut world), Some(Phase::Rebooting));
    world.node("n1").ready.ready = true;
    world.run(30);
    assert_eq!(world.record("n1").order, None);
    assert!(
        world.wait_reasons().contains("n1 Rebooting"),
        "{}",
        world.wait_reasons()
    );
    world.run(900);
    assert_eq!(phase(&mut world), Some(Phase::Failed), "{}", world.trace);
    world.command("release", "n1");
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
}

#[test]
fn a_node_that_registers_without_a_boot_id_has_not_rebooted_yet() {
    let (mut world, before) = deleted();
    register(&mut world, &before, "");
    world.run(30);
    let operation = world.record("n1").operation.as_ref().unwrap();
    assert_eq!((operation.phase, operation.rebooted), (Phase::Rebooting, None));
    world.boot("n1");
    world.run(3);
    assert_eq!(world.in_progress(), ["n2"], "{}", world.trace);
}

#[test]
fn no_control_plane_node_starts_while_a_deleted_node_reboots() {
    let (mut world, _) = deleted();
    world.limit(2);
    world.node("n2").control_plane = true;
    world.run_until_idle();
    assert!(
        world.wait_reasons().contains("n2 ControlPlaneBusy"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn the_operators_own_node_does_not_wait_for_one_that_a_deleted_node_keeps_waiting() {
    let (mut world, _) = deleted_of(3);
    world.limit(2);
    world.policy().max_in_progress = Limit::Count(2);
    world.policy().max_unavailable = Limit::Count(2);
    world.node("n2").control_plane = true;
    world.snapshot.own_node = Some("n3".to_owned());
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n3"], "{}", world.wait_reasons());
}

#[test]
fn no_other_domain_begins_while_a_deleted_node_reboots() {
    let (mut world, _) = deleted();
    world.limit(2);
    world.policy().topology = vec![Topology {
        key: "zone".to_owned(),
        max_domains: Some(1),
        max_in_progress_per_domain: None,
    }];
    world.node("n2").domains = [("zone".to_owned(), "a".to_owned())].into();
    world.run_until_idle();
    let waits = "n2 TopologyFull: limit for zone \"\" reached (in progress: n1)";
    assert!(world.wait_reasons().contains(waits), "{}", world.wait_reasons());
}

#[test]
fn a_deleted_node_that_reboots_counts_as_unavailable() {
    let (mut world, _) = deleted();
    world.policy().max_in_progress = Limit::Count(2);
    world.run_until_idle();
    let waits = "n2 TooManyUnavailable: 1 node unavailable, at most 1 allowed: n1 (in progress)";
    assert!(world.wait_reasons().contains(waits), "{}", world.wait_reasons());
    world.policy().max_unavailable = Limit::Count(2);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
}
