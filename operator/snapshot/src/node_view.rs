//! What is planned with of one node.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use lockkeeper_crds::condition;
use lockkeeper_crds::{NodeReboot, NodeRebootStatus, names};
use lockkeeper_planner as planner;
use planner::{BootId, PolicyName, ViewGap};

use crate::convert::{self, word};
use crate::guarded::UndecodableRecord;
use crate::hold::hold;
use crate::managed::unmanaged;
use crate::observed::Local;
use crate::policy_views::Selection;
use crate::slim::{self, annotation};
use crate::states::node_owners;
use crate::taints;
use crate::{handshake, notice};

/// A node that Lockkeeper manages; an operation that is in progress ends whatever becomes of its Node's labels.
pub(crate) fn node_view(
    node: &slim::Node,
    reboot: Option<&Arc<NodeReboot>>,
    selection: &Selection,
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
        policies: selection.selecting(labels),
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
        domains: selection.domains(labels),
        record,
        preflight: local.preflight.clone(),
        drain: planner::Drain::default(),
        drain_details: planner::DrainDetails::default(),
        daemon_sets: planner::DaemonSetReadiness::Unknown,
        workloads: planner::WorkloadReadiness::Unknown,
        handshake: handshake::on(node),
        notice: notice::on(node),
        hook_job: None,
    })
}

/// What of a node cannot be decoded; the record of an earlier Node of the same name does not matter.
pub(crate) fn view_gap(name: &str, node: &slim::Node, record: Option<&Arc<UndecodableRecord>>) -> Option<ViewGap> {
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

/// Why a Node is about to be deleted, if it is.
pub(crate) fn deletion(node: &slim::Node, status: Option<&NodeRebootStatus>) -> Option<planner::Deletion> {
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

pub(crate) fn record(reboot: &NodeReboot) -> planner::Record {
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
        operation: status
            .operation
            .as_ref()
            .map(|operation| convert::operation(operation))
            .map(Box::new),
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
