//! The safety and liveness rules S1 to S9 and L1 to L4 of ARCHITECTURE.md: for each, a plan or a cluster that breaks it is
//! reported by its name. A rule that reported nothing would protect nothing.

use crate::common::{World, at, windows};
use chrono::TimeDelta;
use lockkeeper_planner::*;

fn plan_of(actions: Vec<Action>) -> Plan {
    Plan {
        actions,
        ..Plan::default()
    }
}

/// The rules that a plan breaks, each once.
fn broken(world: &World, plan: &Plan) -> Vec<&'static str> {
    names(&check(&world.snapshot, plan, world.now))
}

fn names(violations: &[Violation]) -> Vec<&'static str> {
    let mut rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

/// The plan that the planner makes from a snapshot that differs from the true one.
fn plan_from(world: &World, change: impl FnOnce(&mut Snapshot)) -> Plan {
    let mut snapshot = world.snapshot.clone();
    change(&mut snapshot);
    plan(&snapshot, world.now)
}

/// `n1` is being drained.
fn draining() -> World {
    let mut world = World::new(1);
    world.blocked = vec!["n1".to_owned()];
    world.run_until_idle();
    world.run(5);
    assert!(world.node("n1").unschedulable, "{}", world.trace);
    world
}

/// The reboot order that the planner would give `n1`.
fn reboot_order(world: &mut World) -> Plan {
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
    plan_of(vec![Action::OrderReboot {
        node: "n1".to_owned(),
        order,
    }])
}

#[test]
fn s1_reports_more_nodes_in_progress_than_the_limit() {
    let world = World::new(2);
    let two_at_once = plan_from(&world, |snapshot| {
        let policy = snapshot.policies.get_mut("general").unwrap();
        policy.max_in_progress = Limit::Count(2);
        policy.max_unavailable = Limit::Count(2);
    });
    assert_eq!(broken(&world, &two_at_once), ["S1"]);
}

#[test]
fn s1_reports_a_cordon_without_a_holder_in_the_lock() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.now += TimeDelta::seconds(1);
    world.surroundings();
    let cordon = world.plan();
    assert_eq!(broken(&world, &cordon), Vec::<&str>::new());
    world.snapshot.lock.as_mut().unwrap().holders.clear();
    assert_eq!(broken(&world, &cordon), ["S1"]);
}

#[test]
fn s2_reports_a_start_outside_the_windows() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 3 * * *", 3600)]));
    let always_open = |snapshot: &mut Snapshot| {
        snapshot.policies.get_mut("general").unwrap().schedule = Ok(windows(&[]));
    };
    assert_eq!(broken(&world, &plan_from(&world, always_open)), ["S2"]);
    world.now = at("2026-11-22T03:00:00Z");
    assert_eq!(broken(&world, &plan_from(&world, always_open)), Vec::<&str>::new());
}

#[test]
fn s2_reports_a_start_while_an_agent_is_not_confined() {
    let mut world = World::new(2);
    let accepts = |snapshot: &mut Snapshot| snapshot.accepts_unconfined_agents = true;
    for confinement in [
        Confinement::NotConfined("no binding".to_owned()),
        Confinement::Unreported("an old agent".to_owned()),
    ] {
        world.record("n1").host.as_mut().unwrap().confinement = confinement;
        assert_eq!(broken(&world, &plan_from(&world, accepts)), ["S2"]);
    }
    world.record("n1").host.as_mut().unwrap().confinement = Confinement::Confined;
    assert_eq!(broken(&world, &plan_from(&world, accepts)), Vec::<&str>::new());
}

#[test]
fn s3_reports_a_reboot_order_for_a_node_that_is_not_drained() {
    let mut world = draining();
    let order = reboot_order(&mut world);
    assert_eq!(broken(&world, &order), ["S3"]);
    world.node("n1").drain = Drain::Done { moved: 0 };
    assert_eq!(broken(&world, &order), Vec::<&str>::new());
    let marked = world.snapshot.lock.as_mut().unwrap().holders[0].reboot.take();
    assert_eq!(
        broken(&world, &order),
        ["S3"],
        "its entry does not say that the reboot is ordered"
    );
    world.snapshot.lock.as_mut().unwrap().holders[0].reboot = marked;
    world.node("n1").unschedulable = false;
    assert_eq!(broken(&world, &order), ["S3"], "it is not cordoned");
}

