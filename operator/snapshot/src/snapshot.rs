//! From what was read to the planner's snapshot: parsed at the edge, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use lockkeeper_crds::condition;
use lockkeeper_crds::{LabelSelector, NodeReboot, NodeRebootStatus, RebootLock, RebootPolicy, names};
use lockkeeper_planner as planner;
use planner::{BootId, PolicyName, ViewGap};

use crate::convert::{self, word};
use crate::duration_history::{DurationHistory, policy_of};
use crate::guarded::UndecodableRecord;
use crate::hold::hold;
use crate::managed::{is_unmanaged_record, unmanaged};
use crate::slim::{self, annotation};
use crate::states::node_owners;
use crate::static_pod::StaticPod;
use crate::taints;
use crate::{handshake, notice};

/// The objects that a snapshot is made of; every write of its plan is guarded by the versions in here.
#[derive(Clone, Debug, Default)]
pub struct ObservedObjects {
    /// Nodes by name, of any operating system.
    pub nodes: BTreeMap<String, Arc<slim::Node>>,
    /// `NodeReboot`s by name.
    pub reboots: BTreeMap<String, Arc<NodeReboot>>,
    /// Policies that could be decoded.
    pub policies: BTreeMap<String, Arc<RebootPolicy>>,
    /// The lock.
    pub lock: Option<Arc<RebootLock>>,
    /// Pods that may be static pods of the control plane.
    pub static_pods: Vec<Arc<StaticPod>>,
    /// The objects that cannot be decoded. A Node that cannot be is among the Nodes.
    pub undecodable: UndecodableObjects,
}

/// Objects that cannot be decoded, by name.
#[derive(Clone, Debug, Default)]
pub struct UndecodableObjects {
    /// Policies, and why.
    pub policies: BTreeMap<String, String>,
    /// `NodeReboot`s.
    pub reboots: BTreeMap<String, Arc<UndecodableRecord>>,
    /// Why the lock cannot be decoded, if it is there and cannot be.
    pub lock: Option<String>,
}

/// What is known beside the API: what the operator's own tasks do, and where it runs. A reader from outside has none.
#[derive(Clone, Debug)]
pub struct Local {
    /// The node that the operator runs on.
    pub own_node: Option<String>,
    /// Whether nodes start although agents are not confined to their own nodes.
    pub accepts_unconfined_agents: bool,
    /// How far each drain is.
    pub drains: BTreeMap<String, planner::Drain>,
    /// The labels of a control-plane node; any of them counts.
    pub control_plane_labels: Vec<String>,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            own_node: None,
            accepts_unconfined_agents: false,
            drains: BTreeMap::new(),
            control_plane_labels: names::CONTROL_PLANE_LABELS.map(str::to_owned).into(),
        }
    }
}

/// The planner's view of what was seen.
pub fn snapshot(seen: &ObservedObjects, local: &Local) -> planner::Snapshot {
    let mut snapshot = planner::Snapshot {
        own_node: local.own_node.clone(),
        accepts_unconfined_agents: local.accepts_unconfined_agents,
        ..planner::Snapshot::default()
    };
    let invalid = |name: &str, cause: &str| ViewGap::PolicyInvalid {
        policy: name.to_owned(),
        cause: cause.to_owned(),
    };
    let undecodable = seen.undecodable.policies.iter();
    snapshot
        .view_gaps
        .extend(undecodable.map(|(name, cause)| invalid(name, cause)));
    // Without the lock it is not known which nodes are in progress.
    let lock = seen.undecodable.lock.clone();
    snapshot
        .unlisted
        .extend(lock.map(|cause| ViewGap::LockInvalid { cause }));
    let mut selectors: Vec<(PolicyName, Selector)> = Vec::new();
    let topologies = seen
        .policies
        .values()
        .flat_map(|policy| &policy.spec.disruption.topology);
    let keys: BTreeSet<&str> = topologies.map(|topology| topology.key.as_str()).collect();
    for (name, policy) in &seen.policies {
        let (name, mut view) = (PolicyName::from(name.as_str()), policy_view(policy));
        match selector(policy) {
            Ok(selector) => selectors.push((name.clone(), selector)),
            // Which nodes it selects is not known: no node starts, and the status of the policy gives the reason.
            Err(cause) => {
                snapshot.view_gaps.push(invalid(&name, &cause));
                view.schedule = Err(cause);
            }
        }
        if let Err(cause) = drain_selectors(policy) {
            view.schedule = Err(cause);
        }
        snapshot.policies.insert(name, view);
    }
    for (name, node) in &seen.nodes {
        if let Some(mut view) = node_view(name, node, seen.reboots.get(name), &selectors, &keys, local) {
            view.view_gap = view_gap(name, node, seen.undecodable.reboots.get(name));
            snapshot.nodes.insert(name.clone(), view);
        } else if seen
            .reboots
            .get(name)
            .is_some_and(|reboot| is_unmanaged_record(node, reboot))
        {
            snapshot.unmanaged_records.insert(name.clone());
        }
    }
    mark_control_plane(&mut snapshot.nodes, &seen.static_pods);
    let mut durations = DurationHistory::default();
    for (name, node) in &snapshot.nodes {
        if let (Some(policy), Some(reboot)) = (policy_of(node), seen.reboots.get(name)) {
            durations.add(policy, reboot);
        }
    }
    for (name, policy) in &mut snapshot.policies {
        policy.duration_estimate = durations.estimate(name);
    }
    snapshot.lock = seen.lock.as_deref().map(convert::lock);
    snapshot
}

