//! Whether what runs on a node and cannot move is Ready again after its reboot: `DaemonSet`s and static pods.
//!
//! Only what was Ready before the reboot counts; a pod that never becomes Ready on this node, or is new, delays nothing.
//! After the reboot each needs a pod that is Ready with another transition time than before: until the kubelet has
//! checked a pod, the API server shows the condition from before the reboot.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use lockkeeper_kube_util::Guarded;

use crate::daemon_pod::DaemonPod;
use crate::daemonset_selector::SlimDaemonSet;
use crate::error::Error;
use crate::fresh_reads::{pods_on_node, with_timeout};
use crate::pod::{Controller, PodName, controller_of};

/// A `DaemonSet` that has a Ready pod on a node, or a static pod that is Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyWorkload {
    /// The `DaemonSet`, not its pod; or the static pod.
    pub name: PodName,
    /// Since when the pod is Ready.
    pub since: Option<DateTime<Utc>>,
}

/// What is Ready on a node and cannot move, each kind by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadyWorkloads {
    /// The `DaemonSet`s.
    pub daemon_sets: Vec<ReadyWorkload>,
    /// The static pods, by their mirror pods.
    pub static_pods: Vec<ReadyWorkload>,
}

/// The pods of a node that cannot move, by what runs them.
#[derive(Default)]
struct StationaryPods {
    by_set: BTreeMap<PodName, Vec<DaemonPod>>,
    mirrors: BTreeMap<PodName, DaemonPod>,
}

/// What is Ready on the node and cannot move, from a fresh list.
pub async fn ready_workloads(client: &Client, node: &str) -> Result<ReadyWorkloads, Error> {
    let pods: Vec<Guarded<DaemonPod>> = pods_on_node(client, node).await?;
    Ok(ready_of(pods.into_iter().map(DaemonPod::from).collect()))
}

/// What is Ready among these pods of a node and cannot move.
pub(crate) fn ready_of(pods: Vec<DaemonPod>) -> ReadyWorkloads {
    let StationaryPods { by_set, mirrors } = stationary_pods(pods);
    let ready = |(name, pods): (PodName, Vec<DaemonPod>)| {
        let pod = pods.iter().find(|pod| pod.is_ready())?;
        let since = pod.ready_changed_at();
        Some(ReadyWorkload { name, since })
    };
    ReadyWorkloads {
        daemon_sets: by_set.into_iter().filter_map(ready).collect(),
        static_pods: mirrors
            .into_iter()
            .filter_map(|(name, pod)| ready((name, vec![pod])))
            .collect(),
    }
}

/// The message about the first of these that is not Ready on the node; `None` if all are.
///
/// A `DaemonSet` that was deleted, or does not select this node any more, is not waited for. That is checked only if
/// its pod is missing. A static pod is waited for in any case: its manifest is a file on the node, and its mirror pod
/// goes while the kubelet starts.
pub async fn find_unready(client: &Client, node: &str, ready_before: &ReadyWorkloads) -> Result<Option<String>, Error> {
    let pods: Vec<Guarded<DaemonPod>> = pods_on_node(client, node).await?;
    let pods = pods.into_iter().map(DaemonPod::from).collect();
    unready_of(client, node, pods, ready_before).await
}

/// The same for these pods of the node.
pub(crate) async fn unready_of(
    client: &Client,
    node: &str,
    pods: Vec<DaemonPod>,
    ready_before: &ReadyWorkloads,
) -> Result<Option<String>, Error> {
    let StationaryPods { by_set, mirrors } = stationary_pods(pods);
    let mut unready = Vec::new();
    for before in &ready_before.static_pods {
        let message = match mirrors.get(&before.name) {
            None => "its mirror pod does not exist yet".to_owned(),
            Some(pod) if pod.is_ready_after_reboot(before.since) => continue,
            Some(pod) => pod.not_ready_message(before.since),
        };
        unready.push(format!("static pod {}: {message}", before.name));
    }
    let mut without_pod = Vec::new();
    for before in &ready_before.daemon_sets {
        match by_set.get(&before.name) {
            None => without_pod.push(&before.name),
            Some(pods) if pods.iter().any(|pod| pod.is_ready_after_reboot(before.since)) => {}
            Some(pods) => unready.extend(pods.first().map(|pod| {
                let message = pod.not_ready_message(before.since);
                format!("DaemonSet {}: {message}", before.name)
            })),
        }
    }
    if unready.is_empty() {
        for name in without_pod {
            if selects_node(client, name, node).await? {
                unready.push(format!("DaemonSet {name}: its pod on {node} does not exist yet"));
                break;
            }
        }
    }
    let others = match unready.len() {
        0 | 1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    let first = unready.into_iter().next();
    Ok(first.map(|message| format!("{message}{others}")))
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

/// The pods that cannot move, sorted by name.
fn stationary_pods(pods: Vec<DaemonPod>) -> StationaryPods {
    let mut stationary = StationaryPods::default();
    for pod in pods {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        match controller_of(&pod.metadata) {
            (Controller::DaemonSet, Some(owner)) => {
                let name = PodName::new(namespace, owner.name.clone());
                stationary.by_set.entry(name).or_default().push(pod);
            }
            (Controller::Kubelet, _) => {
                let name = PodName::new(namespace, pod.metadata.name.clone().unwrap_or_default());
                stationary.mirrors.insert(name, pod);
            }
            (Controller::DaemonSet | Controller::StatefulSet | Controller::Other | Controller::None, _) => {}
        }
    }
    for pods in stationary.by_set.values_mut() {
        pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    }
    stationary
}
