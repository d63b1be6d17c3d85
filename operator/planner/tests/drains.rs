//! What follows a drain's time-out, time for load balancers, and the taints that policies ask for.

mod common;

use chrono::TimeDelta;
use common::{World, windows};
use expect_test::expect;
use lockkeeper_planner::*;

/// One node whose pods may not leave.
fn blocked(on_timeout: OnTimeout) -> World {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.policy().settings.on_timeout = on_timeout;
    world
}

fn stage(world: &mut World) -> Option<StageKind> {
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
            deadline: world.now + operation.settings.reboot_timeout,
        });
        let order = Order {
            id: operation.order_id(),
            action: OrderAction::Reboot,
            boot_id: operation.boot_id_before,
            method: RebootMethod::Auto,
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
    assert_eq!(world.plan().recheck_at, Some(common::at("2026-11-21T12:01:02Z")));
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
fn the_rebooting_taint_stays_from_the_cordon_to_the_new_boot() {
    let mut world = World::new(1);
    world.policy().settings.daemon_sets_last = true;
    world.run_until_idle();
    world.run(60);
    expect![[r#"
        0    lock SetHolders n1 starts
        0    n1 WriteRecord Preparing
        0    n1 SetSpec Prepare
        1    n1 Cordon 
        1    n1 WriteRecord Draining
        1    n1 AddTaint Rebooting
        2    lock SetHolders n1 reboots
        2    n1 OrderReboot 
        2    n1 WriteRecord Rebooting
        43   n1 WriteRecord Verifying
        43   n1 RemoveTaint Rebooting
        43   n1 Uncordon 
        43   n1 SetSpec no order
        43   n1 WriteRecord Succeeded 
        43   lock SetHolders n1 is free
    "#]]
    .assert_eq(&world.trace);
}

/// How a person ends an operation.
type End = fn(&mut World);

#[test]
fn the_rebooting_taint_is_removed_however_the_operation_ends() {
    let mut world = blocked(OnTimeout::Defer);
    world.policy().settings.daemon_sets_last = true;
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").taints.rebooting);
    let draining = world.snapshot.clone();
    let ends: [(&str, End); 5] = [
        ("cancel", |world| world.command("cancel", "n1")),
        ("uncordon", |world| world.node("n1").unschedulable = false),
        ("policy gone", |world| world.node("n1").policies = [].into()),
        ("lost record", |world| world.record("n1").operation = None),
        ("hold", |world| {
            world.node("n1").hold = Some(Hold {
                reason: "why".to_owned(),
                until: None,
                invalid_until: None,
            });
        }),
    ];
    for (what, end) in ends {
        world.snapshot = draining.clone();
        end(&mut world);
        world.run_until_idle();
        assert!(!world.node("n1").taints.rebooting, "{what}: {}", world.trace);
    }
}

#[test]
fn a_failed_node_loses_the_rebooting_taint_and_stays_cordoned() {
    let mut world = World::new(1);
    world.policy().settings.daemon_sets_last = true;
    world.never_back = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(1000);
    assert_eq!(world.record("n1").operation.as_ref().unwrap().phase, Phase::Failed);
    assert!(!world.node("n1").taints.rebooting);
    assert!(world.node("n1").unschedulable);
}

#[test]
fn taints_left_by_an_earlier_operation_are_removed() {
    let mut world = World::new(1);
    world.node("n1").taints = Taints {
        rebooting: true,
        reboot_pending: true,
    };
    world.record("n1").host.as_mut().unwrap().required = false;
    world.run_until_idle();
    assert_eq!(world.node("n1").taints, Taints::default());
}

#[test]
fn nodes_that_require_a_reboot_have_the_reboot_pending_taint() {
    let mut world = World::new(3);
    world.policy().settings.prefer_updated_nodes = true;
    let pending = |world: &mut World| ["n1", "n2", "n3"].map(|name| world.node(name).taints.reboot_pending);
    world.run_until_idle();
    assert_eq!(pending(&mut world), [true, true, true]);
    world.run(50);
    assert_eq!(pending(&mut world), [false, true, true]);
    world.run(200);
    assert_eq!(pending(&mut world), [false, false, false]);
}

#[test]
fn a_suspended_policy_removes_its_reboot_pending_taints() {
    let mut world = blocked(OnTimeout::Defer);
    world.policy().settings.prefer_updated_nodes = true;
    world.run_until_idle();
    assert!(world.node("n1").taints.reboot_pending);
    world.policy().suspend = true;
    world.run_until_idle();
    assert!(!world.node("n1").taints.reboot_pending);
    world.policy().suspend = false;
    world.run_until_idle();
    assert!(world.node("n1").taints.reboot_pending);
    world.snapshot.view_gaps = vec![ViewGap::PolicyInvalid {
        policy: "general".to_owned(),
        cause: "spec: unknown".to_owned(),
    }];
    world.node("n1").policies = [].into();
    world.run_until_idle();
    assert!(
        world.node("n1").taints.reboot_pending,
        "it is not known whether the policy is gone"
    );
    world.snapshot.view_gaps.clear();
    world.run_until_idle();
    assert!(!world.node("n1").taints.reboot_pending);
}

#[test]
fn a_pass_writes_few_taints_and_writes_them_last() {
    let mut world = World::new(100);
    world.policy().settings.prefer_updated_nodes = true;
    let plan = world.plan();
    let taints = plan.actions.iter().filter(|action| action.name() == "AddTaint").count();
    assert_eq!(taints, 16);
    assert_eq!(plan.actions[0].name(), "SetHolders");
    world.run_until_idle();
    assert!(world.snapshot.nodes.values().all(|node| node.taints.reboot_pending));
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

/// One node whose pods are shutting down for so long from now on.
fn shutting_down(seconds: i64) -> World {
    let mut world = blocked(OnTimeout::Defer);
    world.run_until_idle();
    let ends = world.now + TimeDelta::seconds(seconds);
    world.node("n1").drain_details.grace_ends = Some(ends);
    world
}

#[test]
fn a_drain_waits_for_pods_within_their_own_grace_period() {
    let mut world = shutting_down(3600);
    let begun = world.now;
    world.run(901);
    let operation = world.record("n1").operation.clone().expect("it goes on");
    let until = begun + TimeDelta::seconds(3610);
    assert_eq!(operation.extended_until, Some(until));
    assert_eq!(deadline(&operation).map(|deadline| deadline.at), Some(until));
    world.run(2600);
    world.blocked.clear();
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_pod_that_outlasts_its_grace_period_ends_the_wait() {
    let mut world = shutting_down(1200);
    world.run(1205);
    assert!(world.record("n1").operation.is_some());
    world.node("n1").drain_details.grace_ends = None;
    world.run(10);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn a_drain_waits_no_longer_than_two_hours_for_a_grace_period() {
    let mut world = shutting_down(86_400);
    world.run(900 + 7190);
    assert!(world.record("n1").operation.is_some());
    world.run(20);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn a_policy_may_time_out_a_drain_within_a_grace_period() {
    let mut world = shutting_down(3600);
    world.policy().settings.wait_for_grace_period = false;
    let operation = world.record("n1").operation.as_mut().unwrap();
    operation.settings.wait_for_grace_period = false;
    world.run(910);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn neither_deletion_nor_reboot_cuts_a_grace_period_short() {
    for on_timeout in [OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.run_until_idle();
        let ends = world.now + TimeDelta::seconds(1800);
        world.node("n1").drain_details.grace_ends = Some(ends);
        world.run(1700);
        assert_eq!(stage(&mut world), None, "{}", world.trace);
        world.node("n1").drain_details.grace_ends = None;
        world.run(120);
        assert!(stage(&mut world).is_some() || world.record("n1").last_reboot.is_some());
    }
}

#[test]
fn no_stage_begins_before_evictions_were_asked_for_again_after_a_gap() {
    for on_timeout in [OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.run_until_idle();
        world.run(2);
        // The only operator dies right after the cordon and comes back after the time-out.
        world.restart_operator(1000);
        world.run_until_idle();
        assert_eq!(stage(&mut world), None, "{}", world.trace);
        let operation = world.record("n1").operation.clone().unwrap();
        let until = world.now + TimeDelta::seconds(900);
        assert_eq!(deadline(&operation).map(|deadline| deadline.at), Some(until));
        world.run(899);
        assert_eq!(stage(&mut world), None, "{}", world.trace);
        world.run(2);
        let begun = stage(&mut world).is_some() || world.trace.contains("OrderReboot");
        assert!(begun, "{}", world.trace);
    }
}

#[test]
fn a_clock_that_was_set_forward_begins_no_stage() {
    let mut world = blocked(OnTimeout::Delete);
    world.run_until_idle();
    world.run(100);
    let node = world.node("n1");
    let spent = node.drain_details.clone();
    world.now += TimeDelta::days(1);
    world.node("n1").drain_details = spent;
    world.run_until_idle();
    assert_eq!(stage(&mut world), None, "{}", world.trace);
    let extended = world.record("n1").operation.as_ref().unwrap().extended_until;
    assert_eq!(extended, Some(world.now + TimeDelta::seconds(802)));
}

#[test]
fn a_drain_is_not_deferred_the_moment_the_operator_comes_back() {
    let mut world = blocked(OnTimeout::Defer);
    world.run_until_idle();
    world.run(2);
    world.restart_operator(1000);
    world.run(890);
    assert!(world.record("n1").operation.is_some(), "{}", world.trace);
    world.run(20);
    assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
}

#[test]
fn a_drain_that_can_never_ask_for_evictions_is_deferred_after_twice_its_time() {
    for on_timeout in [OnTimeout::Defer, OnTimeout::Delete, OnTimeout::Reboot] {
        let mut world = blocked(on_timeout);
        world.run_until_idle();
        for _ in 0..1810 {
            world.now += TimeDelta::seconds(1);
            world.surroundings();
            world.node("n1").drain_details.evicting_for = TimeDelta::zero();
            world.run_until_idle();
        }
        assert!(world.record("n1").deferred.is_some(), "{}", world.trace);
        assert!(!world.trace.contains("OrderReboot"), "{}", world.trace);
    }
}