fn policy_view(policy: &RebootPolicy) -> planner::Policy {
    let acknowledged = policy.annotations().get(names::BREAKER_ACKNOWLEDGED);
    let acknowledged = acknowledged.and_then(|text| DateTime::parse_from_rfc3339(text.trim()).ok());
    planner::Policy {
        acknowledged: acknowledged.map(|time| time.with_timezone(&Utc)),
        state: policy.status.as_ref().map(convert::policy_state).unwrap_or_default(),
        ..convert::policy(&policy.spec)
    }
}

/// The policy's selector; a policy without one selects every node.
fn selector(policy: &RebootPolicy) -> Result<Selector, String> {
    let spec = policy.spec.node_selector.clone().unwrap_or_default();
    Selector::try_from(spec.to_kubernetes()).map_err(|error| format!("spec.nodeSelector: {error}"))
}

/// Every selector of the policy's drain can be read; else none of its nodes starts.
fn drain_selectors(policy: &RebootPolicy) -> Result<(), String> {
    let drain = &policy.spec.drain;
    let read = |field: String, selector: &Option<LabelSelector>| match selector {
        Some(selector) => Selector::try_from(selector.to_kubernetes())
            .map(drop)
            .map_err(|error| format!("spec.drain.{field}: {error}")),
        None => Ok(()),
    };
    for (index, rule) in drain.rules.iter().enumerate() {
        read(format!("rules[{index}].podSelector"), &rule.pod_selector)?;
        read(format!("rules[{index}].namespaceSelector"), &rule.namespace_selector)?;
    }
    let exempt = drain.delete_exempt.as_ref();
    exempt.map_or(Ok(()), |exempt| {
        read("deleteExempt.podSelector".to_owned(), &exempt.pod_selector)
    })
}

/// The names of the policies that select a node with these labels, in their order.
fn selecting(policies: &[(PolicyName, Selector)], labels: &BTreeMap<String, String>) -> Vec<PolicyName> {
    let selecting = policies.iter().filter(|(_, selector)| selector.matches(labels));
    selecting.map(|(name, _)| name.clone()).collect()
}

/// A node that Lockkeeper manages; an operation that is in progress ends whatever becomes of its Node's labels.
fn node_view(
    name: &str,
    node: &slim::Node,
    reboot: Option<&Arc<NodeReboot>>,
    selectors: &[(PolicyName, Selector)],
    keys: &BTreeSet<&str>,
    local: &Local,
) -> Option<planner::Node> {
    let labels = node.labels();
    let uid = node.uid().unwrap_or_default();
    let reboot = reboot.filter(|reboot| node_owners(&reboot.metadata).any(|owner| owner == uid));
    let deletion = deletion(node, reboot.and_then(|reboot| reboot.status.as_ref()));
    let record = reboot.map(|reboot| record(reboot));
    let in_progress = record.as_ref().is_some_and(|record| record.operation.is_some());
    if !in_progress && unmanaged(node).is_some() {
        return None;
    }
    let created = node
        .creation_timestamp()
        .map(|time| lockkeeper_crds::time::from_kubernetes(&time));
    Some(planner::Node {
        uid,
        created: created.unwrap_or_default(),
        policies: selecting(selectors, labels),
        boot_id: BootId::from(node.status.node_info.boot_id.as_str()),
        ready: ready(node),
        unschedulable: node.spec.unschedulable,
        cordoned_for: annotation(node, names::OPERATION).map(str::to_owned),
        deletion,
        taints: taints::on(node),
        control_plane: local
            .control_plane_labels
            .iter()
            .any(|label| labels.contains_key(label)),
        unready_static_pod: None,
        view_gap: None,
        refused_write: None,
        hold: hold(node),
        requested: annotation(node, names::REBOOT_REQUESTED).map(word),
        approved: annotation(node, names::APPROVED).map(word),
        domains: domains(labels, keys),
        record,
        preflight: planner::Preflight::Clear {
            at: planner::Instant::MAX_UTC,
        },
        drain: local.drains.get(name).cloned().unwrap_or_default(),
        drain_details: planner::DrainDetails::default(),
        daemon_sets: planner::DaemonSetReadiness::Unknown,
        workloads: planner::WorkloadReadiness::Unknown,
        handshake: handshake::on(node),
        notice: notice::on(node),
        hook_job: None,
    })
}

