//! Whether the workloads whose pods leave a node have all their replicas ready: before its drain, and after its reboot.
//!
//! A workload is a controller that creates its pods anew on other nodes and counts the ready ones in its status: a
//! `ReplicaSet`, a `StatefulSet` or a `ReplicationController`. Only one that was ready before counts afterwards, with no
//! more replicas than it had, and no more than it is to have by then: one that was scaled down, replaced or deleted in the
//! meantime is not waited for.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::ReplicationController;
use kube::api::ApiResource;
use kube::core::Object;
use kube::{Api, Client};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::fresh_reads::with_timeout;
use crate::limits::{MAX_REQUESTS_PER_BUDGET, WORKLOADS_TIMEOUT};
use crate::pod::{PodName, PodView};
use crate::rule::Namespaces;
use crate::select::{decide, holds_node};
use crate::settings::Settings;

/// A controller whose pods leave a node, and which had all its replicas ready before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// It, as `kind namespace/name`.
    pub owner: String,
    /// The `Deployment` of which it is a revision.
    pub deployment: Option<String>,
    /// How many replicas it had; `None` if it could not be read.
    pub replicas: Option<i32>,
}

/// What is known of the replicas of a workload after the reboot.
#[derive(Debug)]
pub enum WorkloadState {
    /// They are ready, or are not to be there any more.
    Ready,
    /// Some are not ready.
    NotReady {
        /// How many are.
        ready: i32,
        /// How many are waited for.
        desired: i32,
    },
    /// It cannot be read.
    Unreadable(Error),
}

/// The kinds of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ReplicaSet,
    StatefulSet,
    ReplicationController,
}

/// The parts of a workload that are decoded.
type Replicated = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    ready_replicas: Option<i32>,
}

impl Workload {
    /// The name that people know: that of its `Deployment`, if it has one.
    pub fn shown_name(&self) -> String {
        let namespaced = parse(&self.owner);
        match (&self.deployment, namespaced) {
            (Some(deployment), Some((_, name))) => format!("Deployment {}/{deployment}", name.namespace),
            (Some(_) | None, _) => self.owner.clone(),
        }
    }
}

/// Those whose pods leave the node in a drain with these settings, and which have all their replicas ready: the first `max`
/// by name.
///
/// One that cannot be read may be ready, and is among them; the answer takes a few seconds at most.
pub(crate) async fn ready_owners(
    client: &Client,
    settings: &Settings,
    namespaces: &Namespaces,
    pods: &[PodView],
    max: usize,
) -> Vec<Workload> {
    if max == 0 {
        return Vec::new();
    }
    let now = settings.clock.now();
    let leaving = pods
        .iter()
        .filter(|pod| holds_node(&decide(pod, namespaces, settings, now).decision));
    let owners: BTreeSet<String> = leaving.filter_map(|pod| pod.owner.clone()).collect();
    let deadline = Instant::now() + WORKLOADS_TIMEOUT;
    let mut reads = Vec::new();
    for owner in owners.into_iter().filter(|owner| parse(owner).is_some()) {
        reads.push(async move {
            let found = timeout_at(deadline, read(client, &owner)).await;
            match found {
                Ok(Ok(found)) => found.and_then(|found| if_ready(&owner, &found)),
                Ok(Err(_)) | Err(_) => Some(Workload {
                    owner,
                    deployment: None,
                    replicas: None,
                }),
            }
        });
    }
    let found: Vec<Option<Workload>> = stream::iter(reads).buffered(MAX_REQUESTS_PER_BUDGET).collect().await;
    found.into_iter().flatten().take(max).collect()
}

/// What is known of each workload now, in their order.
pub async fn workload_states(client: &Client, workloads: &[Workload]) -> Vec<WorkloadState> {
    let mut states = Vec::new();
    for workload in workloads {
        states.push(async move {
            match read(client, &workload.owner).await {
                Ok(Some(found)) => state(workload, &found),
                Ok(None) => WorkloadState::Ready,
                Err(error) => WorkloadState::Unreadable(error),
            }
        });
    }
    stream::iter(states).buffered(MAX_REQUESTS_PER_BUDGET).collect().await
}

fn if_ready(owner: &str, found: &Replicated) -> Option<Workload> {
    let (ready, desired) = (ready(found), desired(found));
    (desired > 0 && ready >= desired).then(|| Workload {
        owner: owner.to_owned(),
        deployment: deployment(found),
        replicas: Some(desired),
    })
}

fn state(workload: &Workload, found: &Replicated) -> WorkloadState {
    let ready = ready(found);
    let desired = workload.replicas.unwrap_or(i32::MAX).min(desired(found));
    if ready >= desired {
        WorkloadState::Ready
    } else {
        WorkloadState::NotReady { ready, desired }
    }
}

fn ready(found: &Replicated) -> i32 {
    let status = found.status.as_ref();
    status.and_then(|status| status.ready_replicas).unwrap_or_default()
}

/// Without a number it is one.
fn desired(found: &Replicated) -> i32 {
    found.spec.replicas.unwrap_or(1)
}

fn deployment(found: &Replicated) -> Option<String> {
    let owners = found.metadata.owner_references.iter().flatten();
    let mut deployments = owners.filter(|owner| owner.kind == "Deployment" && owner.api_version == "apps/v1");
    deployments.next().map(|owner| owner.name.clone())
}

/// Reads a workload; `None` if it does not exist, or is of a kind that is none.
async fn read(client: &Client, owner: &str) -> Result<Option<Replicated>, Error> {
    let Some((kind, name)) = parse(owner) else {
        return Ok(None);
    };
    let resource = match kind {
        Kind::ReplicaSet => ApiResource::erase::<ReplicaSet>(&()),
        Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        Kind::ReplicationController => ApiResource::erase::<ReplicationController>(&()),
    };
    let api: Api<Replicated> = Api::namespaced_with(client.clone(), &name.namespace, &resource);
    with_timeout(api.get_opt(&name.name), || owner.to_owned()).await
}

/// The kind and the name of a controlling owner, if it is a workload.
fn parse(owner: &str) -> Option<(Kind, PodName)> {
    let (kind, name) = owner.split_once(' ')?;
    let (namespace, name) = name.split_once('/')?;
    let kind = match kind {
        "ReplicaSet" => Kind::ReplicaSet,
        "StatefulSet" => Kind::StatefulSet,
        "ReplicationController" => Kind::ReplicationController,
        _ => return None,
    };
    Some((kind, PodName::new(namespace, name)))
}
