//! Whether the `DaemonSet`s that were Ready on a node before its reboot are Ready again.
//!
//! Only those that were Ready before the reboot count; one that never becomes Ready on this node, or is new, delays
//! nothing. After the reboot each needs a pod that is Ready with another transition time than before: until the kubelet
//! has checked a pod, the API server shows the condition from before the reboot.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use crate::daemon_pod::DaemonPod;
use crate::daemonset_selector::SlimDaemonSet;
use crate::error::Error;
use crate::fresh_reads::{pods_on_node, with_timeout};
use crate::pod::{Controller, PodName, controller_of};

/// A `DaemonSet` whose pod was Ready on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyDaemonSet {
    /// The `DaemonSet`, not its pod.
    pub name: PodName,
    /// Since when its pod was Ready.
    pub since: Option<DateTime<Utc>>,
}

/// The `DaemonSet`s that have a Ready pod on the node, by name, from a fresh list.
pub async fn ready_daemon_sets(client: &Client, node: &str) -> Result<Vec<ReadyDaemonSet>, Error> {
    let by_set = group_by_daemon_set(pods_on_node(client, node).await?);
    let ready = by_set.into_iter().filter_map(|(name, pods)| {
        let pod = pods.iter().find(|pod| pod.is_ready())?;
        let since = pod.ready_changed_at();
        Some(ReadyDaemonSet { name, since })
    });
    Ok(ready.collect())
}

/// The message about the first of these `DaemonSet`s that is not Ready on the node; `None` if all are.
///
/// A `DaemonSet` that was deleted, or does not select this node any more, is not waited for. That is checked only if
/// its pod is missing.
pub async fn find_unready_daemon_set(
    client: &Client,
    node: &str,
    ready_before: &[ReadyDaemonSet],
) -> Result<Option<String>, Error> {
    let by_set = group_by_daemon_set(pods_on_node(client, node).await?);
    let mut without_pod = Vec::new();
    let mut unready = Vec::new();
    for set in ready_before {
        match by_set.get(&set.name) {
            None => without_pod.push(&set.name),
            Some(pods) if pods.iter().any(|pod| pod.is_ready_after_reboot(set.since)) => {}
            Some(pods) => unready.extend(pods.first().map(|pod| (&set.name, pod.not_ready_message(set.since)))),
        }
    }
    if unready.is_empty() {
        for name in without_pod {
            if selects_node(client, name, node).await? {
                unready.push((name, format!("its pod on {node} does not exist yet")));
                break;
            }
        }
    }
    let others = match unready.len() {
        0 | 1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    let first = unready.into_iter().next();
    Ok(first.map(|(name, message)| format!("DaemonSet {name}: {message}{others}")))
}

/// Whether the `DaemonSet` exists and selects the node.
async fn selects_node(client: &Client, name: &PodName, node: &str) -> Result<bool, Error> {
    let sets: Api<SlimDaemonSet> = Api::namespaced(client.clone(), &name.namespace);
    let found = with_timeout(sets.get_opt(&name.name), || format!("DaemonSet {name}")).await?;
    let Some(set) = found else {
        return Ok(false);
    };
    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let found = with_timeout(nodes.get_opt(node), || format!("node {node}")).await?;
    // The planner handles a deleted node itself.
    Ok(found.is_none_or(|found| set.selects(node, &found.metadata.labels.unwrap_or_default())))
}

/// The pods of each `DaemonSet`, by name.
fn group_by_daemon_set(pods: Vec<DaemonPod>) -> BTreeMap<PodName, Vec<DaemonPod>> {
    let mut by_set: BTreeMap<PodName, Vec<DaemonPod>> = BTreeMap::new();
    for pod in pods {
        if let (Controller::DaemonSet, Some(owner)) = controller_of(&pod.metadata) {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let name = PodName::new(namespace, owner.name.clone());
            by_set.entry(name).or_default().push(pod);
        }
    }
    for pods in by_set.values_mut() {
        pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    }
    by_set
}