/// What of a node cannot be decoded; the record of an earlier Node of the same name does not matter.
fn view_gap(name: &str, node: &slim::Node, record: Option<&Arc<UndecodableRecord>>) -> Option<ViewGap> {
    if let Some(cause) = node.undecodable.clone() {
        let node = name.to_owned();
        return Some(ViewGap::NodeInvalid { node, cause });
    }
    let uid = node.uid().unwrap_or_default();
    let record = record.filter(|record| node_owners(&record.metadata).any(|owner| owner == uid))?;
    Some(ViewGap::RecordInvalid {
        node: name.to_owned(),
        cause: record.cause.clone(),
    })
}

/// A node that runs a static pod of the control plane is a control-plane node, whatever its labels are.
fn mark_control_plane(nodes: &mut BTreeMap<String, planner::Node>, pods: &[Arc<StaticPod>]) {
    for pod in pods {
        if let Some(node) = pod.node().and_then(|node| nodes.get_mut(node)) {
            node.control_plane = true;
            if !pod.is_ready() {
                let name = pod.full_name();
                let first = node
                    .unready_static_pod
                    .take()
                    .map_or(name.clone(), |other| other.min(name));
                node.unready_static_pod = Some(first);
            }
        }
    }
}

/// Why a Node is about to be deleted, if it is.
fn deletion(node: &slim::Node, status: Option<&NodeRebootStatus>) -> Option<planner::Deletion> {
    if let Some(deleted) = &node.metadata.deletion_timestamp {
        let since = lockkeeper_crds::time::from_kubernetes(deleted);
        return Some(planner::Deletion::InProgress { since });
    }
    let mut taints = node.spec.taints.iter();
    let taint = taints.find(|taint| names::DELETION_TAINTS.contains(&taint.key.as_str()))?;
    let recorded = status.and_then(|status| status.deletion_taint.as_ref());
    let recorded = recorded.filter(|recorded| recorded.key == taint.key);
    Some(planner::Deletion::Tainted {
        taint: taint.key.clone(),
        since: recorded.map(|recorded| recorded.first_seen_time),
    })
}

/// The node's value of each label that any policy's topology names.
fn domains(labels: &BTreeMap<String, String>, keys: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let values = keys.iter().filter_map(|key| labels.get_key_value(*key));
    values.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn ready(node: &slim::Node) -> planner::Ready {
    match &node.status.ready {
        None => planner::Ready {
            ready: false,
            since: DateTime::<Utc>::default(),
            heartbeat: DateTime::<Utc>::default(),
            message: if node.undecodable.is_some() {
                "the Node cannot be decoded".to_owned()
            } else {
                "the kubelet has not reported yet".to_owned()
            },
        },
        Some(condition) => planner::Ready {
            ready: condition.status == "True",
            since: condition.last_transition_time.unwrap_or_default(),
            heartbeat: condition.last_heartbeat_time.unwrap_or_default(),
            message: word(&format!("{}: {}", condition.reason, condition.message)),
        },
    }
}

/// Since when the condition `RebootRequired`, which the operator writes, is true.
fn required_observed(status: &NodeRebootStatus) -> Option<DateTime<Utc>> {
    let required = condition::find(&status.conditions, "RebootRequired")?;
    (required.status == "True").then_some(required.last_transition_time)
}

fn record(reboot: &NodeReboot) -> planner::Record {
    let command = reboot.annotations().get(names::COMMAND);
    let before = planner::Record {
        policy: reboot.spec.policy.as_deref().map(PolicyName::from),
        order: reboot.spec.order.as_ref().and_then(convert::order),
        command: command.map(|text| convert::command(text)),
        ..planner::Record::default()
    };
    let Some(status) = &reboot.status else {
        return before;
    };
    planner::Record {
        host: status.host.as_ref().map(convert::host),
        operation: status.operation.as_ref().map(convert::operation).map(Box::new),
        required_observed: required_observed(status),
        deferred: status.deferred.as_ref().map(|deferred| planner::Deferred {
            count: deferred.count,
            cause: deferred.cause.clone(),
            message: deferred.message.clone(),
            until: deferred.until_time,
        }),
        released: status.released.as_ref().map(|released| planner::Released {
            time: released.time,
            failure: released.failure.clone(),
            reasons: convert::words(&released.reasons),
        }),
        last_reboot: status.last_reboot.as_ref().map(|last| planner::LastReboot {
            started: last.started_time,
            time: last.ended_time,
            reasons: convert::words(&last.reasons),
            repeats: last.repeats,
            series: last.series.as_ref().map(|series| planner::RebootSeries {
                since: series.since_time,
                reboots: series.reboots,
            }),
        }),
        finished: status.history.first().map(|last| last.operation_id.clone()),
        answered_command: status.last_command.as_ref().map(|last| planner::Command {
            verb: last.verb.clone(),
            operation_id: last.operation_id.clone(),
        }),
        ..before
    }
}

#[cfg(test)]
mod tests;
