//! Gauges about the cluster: whole pictures, from the leader alone.

use std::collections::BTreeMap;

use super::make::{GaugeFamily, Maker, Series};

/// A family of gauges about the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    /// Nodes by policy and state.
    Nodes,
    /// Nodes that wait, by policy and reason.
    WaitingNodes,
    /// Failed nodes by policy.
    FailedNodes,
    /// Nodes without an agent's word, by policy.
    AgentsMissing,
    /// Nodes whose agents are not confined to their own node, by policy.
    AgentsUnconfined,
    /// The state of each node that is not up to date.
    NodeState,
    /// Since when it is in it.
    NodeStateSince,
    /// Since when it asks for a reboot.
    NodeRequiredSince,
    /// Since when it is away.
    NodeRebootOrdered,
    /// Whether our cordon stands.
    NodeCordoned,
    /// How many of its detectors cannot be read.
    NodeDetectorsFailing,
    /// Nodes by detector and what it saw, by policy.
    DetectorNodes,
    /// When we rebooted it last.
    NodeLastReboot,
    /// Objects that cannot be decoded, by kind.
    Undecodable,
    /// Whether nodes may start by the windows.
    WindowOpen,
    /// When the open window closes.
    WindowEnd,
    /// When the next one opens.
    NextWindow,
    /// Whether the policy is suspended.
    Suspended,
    /// Its drain's time-out.
    DrainTimeout,
    /// Its reboot's time-out.
    RebootTimeout,
    /// What each of its checks found last.
    Check,
    /// Whether its breaker keeps nodes from starting.
    BreakerOpen,
    /// When a window of it last closed while nodes waited.
    LastMissedWindow,
    /// When its rollout will be over.
    Completion,
    /// Nodes that are overdue.
    OverdueNodes,
    /// Nodes that will be, by the forecast.
    LateNodes,
    /// Nodes to which each rung of its deadline applies.
    RungNodes,
    /// When each rung applies to the next node.
    RungTime,
    /// Its conditions.
    Condition,
}

const NODE: &[&str] = &["node", "policy"];
const POLICY: &[&str] = &["policy"];
const RUNG: &[&str] = &["policy", "override", "after_seconds"];

pub(super) type Row = (Gauge, &'static str, &'static str, &'static [&'static str]);

