//! What a pass costs, from 100 to 15,000 nodes: `cargo bench -p lockkeeper-planner`.
//!
//! Time and allocations. A node that is up to date must cost no allocation: `up_to_date` has the same count for all sizes
//! (12). Of the plan alone for 15,000 nodes, the median of 100 on two idle cores: 1.0 ms up to date, 3.3 ms all waiting,
//! 4.2 ms with 1,500 in progress, 4.2 ms when 1,500 start at once; the check of that 0.6 ms on top. On cores that others kept
//! busy (load 9) it was 1.4, 3.7, 4.9, 5.4 and 0.9 ms. What does not fit the processor's caches costs more: memory is
//! waited for.
#![allow(missing_docs, clippy::unwrap_used)]

use chrono::{DateTime, TimeDelta, Utc};
use divan::{AllocProfiler, Bencher};
#[allow(clippy::wildcard_imports)] // as in the tests
use lockkeeper_planner::*;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 6] = [100, 500, 1_000, 2_000, 5_000, 15_000];

fn main() {
    divan::main();
}

fn now() -> Instant {
    DateTime::<Utc>::from_timestamp(1_795_262_400, 0).unwrap()
}

/// A cluster of this size; the first `pending` nodes ask for a reboot.
fn cluster(size: usize, pending: usize, limit: Limit) -> Snapshot {
    let now = now();
    let policy = Policy {
        schedule: Ok(Schedule {
            windows: vec![Window::parse("0 0 * * *", 86_400, "Europe/Berlin").unwrap()],
            exclusions: vec![],
        }),
        max_in_progress: limit,
        max_unavailable: limit,
        ..Policy::default()
    };
    let workers = PolicyName::from("workers");
    let selecting: Vec<PolicyName> = [workers.clone()].into();
    let node = |number: usize| {
        let boot_id = BootId::from(format!("0b2c8f5e-31f0-4a49-9d8a-{number:012}"));
        let host = Host {
            boot_id: boot_id.clone(),
            boot_time: Some(now - TimeDelta::days(9)),
            kernel: "6.1.0-27-amd64".to_owned(),
            confinement: Confinement::Confined,
            required: number < pending,
            required_since: (number < pending).then(|| now - TimeDelta::seconds(number as i64)),
            reasons: if number < pending {
                vec!["linux-image-6.1.0-28".to_owned()]
            } else {
                vec![]
            },
            ..Host::default()
        };
        Node {
            uid: format!("8d5e6c1a-7f0b-4d8e-a2c5-{number:012}"),
            created: now - TimeDelta::days(90),
            policies: selecting.clone(),
            boot_id,
            ready: Ready {
                ready: true,
                since: now - TimeDelta::days(9),
                heartbeat: now,
                message: "KubeletReady: kubelet is posting ready status".to_owned(),
            },
            unschedulable: false,
            cordoned_for: None,
            deletion: None,
            control_plane: false,
            unready_static_pod: None,
            view_gap: None,
            refused_write: None,
            hold: None,
            requested: None,
            approved: None,
            domains: std::collections::BTreeMap::new(),
            record: Some(Record {
                policy: Some(workers.clone()),
                host: Some(host),
                last_reboot: Some(LastReboot {
                    started: now - TimeDelta::days(9),
                    time: now - TimeDelta::days(9),
                    reasons: vec!["linux-image-6.1.0-27".to_owned()],
                    repeats: 0,
                    series: None,
                }),
                ..Record::default()
            }),
            taints: Taints::default(),
            preflight: Preflight::Clear { at: Instant::MAX_UTC },
            drain: Drain::NotStarted,
            drain_details: DrainDetails::default(),
            daemon_sets: DaemonSetReadiness::Unknown,
            workloads: lockkeeper_planner::WorkloadReadiness::Unknown,
            handshake: None,
            notice: lockkeeper_planner::NoticeCondition::Absent,
            hook_job: None,
        }
    };
    Snapshot {
        policies: [(workers.clone(), policy)].into(),
        nodes: (0..size)
            .map(|number| (format!("worker-{number:05}.example"), node(number)))
            .collect(),
        lock: Some(Lock::default()),
        ..Snapshot::default()
    }
}

/// The cluster once the plan's holders and operations are written: as many are in progress as allowed.
fn under_way(mut snapshot: Snapshot) -> Snapshot {
    for action in plan(&snapshot, now()).actions {
        match action {
            Action::SetHolders { holders, .. } => snapshot.lock.as_mut().unwrap().holders = holders,
            Action::WriteRecord { node, change } => {
                let record = snapshot.nodes.get_mut(&node).unwrap().record.as_mut().unwrap();
                record.operation = change.operation.apply(&record.operation);
            }
            Action::SetSpec { node, order, .. } => {
                snapshot.nodes.get_mut(&node).unwrap().record.as_mut().unwrap().order = order;
            }
            _ => {}
        }
    }
    snapshot
}

/// Nothing to do: what each event of a quiet cluster costs.
#[divan::bench(args = SIZES)]
fn up_to_date(bencher: Bencher, size: usize) {
    let snapshot = cluster(size, 0, Limit::Count(1));
    bencher.bench_local(|| plan(&snapshot, now()));
}

/// All wait for one that is in progress.
#[divan::bench(args = SIZES)]
fn all_wait(bencher: Bencher, size: usize) {
    let snapshot = under_way(cluster(size, size, Limit::Count(1)));
    bencher.bench_local(|| plan(&snapshot, now()));
}

/// One in ten is in progress, all others wait.
#[divan::bench(args = SIZES)]
fn tenth_in_progress(bencher: Bencher, size: usize) {
    let snapshot = under_way(cluster(size, size, Limit::Percent(10)));
    bencher.bench_local(|| plan(&snapshot, now()));
}

/// One in ten starts at once.
#[divan::bench(args = SIZES)]
fn tenth_starts(bencher: Bencher, size: usize) {
    let snapshot = cluster(size, size, Limit::Percent(10));
    bencher.bench_local(|| plan(&snapshot, now()));
}

/// The last gate, for that plan.
#[divan::bench(args = SIZES)]
fn check_of_tenth_starts(bencher: Bencher, size: usize) {
    let snapshot = cluster(size, size, Limit::Percent(10));
    let plan = plan(&snapshot, now());
    bencher.bench_local(|| check(&snapshot, &plan, now()));
}

/// A forecast of a whole rollout, one in ten at a time.
#[divan::bench(args = [100, 1_000, 5_000], sample_count = 3)]
fn forecast_of_all(bencher: Bencher, size: usize) {
    let snapshot = cluster(size, size, Limit::Percent(10));
    bencher.bench_local(|| forecast(&snapshot, now(), Horizon::default()));
}
