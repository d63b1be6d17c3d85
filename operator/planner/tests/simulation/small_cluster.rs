//! Two nodes for tests of single writes.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use lockkeeper_planner::preconditions::Proven;
use lockkeeper_planner::*;

use crate::sim::cluster::{Cluster, Cordon, LockObject, NodeObject, PolicyObject, RebootObject, Refusal};
use crate::sim::execute::Write;
use crate::sim::mutants::{self, Mutant};
use crate::sim::setup;
use crate::sim::view::Seen;

pub(crate) const N1: usize = 0;
pub(crate) const N2: usize = 1;

pub(crate) fn now() -> Instant {
    Instant::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
}

pub(crate) fn operation(id: &str, phase: Phase) -> Operation {
    let started = now() - chrono::TimeDelta::minutes(1);
    Operation {
        id: id.to_owned(),
        attempt: 0,
        phase,
        policy: "a".into(),
        boot_id_before: "boot-0".into(),
        soft_reboots_before: None,
        kernel_before: String::new(),
        reasons: vec![],
        requested: None,
        approved: None,
        required: None,
        started,
        asked: started,
        cordoned: (phase != Phase::Preparing).then_some(started),
        stage: None,
        extended_until: None,
        reboot_ordered: None,
        refused: None,
        rebooted: None,
        uncordoned: None,
        pods_moved: 0,
        returning_owners: vec![],
        daemon_sets: vec![],
        static_pods: vec![],
        workloads: vec![],
        checks_baseline: vec![],
        healthy_since: None,
        hook: None,
        ended_hooks: Vec::new(),
        noticed: None,
        overridden: None,
        settings: Settings::default(),
        failure: None,
        pending_outcome: None,
    }
}

pub(crate) fn holder(node: &str, operation_id: &str) -> Holder {
    Holder {
        node: node.to_owned(),
        node_uid: format!("uid-{node}"),
        policy: "a".into(),
        operation_id: operation_id.to_owned(),
        acquired: now(),
        reboot: Some(OrderedReboot {
            time: now(),
            boot_id_before: "boot".into(),
            soft_reboots_before: None,
            deadline: now() + TimeDelta::minutes(15),
        }),
    }
}

/// Nodes `n1` and `n2` under policy `a`, without an operation; `n1` holds a slot for operation `op-1`.
pub(crate) fn cluster() -> Cluster {
    let names = vec!["n1".to_owned(), "n2".to_owned()];
    let mut cluster = Cluster::new(names.clone(), vec!["a".into()], vec![0, 0]);
    let version = 0;
    let policy = PolicyObject {
        version,
        uid: 0,
        generation: 0,
        groups: 1,
        value: Policy::default(),
    };
    cluster.put_policy(0, Some(policy));
    for (index, name) in names.iter().enumerate() {
        let owner = format!("uid-{name}");
        let node = NodeObject {
            version,
            group: 1,
            cordon: Cordon::default(),
            value: setup::node("boot-0".into(), owner.clone(), Instant::UNIX_EPOCH, true),
        };
        cluster.put_node(index, Some(node));
        let policy = Some("a".into());
        let record = Record {
            policy,
            ..Record::default()
        };
        let object = RebootObject {
            version,
            owner,
            record,
            undecodable: false,
        };
        cluster.put_reboot(index, Some(object));
    }
    set_holders(&mut cluster, vec![holder("n1", "op-1")]);
    cluster
}

/// The operation `op-1` of `n1` is in this phase, with its cordon if the phase has one.
pub(crate) fn in_phase(phase: Phase) -> Cluster {
    let mut cluster = cluster();
    set_operation(&mut cluster, N1, Some(operation("op-1", phase)));
    if phase != Phase::Preparing {
        cordon(&mut cluster, N1, "op-1");
    }
    cluster
}

pub(crate) fn set_operation(cluster: &mut Cluster, index: usize, operation: Option<Operation>) {
    cluster.edit_record(index, |record| record.operation = operation.map(Box::new));
}

pub(crate) fn set_holders(cluster: &mut Cluster, holders: Vec<Holder>) {
    let value = Lock {
        holders,
        ..Lock::default()
    };
    let (version, uid) = (0, 1);
    cluster.put_lock(Some(LockObject { version, uid, value }));
}

pub(crate) fn cordon(cluster: &mut Cluster, index: usize, operation: &str) {
    cluster.edit_node(index, |node| {
        node.cordon.ours = true;
        node.value.cordoned_for = Some(operation.to_owned());
    });
}

pub(crate) fn uncordon(cluster: &mut Cluster, index: usize) {
    cluster.edit_node(index, |node| {
        node.cordon.ours = false;
        node.value.cordoned_for = None;
    });
}

/// Writes the action on `cluster`, planned on what was `observed`; a mutant may break a guard.
pub(crate) fn write(
    observed: &Cluster,
    cluster: &mut Cluster,
    action: &Action,
    mutant: Option<Mutant>,
) -> Result<(), Refusal> {
    let mut seen = Seen {
        nodes: observed.nodes.clone(),
        reboots: observed.reboots.clone(),
        policies: observed.policies.clone(),
        lock: observed.lock.clone(),
    };
    let mut write = Write {
        cluster,
        seen: &mut seen,
        without: mutants::without(mutant),
        now: now(),
        halved: false,
        // It has created a record for `n1` before.
        made: &mut BTreeSet::from(["uid-n1".to_owned()]),
        policies_verified: &mut false,
        lock_written: &mut None,
        at: 0,
        proven: &mut Proven::default(),
        answers: vec![],
    };
    write.execute(action)
}

pub(crate) fn cordon_n1() -> Action {
    Action::Cordon {
        node: "n1".to_owned(),
        operation_id: "op-1".to_owned(),
    }
}

pub(crate) fn uncordon_n1() -> Action {
    Action::Uncordon {
        node: "n1".to_owned(),
        keep_cordon: false,
    }
}

pub(crate) fn write_operation(node: &str, operation: Operation) -> Action {
    Action::WriteRecord {
        node: node.to_owned(),
        change: Box::new(RecordChange::operation(operation)),
    }
}
