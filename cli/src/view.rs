//! What the objects mean: policies with their nodes, in the order of their names.

use chrono::{DateTime, Utc};
use lockkeeper_crds::{NodeReboot, NodeState, Operation, RebootPolicy, WindowState, condition};
use serde::Serialize;

use crate::close::close;
use crate::failure::Failure;
use crate::objects::Objects;
use crate::reasons::{Needs, needs};

/// The cluster as `status` shows it, and as `-o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct View {
    pub(crate) policies: Vec<PolicyView>,
    /// Nodes that no policy selects, or more than one.
    #[serde(rename = "nodesWithoutPolicy")]
    pub(crate) without_policy: Vec<NodeView>,
    /// Who is inside, from the lock itself.
    pub(crate) holders: Vec<String>,
    /// Policies that cannot be read, and why: while there is one, no node of any policy starts.
    #[serde(rename = "unreadablePolicies")]
    pub(crate) unreadable: Vec<String>,
}

/// One policy and its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyView {
    pub(crate) name: String,
    pub(crate) window: WindowView,
    pub(crate) suspended: bool,
    /// Why the policy is not Ready, in the operator's words.
    pub(crate) trouble: Option<String>,
    /// What else a person should know of the policy, in the operator's words.
    pub(crate) warnings: Vec<String>,
    /// When the last node will be done if nothing blocks.
    pub(crate) estimated_completion_time: Option<DateTime<Utc>>,
    pub(crate) up_to_date: usize,
    pub(crate) inside: usize,
    pub(crate) pending: usize,
    pub(crate) failed: usize,
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
    /// The operator has not said.
    Unknown,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) state: NodeState,
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
    /// Since when it is in this phase, or waits for this reason.
    pub(crate) since_time: Option<DateTime<Utc>>,
    pub(crate) until_time: Option<DateTime<Utc>>,
    #[serde(rename = "operationID")]
    pub(crate) operation_id: Option<String>,
    pub(crate) needs: Needs,
}

impl View {
    /// Every node of every policy is up to date and out of the lock.
    pub(crate) fn is_done(&self) -> bool {
        let mut nodes = self.policies.iter().flat_map(|policy| &policy.nodes).peekable();
        nodes.peek().is_some() && nodes.all(NodeView::is_done)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        let selected = self.policies.iter().flat_map(|policy| &policy.nodes);
        selected.chain(&self.without_policy)
    }
}

impl NodeView {
    /// Our marks are lifted before the operation goes, so no operation means no cordon of ours.
    pub(crate) fn is_done(&self) -> bool {
        self.state == NodeState::UpToDate && self.operation_id.is_none()
    }
}

/// Draws the conclusions; `only` is the one policy that is asked for.
pub(crate) fn view(objects: &Objects, only: Option<&str>) -> Result<View, Failure> {
    if let Some(name) = only
        && !objects.policies.contains_key(name)
    {
        return Err(no_policy(name, objects));
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let mut policies: Vec<PolicyView> = objects
        .policies
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, policy)| PolicyView::new(name, policy))
        .collect();
    let mut without_policy = Vec::new();
    for (name, reboot) in &objects.reboots {
        let node = node_view(name, reboot);
        let policy = reboot.spec.policy.as_deref();
        match policies.iter_mut().find(|view| Some(view.name.as_str()) == policy) {
            Some(policy) => policy.add(node),
            // Its policy exists and is not asked for, or it has none and only one policy is asked for.
            None if only.is_some() => {}
            None => without_policy.push(node),
        }
    }
    let lock = objects.lock.as_ref().and_then(|lock| lock.status.as_ref());
    let holders = lock.map(|status| status.holders.iter().map(|holder| holder.node.clone()).collect());
    Ok(View {
        policies,
        without_policy,
        holders: holders.unwrap_or_default(),
        unreadable: objects
            .undecodable
            .iter()
            .map(|(name, cause)| {
                format!("policy {name} cannot be read ({cause}), no node of any policy starts; see: kubectl describe rbp {name}")
            })
            .collect(),
    })
}

