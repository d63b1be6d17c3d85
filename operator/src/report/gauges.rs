//! The pictures behind the metrics: what a look saw, counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lockkeeper_crds::host::DetectorReport;
use lockkeeper_crds::{DeadlineStatus, NodeReboot, NodeState, RebootPolicyStatus, WindowState};
use lockkeeper_kube_util::bounded;
use lockkeeper_planner::{
    BreakerState, CheckResult, CheckStage, CheckVerdict, Confinement, Node, Operation, Phase, Plan, Policy, PolicyName,
    Snapshot,
};
use lockkeeper_snapshot::ObservedObjects;
use tokio::time::Instant;

use crate::metrics::{Gauge, GaugeSet, Metrics};
use crate::status::node::failing_detectors;
use crate::status::policy::window;
use crate::status::{node_state, phase_of, policy_name};
use crate::watched_kind::WatchedKind;

/// A loop that has much to do paints no more often than this; one that comes to rest always does.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// So many detectors have series of their own, those of most nodes; agents name them, and each name is a label.
const MAX_DETECTORS: usize = 32;
/// The detectors beyond that.
const OTHER_DETECTORS: &str = "other";

/// Paints what the leader sees.
#[derive(Debug, Default)]
pub(super) struct GaugeExporter {
    exported: Option<Instant>,
}

impl GaugeExporter {
    /// Another replica exports from now on.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// Whether a pass in the middle of much work should paint.
    pub(super) fn is_due(&self) -> bool {
        self.exported.is_none_or(|exported| exported.elapsed() >= MIN_INTERVAL)
    }

    /// Sets every gauge about the cluster but those that follow from the policies' statuses.
    pub(super) fn export(
        &mut self,
        metrics: &Metrics,
        snapshot: &Snapshot,
        seen: &ObservedObjects,
        plan: &Plan,
        now: DateTime<Utc>,
    ) {
        self.exported = Some(Instant::now());
        metrics.set_leader(true);
        metrics.set_policies(snapshot.policies.keys().map(PolicyName::as_str));
        let holders = snapshot.lock.as_ref().map_or(0, |lock| lock.holders.len());
        metrics.set_lock(holders, plan.cluster_limit);
        let mut gauges = GaugeSet::default();
        for (kind, count) in undecodable(seen) {
            gauges.put(
                Gauge::Undecodable,
                &[kind.as_str()],
                i64::try_from(count).unwrap_or(i64::MAX),
            );
        }
        for (name, policy) in &snapshot.policies {
            add_policy(&mut gauges, name, policy, plan, now);
        }
        let detectors = shown_detectors(snapshot, seen);
        for (name, node) in &snapshot.nodes {
            let policy = policy_name(node);
            let reboot = seen.reboots.get(name);
            let failing = reboot.map_or(&[][..], |reboot| failing_detectors(reboot));
            let (phase, waiting) = (phase_of(node), plan.wait_reasons.get(name));
            let state = node_state(node, phase, waiting.is_some(), failing);
            add_node(&mut gauges, &[name, &policy], node, state, now);
            if let Some(waiting) = waiting {
                gauges.add(Gauge::WaitingNodes, &[&policy, waiting.name().as_str()], 1);
            }
            if !failing.is_empty() {
                let failing = i64::try_from(failing.len()).unwrap_or(i64::MAX);
                gauges.put(Gauge::NodeDetectorsFailing, &[name, &policy], failing);
            }
            if let Some(reboot) = reboot.filter(|_| node.trusted_host().is_some()) {
                add_detectors(&mut gauges, &policy, reboot, &detectors);
            }
        }
        metrics.show(gauges);
    }
}

/// How many objects of each kind cannot be decoded.
fn undecodable(seen: &ObservedObjects) -> impl Iterator<Item = (WatchedKind, usize)> {
    let nodes = seen.nodes.values().filter(|node| node.undecodable.is_some());
    let pods = seen.static_pods.iter().filter(|pod| pod.undecodable.is_some());
    let of = &seen.undecodable;
    let counts = [
        nodes.count(),
        of.reboots.len(),
        of.policies.len(),
        of.lock.iter().count(),
        pods.count(),
    ];
    WatchedKind::ALL.into_iter().zip(counts)
}

