//! Each precondition: when it holds, and what it says if it does not.

use super::*;
use crate::snapshot::Limit;

/// Nothing is read but what the test sets.
fn nothing() -> Fresh {
    Fresh::default()
}

fn with_lock(lock: Lock) -> Fresh {
    Fresh {
        lock: Some(lock),
        ..Fresh::default()
    }
}

fn with_node(node: Option<NodeState>) -> Fresh {
    Fresh {
        nodes: BTreeMap::from([("n1".to_owned(), node)]),
        ..Fresh::default()
    }
}

fn with_record(record: Option<RecordState>) -> Fresh {
    Fresh {
        records: BTreeMap::from([("n1".to_owned(), record)]),
        ..Fresh::default()
    }
}

fn with_pods(pods: &[&str]) -> Fresh {
    Fresh {
        pods: Some(pods.iter().map(ToString::to_string).collect()),
        ..Fresh::default()
    }
}

fn holds(precondition: &Precondition, fresh: &Fresh) {
    assert_eq!(precondition.next_read(fresh), None, "all is read");
    assert_eq!(precondition.check(fresh), Ok(()));
}

fn refuses(precondition: &Precondition, fresh: &Fresh, found: &str) {
    assert_eq!(precondition.check(fresh), Err(found.to_owned()));
}

fn n1() -> String {
    "n1".to_owned()
}

fn op_1() -> String {
    "op-1".to_owned()
}

#[test]
fn a_node_holds_a_slot_only_with_its_own_uid_and_operation() {
    let precondition = Precondition::HoldsSlot {
        node: n1(),
        node_uid: "uid-n1".to_owned(),
        operation_id: op_1(),
        reboots: false,
    };
    holds(&precondition, &with_lock(lock(vec![holder("n1", "op-1")])));
    let other_uid = Holder {
        node_uid: "another".to_owned(),
        ..holder("n1", "op-1")
    };
    for holders in [
        vec![],
        vec![holder("n1", "op-0")],
        vec![holder("n2", "op-1")],
        vec![other_uid],
    ] {
        let found = "it does not hold a slot of RebootLock for operation op-1";
        refuses(&precondition, &with_lock(lock(holders)), found);
    }
}

#[test]
fn a_reboot_is_ordered_only_if_the_slot_says_so() {
    let precondition = Precondition::HoldsSlot {
        node: n1(),
        node_uid: "uid-n1".to_owned(),
        operation_id: op_1(),
        reboots: true,
    };
    let found = "RebootLock does not say that operation op-1 reboots it";
    holds(&precondition, &with_lock(lock(vec![holder("n1", "op-1")])));
    let not_ordered = Holder {
        reboot: None,
        ..holder("n1", "op-1")
    };
    refuses(&precondition, &with_lock(lock(vec![not_ordered])), found);
}

#[test]
fn a_new_holder_or_another_limit_is_not_what_the_plan_counted() {
    let planned = lock(vec![holder("n1", "op-1"), holder("n3", "op-3")]);
    let precondition = Precondition::NoNewHolder { planned: Some(planned) };
    holds(&precondition, &with_lock(lock(vec![holder("n1", "op-1")])));
    let both = lock(vec![holder("n1", "op-1"), holder("n2", "op-2")]);
    let found = "n2 holds a slot of RebootLock that the plan did not count";
    refuses(&precondition, &with_lock(both.clone()), found);
    refuses(
        &Precondition::NoNewHolder { planned: None },
        &with_lock(both),
        "n1 holds a slot of RebootLock that the plan did not count",
    );
    let limited = Lock {
        max_in_progress: Some(Limit::Count(1)),
        ..lock(vec![])
    };
    refuses(
        &precondition,
        &with_lock(limited),
        "the limit of RebootLock has changed",
    );
}

#[test]
fn the_operation_is_unchanged_only_if_all_of_it_is_equal() {
    let unchanged = |planned: Option<Operation>| Precondition::OperationUnchanged {
        node: n1(),
        planned: planned.map(Box::new),
    };
    let preparing = operation("op-1", Phase::Preparing);
    let fresh = with_record(Some(record(Some(preparing.clone()))));
    holds(&unchanged(Some(preparing.clone())), &fresh);
    holds(&unchanged(None), &with_record(None));
    holds(&unchanged(None), &with_record(Some(record(None))));
    let found = "it has operation op-1 (Preparing), but the plan was made for no operation";
    refuses(&unchanged(None), &fresh, found);
    let found = "it has no operation, but the plan was made for operation op-1 (Preparing)";
    refuses(&unchanged(Some(preparing.clone())), &with_record(None), found);
    let retried = Operation {
        attempt: 1,
        ..preparing
    };
    refuses(
        &unchanged(Some(retried)),
        &fresh,
        "operation op-1 (Preparing) has changed",
    );
}

