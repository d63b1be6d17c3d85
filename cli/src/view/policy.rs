//! One policy: its window, its conditions, and how many of its nodes are in which state.

use chrono::{DateTime, Utc};
use lockkeeper_crds::reasons::format_time;
use lockkeeper_crds::{NodeState, RebootPolicy, RebootPolicyStatus, WindowState, condition};
use serde::Serialize;

use super::node::NodeView;
use crate::clock::duration;

/// One policy and its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyView {
    pub(crate) name: String,
    pub(crate) window: WindowView,
    pub(crate) suspended: bool,
    /// The operator's message if the policy is not Ready.
    #[serde(rename = "notReady")]
    pub(crate) not_ready: Option<String>,
    /// The operator's warnings about the policy.
    pub(crate) warnings: Vec<String>,
    /// Whether its deadline will be met, if it has one and nodes wait.
    pub(crate) deadline: Option<String>,
    /// The rungs of its deadline that apply to nodes, or will within a day.
    pub(crate) rungs: Option<String>,
    /// Its urgent override, while that applies.
    pub(crate) urgent: Option<String>,
    /// When the last node will be done if nothing blocks.
    pub(crate) estimated_completion_time: Option<DateTime<Utc>>,
    pub(crate) up_to_date: usize,
    pub(crate) in_progress: usize,
    pub(crate) pending: usize,
    pub(crate) failed: usize,
    /// Nodes for which it is not known whether a reboot is required.
    pub(crate) unknown: usize,
    pub(crate) nodes: Vec<NodeView>,
}

/// Whether nodes may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub(crate) enum WindowView {
    /// The policy has no windows.
    Always,
    Open {
        closes_time: Option<DateTime<Utc>>,
    },
    Closed {
        opens_time: Option<DateTime<Utc>>,
    },
    /// The operator has not reported it.
    Unknown,
}

/// Conditions of a policy that exist only while they are true.
const WARNINGS: [&str; 5] = [
    "ScheduleTooTight",
    "AgentsIncapable",
    "AcknowledgementInvalid",
    "DeadlineMissed",
    "DeadlineAtRisk",
];

/// The message of a policy that has no conditions.
pub(crate) const NOT_OBSERVED: &str = "the operator has not observed this policy yet";

impl PolicyView {
    pub(super) fn new(name: &str, policy: &RebootPolicy) -> Self {
        let status = policy.status.clone().unwrap_or_default();
        let ready = condition::find(&status.conditions, "Ready");
        let not_ready = match ready {
            None => Some(NOT_OBSERVED.to_owned()),
            Some(ready) if ready.status == "True" => None,
            Some(ready) => Some(ready.message.clone()),
        };
        Self {
            name: name.to_owned(),
            window: window(policy, &status),
            suspended: policy.spec.suspend,
            not_ready,
            warnings: WARNINGS.iter().filter_map(|type_| message_of(&status, type_)).collect(),
            deadline: deadline(policy, &status),
            rungs: message_of(&status, "DeadlineEscalating"),
            urgent: message_of(&status, "Urgent"),
            estimated_completion_time: status.estimated_completion_time,
            up_to_date: 0,
            in_progress: 0,
            pending: 0,
            failed: 0,
            unknown: 0,
            nodes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, node: NodeView) {
        let number = match node.state {
            NodeState::UpToDate => &mut self.up_to_date,
            NodeState::Pending => &mut self.pending,
            NodeState::Preparing | NodeState::Draining | NodeState::Rebooting | NodeState::Verifying => {
                &mut self.in_progress
            }
            NodeState::Failed => &mut self.failed,
            NodeState::Unknown => &mut self.unknown,
        };
        *number += 1;
        self.nodes.push(node);
    }
}

/// The message of a condition that is true.
fn message_of(status: &RebootPolicyStatus, type_: &str) -> Option<String> {
    let condition = condition::find(&status.conditions, type_)?;
    (condition.status == "True").then(|| condition.message.clone())
}

/// Whether the policy's nodes are rebooted in time, by what the operator has published.
fn deadline(policy: &RebootPolicy, status: &RebootPolicyStatus) -> Option<String> {
    let (spec, found) = (policy.spec.deadline.as_ref()?, status.deadline.as_ref()?);
    let allowed = duration(spec.max_pending_seconds.into());
    match (found.overdue, found.late, found.next_overdue_time) {
        (0, 0, None) => None,
        (0, 0, Some(next)) => Some(format!(
            "every node is rebooted within {allowed} if nothing blocks; the first one is overdue at {}",
            format_time(next)
        )),
        (overdue, late, _) => Some(format!(
            "{overdue} overdue after {allowed}, {late} more will be by the forecast"
        )),
    }
}

fn window(policy: &RebootPolicy, status: &RebootPolicyStatus) -> WindowView {
    if policy.spec.windows.is_empty() {
        return WindowView::Always;
    }
    match status.window {
        Some(WindowState::Open) => WindowView::Open {
            closes_time: status.window_closes_time,
        },
        Some(WindowState::Closed) => WindowView::Closed {
            opens_time: status.next_window_time,
        },
        Some(WindowState::Unknown) | None => WindowView::Unknown,
    }
}
