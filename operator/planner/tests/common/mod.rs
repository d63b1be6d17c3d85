//! A cluster as values: applies actions as the API server would, and moves agents, kubelets and pods one step at a time.
// Each test file uses its part of it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic
)]

mod surroundings;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use lockkeeper_planner::*;

pub fn at(text: &str) -> Instant {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

pub struct World {
    pub snapshot: Snapshot,
    pub now: Instant,
    /// How long the host is away on a reboot; a node that is in here with `None` never comes back.
    pub away: TimeDelta,
    pub never_back: Vec<String>,
    /// Nodes whose pods may not leave.
    pub blocked: Vec<String>,
    /// Nodes whose pods leave by themselves while they have notice.
    pub leaving: Vec<String>,
    pub refusing: Vec<String>,
    pub silent: Vec<String>,
    /// The `DaemonSet`s that are ready on each node when it is cordoned.
    pub daemons: Vec<CountedWorkload>,
    /// The workloads that each node evicts.
    pub workloads: Vec<EvictedWorkload>,
    /// What the checks of each policy find about the cluster, and about single nodes; no answer if there is none.
    pub checks: Option<Vec<CheckResult>>,
    pub node_checks: BTreeMap<String, Vec<CheckResult>>,
    /// How far the Job of a check is, if it runs for this: `Running` unless it is here.
    pub job_verdicts: Vec<(CheckJobs, CheckVerdict)>,
    /// Since when the operator drains each node, for which order and stage; cleared when its process ends.
    drains: BTreeMap<(String, String, bool), Instant>,
    /// When a node that is down comes back.
    coming: Vec<(String, Instant)>,
    boots: usize,
    pub trace: String,
    start: Instant,
}

pub fn policy() -> Policy {
    Policy::default()
}

/// A schedule of windows in UTC: five fields of cron and seconds.
pub fn windows(all: &[(&str, i64)]) -> Schedule {
    let windows = all
        .iter()
        .map(|(cron, seconds)| Window::parse(cron, *seconds, "UTC").unwrap());
    Schedule {
        windows: windows.collect(),
        exclusions: vec![],
    }
}

impl World {
    /// Nodes `n1`.. under policy `general`, all up, all asking for a reboot since one after the other.
    pub fn new(count: usize) -> Self {
        let now = at("2026-11-21T12:00:00Z");
        let mut snapshot = Snapshot {
            watched_for: OBSERVATION_GRACE,
            lock: Some(Lock::default()),
            ..Snapshot::default()
        };
        snapshot.policies.insert("general".into(), policy());
        for number in 1..=count {
            let name = format!("n{number}");
            let boot_id = BootId::from(format!("boot-{number}-0"));
            let host = Host {
                boot_id: boot_id.clone(),
                boot_time: Some(now - TimeDelta::days(9)),
                kernel: "6.1.0-27".to_owned(),
                required: true,
                required_since: Some(now - TimeDelta::hours(2) + TimeDelta::minutes(number as i64)),
                reasons: vec!["linux-image-6.1.0-28".to_owned()],
                confinement: Confinement::Confined,
                ..Host::default()
            };
            let ready = Ready {
                ready: true,
                since: now - TimeDelta::days(8),
                heartbeat: now,
                message: "KubeletReady: kubelet is posting ready status".to_owned(),
            };
            let record = Record {
                policy: Some("general".into()),
                host: Some(host),
                ..Record::default()
            };
            snapshot.nodes.insert(
                name.clone(),
                Node {
                    uid: format!("uid-{name}"),
                    created: now - TimeDelta::days(9),
                    policies: ["general".into()].into(),
                    boot_id,
                    ready,
                    unschedulable: false,
                    cordoned_for: None,
                    deletion: None,
                    taints: Taints::default(),
                    control_plane: false,
                    unready_static_pod: None,
                    view_gap: None,
                    refused_write: None,
                    hold: None,
                    requested: None,
                    approved: None,
                    domains: BTreeMap::new(),
                    record: Some(record),
                    preflight: Preflight::Clear { at: Instant::MAX_UTC },
                    drain: Drain::NotStarted,
                    drain_details: DrainDetails::default(),
                    daemon_sets: DaemonSetReadiness::Unknown,
                    workloads: WorkloadReadiness::Unknown,
                    handshake: None,
                    notice: NoticeCondition::Absent,
                    hook_job: None,
                },
            );
        }
        Self {
            snapshot,
            now,
            away: TimeDelta::seconds(40),
            never_back: vec![],
            blocked: vec![],
            leaving: vec![],
            refusing: vec![],
            silent: vec![],
            daemons: vec![],
            workloads: vec![],
            checks: Some(vec![]),
            node_checks: BTreeMap::new(),
            job_verdicts: Vec::new(),
            drains: BTreeMap::new(),
            coming: vec![],
            boots: 0,
            trace: String::new(),
            start: now,
        }
    }

    pub fn node(&mut self, name: &str) -> &mut Node {
        self.snapshot.nodes.get_mut(name).unwrap()
    }

    pub fn record(&mut self, name: &str) -> &mut Record {
        self.node(name).record.as_mut().unwrap()
    }

    pub fn policy(&mut self) -> &mut Policy {
        self.snapshot.policies.get_mut("general").unwrap()
    }

    /// So many nodes at once, and as many down.
    pub fn limit(&mut self, count: usize) {
        self.policy().max_in_progress = Limit::Count(count);
        self.policy().max_unavailable = Limit::Count(count);
    }

    pub fn command(&mut self, verb: &str, name: &str) {
        let operation_id = self
            .record(name)
            .operation
            .as_ref()
            .map(|op| op.id.clone())
            .unwrap_or_default();
        self.record(name).command = Some(Command {
            verb: verb.to_owned(),
            operation_id,
        });
    }

    pub fn plan(&self) -> Plan {
        let plan = plan(&self.snapshot, self.now);
        assert_eq!(
            check(&self.snapshot, &plan, self.now),
            vec![],
            "at {}\n{}",
            self.now,
            self.trace
        );
        assert_eq!(
            check::unexplained_waits(&self.snapshot, &plan, self.now),
            vec![],
            "at {}\n{}",
            self.now,
            self.trace
        );
        plan
    }

    /// One pass, of which only the first `cut` writes happen.
    pub fn pass(&mut self, cut: usize) -> usize {
        let plan = self.plan();
        let written = plan.actions.len().min(cut);
        if plan.actions.is_empty() {
            // What the operator publishes once there is nothing to do.
            for (name, state) in plan.policies {
                self.snapshot.policies.get_mut(&name).unwrap().state = state;
            }
        }
        for action in plan.actions.into_iter().take(cut) {
            self.tell(&action);
            self.apply(&action);
        }
        self.evaluate_checks(&plan.checks, &plan.check_jobs);
        written
    }

    /// Passes until nothing is written any more.
    pub fn run_until_idle(&mut self) {
        for _ in 0..100 {
            if self.pass(usize::MAX) == 0 {
                return;
            }
        }
        panic!("the planner does not come to rest\n{}", self.trace);
    }

    /// Time goes on by `seconds`, one second a step, and the planner runs until it is idle in each.
    pub fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += TimeDelta::seconds(1);
            self.surroundings();
            self.run_until_idle();
        }
    }

    /// The operator's process ends, and a new one begins so many seconds later.
    pub fn restart_operator(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
        self.drains.clear();
        for node in self.snapshot.nodes.values_mut() {
            node.drain = Drain::NotStarted;
            node.drain_details = DrainDetails::default();
        }
    }

    pub fn down(&self) -> usize {
        let down = |node: &&Node| node.cordoned_for.is_some() || !node.ready.ready;
        self.snapshot.nodes.values().filter(down).count()
    }

    /// The nodes that were cordoned, in order.
    pub fn started(&self) -> Vec<String> {
        let marked = self.trace.lines().filter(|line| line.contains("Cordon"));
        marked
            .filter_map(|line| line.split_whitespace().nth(1))
            .map(str::to_owned)
            .collect()
    }

    /// The nodes in progress, in the order in which they were admitted.
    pub fn in_progress(&self) -> Vec<String> {
        let holders = &self.snapshot.lock.as_ref().unwrap().holders;
        holders.iter().map(|holder| holder.node.clone()).collect()
    }

    /// Why each node waits, one line each.
    pub fn wait_reasons(&self) -> String {
        let mut text = String::new();
        for (name, why) in &self.plan().wait_reasons {
            writeln!(text, "{name} {}: {why}", why.name()).unwrap();
        }
        text
    }

    fn tell(&mut self, action: &Action) {
        let what = match action {
            Action::SetHolders { because, .. } => because.clone(),
            Action::WriteRecord { change, .. } => match (&change.operation, &change.finished, &change.answered_command)
            {
                (_, Some(finished), _) => format!("{:?} {}", finished.outcome, finished.message),
                (_, _, Some((command, said))) => format!("{} -> {said:?}", command.verb),
                (Change::Set(Some(operation)), _, _) => match (&operation.pending_outcome, &operation.failure) {
                    (Some(pending_outcome), _) => {
                        format!("ends {:?}: {}", pending_outcome.outcome, pending_outcome.message)
                    }
                    (None, Some(failure)) => format!("Failed: {}", failure.message),
                    (None, None) => match operation.stage {
                        Some(stage) if operation.phase == Phase::Draining => {
                            format!("{:?} {:?}", operation.phase, stage.kind)
                        }
                        _ => phase_and_hook(operation),
                    },
                },
                (change, _, _) => format!("{change:?}"),
            },
            Action::SetSpec { order, .. } => order
                .as_ref()
                .map_or("no order".to_owned(), |o| format!("{:?}", o.action)),
            Action::Uncordon { keep_cordon: true, .. } => "stays cordoned".to_owned(),
            Action::BeginHandshake { id, .. } | Action::GiveNotice { id, .. } | Action::EndNotice { id, .. } => {
                id.clone()
            }
            Action::AddTaint { taint, .. } | Action::RemoveTaint { taint, .. } => format!("{taint:?}"),
            _ => String::new(),
        };
        let seconds = (self.now - self.start).num_seconds();
        let who = action.node().unwrap_or("lock");
        writeln!(self.trace, "{seconds:<4} {who} {} {what}", action.name()).unwrap();
    }

    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::CreateLock => self.snapshot.lock = Some(Lock::default()),
            Action::SetHolders { holders, .. } => {
                self.snapshot.lock.as_mut().unwrap().holders.clone_from(holders);
            }
            Action::CreateRecord { node, policy, .. } => {
                self.node(node).record = Some(Record {
                    policy: policy.clone(),
                    ..Record::default()
                });
            }
            Action::DeleteRecord { node } => drop(self.snapshot.unmanaged_records.remove(node)),
            Action::WriteRecord { node, change } => {
                let (now, daemons, workloads) = (self.now, self.daemons.clone(), self.workloads.clone());
                let record = self.record(node);
                let cordoned = |operation: &Operation| operation.phase == Phase::Draining;
                let before = record.operation.as_deref().is_some_and(cordoned);
                record.operation = change.operation.apply(&record.operation);
                // Whoever writes that the cordon stands looks at the DaemonSets.
                let operation = record.operation.as_mut().filter(|operation| cordoned(operation));
                if let Some(operation) = operation.filter(|_| !before) {
                    operation.daemon_sets = daemons;
                    operation.workloads = workloads;
                }
                record.deferred = change.deferred.apply(&record.deferred);
                record.released = change.released.apply(&record.released);
                if let Some(last) = change
                    .finished
                    .as_ref()
                    .and_then(|finished| finished.last_reboot.clone())
                {
                    record.last_reboot = Some(LastReboot { time: now, ..last });
                }
                if let Some(finished) = &change.finished {
                    record.finished = Some(finished.operation.id.clone());
                }
                if let Some((command, _)) = &change.answered_command {
                    record.answered_command = Some(command.clone());
                }
            }
            Action::SetSpec { node, policy, order } => {
                let record = self.record(node);
                record.policy.clone_from(policy);
                record.order.clone_from(order);
            }
            Action::OrderReboot { node, order } => self.record(node).order = Some(order.clone()),
            Action::Cordon { node, operation_id } => {
                let id = operation_id.clone();
                let node = self.node(node);
                node.cordoned_for = Some(id);
                node.unschedulable = true;
            }
            Action::Uncordon { node, keep_cordon } => {
                let node = self.node(node);
                node.cordoned_for = None;
                node.unschedulable = *keep_cordon;
                node.drain = Drain::NotStarted;
            }
            Action::AddTaint { node, taint } => self.node(node).taints.set(*taint, true),
            Action::RemoveTaint { node, taint } => self.node(node).taints.set(*taint, false),
            Action::BeginHandshake { node, id, keys } => {
                self.node(node).handshake = Some(Handshake {
                    id: id.clone(),
                    keys: keys.clone(),
                    answered: false,
                });
            }
            Action::EndHandshake { node, .. } => self.node(node).handshake = None,
            Action::GiveNotice { node, id, .. } => {
                let (id, given) = (id.clone(), self.now);
                self.node(node).notice = NoticeCondition::Ours(GivenNotice { id, given });
            }
            Action::EndNotice { node, .. } => self.node(node).notice = NoticeCondition::Absent,
            Action::RemoveCommand { node, .. } => self.record(node).command = None,
            Action::RemoveRequest { node, .. } => self.node(node).requested = None,
            Action::RemoveApproval { node, .. } => self.node(node).approved = None,
        }
    }
}

/// The phase, and the hook that begins or has ended in it.
fn phase_and_hook(operation: &Operation) -> String {
    let phase = format!("{:?}", operation.phase);
    let of_phase = |point: HookPoint| match operation.phase {
        Phase::Draining => point != HookPoint::AfterReboot,
        Phase::Verifying => point == HookPoint::AfterReboot,
        Phase::Preparing | Phase::Rebooting | Phase::Failed => false,
    };
    match (&operation.hook, operation.ended_hooks.last()) {
        (Some(hook), _) => format!("{phase}, hook {} begins", hook.name),
        (None, Some(hook)) if of_phase(hook.point) => {
            let failure = hook.failure.as_ref().map(|failure| format!(": {failure}"));
            format!("{phase}, hook {} has ended{}", hook.name, failure.unwrap_or_default())
        }
        (None, _) => phase,
    }
}
