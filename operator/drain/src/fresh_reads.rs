//! Fresh lists and gets: the node's pods, their budgets, namespace labels and volume claims.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};
use lockkeeper_kube_util::{Guarded, GuardedApi};
use serde::de::DeserializeOwned;

use crate::budget::{BudgetView, SlimBudget};
use crate::error::Error;
use crate::limits::{MAX_REQUESTS_PER_BUDGET, READ_TIMEOUT};
use crate::node::{NodeView, SlimNode};
use crate::pod::{PodName, PodView, SlimPod};
use crate::rule::Namespaces;
use crate::select::{Decision, decide, holds_node};
use crate::settings::Settings;
use crate::volumes::{ClaimedVolume, SlimVolume};

/// The pods that still have to leave, from a fresh list: for use right before a reboot is ordered.
pub async fn remaining_pods(client: &Client, settings: &Settings) -> Result<Vec<PodName>, Error> {
    let pods = pods(client, &settings.node).await?;
    let namespaces = namespaces(client, settings, &pods).await?;
    let now = settings.clock.now();
    let mut remaining: Vec<PodName> = pods
        .into_iter()
        .filter(|pod| holds_node(&decide(pod, &namespaces, settings, now).decision))
        .map(|pod| pod.name)
        .collect();
    remaining.sort();
    Ok(remaining)
}

/// A fresh list of a node's pods, as the drain decodes them.
pub(crate) async fn pods(client: &Client, node: &str) -> Result<Vec<PodView>, Error> {
    let pods: Vec<Guarded<SlimPod>> = pods_on_node(client, node).await?;
    Ok(pods.into_iter().map(PodView::from).collect())
}

/// A fresh list of a node's pods: without a resource version the API server reads etcd, not a cache that may be behind.
pub(crate) async fn pods_on_node<K>(client: &Client, node: &str) -> Result<Vec<Guarded<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: GuardedApi<K> = GuardedApi::all(client.clone());
    let here = ListParams::default().fields(&pods_on(node));
    list(&api, &here, || format!("the pods of node {node}")).await
}

/// The node; `None` if it does not exist.
pub(crate) async fn node(client: &Client, name: &str) -> Result<Option<NodeView>, Error> {
    let api: Api<SlimNode> = Api::all(client.clone());
    let found = with_timeout(api.get_opt(name), || format!("node {name}")).await?;
    Ok(found.map(NodeView::from))
}

/// The field selector for pods of a node; the API server has an index for it.
pub(crate) fn pods_on(node: &str) -> String {
    format!("spec.nodeName={node}")
}

/// Labels of the namespaces that decide whether a rule matches one of the pods; mostly none.
pub(crate) async fn namespaces(client: &Client, settings: &Settings, pods: &[PodView]) -> Result<Namespaces, Error> {
    let none = Namespaces::new();
    let now = settings.clock.now();
    let undecided = |pod: &&PodView| decide(pod, &none, settings, now).decision == Decision::Unknown;
    let names = pods.iter().filter(undecided).map(|pod| pod.name.namespace.clone());
    let names: BTreeSet<String> = names.collect();
    let labels = stream::iter(names).map(|name| async move {
        let labels = namespace_labels(client, &name).await?;
        Ok::<_, Error>((name, labels))
    });
    labels.buffered(MAX_REQUESTS_PER_BUDGET).try_collect().await
}

/// The labels of one namespace.
pub(crate) async fn namespace_labels(client: &Client, name: &str) -> Result<BTreeMap<String, String>, Error> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let what = || format!("the labels of namespace {name}");
    let namespace = with_timeout(api.get(name), what).await?;
    Ok(namespace.metadata.labels.unwrap_or_default())
}

/// The volume that is bound to a claim; empty if the claim does not exist.
pub(crate) async fn claimed_volume(client: &Client, claim: &PodName) -> Result<ClaimedVolume, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &claim.namespace);
    let found = with_timeout(claims.get_opt(&claim.name), || format!("volume claim {claim}")).await?;
    let Some(volume) = found.and_then(|claim| claim.spec?.volume_name) else {
        return Ok(ClaimedVolume::default());
    };
    let volumes: Api<SlimVolume> = Api::all(client.clone());
    let found = with_timeout(volumes.get_opt(&volume), || format!("volume {volume}")).await?;
    Ok(ClaimedVolume {
        status_names: found.map(|volume| volume.status_names()).unwrap_or_default(),
        volume: Some(volume),
    })
}

/// A fresh list of a namespace's budgets, without those that cannot be decoded: the API server still enforces them.
pub(crate) async fn budgets(client: &Client, namespace: &str) -> Result<Vec<BudgetView>, Error> {
    let api: GuardedApi<SlimBudget> = GuardedApi::namespaced(client.clone(), namespace);
    let what = || format!("the disruption budgets of namespace {namespace}");
    let budgets = list(&api, &ListParams::default(), what).await?.into_iter();
    Ok(budgets
        .filter_map(|budget| budget.0.ok())
        .map(BudgetView::from)
        .collect())
}

async fn list<K>(api: &GuardedApi<K>, params: &ListParams, what: impl Fn() -> String) -> Result<Vec<Guarded<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    Ok(with_timeout(api.list(params), what).await?.items)
}

/// Runs a read with a timeout.
pub(crate) async fn with_timeout<T>(
    read: impl Future<Output = kube::Result<T>>,
    what: impl Fn() -> String,
) -> Result<T, Error> {
    match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(source)) => Err(Error::Read {
            what: what(),
            source: Box::new(source),
        }),
        Err(_) => Err(Error::ReadTimeout {
            what: what(),
            seconds: READ_TIMEOUT.as_secs(),
        }),
    }
}
