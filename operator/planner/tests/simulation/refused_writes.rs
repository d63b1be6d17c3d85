//! A write that was planned on an outdated snapshot is refused.
//!
//! Each test takes a cluster that the operator has observed completely, in which the write succeeds. Then the cluster
//! changes, the operator does not observe the change, and the same write must be refused.

use lockkeeper_planner::*;

use crate::sim::cluster::Cluster;
use crate::small_cluster::*;

/// The action succeeds on the cluster as it was observed, and is refused once the cluster has changed.
fn refused_after(observed: &Cluster, change: impl FnOnce(&mut Cluster), action: &Action) {
    let mut cluster = observed.clone();
    assert_eq!(write(observed, &mut cluster, action, None), Ok(()), "nothing changed");
    let mut cluster = observed.clone();
    change(&mut cluster);
    let refusal = write(observed, &mut cluster, action, None);
    assert!(refusal.is_err(), "{} was written", action.name());
}

fn order_reboot() -> Action {
    Action::OrderReboot {
        node: "n1".to_owned(),
        order: Order {
            id: operation("op-1", Phase::Draining).order_id(),
            action: OrderAction::Reboot,
            boot_id: "boot-0".into(),
            method: RebootMethod::Auto,
            soft_reboots: None,
            not_after: None,
        },
    }
}

fn holders(holders: Vec<Holder>) -> Action {
    Action::SetHolders {
        holders,
        because: String::new(),
    }
}

#[test]
fn a_node_is_not_uncordoned_if_its_operation_has_changed() {
    let draining = |cluster: &mut Cluster| set_operation(cluster, N1, Some(operation("op-1", Phase::Draining)));
    let mut observed = in_phase(Phase::Draining);
    set_operation(&mut observed, N1, None);
    refused_after(&observed, draining, &uncordon_n1());
}

#[test]
fn an_earlier_cordon_is_not_removed_if_the_node_was_cordoned_again() {
    let mut observed = in_phase(Phase::Preparing);
    cordon(&mut observed, N1, "op-0");
    refused_after(&observed, |cluster| cordon(cluster, N1, "op-1"), &uncordon_n1());
}

#[test]
fn an_operation_does_not_finish_while_its_node_is_cordoned() {
    let observed = in_phase(Phase::Preparing);
    let finished = Finished {
        operation: operation("op-1", Phase::Preparing),
        outcome: Outcome::Withdrawn,
        message: String::new(),
        time: now(),
        boot_id_after: "boot-0".into(),
        kernel_after: String::new(),
        last_reboot: None,
    };
    let change = RecordChange {
        operation: Change::Set(None),
        finished: Some(finished),
        ..RecordChange::default()
    };
    let action = Action::WriteRecord {
        node: "n1".to_owned(),
        change: Box::new(change),
    };
    refused_after(&observed, |cluster| cordon(cluster, N1, "op-1"), &action);
}

#[test]
fn a_reboot_counts_only_if_the_node_has_another_boot_than_before() {
    let set_boot = |cluster: &mut Cluster, boot: &str| {
        cluster.edit_node(N1, |node| node.value.boot_id = boot.into());
    };
    let mut observed = in_phase(Phase::Rebooting);
    set_boot(&mut observed, "an-older-boot");
    let verifying = write_operation("n1", operation("op-1", Phase::Verifying));
    refused_after(&observed, |cluster| set_boot(cluster, "boot-0"), &verifying);
}

#[test]
fn an_operation_does_not_begin_if_its_slot_was_released() {
    let mut observed = cluster();
    set_holders(&mut observed, vec![holder("n2", "op-2")]);
    let begin = write_operation("n2", operation("op-2", Phase::Preparing));
    refused_after(&observed, |cluster| set_holders(cluster, vec![]), &begin);
}

#[test]
fn an_operation_is_not_reconstructed_if_its_slot_or_its_cordon_is_gone() {
    let mut observed = cluster();
    cordon(&mut observed, N1, "op-1");
    let reconstruct = write_operation("n1", operation("op-1", Phase::Failed));
    refused_after(&observed, |cluster| set_holders(cluster, vec![]), &reconstruct);
    refused_after(&observed, |cluster| uncordon(cluster, N1), &reconstruct);
}

