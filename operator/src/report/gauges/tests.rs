use std::collections::BTreeMap;

use lockkeeper_crds::NodeReboot;
use lockkeeper_crds::host::{Cause, DetectorReport, DetectorState};
use lockkeeper_planner::{Failure, Host, LastReboot, Ready, Record, Settings};

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn operation(phase: Phase) -> Operation {
    Operation {
        id: "7f3c".into(),
        attempt: 0,
        phase,
        policy: "workers".into(),
        boot_id_before: "old".into(),
        soft_reboots_before: None,
        kernel_before: String::new(),
        reasons: vec![],
        requested: None,
        approved: None,
        required: None,
        started: at(0),
        asked: at(1),
        cordoned: Some(at(2)),
        stage: None,
        extended_until: None,
        reboot_ordered: Some(at(3)),
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

fn node(operation: Option<Operation>) -> Node {
    Node {
        uid: "uid".into(),
        created: at(-1000),
        policies: ["workers".into()].into(),
        boot_id: "old".into(),
        ready: Ready {
            ready: true,
            since: at(0),
            heartbeat: at(0),
            message: String::new(),
        },
        unschedulable: operation.is_some(),
        cordoned_for: operation.as_ref().map(|operation| operation.id.clone()),
        deletion: None,
        taints: lockkeeper_planner::Taints::default(),
        control_plane: false,
        unready_static_pod: None,
        view_gap: None,
        refused_write: None,
        hold: None,
        requested: None,
        approved: None,
        domains: BTreeMap::new(),
        record: Some(Record {
            host: Some(Host {
                boot_id: "old".into(),
                required: operation.is_some(),
                required_since: operation.as_ref().map(|_| at(-60)),
                ..Host::default()
            }),
            operation: operation.map(Box::new),
            ..Record::default()
        }),
        preflight: lockkeeper_planner::Preflight::Unknown,
        drain: lockkeeper_planner::Drain::NotStarted,
        drain_details: lockkeeper_planner::DrainDetails::default(),
        daemon_sets: lockkeeper_planner::DaemonSetReadiness::Unknown,
        workloads: lockkeeper_planner::WorkloadReadiness::Unknown,
        handshake: None,
        notice: lockkeeper_planner::NoticeCondition::Absent,
        hook_job: None,
    }
}

/// The gauges about nodes of a look at these, and the painter.
fn look(exporter: &mut GaugeExporter, nodes: Vec<Node>, open: bool) -> (Metrics, String) {
    let metrics = Metrics::new().unwrap();
    let text = look_at(&metrics, exporter, nodes, open);
    (metrics, text)
}

fn look_at(metrics: &Metrics, exporter: &mut GaugeExporter, nodes: Vec<Node>, open: bool) -> String {
    let snapshot = Snapshot {
        policies: BTreeMap::from([("workers".into(), Policy::default())]),
        nodes: (0..).map(|number| format!("w-{number}")).zip(nodes).collect(),
        ..Snapshot::default()
    };
    let plan = Plan {
        windows: BTreeMap::from([("workers".into(), open)]),
        ..Plan::default()
    };
    exporter.export(metrics, &snapshot, &ObservedObjects::default(), &plan, at(1000));
    metrics.text().unwrap()
}

fn shows(text: &str, line: &str) {
    assert!(text.contains(&format!("lockkeeper_{line}\n")), "no {line} in:\n{text}");
}

#[test]
fn a_policy_shows_every_state_with_0_too() {
    let (_, text) = look(&mut GaugeExporter::default(), vec![node(None)], true);
    shows(&text, r#"nodes{policy="workers",state="UpToDate"} 1"#);
    shows(&text, r#"nodes{policy="workers",state="Failed"} 0"#);
    assert_eq!(text.matches("\nlockkeeper_nodes{").count(), NodeState::ALL.len());
    assert!(
        !text.contains("node="),
        "an idle node has no series of its own:\n{text}"
    );
}

#[test]
fn a_node_in_progress_shows_since_when_and_whose_cordon_it_has() {
    let (_, text) = look(
        &mut GaugeExporter::default(),
        vec![node(Some(operation(Phase::Draining)))],
        true,
    );
    shows(&text, r#"node_state{node="w-0",policy="workers",state="Draining"} 1"#);
    shows(
        &text,
        r#"node_state_since_timestamp_seconds{node="w-0",policy="workers"} 1800000002"#,
    );
    shows(&text, r#"node_cordoned{node="w-0",policy="workers"} 1"#);
    shows(
        &text,
        r#"node_reboot_required_since_timestamp_seconds{node="w-0",policy="workers"} 1799999940"#,
    );
}

#[test]
fn a_node_is_away_from_the_order_until_it_is_ready_again_or_its_host_refused() {
    let rebooting = operation(Phase::Rebooting);
    let gone = Operation {
        failure: Some(Failure {
            time: at(900),
            message: "no new boot".into(),
            timed_out: false,
        }),
        ..operation(Phase::Failed)
    };
    let back = Operation {
        rebooted: Some(at(40)),
        ..operation(Phase::Verifying)
    };
    let (mut up, mut down) = (node(None), node(None));
    (up.ready.ready, down.ready.ready) = (true, false);
    assert_eq!(
        outstanding_since(&rebooting, &up),
        Some(at(3)),
        "it has not begun to go down"
    );
    assert_eq!(outstanding_since(&rebooting, &down), Some(at(3)));
    assert_eq!(outstanding_since(&gone, &down), Some(at(3)));
    assert_eq!(outstanding_since(&gone, &up), None, "the host refused");
    assert_eq!(outstanding_since(&back, &down), Some(at(3)));
    assert_eq!(outstanding_since(&back, &up), None);
}

#[test]
fn a_node_whose_agent_says_nothing_is_counted_after_its_grace() {
    let mut silent = node(None);
    silent.record = Some(Record::default());
    let mut ensure_boot_changed = node(None);
    ensure_boot_changed.boot_id = "new".into();
    ensure_boot_changed.ready.since = at(1000 - 119);
    let (_, text) = look(
        &mut GaugeExporter::default(),
        vec![silent, ensure_boot_changed, node(None)],
        true,
    );
    shows(&text, r#"agents_missing{policy="workers"} 1"#);
}

#[test]
fn agents_that_are_not_confined_are_counted() {
    let with = |confinement| {
        let mut node = node(None);
        node.record.as_mut().unwrap().host.as_mut().unwrap().confinement = confinement;
        node
    };
    let nodes = vec![
        with(Confinement::NotConfined("no binding".to_owned())),
        with(Confinement::Confined),
        with(Confinement::default()),
    ];
    let (_, text) = look(&mut GaugeExporter::default(), nodes, true);
    shows(&text, r#"agents_unconfined{policy="workers"} 1"#);
}

#[test]
fn a_node_without_a_report_of_its_boot_or_with_a_failing_detector_is_unknown() {
    let mut other_boot = node(None);
    other_boot.boot_id = "new".into();
    let (_, text) = look(&mut GaugeExporter::default(), vec![other_boot, node(None)], true);
    shows(&text, r#"nodes{policy="workers",state="Unknown"} 1"#);
    shows(&text, r#"nodes{policy="workers",state="UpToDate"} 1"#);
    let failing = [Cause("SUSE sentinel cannot be read".into())];
    assert_eq!(node_state(&node(None), None, false, &failing), NodeState::Unknown);
    let mut dead = node(None);
    dead.ready.ready = false;
    assert_eq!(node_state(&dead, None, false, &[]), NodeState::Unknown);
    assert_eq!(
        node_state(&dead, Some(Phase::Rebooting), false, &[]),
        NodeState::Rebooting
    );
    dead.requested = Some("kernel".to_owned());
    assert_eq!(node_state(&dead, None, true, &[]), NodeState::Pending);
    let mut requested = node(None);
    requested.requested = Some("kernel update".into());
    assert_eq!(node_state(&requested, None, false, &failing), NodeState::Pending);
}

#[test]
fn a_node_shows_its_last_reboot_and_the_detectors_that_fail_on_it() {
    let mut rebooted = node(None);
    if let Some(record) = &mut rebooted.record {
        record.last_reboot = Some(LastReboot {
            started: at(0),
            time: at(90),
            reasons: vec![],
            repeats: 0,
            series: None,
        });
    }
    let mut reboot = NodeReboot::new("w-0", lockkeeper_crds::NodeRebootSpec::default());
    let status = reboot.status.get_or_insert_default();
    let host = status.host.get_or_insert_default();
    host.reboot_required.failing = vec![Cause("SUSE sentinel cannot be read".into())];
    host.reboot_required.detectors = [
        ("SUSE sentinel", DetectorState::Failing),
        ("kernel", DetectorState::Required),
    ]
    .map(|(name, state)| DetectorReport {
        name: name.into(),
        state,
        message: String::new(),
    })
    .into();
    let seen = ObservedObjects {
        reboots: BTreeMap::from([("w-0".to_owned(), std::sync::Arc::new(reboot))]),
        ..ObservedObjects::default()
    };
    let snapshot = Snapshot {
        nodes: BTreeMap::from([("w-0".to_owned(), rebooted)]),
        ..Snapshot::default()
    };
    let metrics = Metrics::new().unwrap();
    GaugeExporter::default().export(&metrics, &snapshot, &seen, &Plan::default(), at(1000));
    let text = metrics.text().unwrap();
    shows(
        &text,
        r#"node_last_reboot_timestamp_seconds{node="w-0",policy="workers"} 1800000090"#,
    );
    shows(&text, r#"node_detectors_failing{node="w-0",policy="workers"} 1"#);
    shows(
        &text,
        r#"detector_nodes{detector="SUSE sentinel",policy="workers",state="Failing"} 1"#,
    );
    shows(
        &text,
        r#"detector_nodes{detector="kernel",policy="workers",state="Required"} 1"#,
    );
}

#[test]
fn detectors_that_few_nodes_report_share_one_series() {
    let report = |name: String| DetectorReport {
        name,
        state: DetectorState::NotRequired,
        message: String::new(),
    };
    let mut nodes = BTreeMap::new();
    let mut reboots = BTreeMap::new();
    for index in 0..4 {
        let name = format!("w-{index}");
        let mut reboot = NodeReboot::new(&name, lockkeeper_crds::NodeRebootSpec::default());
        let host = reboot.status.get_or_insert_default().host.get_or_insert_default();
        // The agents of three nodes invent names.
        let invented = (0..15)
            .filter(|_| index > 0)
            .map(|number| format!("a{index}-{number:02}"));
        host.reboot_required.detectors = invented.chain(["kernel".to_owned()]).map(report).collect();
        reboots.insert(name.clone(), std::sync::Arc::new(reboot));
        nodes.insert(name, node(None));
    }
    let seen = ObservedObjects {
        reboots,
        ..ObservedObjects::default()
    };
    let snapshot = Snapshot {
        nodes,
        ..Snapshot::default()
    };
    let metrics = Metrics::new().unwrap();
    GaugeExporter::default().export(&metrics, &snapshot, &seen, &Plan::default(), at(1000));
    let text = metrics.text().unwrap();
    let series = text
        .lines()
        .filter(|line| line.starts_with("lockkeeper_detector_nodes{"));
    assert_eq!(series.count(), MAX_DETECTORS + 1);
    shows(
        &text,
        r#"detector_nodes{detector="kernel",policy="workers",state="NotRequired"} 4"#,
    );
    shows(
        &text,
        r#"detector_nodes{detector="other",policy="workers",state="NotRequired"} 14"#,
    );
}
