//! With a lost, edited, ambiguous or incomplete snapshot no node starts and none is forgotten.

use expect_test::{Expect, expect};
use lockkeeper_planner::*;

use crate::common::World;

#[allow(clippy::needless_pass_by_value)] // it is written in place
fn assert_wait_reasons(world: &World, expected: Expect) {
    expected.assert_eq(&world.wait_reasons());
}

#[test]
fn a_host_report_of_an_earlier_boot_does_not_count() {
    let mut world = World::new(1);
    world.record("n1").host.as_mut().unwrap().boot_id = "somewhere-else".into();
    world.run_until_idle();
    world.run(10);
    assert_eq!(world.trace, "");
    assert_wait_reasons(
        &world,
        expect![[r#"
        n1 AgentMissing: no agent has reported from this node since 2026-11-13T12:02:00Z
    "#]],
    );
}

#[test]
fn a_node_of_two_policies_or_of_none_is_never_rebooted() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".into(), crate::common::policy());
    world.node("n1").policies = ["general".into(), "other".into()].into();
    world.node("n2").policies = [].into();
    world.run_until_idle();
    world.run(10);
    assert!(!world.trace.contains(" starts\n"), "{}", world.trace);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 PolicyConflict: selected by more than one policy (general, other); a node must match exactly one
            n2 NoPolicy: no policy selects this node
        "#]],
    );
}

#[test]
fn nothing_starts_while_a_policy_cannot_be_decoded() {
    let mut world = World::new(1);
    world.snapshot.view_gaps = vec![ViewGap::PolicyInvalid {
        policy: "broken".to_owned(),
        cause: "windows[0].durationSeconds: expected i32".to_owned(),
    }];
    world.run_until_idle();
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 ViewIncomplete: policy broken cannot be decoded (windows[0].durationSeconds: expected i32); no node starts until it is fixed
        "#]],
    );
    world.snapshot.unlisted = vec![ViewGap::NotListed {
        kind: "Nodes".to_owned(),
    }];
    assert_eq!(world.plan().actions, vec![]);
}

#[test]
fn two_policies_with_limit_one_still_reboot_one_node_at_a_time() {
    let mut world = World::new(2);
    world.snapshot.policies.insert("other".into(), crate::common::policy());
    world.node("n2").policies = ["other".into()].into();
    world.run_until_idle();
    for _ in 0..150 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    assert!(world.record("n2").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_deleted_lock_does_not_free_the_slots_of_nodes_in_progress() {
    let mut world = World::new(3);
    world.run_until_idle();
    world.run(5);
    world.snapshot.lock = None;
    for _ in 0..20 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    assert!(world.trace.contains("n1 got its entry back"), "{}", world.trace);
}

#[test]
fn a_lock_that_was_edited_by_hand_is_repaired_before_a_node_starts() {
    let mut world = World::new(3);
    world.run_until_idle();
    world.run(5);
    let holders = &mut world.snapshot.lock.as_mut().unwrap().holders;
    holders[0].operation_id = "unknown".to_owned();
    holders.push(Holder {
        node: "ghost".to_owned(),
        reboot: None,
        ..holders[0].clone()
    });
    for _ in 0..200 {
        world.run(1);
        assert!(world.down() <= 1, "{}", world.trace);
    }
    assert_eq!(world.wait_reasons(), "");
}

#[test]
fn no_node_is_cordoned_while_the_lock_has_more_holders_than_allowed() {
    let mut world = World::new(2);
    world.limit(2);
    world.silent = vec!["n1".to_owned(), "n2".to_owned()];
    world.run_until_idle();
    assert_eq!(world.in_progress(), ["n1", "n2"]);
    // n2 may be cordoned already: a view that lags would not show it.
    world.limit(1);
    world.silent = vec!["n2".to_owned()];
    world.run(2);
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 NoFreeSlot: no free slot: n2 in progress (1 of 1, policy limit)
            n2 Preparing: waiting for the node agent to respond (asked at 2026-11-21T12:00:00Z)
        "#]],
    );
    // The node that was admitted later releases its slot, and the first one continues.
    world.silent.clear();
    world.run(1);
    assert_eq!(
        (world.in_progress(), world.started()),
        (vec!["n1".to_owned()], vec!["n1".to_owned()])
    );
}

#[test]
fn an_orphaned_cordon_counts_under_each_policy_of_its_node() {
    let mut world = World::new(3);
    let other = crate::common::policy();
    world.snapshot.policies.insert("other".into(), other);
    world.limit(2);
    world.node("n3").policies = ["other".into()].into();
    let node = world.node("n1");
    (node.cordoned_for, node.unschedulable, node.ready.ready) = (Some("lost".to_owned()), true, false);
    let plans = [["general", "other"], ["other", "general"]].map(|both| {
        world.node("n1").policies = both.map(PolicyName::from).into();
        world.plan()
    });
    assert_eq!(check::order_dependence(&plans[0], &plans[1]), None);
    let reasons = world.wait_reasons();
    assert!(
        reasons.contains("n3 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)"),
        "{reasons}"
    );
}

#[test]
fn a_node_that_is_deleted_and_recreated_leaves_no_holder() {
    let mut world = World::new(2);
    world.run_until_idle();
    world.run(1);
    let now = world.now;
    let node = world.node("n1");
    *node = Node {
        uid: "another".to_owned(),
        created: now,
        unschedulable: false,
        cordoned_for: None,
        record: None,
        drain: Drain::NotStarted,
        drain_details: DrainDetails::default(),
        daemon_sets: DaemonSetReadiness::Unknown,
        workloads: WorkloadReadiness::Unknown,
        handshake: None,
        notice: NoticeCondition::Absent,
        hook_job: None,
        ..node.clone()
    };
    world.run(1);
    assert!(world.trace.contains("n1 is gone"), "{}", world.trace);
    world.run(100);
    assert!(world.record("n2").last_reboot.is_some(), "{}", world.trace);
}

#[test]
fn a_finished_operation_whose_cordon_is_observed_late_is_not_lost() {
    let mut world = World::new(1);
    world.run_until_idle();
    world.run(3);
    let (lock, mark) = (world.snapshot.lock.clone(), world.node("n1").cordoned_for.clone());
    assert!(mark.is_some());
    world.run(60);
    assert!(world.record("n1").last_reboot.is_some());
    // A standby whose watches of the lock and of the Nodes lag behind that of the records.
    for ready in [true, false] {
        world.snapshot.lock.clone_from(&lock);
        world.node("n1").cordoned_for.clone_from(&mark);
        world.node("n1").ready.ready = ready;
        world.node("n1").requested = Some("firmware".to_owned());
        world.policy().suspend = true;
        world.run_until_idle();
        assert!(!world.trace.contains("Failed"), "{}", world.trace);
        assert_eq!(world.node("n1").cordoned_for.is_none(), ready);
        assert_eq!(world.in_progress().is_empty(), ready, "{}", world.trace);
    }
    // As long as the cordon is observed, the entry stays: no other node starts.
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 ViewIncomplete: waiting for the node to become Ready before the cordon of its last reboot is removed
        "#]],
    );
    world.node("n1").cordoned_for = None;
    world.run_until_idle();
    assert_eq!(world.in_progress(), Vec::<String>::new());
}