/// The gauges that follow from the statuses of the policies.
pub(super) fn export_statuses<'a>(
    metrics: &Metrics,
    statuses: impl Iterator<Item = (&'a str, &'a RebootPolicyStatus)>,
) {
    let mut gauges = GaugeSet::default();
    for (name, status) in statuses {
        for condition in &status.conditions {
            gauges.put(Gauge::Condition, &[name, &condition.type_, &condition.status], 1);
        }
        if let Some(deadline) = &status.deadline {
            add_deadline(&mut gauges, name, deadline);
        }
        for (gauge, at) in [
            (Gauge::Completion, status.estimated_completion_time),
            (Gauge::LastMissedWindow, status.last_missed_window_time),
        ] {
            if let Some(at) = at {
                gauges.put(gauge, &[name], at.timestamp());
            }
        }
    }
    metrics.show_statuses(gauges);
}

fn add_deadline(gauges: &mut GaugeSet, policy: &str, deadline: &DeadlineStatus) {
    gauges.put(Gauge::OverdueNodes, &[policy], deadline.overdue.into());
    gauges.put(Gauge::LateNodes, &[policy], deadline.late.into());
    for rung in &deadline.rungs {
        let after = rung.after_seconds.to_string();
        let labels = [policy, rung.override_.as_str(), &after];
        gauges.put(Gauge::RungNodes, &labels, rung.nodes.into());
        if let Some(at) = rung.next_time {
            gauges.put(Gauge::RungTime, &labels, at.timestamp());
        }
    }
}

fn add_policy(gauges: &mut GaugeSet, name: &str, policy: &Policy, plan: &Plan, now: DateTime<Utc>) {
    for state in NodeState::ALL {
        gauges.put(Gauge::Nodes, &[name, state.as_str()], 0);
    }
    let breaker = plan.policies.get(name).map(|state| state.breaker.state);
    let window = window(policy, now);
    let settings = &policy.settings;
    for (gauge, value) in [
        (Gauge::FailedNodes, 0),
        (Gauge::AgentsMissing, 0),
        (Gauge::AgentsUnconfined, 0),
        (Gauge::Suspended, policy.suspend.into()),
        (Gauge::WindowOpen, (window.state == WindowState::Open).into()),
        (Gauge::DrainTimeout, settings.drain_timeout.num_seconds()),
        (Gauge::RebootTimeout, settings.reboot_timeout.num_seconds()),
        (
            Gauge::BreakerOpen,
            breaker.is_some_and(|breaker| breaker != BreakerState::Closed).into(),
        ),
    ] {
        gauges.put(gauge, &[name], value);
    }
    for result in check_results(policy) {
        let stage = match result.stage {
            CheckStage::Before => "before",
            CheckStage::After => "after",
        };
        let found = match &result.verdict {
            CheckVerdict::Passing => "Passing",
            CheckVerdict::Running(_) => "Running",
            CheckVerdict::Failing(_) => "Failing",
            CheckVerdict::Unavailable { .. } => "Unavailable",
        };
        gauges.put(Gauge::Check, &[name, stage, &result.name, found], 1);
    }
    for (gauge, at) in [(Gauge::WindowEnd, window.closes), (Gauge::NextWindow, window.next)] {
        if let Some(at) = at {
            gauges.put(gauge, &[name], at.timestamp());
        }
    }
}

/// What the checks of a policy found in their last round, about the cluster and about nodes.
fn check_results(policy: &Policy) -> impl Iterator<Item = &CheckResult> {
    let round = policy.checks.as_ref().and_then(|checks| checks.round.as_ref());
    round
        .into_iter()
        .flat_map(|round| round.cluster.iter().chain(round.nodes.values().flatten()))
}

