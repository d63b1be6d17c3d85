//! The taints that policies ask for.

use expect_test::expect;
use lockkeeper_planner::*;

use super::drain_stages::blocked;
use crate::common::World;

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
