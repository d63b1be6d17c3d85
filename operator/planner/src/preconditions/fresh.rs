//! What is read right before a write, and what was found, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{BootId, PolicyName};
use crate::snapshot::{Hold, Lock, Operation};

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The lock, which must exist.
    Lock,
    /// A Node, which must exist.
    Node(String),
    /// A Node, which may be gone.
    NodeIfPresent(String),
    /// The record of a node, which may be gone.
    Record(String),
    /// All policies.
    Policies,
    /// All cordoned Nodes.
    CordonedNodes,
    /// The pods of a node.
    Pods(String),
}

/// What was read for one action. What was not read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The lock.
    pub lock: Option<Lock>,
    /// Nodes by name; `None` for one that is gone.
    pub nodes: BTreeMap<String, Option<NodeState>>,
    /// Records by the name of their node; `None` for one that is gone.
    pub records: BTreeMap<String, Option<RecordState>>,
    /// The policies.
    pub policies: Option<BTreeSet<PolicyIdentity>>,
    /// The nodes that Lockkeeper has cordoned, each with its operation.
    pub cordons: Option<BTreeMap<String, String>>,
    /// The pods that must be evicted from the node.
    pub pods: Option<Vec<String>>,
}

impl Fresh {
    pub(super) fn needs_node(&self, node: &str, read: fn(String) -> Read) -> Option<Read> {
        (!self.nodes.contains_key(node)).then(|| read(node.to_owned()))
    }

    pub(super) fn needs_record(&self, node: &str) -> Option<Read> {
        (!self.records.contains_key(node)).then(|| Read::Record(node.to_owned()))
    }

    pub(super) fn lock(&self) -> Result<&Lock, String> {
        self.lock.as_ref().ok_or_else(|| not_read("RebootLock"))
    }

    pub(super) fn node(&self, node: &str) -> Result<Option<&NodeState>, String> {
        let found = self.nodes.get(node).ok_or_else(|| not_read(&format!("Node {node}")))?;
        Ok(found.as_ref())
    }

    pub(super) fn record(&self, node: &str) -> Result<Option<&RecordState>, String> {
        let found = self.records.get(node);
        let found = found.ok_or_else(|| not_read(&format!("NodeReboot {node}")))?;
        Ok(found.as_ref())
    }

    pub(super) fn policies(&self) -> Result<&BTreeSet<PolicyIdentity>, String> {
        self.policies.as_ref().ok_or_else(|| not_read("the RebootPolicies"))
    }

    pub(super) fn cordons(&self) -> Result<&BTreeMap<String, String>, String> {
        self.cordons.as_ref().ok_or_else(|| not_read("the cordoned Nodes"))
    }

    pub(super) fn pods(&self) -> Result<&[String], String> {
        self.pods.as_deref().ok_or_else(|| not_read("the pods"))
    }
}

fn not_read(what: &str) -> String {
    format!("the operator has not read {what} again")
}

/// What a Node shows of its cordon, its boot and its hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Its uid.
    pub uid: String,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// The operation for which Lockkeeper cordoned it, by its annotation.
    pub cordoned_for: Option<String>,
    /// The boot that the kubelet reports.
    pub boot_id: BootId,
    /// A person's hold, whether it is in force or not.
    pub hold: Option<Hold>,
    /// Its version: of two states of one Node, the larger one is the newer. `None` if it cannot be told.
    pub version: Option<u64>,
}

impl NodeState {
    /// Whether its annotation names this operation.
    pub fn is_cordoned_for(&self, operation_id: &str) -> bool {
        self.cordoned_for.as_deref() == Some(operation_id)
    }
}

/// What a record shows of its owner, its order and its operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordState {
    /// The uids of the Nodes that own it.
    pub owners: Vec<String>,
    /// `spec.policy`.
    pub policy: Option<PolicyName>,
    /// Whether it has an order, of whatever kind.
    pub has_order: bool,
    /// The operation in progress.
    pub operation: Option<Box<Operation>>,
}

impl RecordState {
    /// The operation in progress.
    pub fn operation(&self) -> Option<&Operation> {
        self.operation.as_deref()
    }
}

/// A policy with one content of its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyIdentity {
    /// Its name.
    pub name: String,
    /// Its uid, which changes if it is deleted and created again.
    pub uid: String,
    /// `metadata.generation`, which grows with each change of the spec.
    pub generation: i64,
}