#[test]
fn a_policy_that_was_edited_deleted_or_created_has_changed() {
    let policies = |identities: &[(&str, &str, i64)]| -> BTreeSet<PolicyIdentity> {
        let identity = |(name, uid, generation): &(&str, &str, i64)| PolicyIdentity {
            name: (*name).to_owned(),
            uid: (*uid).to_owned(),
            generation: *generation,
        };
        identities.iter().map(identity).collect()
    };
    let fresh = |identities| Fresh {
        policies: Some(policies(identities)),
        ..Fresh::default()
    };
    let precondition = Precondition::PoliciesUnchanged {
        planned: policies(&[("a", "u", 1)]),
        once_per_pass: false,
    };
    holds(&precondition, &fresh(&[("a", "u", 1)]));
    refuses(&precondition, &fresh(&[("a", "u", 2)]), "RebootPolicy a has changed");
    refuses(&precondition, &fresh(&[("a", "v", 1)]), "RebootPolicy a has changed");
    refuses(&precondition, &fresh(&[]), "RebootPolicy a has changed");
    refuses(
        &precondition,
        &fresh(&[("a", "u", 1), ("b", "w", 1)]),
        "RebootPolicy b has changed",
    );
}

#[test]
fn a_cordon_is_known_by_its_holder_or_because_the_plan_observed_it() {
    let cordons = |operation_id: &str| BTreeMap::from([("n2".to_owned(), operation_id.to_owned())]);
    let fresh = |holders| Fresh {
        cordons: Some(cordons("op-2")),
        ..with_lock(lock(holders))
    };
    let precondition = |planned, node: &str| Precondition::NoUnknownCordon {
        node: node.to_owned(),
        planned,
    };
    holds(&precondition(BTreeMap::new(), "n1"), &fresh(vec![holder("n2", "op-2")]));
    holds(&precondition(cordons("op-2"), "n1"), &fresh(vec![]));
    holds(&precondition(BTreeMap::new(), "n2"), &fresh(vec![]));
    let found = "n2 is cordoned for operation op-2, but holds no slot";
    refuses(&precondition(BTreeMap::new(), "n1"), &fresh(vec![]), found);
    refuses(&precondition(cordons("op-0"), "n1"), &fresh(vec![]), found);
}

#[test]
fn a_slot_is_released_once_neither_cordon_nor_record_names_the_operation() {
    let precondition = Precondition::Released {
        holder: holder("n1", "op-1"),
    };
    let fresh = |cordoned_for, operation: Option<Operation>| Fresh {
        records: BTreeMap::from([("n1".to_owned(), Some(record(operation)))]),
        ..with_node(Some(node(cordoned_for)))
    };
    let draining = || Some(operation("op-1", Phase::Draining));
    holds(&precondition, &with_node(None));
    holds(&precondition, &fresh(None, None));
    holds(
        &precondition,
        &fresh(Some("op-2"), Some(operation("op-2", Phase::Draining))),
    );
    refuses(
        &precondition,
        &fresh(Some("op-1"), None),
        "n1 is still cordoned for operation op-1",
    );
    refuses(&precondition, &fresh(None, draining()), "n1 still has operation op-1");
    let found = "n1 still has operation op-1, and is cordoned for it";
    refuses(&precondition, &fresh(Some("op-1"), draining()), found);
    let mut others = fresh(None, draining());
    others
        .records
        .values_mut()
        .flatten()
        .for_each(|record| record.owners = vec!["earlier".to_owned()]);
    holds(&precondition, &others);
    let mut later = fresh(Some("op-1"), draining());
    later
        .nodes
        .values_mut()
        .flatten()
        .for_each(|node| node.uid = "later".to_owned());
    holds(&precondition, &later);
}

#[test]
fn a_restored_holder_needs_an_operation_that_has_not_ended() {
    let precondition = Precondition::OperationInProgress {
        node: n1(),
        operation_id: op_1(),
    };
    let fresh = |id| with_record(Some(record(Some(operation(id, Phase::Draining)))));
    holds(&precondition, &fresh("op-1"));
    for fresh in [fresh("op-2"), with_record(Some(record(None))), with_record(None)] {
        refuses(&precondition, &fresh, "operation op-1 of n1 has ended");
    }
}

#[test]
fn a_cordon_counts_only_for_the_operation_that_it_names() {
    let (node_name, operation_id) = (n1(), op_1());
    let cordoned = Precondition::Cordoned {
        node: node_name.clone(),
        operation_id: operation_id.clone(),
    };
    holds(&cordoned, &with_node(Some(node(Some("op-1")))));
    for other in [None, Some("op-2")] {
        refuses(
            &cordoned,
            &with_node(Some(node(other))),
            "it is not cordoned for operation op-1",
        );
    }
    refuses(&cordoned, &with_node(None), "its Node is gone");
    let uncordoned = Precondition::Uncordoned {
        node: node_name,
        operation_id,
    };
    for gone in [None, Some(node(None)), Some(node(Some("op-2")))] {
        holds(&uncordoned, &with_node(gone));
    }
    let found = "it is still cordoned for operation op-1";
    refuses(&uncordoned, &with_node(Some(node(Some("op-1")))), found);
}