fn add_node(gauges: &mut GaugeSet, labels: &[&str; 2], node: &Node, state: NodeState, now: DateTime<Utc>) {
    let [name, policy] = *labels;
    let phase = phase_of(node);
    gauges.add(Gauge::Nodes, &[policy, state.as_str()], 1);
    if phase == Some(Phase::Failed) {
        gauges.add(Gauge::FailedNodes, &[policy], 1);
    }
    if phase.is_none() && node.agent_missing_since(now).is_some_and(|since| since <= now) {
        gauges.add(Gauge::AgentsMissing, &[policy], 1);
    }
    if let Some(Confinement::NotConfined(_)) = node.trusted_host().map(|host| &host.confinement) {
        gauges.add(Gauge::AgentsUnconfined, &[policy], 1);
    }
    if state != NodeState::UpToDate {
        gauges.put(Gauge::NodeState, &[name, policy, state.as_str()], 1);
    }
    if node.cordoned_for.is_some() && node.unschedulable {
        gauges.put(Gauge::NodeCordoned, &[name, policy], 1);
    }
    let record = node.record.as_ref();
    let operation = record.and_then(|record| record.operation.as_deref());
    let required = node.trusted_host().filter(|host| host.required);
    for (gauge, at) in [
        (Gauge::NodeStateSince, operation.and_then(phase_since)),
        (
            Gauge::NodeRebootOrdered,
            operation.and_then(|operation| outstanding_since(operation, node)),
        ),
        (Gauge::NodeRequiredSince, required.and_then(|host| host.required_since)),
        (
            Gauge::NodeLastReboot,
            record.and_then(|record| Some(record.last_reboot.as_ref()?.time)),
        ),
    ] {
        if let Some(at) = at {
            gauges.put(gauge, &[name, policy], at.timestamp());
        }
    }
}

/// The detectors that have series of their own: those that most nodes report.
fn shown_detectors(snapshot: &Snapshot, seen: &ObservedObjects) -> BTreeSet<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let trusted = snapshot.nodes.iter().filter(|(_, node)| node.trusted_host().is_some());
    for reboot in trusted.filter_map(|(name, _)| seen.reboots.get(name)) {
        for detector in detectors(reboot) {
            *counts.entry(&detector.name).or_default() += 1;
        }
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_by_key(|(name, count)| (Reverse(*count), *name));
    names.truncate(MAX_DETECTORS);
    names.into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// What each detector of a node saw.
fn add_detectors(gauges: &mut GaugeSet, policy: &str, reboot: &NodeReboot, shown: &BTreeSet<String>) {
    for detector in detectors(reboot) {
        let is_shown = shown.contains(&detector.name);
        let name = if is_shown { &detector.name } else { OTHER_DETECTORS };
        let name = bounded(name, DetectorReport::MAX_NAME);
        gauges.add(Gauge::DetectorNodes, &[policy, &name, detector.state.as_str()], 1);
    }
}

fn detectors(reboot: &NodeReboot) -> &[DetectorReport] {
    let host = reboot.status.as_ref().and_then(|status| status.host.as_ref());
    host.map_or(&[], |host| &host.reboot_required.detectors)
}

/// Since when the node is in its phase; of a drain, since pods may be evicted.
fn phase_since(operation: &Operation) -> Option<DateTime<Utc>> {
    match operation.phase {
        Phase::Preparing => Some(operation.asked),
        Phase::Draining => Some(operation.evict_from()),
        Phase::Rebooting => operation.reboot_ordered,
        Phase::Verifying => operation.rebooted,
        Phase::Failed => operation.failure.as_ref().map(|failure| failure.time),
    }
}

/// When the reboot was ordered of a node that is not back yet; none once it is, or if its host did not reboot.
fn outstanding_since(operation: &Operation, node: &Node) -> Option<DateTime<Utc>> {
    let back = match (operation.rebooted, operation.phase) {
        (Some(_), _) | (None, Phase::Failed) => node.ready.ready,
        (None, Phase::Preparing | Phase::Draining | Phase::Rebooting | Phase::Verifying) => false,
    };
    operation.reboot_ordered.filter(|_| !back)
}

#[cfg(test)]
mod tests;
