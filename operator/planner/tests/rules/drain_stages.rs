//! What follows a drain's time-out, and time for load balancers.

use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::{World, at, windows};

/// One node whose pods may not leave.
pub(crate) fn blocked(on_timeout: OnTimeout) -> World {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.policy().settings.on_timeout = on_timeout;
    world
}

pub(crate) fn stage(world: &mut World) -> Option<StageKind> {
    let operation = world.record("n1").operation.as_ref()?;
    operation.stage.map(|stage| stage.kind)
}

fn line(world: &World, what: &str) -> String {
    let line = world.trace.lines().find(|line| line.contains(what));
    line.unwrap_or("no such line").to_owned()
}

#[test]
fn remaining_pods_are_deleted_only_after_the_drain_has_timed_out() {
    let mut world = blocked(OnTimeout::Delete);
    world.run_until_idle();
    world.run(900);
    assert_eq!(stage(&mut world), None);
    world.run(1);
    assert_eq!(stage(&mut world), Some(StageKind::Delete));
    assert_eq!(line(&world, "Delete"), "901  n1 WriteRecord Draining Delete");
    world.blocked.clear();
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_with_pods_left_after_the_delete_stage_is_deferred() {
    let mut world = blocked(OnTimeout::Delete);
    world.run_until_idle();
    world.run(1801);
    assert_eq!(stage(&mut world), None);
    expect![[r#"
        n1 BackingOff: deferred once (EvictionBlocked: pod shop/db-0: budget shop/db allows 0); next attempt at 2026-11-21T12:40:01Z
    "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn pods_are_deleted_only_within_a_window() {
    for on_timeout in [OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.policy().schedule = Ok(windows(&[("0 12 * * *", 600)]));
        world.run_until_idle();
        world.run(1000);
        let deferred = world.record("n1").deferred.clone().expect("deferred");
        assert_eq!(deferred.cause, "EvictionBlocked");
        assert_eq!(world.record("n1").last_reboot, None);
    }
}

#[test]
fn a_delete_stage_continues_after_the_window_has_closed() {
    let mut world = blocked(OnTimeout::Delete);
    world.policy().schedule = Ok(windows(&[("0 12 * * *", 960)]));
    world.run_until_idle();
    world.run(1000);
    assert_eq!(stage(&mut world), Some(StageKind::Delete));
    world.blocked.clear();
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_node_reboots_with_pods_left_only_if_the_policy_says_so() {
    let mut world = blocked(OnTimeout::Reboot);
    world.run_until_idle();
    world.run(1000);
    assert_eq!(
        line(&world, "WriteRecord Draining Reboot"),
        "901  n1 WriteRecord Draining Reboot"
    );
    assert_eq!(line(&world, "OrderReboot"), "901  n1 OrderReboot ");
    assert!(
        world.trace.contains("Succeeded rebooted with remaining pods"),
        "{}",
        world.trace
    );
}

#[test]
fn a_reboot_order_with_pods_left_requires_the_recorded_reboot_stage() {
    let mut world = blocked(OnTimeout::Defer);
    world.run_until_idle();
    world.run(5);
    let order = |world: &mut World| {
        let operation = world.record("n1").operation.clone().unwrap();
        let lock = world.snapshot.lock.as_mut().unwrap();
        lock.holders[0].reboot = Some(OrderedReboot {
            time: world.now,
            boot_id_before: operation.boot_id_before.clone(),
            soft_reboots_before: None,
            deadline: world.now + operation.settings.reboot_timeout,
        });
        let order = Order {
            id: operation.order_id(),
            action: OrderAction::Reboot,
            boot_id: operation.boot_id_before,
            method: RebootMethod::Auto,
            soft_reboots: None,
            not_after: None,
        };
        let plan = Plan {
            actions: vec![Action::OrderReboot {
                node: "n1".to_owned(),
                order,
            }],
            ..Plan::default()
        };
        check(&world.snapshot, &plan, world.now).len()
    };
    assert_eq!(order(&mut world), 1);
    let now = world.now;
    world.record("n1").operation.as_mut().unwrap().stage = Some(Stage {
        kind: StageKind::Reboot,
        since: now,
    });
    assert_eq!(order(&mut world), 1, "the settings that it began with say Defer");
    world.record("n1").operation.as_mut().unwrap().settings.on_timeout = OnTimeout::Reboot;
    assert_eq!(order(&mut world), 0);
}

#[test]
fn an_operation_can_be_cancelled_in_the_delete_stage() {
    let mut world = blocked(OnTimeout::Delete);
    world.run_until_idle();
    world.run(950);
    world.command("cancel", "n1");
    world.run_until_idle();
    assert!(world.wait_reasons().contains("Cancelled"), "{}", world.wait_reasons());
}

#[test]
fn a_retry_starts_the_drain_again_without_the_delete_stage() {
    let mut world = blocked(OnTimeout::Reboot);
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(2000);
    let now = world.now;
    world.node("n1").ready = Ready {
        ready: true,
        since: now,
        heartbeat: now,
        message: String::new(),
    };
    world.command("retry", "n1");
    world.run_until_idle();
    world.run(5);
    assert_eq!(world.record("n1").operation.as_ref().unwrap().phase, Phase::Draining);
    assert_eq!(stage(&mut world), None);
}

#[test]
fn the_load_balancer_delay_precedes_the_drain_and_its_timeout() {
    let mut world = blocked(OnTimeout::Defer);
    world.policy().settings.load_balancer_delay = chrono::TimeDelta::seconds(60);
    world.run_until_idle();
    world.run(5);
    expect![[r#"
        n1 LoadBalancerDelay: waiting for load balancers; evictions start at 2026-11-21T12:01:02Z
    "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.plan().recheck_at, Some(at("2026-11-21T12:01:02Z")));
    world.run(60);
    assert!(
        world.wait_reasons().starts_with("n1 EvictionBlocked"),
        "{}",
        world.wait_reasons()
    );
    world.run(896);
    assert!(
        world.wait_reasons().starts_with("n1 EvictionBlocked"),
        "{}",
        world.wait_reasons()
    );
    world.run(1);
    assert!(
        world.wait_reasons().starts_with("n1 BackingOff"),
        "{}",
        world.wait_reasons()
    );
}

#[test]
fn a_node_without_pods_waits_for_load_balancers_too() {
    let mut world = World::new(1);
    world.policy().settings.load_balancer_delay = chrono::TimeDelta::seconds(60);
    world.run_until_idle();
    world.run(61);
    assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    world.run(1);
    assert!(world.trace.contains("OrderReboot"), "{}", world.trace);
}

#[test]
fn owners_whose_pods_return_are_recorded_before_the_reboot_is_ordered() {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    let owners = vec![
        "CloneSet.apps.kruise.io shop/a".to_owned(),
        "ReplicaSet shop/b".to_owned(),
    ];
    world.node("n1").drain_details.returning_owners = owners[..1].to_vec();
    world.run(1);
    let recorded = |world: &mut World| world.record("n1").operation.as_ref().unwrap().returning_owners.clone();
    assert_eq!(recorded(&mut world), owners[..1]);
    // A drain that was started anew does not find the first one again.
    world.node("n1").drain_details.returning_owners = owners[1..].to_vec();
    world.blocked.clear();
    world.node("n1").drain = Drain::Done { moved: 2 };
    let plan = world.plan();
    let is_order = |action: &Action| matches!(action, Action::OrderReboot { .. });
    assert!(!plan.actions.iter().any(is_order), "{:?}", plan.actions);
    world.run(1);
    assert!(world.plan().actions.is_empty() || recorded(&mut world) == owners);
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}
