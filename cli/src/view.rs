//! What the objects mean: policies with their nodes, in the order of their names.

mod action_required;
pub(crate) mod deleted_node;
mod node;
mod policy;

use lockkeeper_crds::reasons::ViewGap;
use serde::Serialize;

pub(crate) use self::action_required::{ActionRequired, Reason};
pub(crate) use self::node::{NOT_REPORTED, NodeView, activity, is_lost, node_view};
pub(crate) use self::policy::{NOT_OBSERVED, PolicyView, WindowView};
use crate::cluster::find::no_policy;
use crate::cluster::objects::{Objects, UndecodableObjects};
use crate::failure::Failure;

/// The cluster as `status` shows it, and as `-o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct View {
    pub(crate) policies: Vec<PolicyView>,
    /// Nodes that no policy selects, or more than one.
    #[serde(rename = "nodesWithoutPolicy")]
    pub(crate) without_policy: Vec<NodeView>,
    /// The nodes that hold a slot of the lock.
    pub(crate) holders: Vec<String>,
    /// Policies that cannot be decoded, and why: while there is one, no node of any policy starts.
    #[serde(rename = "invalidPolicies")]
    pub(crate) invalid: Vec<String>,
    /// Other objects that cannot be decoded, and what follows from it.
    #[serde(rename = "undecodableObjects")]
    pub(crate) undecodable: Vec<String>,
}

impl View {
    /// Every node of every policy is up to date and has no operation.
    pub(crate) fn is_done(&self) -> bool {
        let mut nodes = self.policies.iter().flat_map(|policy| &policy.nodes).peekable();
        nodes.peek().is_some() && nodes.all(NodeView::is_done)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        let selected = self.policies.iter().flat_map(|policy| &policy.nodes);
        selected.chain(&self.without_policy)
    }
}

/// Concludes what the objects mean; `only` limits the view to one policy.
pub(crate) fn view(objects: &Objects, only: Option<&str>) -> Result<View, Failure> {
    if let Some(name) = only
        && !objects.policies.contains_key(name)
    {
        return Err(no_policy(name, objects.policies.keys().map(String::as_str)));
    }
    let is_wanted = |name: &str| only.is_none_or(|only| only == name);
    let mut policies: Vec<PolicyView> = objects
        .policies
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, policy)| PolicyView::new(name, policy))
        .collect();
    let mut without_policy = Vec::new();
    for (name, reboot) in &objects.reboots {
        let node = node_view(name, reboot);
        let policy = reboot.spec.policy.as_deref();
        match policies.iter_mut().find(|view| Some(view.name.as_str()) == policy) {
            Some(policy) => policy.add(node),
            // Nodes of other policies are hidden if the view is limited to one policy.
            None if only.is_some() => {}
            None => without_policy.push(node),
        }
    }
    for (policy, node) in deleted_node::deleted_nodes(objects) {
        if let Some(policy) = policies.iter_mut().find(|view| view.name == policy) {
            policy.add(node);
        }
    }
    let lock = objects.lock.as_ref().and_then(|lock| lock.status.as_ref());
    let holders = lock.map(|status| status.holders.iter().map(|holder| holder.node.clone()).collect());
    Ok(View {
        policies,
        without_policy,
        holders: holders.unwrap_or_default(),
        invalid: objects
            .undecodable
            .policies
            .iter()
            .map(|(name, policy)| invalid(name, &policy.cause))
            .collect(),
        undecodable: undecodable(&objects.undecodable),
    })
}

/// The messages about `NodeReboots` and the lock that cannot be decoded, in the operator's words.
fn undecodable(objects: &UndecodableObjects) -> Vec<String> {
    let locks = objects.locks.values().map(|lock| {
        let cause = lock.cause.clone();
        ViewGap::LockInvalid { cause }.to_string()
    });
    let records = objects.reboots.iter().map(|(name, record)| {
        let gap = ViewGap::RecordInvalid {
            node: name.clone(),
            cause: record.cause.clone(),
        };
        format!("{gap}; see: kubectl get nrb {name} -o yaml")
    });
    locks.chain(records).collect()
}

/// The message about a policy that cannot be decoded.
pub(crate) fn invalid(policy: &str, cause: &str) -> String {
    format!(
        "policy {policy} cannot be decoded ({cause}); no node of any policy starts until it is fixed; \
         see: kubectl describe rbp {policy}"
    )
}