/// Each with its name, its help and its labels.
pub(super) const ALL: [Row; 29] = [
    (
        Gauge::Nodes,
        "nodes",
        "Nodes by policy and state.",
        &["policy", "state"],
    ),
    (
        Gauge::WaitingNodes,
        "waiting_nodes",
        "Nodes that wait, by policy and waiting reason.",
        &["policy", "reason"],
    ),
    (
        Gauge::FailedNodes,
        "failed_nodes",
        "Nodes that a person must look at.",
        POLICY,
    ),
    (
        Gauge::AgentsMissing,
        "agents_missing",
        "Nodes from whose present boot no agent has reported.",
        POLICY,
    ),
    (
        Gauge::AgentsUnconfined,
        "agents_unconfined",
        "Nodes whose agent reports that it is not confined to its own node.",
        POLICY,
    ),
    (
        Gauge::NodeState,
        "node_state",
        "Constant 1; the state of each node that is not UpToDate.",
        &["node", "policy", "state"],
    ),
    (
        Gauge::NodeStateSince,
        "node_state_since_timestamp_seconds",
        "Since when a node in progress is in its state.",
        NODE,
    ),
    (
        Gauge::NodeRequiredSince,
        "node_reboot_required_since_timestamp_seconds",
        "Since when the node's host requires a reboot; only while it does.",
        NODE,
    ),
    (
        Gauge::NodeRebootOrdered,
        "node_reboot_ordered_timestamp_seconds",
        "When the reboot was ordered of a node that is not back and Ready yet.",
        NODE,
    ),
    (
        Gauge::NodeCordoned,
        "node_cordoned",
        "Constant 1; the nodes on which our cordon stands.",
        NODE,
    ),
    (
        Gauge::NodeDetectorsFailing,
        "node_detectors_failing",
        "Detectors that the node's agent cannot read; only nodes that have some.",
        NODE,
    ),
    (
        Gauge::DetectorNodes,
        "detector_nodes",
        "Nodes by policy, detector and what the detector saw in the present boot.",
        &["policy", "detector", "state"],
    ),
    (
        Gauge::NodeLastReboot,
        "node_last_reboot_timestamp_seconds",
        "When the last reboot that we made of the node was over.",
        NODE,
    ),
    (
        Gauge::Undecodable,
        "undecodable_objects",
        "Objects that the operator cannot decode, by kind.",
        &["kind"],
    ),
    (
        Gauge::WindowOpen,
        "policy_window_open",
        "1 while nodes of the policy may start, by its windows and exclusions.",
        POLICY,
    ),
    (
        Gauge::WindowEnd,
        "policy_window_end_timestamp_seconds",
        "When the open window closes; only while one is open that does.",
        POLICY,
    ),
    (
        Gauge::NextWindow,
        "policy_next_window_timestamp_seconds",
        "When the next window opens; only if one does.",
        POLICY,
    ),
    (
        Gauge::Suspended,
        "policy_suspended",
        "1 while the policy is suspended.",
        POLICY,
    ),
    (
        Gauge::DrainTimeout,
        "policy_drain_timeout_seconds",
        "The policy's drain.timeoutSeconds.",
        POLICY,
    ),
    (
        Gauge::RebootTimeout,
        "policy_reboot_timeout_seconds",
        "The policy's reboot.timeoutSeconds.",
        POLICY,
    ),
    (
        Gauge::Check,
        "policy_check",
        "Constant 1; what each check of a policy found in its last round; only while nodes wait for it.",
        &["policy", "stage", "check", "state"],
    ),
    (
        Gauge::BreakerOpen,
        "breaker_open",
        "1 while failed nodes keep other nodes of the policy from starting.",
        POLICY,
    ),
    (
        Gauge::Completion,
        "policy_estimated_completion_timestamp_seconds",
        "When the last node of the policy will be done if nothing blocks; only during a rollout.",
        POLICY,
    ),
    (
        Gauge::LastMissedWindow,
        "policy_last_missed_window_timestamp_seconds",
        "When a window of the policy last closed while nodes waited; absent if none did.",
        POLICY,
    ),
    (
        Gauge::OverdueNodes,
        "overdue_nodes",
        "Nodes that have required a reboot for longer than deadline.maxPendingSeconds; only policies with a deadline.",
        POLICY,
    ),
    (
        Gauge::LateNodes,
        "late_nodes",
        "Nodes that will be overdue before they are rebooted, by the forecast; only policies with a deadline.",
        POLICY,
    ),
    (
        Gauge::RungNodes,
        "policy_rung_nodes",
        "Nodes to which a rung of the deadline applies; only rungs that apply, or will within a day.",
        RUNG,
    ),
    (
        Gauge::RungTime,
        "policy_rung_timestamp_seconds",
        "When a rung of the deadline applies to the next node; only rungs that apply, or will within a day.",
        RUNG,
    ),
    (
        Gauge::Condition,
        "policy_condition",
        "Constant 1; the present status of each condition of the policy.",
        &["policy", "condition", "status"],
    ),
];

impl Gauge {
    /// Whether it follows from a policy's status, and is set together with it.
    fn is_status(self) -> bool {
        matches!(
            self,
            Self::Completion
                | Self::LastMissedWindow
                | Self::OverdueNodes
                | Self::LateNodes
                | Self::RungNodes
                | Self::RungTime
                | Self::Condition
        )
    }
}

/// What one look at the cluster shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GaugeSet(BTreeMap<Gauge, Series>);

impl GaugeSet {
    /// Puts a series on; the labels in the order of the gauge.
    pub fn put(&mut self, gauge: Gauge, labels: &[&str], value: i64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.entry(gauge).or_default().insert(labels, value);
    }

    /// Adds to a series, which begins with 0.
    pub fn add(&mut self, gauge: Gauge, labels: &[&str], value: i64) {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        *self.0.entry(gauge).or_default().entry(labels).or_default() += value;
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Cluster(Vec<(Gauge, GaugeFamily)>);

impl Cluster {
    pub(super) fn new(make: &mut Maker) -> prometheus::Result<Self> {
        let mut all = Vec::new();
        for (gauge, name, help, labels) in ALL {
            all.push((gauge, make.family(name, help, labels)?));
        }
        Ok(Self(all))
    }

    /// What a look shows, of nodes and policies, or of the policies' statuses.
    pub(super) fn show(&self, mut gauges: GaugeSet, status: bool) {
        for (gauge, family) in self.0.iter().filter(|(gauge, _)| gauge.is_status() == status) {
            family.set(gauges.0.remove(gauge).unwrap_or_default());
        }
    }

    pub(super) fn clear(&self) {
        for (_, family) in &self.0 {
            family.set(Series::new());
        }
    }
}