#[test]
fn an_orphaned_cordon_on_a_node_that_is_down_takes_a_slot() {
    let mut world = World::new(2);
    world.blocked.push("n1".to_owned());
    world.run(20);
    assert!(world.node("n1").cordoned_for.is_some());
    // Record and entry are lost, and the node is down; the other one is down as well, so that it costs nothing.
    world.snapshot.lock = Some(Lock::default());
    let record = world.record("n1");
    (record.operation, record.order) = (None, None);
    world.node("n1").ready.ready = false;
    world.node("n2").ready.ready = false;
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
            n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit); 1 node ahead in the queue
        "#]],
    );
    world.node("n1").ready.ready = true;
    let lifts = |action: &Action| matches!(action, Action::Uncordon { node, .. } if node == "n1");
    assert!(world.plan().actions.iter().any(lifts), "{:?}", world.plan().actions);
}

#[test]
fn an_orphaned_cordon_stays_until_the_agent_reports_no_reboot() {
    let mut world = World::new(2);
    world.blocked.push("n1".to_owned());
    world.run(20);
    world.snapshot.lock = Some(Lock::default());
    *world.record("n1") = Record {
        policy: Some("general".into()),
        ..Record::default()
    };
    world.node("n1").requested = Some("firmware".to_owned());
    let lifts = |world: &World| {
        let lifts = |action: &Action| matches!(action, Action::Uncordon { node, .. } if node == "n1");
        world.plan().actions.iter().any(lifts)
    };
    assert!(!lifts(&world), "its agent has not reported yet");
    let boot_id = world.node("n1").boot_id.clone();
    let answer = HostAnswer {
        id: "c344b9c8-0".to_owned(),
        state: AnswerState::Rebooting,
        message: String::new(),
    };
    world.record("n1").host = Some(Host {
        boot_id,
        answer: Some(answer),
        ..Host::default()
    });
    assert!(!lifts(&world), "its host goes down");
    assert_wait_reasons(
        &world,
        expect![[r#"
            n1 ViewIncomplete: the record of a reboot was lost; waiting for the node agent to confirm that no reboot is in progress
            n2 NoFreeSlot: no free slot: n1 in progress (1 of 1, policy limit)
        "#]],
    );
    world.node("n1").unschedulable = false;
    assert!(lifts(&world), "a person uncordoned it: there is nothing to keep");
    world.node("n1").unschedulable = true;
    world.record("n1").host.as_mut().unwrap().answer = None;
    assert!(lifts(&world), "it stays up");
}

#[test]
fn the_record_of_a_node_that_is_not_managed_any_more_is_deleted() {
    let mut world = World::new(1);
    world.snapshot.unmanaged_records.insert("virtual".to_owned());
    let deletes = |plan: &Plan| {
        let of_it = |action: &&Action| action.node() == Some("virtual");
        plan.actions.iter().filter(of_it).map(Action::name).collect::<Vec<_>>()
    };
    assert_eq!(deletes(&world.plan()), ["DeleteRecord"]);
    world.run_until_idle();
    assert!(world.snapshot.unmanaged_records.is_empty(), "{}", world.trace);
}