#[test]
fn s4_reports_a_reboot_order_for_a_node_that_has_rebooted() {
    let mut world = draining();
    let order = reboot_order(&mut world);
    world.node("n1").drain = Drain::Done { moved: 0 };
    world.node("n1").boot_id = "another".to_owned().into();
    assert_eq!(broken(&world, &order), ["S4"]);
}

#[test]
fn s5_reports_the_removal_of_a_cordon_that_is_not_ours() {
    let mut world = World::new(1);
    world.node("n1").unschedulable = true;
    let uncordon = plan_of(vec![Action::Uncordon {
        node: "n1".to_owned(),
        keep_cordon: false,
    }]);
    assert_eq!(broken(&world, &uncordon), ["S5"]);
}

#[test]
fn s5_reports_the_deletion_of_the_record_of_a_managed_node() {
    let world = World::new(1);
    let delete = plan_of(vec![Action::DeleteRecord { node: "n1".to_owned() }]);
    assert_eq!(broken(&world, &delete), ["S5"]);
}

#[test]
fn s6_reports_the_operators_node_starting_before_another() {
    let mut world = World::new(2);
    world.snapshot.own_node = Some("n1".to_owned());
    let own_node_first = plan_from(&world, |snapshot| snapshot.own_node = None);
    assert_eq!(broken(&world, &own_node_first), ["S6"]);
}

#[test]
fn s7_reports_two_plans_that_differ_for_one_snapshot() {
    let world = World::new(2);
    let one = world.plan();
    assert_eq!(check::order_dependence(&one, &one), None);
    let mut other = one.clone();
    other.actions.pop();
    assert_eq!(check::order_dependence(&one, &other).unwrap().rule, "S7");
}

#[test]
fn s9_reports_an_action_that_is_planned_again_after_it_was_applied() {
    let mut world = World::new(1);
    let done = world.plan();
    assert_eq!(names(&check::repeats(&done, &done)), ["S9"]);
    world.pass(usize::MAX);
    assert_eq!(check::repeats(&done, &world.plan()), vec![]);
}

#[test]
fn l1_reports_a_node_that_requires_a_reboot_and_has_no_wait_reason() {
    let mut world = World::new(1);
    world.policy().suspend = true;
    let silent = Plan::default();
    assert_eq!(
        names(&check::unexplained_waits(&world.snapshot, &silent, world.now)),
        ["L1"]
    );
    assert_eq!(
        check::unexplained_waits(&world.snapshot, &world.plan(), world.now),
        vec![]
    );
}

#[test]
fn l2_reports_a_cordoned_node_that_nothing_will_uncordon() {
    let mut world = draining();
    world.record("n1").operation = None;
    world.record("n1").host.as_mut().unwrap().required = false;
    world.snapshot.lock.as_mut().unwrap().holders.clear();
    let idle = Plan::default();
    assert_eq!(
        names(&check::unexplained_waits(&world.snapshot, &idle, world.now)),
        ["L2"]
    );
}

#[test]
fn l3_reports_a_wait_that_is_not_evaluated_when_its_time_has_come() {
    let mut world = World::new(1);
    world.policy().schedule = Ok(windows(&[("0 3 * * *", 3600)]));
    world.run_until_idle();
    let mut plan = world.plan();
    assert_eq!(plan.recheck_at, Some(at("2026-11-22T03:00:00Z")));
    plan.recheck_at = None;
    assert_eq!(
        names(&check::unexplained_waits(&world.snapshot, &plan, world.now)),
        ["L3"]
    );
}

#[test]
fn l4_reports_everything_that_a_rollout_leaves_behind() {
    let before = World::new(1);
    let mut after = draining();
    let found = check::leftovers(&before.snapshot, &after.snapshot);
    let found: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert_eq!(
        found,
        [
            "L4: n1: still in the lock",
            "L4: n1: still marked",
            "L4: n1: still has an operation",
            "L4: n1: still has an order",
            "L4: n1: stayed cordoned",
        ]
    );
    after.blocked.clear();
    after.run(100);
    assert_eq!(check::leftovers(&before.snapshot, &after.snapshot), vec![]);
}
