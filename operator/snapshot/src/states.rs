//! What preconditions compare: the objects that a plan was made on with those that are read right before a write.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_planner::preconditions::{NodeState, PolicyIdentity, RecordState};

use crate::hold::hold;
use crate::{convert, slim};

/// What a Node shows of its cordon, its boot and its hold.
pub fn node_state(node: &slim::Node) -> NodeState {
    NodeState {
        uid: node.uid().unwrap_or_default(),
        unschedulable: node.spec.unschedulable,
        cordoned_for: slim::annotation(node, names::OPERATION).map(str::to_owned),
        boot_id: node.status.node_info.boot_id.as_str().into(),
        hold: hold(node),
        version: node.resource_version().and_then(|version| version.parse().ok()),
    }
}

/// What a record shows of its owner, its order and its operation.
pub fn record_state(reboot: &NodeReboot) -> RecordState {
    let operation = reboot.status.as_ref().and_then(|status| status.operation.as_ref());
    RecordState {
        owners: node_owners(&reboot.metadata).map(str::to_owned).collect(),
        policy: reboot.spec.policy.as_deref().map(Into::into),
        has_order: reboot.spec.order.is_some(),
        operation: operation.map(|operation| convert::operation(operation)).map(Box::new),
    }
}

/// Which policy it is, with which content of its spec.
pub fn policy_identity(meta: &ObjectMeta) -> PolicyIdentity {
    PolicyIdentity {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
    }
}

/// The Nodes that Lockkeeper has cordoned, each with its operation.
pub fn cordons<'a>(nodes: impl Iterator<Item = &'a slim::Node>) -> BTreeMap<String, String> {
    let operation = |node: &slim::Node| slim::annotation(node, names::OPERATION).map(str::to_owned);
    nodes
        .filter_map(|node| Some((node.name_any(), operation(node)?)))
        .collect()
}

/// The uids of the Nodes that own the `NodeReboot` with these metadata; an earlier Node of the same name has another uid.
pub fn node_owners(reboot: &ObjectMeta) -> impl Iterator<Item = &str> {
    let owners = reboot.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.kind == "Node")
        .map(|owner| owner.uid.as_str())
}
