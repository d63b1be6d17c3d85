//! Soft-reboots: when `Auto` chooses one, and what proves it.

use chrono::TimeDelta;
use lockkeeper_planner::*;

use crate::common::World;

/// One node on which only an update of the userspace is pending, and whose soft-reboots are counted.
fn world(method: RebootMethod) -> World {
    let mut world = World::new(1);
    world.policy().settings.method = method;
    let host = world.record("n1").host.as_mut().unwrap();
    host.reasons = vec!["libc6".to_owned()];
    host.userspace_only = true;
    host.soft_reboots = Some(SoftReboots { count: 2, last: None });
    world
}

/// Until the reboot is ordered; the host does not come back.
fn ordered(mut world: World) -> World {
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(60);
    let action = world.record("n1").order.as_ref().unwrap().action;
    assert_eq!(action, OrderAction::Reboot, "{}", world.trace);
    world
}

/// The method of the reboot order, and the count that it is for.
fn method(world: &mut World) -> (RebootMethod, Option<i32>) {
    let order = world.record("n1").order.as_ref().unwrap();
    (order.method, order.soft_reboots)
}

#[test]
fn auto_soft_reboots_for_an_update_of_the_userspace_and_the_count_proves_it() {
    for chosen in [RebootMethod::Auto, RebootMethod::SoftReboot] {
        let mut world = world(chosen);
        let (before, boot) = (world.snapshot.clone(), world.node("n1").boot_id.clone());
        world.run(300);
        assert!(world.trace.contains("Succeeded"), "{}", world.trace);
        assert_eq!(world.node("n1").boot_id, boot, "{chosen:?}");
        assert_eq!(world.node("n1").soft_reboots(), Some(3));
        assert!(world.record("n1").last_reboot.is_some());
        assert_eq!(check::leftovers(&before, &world.snapshot), vec![]);
    }
}

#[test]
fn the_order_names_the_count_and_nothing_but_a_larger_one_or_a_new_boot_proves_it() {
    for (count, boot, proven) in [
        (Some(2), None, false),
        (None, None, false),
        (Some(1), None, false),
        (Some(3), None, true),
        (Some(0), Some("another"), true),
        (None, Some("another"), true),
    ] {
        let mut world = ordered(world(RebootMethod::Auto));
        assert_eq!(method(&mut world), (RebootMethod::SoftReboot, Some(2)));
        let now = world.now;
        let node = world.node("n1");
        if let Some(boot) = boot {
            node.boot_id = boot.into();
        }
        (node.ready.ready, node.ready.heartbeat) = (true, now);
        let boot_id = node.boot_id.clone();
        let host = world.record("n1").host.as_mut().unwrap();
        host.boot_id = boot_id;
        host.soft_reboots = count.map(|count| SoftReboots { count, last: None });
        world.run_until_idle();
        let finished = world.record("n1").last_reboot.is_some();
        assert_eq!(finished, proven, "{count:?} {boot:?}\n{}", world.trace);
    }
}

#[test]
fn a_soft_reboot_proves_nothing_if_a_new_boot_was_ordered() {
    let mut world = world(RebootMethod::Reboot);
    world = ordered(world);
    assert_eq!(method(&mut world), (RebootMethod::Reboot, None));
    world.soft_reboot("n1");
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_none(), "{}", world.trace);
    assert_eq!(world.record("n1").operation.as_ref().unwrap().phase, Phase::Rebooting);
}

#[test]
fn auto_reboots_the_host_unless_all_that_is_pending_is_known_to_be_of_the_userspace() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 4] = [
        ("a kernel", |world| {
            world.record("n1").host.as_mut().unwrap().userspace_only = false;
        }),
        ("a host that counts nothing", |world| {
            world.record("n1").host.as_mut().unwrap().soft_reboots = None;
        }),
        ("a person's request", |world| {
            world.node("n1").requested = Some("new firmware".to_owned());
        }),
        ("a soft-reboot that did not help", |world| {
            let now = world.now;
            world.record("n1").last_reboot = Some(LastReboot {
                started: now - TimeDelta::hours(30),
                time: now - TimeDelta::hours(25),
                reasons: vec!["libc6".to_owned()],
                repeats: 0,
                series: None,
            });
        }),
    ];
    for (what, change) in changes {
        let mut world = world(RebootMethod::Auto);
        change(&mut world);
        world = ordered(world);
        assert_eq!(method(&mut world), (RebootMethod::Auto, None), "{what}");
    }
}

