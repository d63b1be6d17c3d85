//! What an agent says about itself: whether it is confined to its own node, and from when on it reboots its host.

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_planner::*;

use crate::common::World;

fn confinement(world: &mut World, name: &str, confinement: Confinement) {
    world.record(name).host.as_mut().unwrap().confinement = confinement;
}

fn not_confined() -> Confinement {
    Confinement::NotConfined("apply ValidatingAdmissionPolicy lockkeeper-agent and its binding".to_owned())
}

#[test]
fn no_node_starts_while_any_agent_is_not_confined() {
    let mut world = World::new(3);
    confinement(&mut world, "n3", not_confined());
    world.run_until_idle();
    assert!(world.in_progress().is_empty());
    expect![[r#"
        n1 AgentNotConfined: no node starts: 1 agent (n3) is not confined to one node: apply ValidatingAdmissionPolicy lockkeeper-agent and its binding
        n2 AgentNotConfined: no node starts: 1 agent (n3) is not confined to one node: apply ValidatingAdmissionPolicy lockkeeper-agent and its binding
        n3 AgentNotConfined: no node starts: 1 agent (n3) is not confined to one node: apply ValidatingAdmissionPolicy lockkeeper-agent and its binding
        "#]].assert_eq(&world.wait_reasons());
    confinement(&mut world, "n3", Confinement::Confined);
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn an_agent_of_an_older_version_stops_its_own_node_only() {
    let mut world = World::new(2);
    let cause = "upgrade the agent to the version of the operator".to_owned();
    confinement(&mut world, "n1", Confinement::Unreported(cause));
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n2"]);
    expect![[r#"
        n1 AgentNotConfined: the agent does not report that it is confined to this node: upgrade the agent to the version of the operator
        n2 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        "#]].assert_eq(&world.wait_reasons());
}

#[test]
fn an_operator_that_accepts_unconfined_agents_starts_nodes() {
    let mut world = World::new(2);
    confinement(&mut world, "n1", not_confined());
    confinement(&mut world, "n2", Confinement::default());
    world.snapshot.accepts_unconfined_agents = true;
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_report_from_an_earlier_boot_that_is_not_confined_stops_no_other_node() {
    let mut world = World::new(2);
    confinement(&mut world, "n2", not_confined());
    world.node("n2").boot_id = "a-later-boot".into();
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_node_that_is_cordoned_finishes_although_an_agent_is_no_longer_confined() {
    let mut world = World::new(2);
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").unschedulable, "{}", world.trace);
    confinement(&mut world, "n2", not_confined());
    world.run(120);
    assert!(world.record("n1").last_reboot.is_some(), "{}", world.trace);
    assert!(world.in_progress().is_empty());
}

#[test]
fn a_host_that_has_just_booted_waits_until_its_agent_reboots_it() {
    let mut world = World::new(1);
    let until = world.now + TimeDelta::minutes(7);
    world.record("n1").host.as_mut().unwrap().reboot_allowed = Some(until);
    world.run_until_idle();
    assert!(world.in_progress().is_empty());
    expect![[r#"
        n1 JustBooted: the host has just booted; its agent reboots it only from 2026-11-21T12:07:00Z on
        "#]]
    .assert_eq(&world.wait_reasons());
    assert_eq!(world.plan().recheck_at, Some(until));
    world.now = until;
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1"]);
}

#[test]
fn a_refusal_because_the_host_has_just_booted_defers_with_that_reason() {
    let mut world = World::new(1);
    world.run_until_idle();
    let until = world.now + TimeDelta::minutes(7);
    world.record("n1").host.as_mut().unwrap().reboot_allowed = Some(until);
    world.refusing = vec!["n1".to_owned()];
    world.run(2);
    let deferred = world.record("n1").deferred.clone().unwrap();
    assert_eq!(deferred.cause, "JustBooted", "{}", world.trace);
}

#[test]
fn an_order_expires_after_a_minute_and_before_its_reboot_times_out() {
    let mut world = World::new(1);
    world.policy().settings.agent_timeout = TimeDelta::seconds(5);
    world.policy().settings.reboot_timeout = TimeDelta::seconds(50);
    world.silent = vec!["n1".to_owned()];
    world.run_until_idle();
    let asked = world.now;
    let prepare = world.record("n1").order.clone().unwrap();
    assert_eq!(prepare.not_after, Some(asked + TimeDelta::seconds(60)));
    world.silent.clear();
    world.never_back = vec!["n1".to_owned()];
    world.run(20);
    let record = world.record("n1");
    let ordered = record.operation.as_ref().unwrap().reboot_ordered.unwrap();
    let reboot = record.order.clone().unwrap();
    assert_eq!(reboot.action, OrderAction::Reboot);
    let lifetime = reboot.not_after.unwrap() - ordered;
    assert!(
        (TimeDelta::seconds(45)..=TimeDelta::seconds(50)).contains(&lifetime),
        "{lifetime}"
    );
}