#[test]
fn a_reboot_counts_only_with_another_boot() {
    let changed = |before: &str| Precondition::BootChanged {
        node: n1(),
        before: before.into(),
    };
    holds(&changed("boot-9"), &with_node(Some(node(None))));
    refuses(
        &changed("boot-0"),
        &with_node(Some(node(None))),
        "it is still in boot boot-0",
    );
    refuses(&changed("boot-9"), &with_node(None), "its Node is gone");
}

#[test]
fn a_node_is_ready_for_its_reboot_with_cordon_boot_and_three_seconds() {
    let ready = |boot: &str, cordoned| Precondition::ReadyForReboot {
        node: n1(),
        operation_id: op_1(),
        boot_id: boot.into(),
        cordoned,
        now: now(),
    };
    let fresh = with_node(Some(node(Some("op-1"))));
    holds(&ready("boot-0", Some(seconds_ago(3))), &fresh);
    let refused = |found| refuses(&ready("boot-0", Some(seconds_ago(2))), &fresh, found);
    refused("its cordon is younger than 3 s");
    refuses(
        &ready("boot-0", None),
        &fresh,
        "its operation does not say when it was cordoned",
    );
    let found = "it is in boot boot-0, but the order is for boot boot-9";
    refuses(&ready("boot-9", Some(seconds_ago(9))), &fresh, found);
    let other = with_node(Some(node(Some("op-2"))));
    refuses(
        &ready("boot-0", Some(seconds_ago(9))),
        &other,
        "it is not cordoned for operation op-1",
    );
    let uncordoned = with_node(Some(NodeState {
        unschedulable: false,
        ..node(Some("op-1"))
    }));
    refuses(
        &ready("boot-0", Some(seconds_ago(9))),
        &uncordoned,
        "it is not cordoned",
    );
}

#[test]
fn a_node_that_was_put_on_hold_during_the_drain_is_not_ordered_to_reboot() {
    let not_held = Precondition::NotHeld { node: n1(), now: now() };
    let held_until = |until| {
        with_node(Some(NodeState {
            hold: Some(Hold {
                reason: "debugging".to_owned(),
                until,
                invalid_until: None,
            }),
            ..node(Some("op-1"))
        }))
    };
    holds(&not_held, &with_node(Some(node(Some("op-1")))));
    refuses(&not_held, &held_until(None), "it is on hold: \"debugging\"");
    refuses(
        &not_held,
        &held_until(Some(seconds_ago(-60))),
        "it is on hold: \"debugging\"",
    );
    holds(&not_held, &held_until(Some(seconds_ago(60))));
    refuses(&not_held, &with_node(None), "its Node is gone");
}

#[test]
fn an_order_that_was_lost_during_the_reboot_is_repeated_although_the_node_is_held() {
    let is_checked = |phase| {
        let objects = Objects::new(Some(operation("op-1", phase)), Some("op-1"));
        let needed = preconditions(&order_reboot(), &objects, now()).unwrap();
        needed.iter().any(|one| matches!(one, Precondition::NotHeld { .. }))
    };
    assert!(is_checked(Phase::Draining));
    assert!(!is_checked(Phase::Rebooting));
}

#[test]
fn a_node_reboots_with_pods_left_two_seconds_after_its_stage_was_recorded() {
    let announced = |since| Precondition::StageAnnounced { since, now: now() };
    holds(&announced(seconds_ago(2)), &nothing());
    let found = "the stage that reboots it with pods left is younger than 2 s";
    refuses(&announced(seconds_ago(1)), &nothing(), found);
}

#[test]
fn a_node_is_drained_once_no_pod_must_be_evicted() {
    let drained = Precondition::Drained { node: n1() };
    holds(&drained, &with_pods(&[]));
    refuses(&drained, &with_pods(&["shop/a"]), "1 pod must be evicted first: shop/a");
    let found = "4 pods must be evicted first: shop/a, shop/b, shop/c, ...";
    refuses(&drained, &with_pods(&["shop/a", "shop/b", "shop/c", "shop/d"]), found);
}

#[test]
fn a_second_record_needs_the_very_same_node() {
    let exists = |uid: &str| Precondition::NodeExists {
        node: n1(),
        uid: uid.to_owned(),
    };
    holds(&exists("uid-n1"), &with_node(Some(node(None))));
    refuses(&exists("uid-n1"), &with_node(None), "its Node with uid uid-n1 is gone");
    refuses(
        &exists("earlier"),
        &with_node(Some(node(None))),
        "its Node with uid earlier is gone",
    );
}

#[test]
fn a_precondition_whose_object_was_not_read_does_not_hold() {
    let precondition = Precondition::Drained { node: n1() };
    assert_eq!(precondition.next_read(&nothing()), Some(Read::Pods(n1())));
    refuses(&precondition, &nothing(), "the operator has not read the pods again");
}
