//! Whether the `DaemonSet`s that were ready on a node before its reboot are ready on it again.
//!
//! Before the reboot they are counted: those that never get ready on this node hold up nothing, nor do those that come
//! later. Afterwards each of them needs a pod that is Ready, and by another word than the one of before: until its
//! kubelet has looked at a pod, the API server shows what it said before the reboot, and a fast reboot is noticed by
//! nobody else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde::Deserialize;

use crate::error::Error;
use crate::fits::SlimDaemonSet;
use crate::left::{answered, pods_of};
use crate::pod::{Controller, PodName, controlled};

/// A `DaemonSet` whose pod was ready on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyDaemon {
    /// The `DaemonSet`, not its pod.
    pub name: PodName,
    /// Since when its pod was.
    pub since: Option<DateTime<Utc>>,
}

/// The `DaemonSet`s that have a ready pod on the node, by name, from a fresh list.
pub async fn ready_daemons(client: &Client, node: &str) -> Result<Vec<ReadyDaemon>, Error> {
    let by_set = by_daemon_set(pods_of(client, node).await?);
    let ready = by_set.into_iter().filter_map(|(name, pods)| {
        let pod = pods.iter().find(|pod| pod.is_ready())?;
        let since = pod.ready().and_then(|condition| condition.last_transition_time);
        Some(ReadyDaemon { name, since })
    });
    Ok(ready.collect())
}

/// The first of these `DaemonSet`s that is not ready on the node again, in words; none if all are.
///
/// One that was deleted, or selects this node no more, is not waited for: it is asked only where a pod is missing.
pub async fn not_ready_again(client: &Client, node: &str, counted: &[ReadyDaemon]) -> Result<Option<String>, Error> {
    let by_set = by_daemon_set(pods_of(client, node).await?);
    let mut missing = Vec::new();
    let mut late = Vec::new();
    for daemon in counted {
        match by_set.get(&daemon.name) {
            None => missing.push(&daemon.name),
            Some(pods) if pods.iter().any(|pod| pod.is_ready_again(daemon.since)) => {}
            Some(pods) => late.extend(pods.first().map(|pod| (&daemon.name, pod.says(daemon.since)))),
        }
    }
    if late.is_empty() {
        for name in missing {
            if wanted(client, name, node).await? {
                late.push((name, format!("no pod of it is on {node} yet")));
                break;
            }
        }
    }
    let others = match late.len() {
        0 | 1 => String::new(),
        more => format!("; and {} more", more - 1),
    };
    let first = late.into_iter().next();
    Ok(first.map(|(name, says)| format!("DaemonSet {name}: {says}{others}")))
}

/// Whether the `DaemonSet` is there and wants a pod on the node.
async fn wanted(client: &Client, name: &PodName, node: &str) -> Result<bool, Error> {
    let sets: Api<SlimDaemonSet> = Api::namespaced(client.clone(), &name.namespace);
    let found = answered(sets.get_opt(&name.name), || format!("DaemonSet {name}")).await?;
    let Some(set) = found else {
        return Ok(false);
    };
    let nodes: Api<PartialObjectMeta<k8s_openapi::api::core::v1::Node>> = Api::all(client.clone());
    let found = answered(nodes.get_opt(node), || format!("node {node}")).await?;
    // The planner sees itself that a node is gone.
    Ok(found.is_none_or(|found| set.selects(node, &found.metadata.labels.unwrap_or_default())))
}

/// The pods of `DaemonSet`s, those of each together, by name.
fn by_daemon_set(pods: Vec<DaemonPod>) -> BTreeMap<PodName, Vec<DaemonPod>> {
    let mut all: BTreeMap<PodName, Vec<DaemonPod>> = BTreeMap::new();
    for pod in pods {
        if let (Controller::DaemonSet, Some(owner)) = controlled(&pod.metadata) {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let name = PodName::new(namespace, owner.name.clone());
            all.entry(name).or_default().push(pod);
        }
    }
    for pods in all.values_mut() {
        pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    }
    all
}

/// A pod as far as it is looked at here.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub(crate) struct DaemonPod {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: Option<String>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<DateTime<Utc>>,
}

impl DaemonPod {
    fn ready(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.find(|condition| condition.kind == "Ready")
    }

    /// Running and not on its way out.
    fn is_ready(&self) -> bool {
        let ready = self.ready().is_some_and(|condition| condition.status == "True");
        ready && self.metadata.deletion_timestamp.is_none()
    }

    fn is_ready_again(&self, since: Option<DateTime<Utc>>) -> bool {
        self.is_ready() && !self.is_the_word_of(since)
    }

    /// Whether what it says is what was said before the reboot.
    fn is_the_word_of(&self, since: Option<DateTime<Utc>>) -> bool {
        let now = self.ready().and_then(|condition| condition.last_transition_time);
        since.is_some() && now == since
    }

    /// Why it is not ready.
    fn says(&self, since: Option<DateTime<Utc>>) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if self.metadata.deletion_timestamp.is_some() {
            return format!("pod {name} is shutting down");
        }
        if self.is_ready() && self.is_the_word_of(since) {
            return format!("pod {name} has not been heard of since the reboot");
        }
        let phase = self.status.phase.as_deref().unwrap_or("Pending");
        let ready = self.ready();
        let words = ready.and_then(|ready| said(ready.message.as_ref()).or(said(ready.reason.as_ref())));
        format!("pod {name} is not ready: {}", words.unwrap_or(phase))
    }
}

fn said(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