#[test]
fn a_kernel_that_is_installed_during_the_drain_makes_auto_reboot_the_host() {
    let mut world = world(RebootMethod::Auto);
    world.blocked = vec!["n1".to_owned()];
    world.never_back = vec!["n1".to_owned()];
    world.run(60);
    let operation = world.record("n1").operation.clone().unwrap();
    assert_eq!(
        (operation.phase, operation.soft_reboots_before),
        (Phase::Draining, Some(2))
    );
    let host = world.record("n1").host.as_mut().unwrap();
    host.userspace_only = false;
    host.reasons.push("linux-image-6.1.0-28".to_owned());
    world.blocked.clear();
    world.run(60);
    assert_eq!(method(&mut world), (RebootMethod::Auto, None), "{}", world.trace);
    let reboot = world.snapshot.lock.as_ref().unwrap().holders[0].reboot.clone().unwrap();
    assert_eq!(reboot.soft_reboots_before, None);
    // A soft-reboot is not enough any more.
    world.soft_reboot("n1");
    world.run_until_idle();
    assert!(world.record("n1").last_reboot.is_none());
}

#[test]
fn a_policy_that_wants_soft_reboots_waits_for_a_host_that_counts_them() {
    let mut world = world(RebootMethod::SoftReboot);
    world.record("n1").host.as_mut().unwrap().soft_reboots = None;
    world.run_until_idle();
    assert!(world.in_progress().is_empty());
    let reasons = world.wait_reasons();
    assert!(
        reasons.contains("AgentIncapable") && reasons.contains("SoftRebootsCount") && reasons.contains("Auto"),
        "{reasons}"
    );
}

#[test]
fn a_soft_reboot_that_does_not_come_fails_and_continues_by_itself_when_it_does() {
    let mut world = ordered(world(RebootMethod::SoftReboot));
    let now = world.now;
    (world.node("n1").ready.ready, world.node("n1").ready.heartbeat) = (true, now);
    world.now += TimeDelta::minutes(20);
    world.run_until_idle();
    let reasons = world.wait_reasons();
    assert!(reasons.contains("did not soft-reboot within"), "{reasons}");
    world.soft_reboot("n1");
    world.run(120);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_retry_of_a_soft_reboot_that_auto_chose_reboots_the_host() {
    for (chosen, expected) in [
        (RebootMethod::Auto, (RebootMethod::Auto, None)),
        (RebootMethod::SoftReboot, (RebootMethod::SoftReboot, Some(2))),
    ] {
        let mut world = ordered(world(chosen));
        let now = world.now;
        (world.node("n1").ready.ready, world.node("n1").ready.heartbeat) = (true, now);
        world.now += TimeDelta::minutes(20);
        world.run_until_idle();
        world.command("retry", "n1");
        let world = &mut ordered(world);
        assert_eq!(method(world), expected);
    }
}

#[test]
fn a_lost_record_and_a_deleted_node_do_not_forget_that_a_soft_reboot_is_enough() {
    let mut world = ordered(world(RebootMethod::Auto));
    let holder = world.snapshot.lock.as_ref().unwrap().holders[0].clone();
    assert_eq!(holder.reboot.as_ref().unwrap().soft_reboots_before, Some(2));
    // Its Node is registered again, without a trace of the operation.
    let host = world.record("n1").host.clone();
    let node = world.node("n1");
    (node.uid, node.cordoned_for, node.unschedulable) = ("uid-again".to_owned(), None, false);
    node.record = Some(Record {
        host,
        ..Record::default()
    });
    world.run_until_idle();
    assert_eq!(
        world.record("n1").operation.as_ref().unwrap().soft_reboots_before,
        Some(2)
    );
    world.soft_reboot("n1");
    world.run(120);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_second_order_after_the_soft_reboot_breaks_rule_s4() {
    let mut world = world(RebootMethod::Auto);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    for _ in 0..100 {
        let plan = world.plan();
        let orders = plan.actions.iter().any(|action| action.name() == "OrderReboot");
        if orders {
            assert_eq!(check(&world.snapshot, &plan, world.now), vec![]);
            world.soft_reboot("n1");
            let broken = check(&world.snapshot, &plan, world.now);
            assert!(broken.iter().any(|broken| broken.rule == "S4"), "{broken:?}");
            return;
        }
        if world.pass(1) == 0 {
            world.now += TimeDelta::seconds(1);
            world.surroundings();
        }
    }
    panic!("no reboot was ordered\n{}", world.trace);
}
