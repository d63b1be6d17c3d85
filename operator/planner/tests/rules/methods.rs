//! Who reboots a node: its agent, or another system.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::World;

/// One node that another system reboots, drained and ordered.
fn drained() -> World {
    let mut world = World::new(2);
    world.policy().settings.method = RebootMethod::External;
    world.policy().settings.reboot_timeout = TimeDelta::minutes(30);
    world.never_back = vec!["n1".to_owned()];
    let later = world.now + TimeDelta::hours(1);
    let host = world.record("n1").host.as_mut().unwrap();
    host.incapable = Some("no system bus".to_owned());
    host.inhibitors = vec![("apt".to_owned(), "upgrade".to_owned())];
    host.reboot_allowed = Some(later);
    world.run_until_idle();
    world.run(60);
    // Another system has not rebooted it yet.
    world.node("n1").ready.ready = true;
    world
}

#[test]
fn a_node_that_another_system_reboots_is_drained_although_its_agent_is_incapable() {
    let mut world = drained();
    let order = world.record("n1").order.clone().unwrap();
    assert_eq!(
        (order.action, order.method),
        (OrderAction::Reboot, RebootMethod::External)
    );
    assert!(world.node("n1").unschedulable);
    let plan = world.plan();
    let reason = plan.wait_reasons.get("n1").unwrap();
    let since = world.record("n1").operation.as_ref().unwrap().reboot_ordered.unwrap();
    assert_eq!(
        *reason,
        WaitReason::AwaitingExternalReboot {
            since,
            until: since + TimeDelta::minutes(30)
        }
    );
    assert!(plan.wait_reasons.get("n2").unwrap().name() == ReasonName::NoFreeSlot);
}

#[test]
fn a_node_that_another_system_rebooted_finishes_and_the_next_one_starts() {
    let mut world = drained();
    world.never_back.clear();
    world.boot("n1");
    world.run(5);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
}

#[test]
fn a_node_that_no_other_system_reboots_in_time_fails() {
    let mut world = drained();
    world.now += TimeDelta::minutes(30);
    world.run_until_idle();
    expect![[r#"
        n1 Failed: n1 was not rebooted by another system within 30 min (reboot.method: External); reboot it; it continues by itself once it is back; or retry or release it
        n2 BreakerOpen: breaker open: 1 failed node (n1); retry or release it to continue
        "#]]
    .assert_eq(&world.wait_reasons());
}

#[test]
fn each_order_names_the_method_of_the_policy_with_which_the_operation_began() {
    for method in [RebootMethod::Auto, RebootMethod::Reboot, RebootMethod::Kexec] {
        let mut world = World::new(1);
        world.policy().settings.method = method;
        world.silent = vec!["n1".to_owned()];
        world.run_until_idle();
        assert_eq!(world.record("n1").order.clone().unwrap().method, method);
        world.policy().settings.method = RebootMethod::External;
        world.silent.clear();
        world.never_back = vec!["n1".to_owned()];
        world.run(20);
        let order = world.record("n1").order.clone().unwrap();
        assert_eq!((order.action, order.method), (OrderAction::Reboot, method));
    }
}

#[test]
fn the_last_check_asks_for_no_agent_where_another_system_reboots() {
    for (method, refused) in [(RebootMethod::External, true), (RebootMethod::Auto, false)] {
        let mut world = World::new(2);
        world.policy().settings.method = method;
        world.record("n2").host.as_mut().unwrap().incapable = Some("no system bus".to_owned());
        world.pass(0);
        while world.plan().actions.iter().all(|action| action.name() != "SetHolders") {
            assert!(world.pass(1) > 0, "{}", world.wait_reasons());
        }
        // A plan that was made without the knowledge that n1 runs the operator.
        let plan = world.plan();
        world.snapshot.own_node = Some("n1".to_owned());
        let broken = check(&world.snapshot, &plan, world.now);
        assert_eq!(
            broken.iter().any(|broken| broken.rule == "S6"),
            refused,
            "{method:?}: {broken:?}"
        );
    }
}
