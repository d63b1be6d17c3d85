use chrono::TimeDelta;

use super::*;
use crate::snapshot::{
    DaemonSetReadiness, Drain, DrainDetails, Policy, Preflight, Ready, Snapshot, Taints, WorkloadReadiness,
};

fn policy(seconds: i64) -> Policy {
    Policy {
        settings: Settings {
            drain_timeout: TimeDelta::seconds(seconds),
            ..Settings::default()
        },
        ..Policy::default()
    }
}

fn cordoned(operation: &str, now: Instant) -> Node {
    Node {
        uid: "uid".to_owned(),
        created: now,
        policies: vec!["workers".into()],
        boot_id: "boot".into(),
        ready: Ready {
            ready: true,
            since: now,
            heartbeat: now,
            message: String::new(),
        },
        unschedulable: true,
        cordoned_for: Some(operation.to_owned()),
        deletion: None,
        taints: Taints::default(),
        control_plane: false,
        unready_static_pod: None,
        view_gap: None,
        refused_write: None,
        hold: None,
        requested: None,
        approved: None,
        domains: std::collections::BTreeMap::new(),
        record: Some(Record::default()),
        preflight: Preflight::default(),
        drain: Drain::default(),
        drain_details: DrainDetails::default(),
        daemon_sets: DaemonSetReadiness::default(),
        workloads: WorkloadReadiness::Unknown,
        handshake: None,
        notice: crate::snapshot::NoticeCondition::Absent,
        hook_job: None,
    }
}

#[test]
fn a_reconstructed_operation_has_the_settings_of_its_own_policy() {
    let now = Instant::default();
    let holder = Holder {
        node: "n1".to_owned(),
        node_uid: "uid".to_owned(),
        policy: "workers".into(),
        operation_id: "op".to_owned(),
        acquired: now,
        reboot: None,
    };
    let lock = Lock {
        holders: vec![holder],
        ..Lock::default()
    };
    let snapshot = Snapshot {
        policies: [("first".into(), policy(1)), ("workers".into(), policy(77))].into(),
        nodes: [("n1".to_owned(), cordoned("op", now))].into(),
        ..Snapshot::default()
    };
    let context = Context::observe(&snapshot, now);
    let recovery = recover(&context, &lock);
    let [Action::WriteRecord { change, .. }] = recovery.actions.as_slice() else {
        unreachable!("{:?}", recovery.actions);
    };
    let operation = change.operation.apply(&None).unwrap();
    assert_eq!(operation.settings.drain_timeout, TimeDelta::seconds(77));
}