/// One node's place; nothing reported yet is `Pending`, as it is not known whether a reboot is required.
pub(crate) fn node_view(name: &str, reboot: &NodeReboot) -> NodeView {
    let status = reboot.status.as_ref();
    let known = status.and_then(|status| status.state);
    let state = known.unwrap_or(NodeState::Pending);
    let operation = status.and_then(|status| status.operation.as_ref());
    let waiting = status.and_then(|status| status.waiting.as_ref());
    let failure = operation.and_then(|operation| operation.failure.as_ref());
    let message = match (waiting, failure) {
        (Some(waiting), _) => waiting.message.clone(),
        (None, Some(failure)) => failure.message.clone(),
        (None, None) if known.is_none() => "the operator has not looked at this node yet".to_owned(),
        (None, None) => under_way(state).to_owned(),
    };
    let entered = operation.and_then(|operation| entered(state, operation));
    NodeView {
        name: name.to_owned(),
        state,
        reason: waiting.map(|waiting| waiting.reason.clone()),
        message,
        since_time: entered.or(waiting.map(|waiting| waiting.since_time)),
        until_time: waiting.and_then(|waiting| waiting.until_time),
        operation_id: operation.map(|operation| operation.id.clone()),
        needs: match state {
            NodeState::UpToDate => Needs::Nothing,
            NodeState::Failed => Needs::Repair,
            NodeState::Pending
            | NodeState::Preparing
            | NodeState::Draining
            | NodeState::Rebooting
            | NodeState::Verifying
            | NodeState::Unknown => waiting.map_or(Needs::Nothing, |waiting| needs(&waiting.reason)),
        },
    }
}

/// When an operation came into the phase that `state` names.
fn entered(state: NodeState, operation: &Operation) -> Option<DateTime<Utc>> {
    match state {
        NodeState::UpToDate | NodeState::Pending | NodeState::Unknown => None,
        NodeState::Preparing => operation.asked_time.or(Some(operation.started_time)),
        NodeState::Draining => operation.cordoned_time.or(operation.asked_time),
        NodeState::Rebooting => operation.reboot_ordered_time,
        NodeState::Verifying => operation.rebooted_time,
        NodeState::Failed => operation.failure.as_ref().map(|failure| failure.time),
    }
}

/// What happens in a state that gives no reason of its own.
fn under_way(state: NodeState) -> &'static str {
    match state {
        NodeState::UpToDate => "no reboot is required",
        NodeState::Pending => "a reboot is required",
        NodeState::Preparing => "its agent is being asked",
        NodeState::Draining => "its pods are being moved",
        NodeState::Rebooting => "the reboot is ordered",
        NodeState::Verifying => "back with a new boot, being looked at",
        NodeState::Failed => "a person must look at it",
        NodeState::Unknown => "in a state that this plugin is too old to know",
    }
}

/// Conditions of a policy that are there only while they are true.
const WARNINGS: [&str; 2] = ["ScheduleTooTight", "AcknowledgementInvalid"];

impl PolicyView {
    fn new(name: &str, policy: &RebootPolicy) -> Self {
        let status = policy.status.clone().unwrap_or_default();
        let window = match status.window {
            _ if policy.spec.windows.is_empty() => WindowView::Always,
            Some(WindowState::Open) => WindowView::Open {
                closes_time: status.window_closes_time,
            },
            Some(WindowState::Closed) => WindowView::Closed {
                opens_time: status.next_window_time,
            },
            Some(WindowState::Unknown) | None => WindowView::Unknown,
        };
        let ready = condition::find(&status.conditions, "Ready");
        let trouble = match ready {
            None => Some("the operator has not looked at this policy yet".to_owned()),
            Some(ready) if ready.status == "True" => None,
            Some(ready) => Some(ready.message.clone()),
        };
        Self {
            name: name.to_owned(),
            window,
            suspended: policy.spec.suspend,
            trouble,
            warnings: WARNINGS
                .iter()
                .filter_map(|type_| condition::find(&status.conditions, type_))
                .filter(|condition| condition.status == "True")
                .map(|condition| condition.message.clone())
                .collect(),
            estimated_completion_time: status.estimated_completion_time,
            up_to_date: 0,
            inside: 0,
            pending: 0,
            failed: 0,
            nodes: Vec::new(),
        }
    }

    fn add(&mut self, node: NodeView) {
        match node.state {
            NodeState::UpToDate => self.up_to_date += 1,
            NodeState::Pending | NodeState::Unknown => self.pending += 1,
            NodeState::Preparing | NodeState::Draining | NodeState::Rebooting | NodeState::Verifying => {
                self.inside += 1;
            }
            NodeState::Failed => self.failed += 1,
        }
        self.nodes.push(node);
    }
}

/// There is no such policy; which names are close.
pub(crate) fn no_policy(name: &str, objects: &Objects) -> Failure {
    let names = objects.policies.keys().map(String::as_str);
    let hint = match close(name, names).as_slice() {
        [] => "see: kubectl get rbp".to_owned(),
        near => format!("did you mean {}?", near.join(", ")),
    };
    Failure::error(format!("there is no RebootPolicy {name}; {hint}"))
}