#[test]
fn a_node_is_not_cordoned_if_a_policy_was_changed_or_deleted() {
    let observed = in_phase(Phase::Preparing);
    let delete = |cluster: &mut Cluster| {
        cluster.put_policy(0, None);
    };
    let suspend = |cluster: &mut Cluster| {
        cluster.edit_policy(0, |policy| policy.value.suspend = true);
    };
    refused_after(&observed, delete, &cordon_n1());
    refused_after(&observed, suspend, &cordon_n1());
}

#[test]
fn a_node_is_not_cordoned_if_its_operation_has_ended() {
    let observed = in_phase(Phase::Preparing);
    refused_after(&observed, |cluster| set_operation(cluster, N1, None), &cordon_n1());
}

#[test]
fn a_node_is_not_cordoned_if_another_node_holds_a_new_slot() {
    let observed = in_phase(Phase::Preparing);
    let both = vec![holder("n1", "op-1"), holder("n2", "op-2")];
    refused_after(&observed, |cluster| set_holders(cluster, both), &cordon_n1());
}

#[test]
fn a_node_is_not_cordoned_if_another_node_has_an_unknown_cordon() {
    let observed = in_phase(Phase::Preparing);
    refused_after(&observed, |cluster| cordon(cluster, N2, "lost"), &cordon_n1());
}

#[test]
fn a_slot_is_not_released_while_the_node_is_cordoned_for_it() {
    let observed = cluster();
    refused_after(&observed, |cluster| cordon(cluster, N1, "op-1"), &holders(vec![]));
}

#[test]
fn a_slot_is_not_released_while_the_record_names_its_operation() {
    let observed = cluster();
    let begun = |cluster: &mut Cluster| set_operation(cluster, N1, Some(operation("op-1", Phase::Preparing)));
    refused_after(&observed, begun, &holders(vec![]));
}

#[test]
fn a_slot_is_not_restored_to_an_operation_that_has_ended() {
    let mut observed = in_phase(Phase::Draining);
    set_holders(&mut observed, vec![]);
    let restored = holders(vec![holder("n1", "op-1")]);
    refused_after(&observed, |cluster| set_operation(cluster, N1, None), &restored);
}

#[test]
fn a_reboot_is_not_ordered_without_slot_or_cordon_or_with_pods_or_a_hold() {
    let observed = in_phase(Phase::Draining);
    refused_after(&observed, |cluster| set_holders(cluster, vec![]), &order_reboot());
    refused_after(&observed, |cluster| uncordon(cluster, N1), &order_reboot());
    refused_after(&observed, |cluster| cluster.pods[N1] = 1, &order_reboot());
    let hold = |cluster: &mut Cluster| {
        cluster.edit_node(N1, |node| {
            node.value.hold = Some(Hold {
                reason: "debugging".to_owned(),
                until: None,
                invalid_until: None,
            });
        });
    };
    refused_after(&observed, hold, &order_reboot());
}

#[test]
fn the_policy_of_a_node_is_not_changed_if_the_policies_have_changed() {
    let observed = cluster();
    let action = Action::SetSpec {
        node: "n1".to_owned(),
        policy: None,
        order: None,
    };
    let suspend = |cluster: &mut Cluster| {
        cluster.edit_policy(0, |policy| policy.value.suspend = true);
    };
    refused_after(&observed, suspend, &action);
}

#[test]
fn a_second_record_for_a_node_is_not_created_if_the_node_is_gone() {
    let mut observed = cluster();
    observed.put_reboot(N1, None);
    let action = Action::CreateRecord {
        node: "n1".to_owned(),
        uid: "uid-n1".to_owned(),
        policy: None,
    };
    let delete = |cluster: &mut Cluster| {
        cluster.put_node(N1, None);
    };
    refused_after(&observed, delete, &action);
}
