//! What is not read again because a write of this process has proven it.

use super::*;

fn uncordon() -> Action {
    Action::Uncordon {
        node: "n1".to_owned(),
        keep_cordon: false,
    }
}

fn verifying() -> Action {
    write_record(RecordChange::operation(operation("op-1", Phase::Verifying)))
}

impl Objects {
    /// The action was carried out: the Node is like this afterwards.
    fn carry_out(&mut self, action: &Action, after: Option<&str>) {
        let before = self.node.clone();
        self.node = Some(node(after));
        let operation = self.record.operation.as_deref();
        self.proven
            .written(action, operation, before.as_ref(), self.node.as_ref());
    }
}

#[test]
fn an_operation_whose_cordon_this_process_has_removed_ends_without_a_read() {
    let mut objects = Objects::new(Some(operation("op-1", Phase::Verifying)), Some("op-1"));
    objects.carry_out(&uncordon(), None);
    assert_eq!(objects.reads(&write_record(finished())), "");
    objects.carry_out(&write_record(finished()), None);
    objects.record.operation = None;
    assert_eq!(objects.reads(&set_holders(vec![])), "");
    objects.carry_out(&set_holders(vec![]), None);
    assert_eq!(objects.proven, Proven::default());
    assert_eq!(
        objects.reads(&set_holders(vec![])),
        "Node, NodeReboot",
        "it is forgotten"
    );
}

#[test]
fn the_cordon_of_another_operation_or_of_one_that_is_to_be_cordoned_proves_nothing() {
    for (phase, cordoned_for) in [
        (Phase::Verifying, Some("op-0")),
        (Phase::Verifying, None),
        (Phase::Preparing, Some("op-1")),
    ] {
        let mut objects = Objects::new(Some(operation("op-1", phase)), cordoned_for);
        objects.carry_out(&uncordon(), None);
        assert_eq!(
            objects.reads(&write_record(finished())),
            "Node",
            "{phase:?} {cordoned_for:?}"
        );
        objects.carry_out(&write_record(finished()), None);
        objects.record.operation = None;
        assert_eq!(objects.reads(&set_holders(vec![])), "Node, NodeReboot");
    }
}

#[test]
fn a_node_that_is_newer_than_at_its_reboot_order_is_in_a_later_boot() {
    let mut objects = Objects::new(Some(operation("op-1", Phase::Rebooting)), Some("op-1"));
    objects.carry_out(&order_reboot(), Some("op-1"));
    let mut reads = |boot: &str, version: Option<u64>, uid: &str| {
        objects.node = Some(NodeState {
            uid: uid.to_owned(),
            boot_id: boot.into(),
            version,
            ..node(Some("op-1"))
        });
        preconditions(&verifying(), &objects, now()).unwrap().len()
    };
    assert_eq!(reads("boot-1", Some(8), "uid-n1"), 0);
    assert_eq!(reads("boot-1", Some(6), "uid-n1"), 1, "a boot before the order");
    assert_eq!(reads("boot-1", None, "uid-n1"), 1);
    assert_eq!(reads("boot-1", Some(8), "another"), 1);
    assert_eq!(reads("boot-0", Some(8), "uid-n1"), 1, "the same boot");
    objects.proven = Proven::default();
    let mut forgotten = objects.node.clone().unwrap();
    forgotten.boot_id = "boot-1".into();
    objects.node = Some(forgotten);
    assert_eq!(objects.reads(&verifying()), "Node", "after a restart");
}

#[test]
fn a_lock_that_this_pass_has_written_a_moment_ago_is_not_read() {
    let begin = write_record(RecordChange::operation(operation("op-1", Phase::Preparing)));
    let mut objects = Objects::new(None, None);
    objects.has_written_lock = true;
    assert_eq!(objects.reads(&begin), "");
    let mut draining = Objects::new(Some(operation("op-1", Phase::Draining)), Some("op-1"));
    draining.has_written_lock = true;
    assert_eq!(draining.reads(&order_reboot()), "Node, pods");
    // A cordon depends on what other nodes do.
    let mut preparing = Objects::new(Some(operation("op-1", Phase::Preparing)), None);
    preparing.has_written_lock = true;
    assert!(preparing.reads(&cordon()).starts_with("lock, "));
    objects.lock = lock(vec![]);
    let needed = preconditions(&begin, &objects, now()).unwrap();
    assert_eq!(needed.len(), 1, "the holder is not in what was written");
}
