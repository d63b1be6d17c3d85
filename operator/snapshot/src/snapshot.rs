//! From what was read to the planner's snapshot: parsed at the edge, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use lockkeeper_crds::{LabelSelector, NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_planner as planner;
use planner::{BootId, PolicyName, ViewGap};

use crate::convert;
use crate::duration_history::{DurationHistory, policy_of};
use crate::slim::{self, annotation};
use crate::taints;

/// The objects that a snapshot is made of; every write of its plan is guarded by the versions in here.
#[derive(Clone, Debug, Default)]
pub struct ObservedObjects {
    /// Nodes by name, of any operating system.
    pub nodes: BTreeMap<String, Arc<slim::Node>>,
    /// `NodeReboot`s by name.
    pub reboots: BTreeMap<String, Arc<NodeReboot>>,
    /// Policies that could be decoded.
    pub policies: BTreeMap<String, Arc<RebootPolicy>>,
    /// The others, and why they could not be.
    pub undecodable: BTreeMap<String, String>,
    /// The lock.
    pub lock: Option<Arc<RebootLock>>,
}

/// What is known beside the API: what the operator's own tasks do, and where it runs. A reader from outside has none.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// The node that the operator runs on.
    pub own_node: Option<String>,
    /// How far each drain is.
    pub drains: BTreeMap<String, planner::Drain>,
}

/// The planner's view of what was seen.
pub fn snapshot(seen: &ObservedObjects, local: &Local) -> planner::Snapshot {
    let mut snapshot = planner::Snapshot {
        own_node: local.own_node.clone(),
        ..planner::Snapshot::default()
    };
    let invalid = |name: &str, cause: &str| ViewGap::PolicyInvalid {
        policy: name.to_owned(),
        cause: cause.to_owned(),
    };
    let undecodable = seen.undecodable.iter();
    snapshot
        .view_gaps
        .extend(undecodable.map(|(name, cause)| invalid(name, cause)));
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
        if let Some(view) = node_view(name, node, seen.reboots.get(name), &selectors, &keys, local) {
            snapshot.nodes.insert(name.clone(), view);
        }
    }
    let mut durations = DurationHistory::default();
    for (name, node) in &snapshot.nodes {
        if let (Some(policy), Some(reboot)) = (policy_of(node), seen.reboots.get(name)) {
            durations.add(policy, reboot);
        }
    }
    for (name, policy) in &mut snapshot.policies {
        policy.duration_estimate = durations.estimate(name);
    }
    snapshot.lock = seen.lock.as_deref().map(lock);
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

fn lock(from: &RebootLock) -> planner::Lock {
    let holders = from.status.iter().flat_map(|status| &status.holders);
    planner::Lock {
        max_in_progress: from.spec.max_in_progress.as_ref().map(convert::limit),
        holders: holders.map(convert::holder).collect(),
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

/// A Linux node; others are none of ours.
fn node_view(
    name: &str,
    node: &slim::Node,
    reboot: Option<&Arc<NodeReboot>>,
    selectors: &[(PolicyName, Selector)],
    keys: &BTreeSet<&str>,
    local: &Local,
) -> Option<planner::Node> {
    let labels = node.labels();
    let os = labels
        .get("kubernetes.io/os")
        .map_or(node.status.node_info.operating_system.as_str(), String::as_str);
    if !(os.is_empty() || os == "linux") {
        return None;
    }
    let uid = node.uid().unwrap_or_default();
    let record = reboot
        .filter(|reboot| owned_by(reboot, &uid))
        .map(|reboot| record(reboot));
    let created = node
        .creation_timestamp()
        .map(|time| lockkeeper_crds::time::from_kubernetes(&time));
    let mut taints = node.spec.taints.iter().map(|taint| &taint.key);
    let deletion_taint =
        taints.find(|key| [names::TAINT_CLUSTER_AUTOSCALER, names::TAINT_KARPENTER].contains(&key.as_str()));
    Some(planner::Node {
        uid,
        created: created.unwrap_or_default(),
        policies: selecting(selectors, labels),
        boot_id: BootId::from(node.status.node_info.boot_id.as_str()),
        ready: ready(node),
        unschedulable: node.spec.unschedulable,
        cordoned_for: annotation(node, names::OPERATION).map(str::to_owned),
        deletion_taint: deletion_taint.cloned(),
        taints: taints::on(node),
        control_plane: names::CONTROL_PLANE_LABELS
            .iter()
            .any(|label| labels.contains_key(*label)),
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
    })
}

/// The node's value of each label that any policy's topology names.
fn domains(labels: &BTreeMap<String, String>, keys: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let values = keys.iter().filter_map(|key| labels.get_key_value(*key));
    values.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether the `NodeReboot` belongs to the Node with this uid, and not to an earlier one of that name.
pub fn owned_by(reboot: &NodeReboot, node_uid: &str) -> bool {
    reboot
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "Node" && owner.uid == node_uid)
}

/// A person's words, as long as a record keeps them, so that those recorded and those on the Node compare equal.
fn word(text: &str) -> String {
    convert::bounded(text, 1024)
}

fn ready(node: &slim::Node) -> planner::Ready {
    match &node.status.ready {
        None => planner::Ready {
            ready: false,
            since: DateTime::<Utc>::default(),
            heartbeat: DateTime::<Utc>::default(),
            message: "the kubelet has not reported yet".to_owned(),
        },
        Some(condition) => planner::Ready {
            ready: condition.status == "True",
            since: condition.last_transition_time.unwrap_or_default(),
            heartbeat: condition.last_heartbeat_time.unwrap_or_default(),
            message: format!("{}: {}", condition.reason, condition.message),
        },
    }
}

/// A hold whose end cannot be read has none: unknown means held.
fn hold(node: &slim::Node) -> Option<planner::Hold> {
    let reason = annotation(node, names::HOLD)?;
    let text = annotation(node, names::HOLD_UNTIL);
    let until = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Some(planner::Hold {
        reason: reason.to_owned(),
        until: until.map(|time| time.with_timezone(&Utc)),
        invalid_until: text.filter(|_| until.is_none()).map(str::to_owned),
    })
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
