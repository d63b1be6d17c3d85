//! What fresh lists say: the node's pods, and the budgets over them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use crate::budget::{BudgetView, SlimBudget};
use crate::daemons::DaemonPod;
use crate::error::Error;
use crate::limits::{AT_ONCE_PER_BUDGET, LIST_TIME_OUT};
use crate::pod::{PodName, PodView, SlimPod};
use crate::rule::Namespaces;
use crate::select::{Decision, decide, matters};
use crate::settings::Settings;
use crate::volumes::Claimed;
use crate::watches::on_node;

/// The pods that would still have to leave, from a fresh list: for use right before the reboot order.
pub async fn still_there(client: &Client, settings: &Settings) -> Result<Vec<PodName>, Error> {
    let pods = pods(client, &settings.node).await?;
    let namespaces = namespaces(client, settings, &pods).await?;
    let mut left: Vec<PodName> = pods
        .into_iter()
        .filter(|pod| matters(&decide(pod, &namespaces, settings).decision))
        .map(|pod| pod.name)
        .collect();
    left.sort();
    Ok(left)
}

/// A fresh list of a node's pods: without a resource version the API server asks etcd, so no cache can be behind.
pub(crate) async fn pods(client: &Client, node: &str) -> Result<Vec<PodView>, Error> {
    let api: Api<SlimPod> = Api::all(client.clone());
    let here = ListParams::default().fields(&on_node(node));
    let pods = list(&api, &here, || format!("the pods of node {node}")).await?;
    Ok(pods.into_iter().map(PodView::from).collect())
}

/// The same, as far as `DaemonSet`s are concerned.
pub(crate) async fn pods_of(client: &Client, node: &str) -> Result<Vec<DaemonPod>, Error> {
    let api: Api<DaemonPod> = Api::all(client.clone());
    let here = ListParams::default().fields(&on_node(node));
    list(&api, &here, || format!("the pods of node {node}")).await
}

/// Labels of those namespaces on which a rule's word about one of the pods depends; mostly none.
pub(crate) async fn namespaces(client: &Client, settings: &Settings, pods: &[PodView]) -> Result<Namespaces, Error> {
    let none = Namespaces::new();
    let depends = |pod: &&PodView| decide(pod, &none, settings).decision == Decision::Unknown;
    let names = pods.iter().filter(depends).map(|pod| pod.name.namespace.clone());
    let names: BTreeSet<String> = names.collect();
    let labels = stream::iter(names).map(|name| async move {
        let labels = namespace_labels(client, &name).await?;
        Ok::<_, Error>((name, labels))
    });
    labels.buffered(AT_ONCE_PER_BUDGET).try_collect().await
}

/// The labels of one namespace.
pub(crate) async fn namespace_labels(client: &Client, name: &str) -> Result<BTreeMap<String, String>, Error> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let what = || format!("the labels of namespace {name}");
    let namespace = answered(api.get(name), what).await?;
    Ok(namespace.metadata.labels.unwrap_or_default())
}

/// What is behind a claim; nothing if it is not there.
pub(crate) async fn claimed(client: &Client, claim: &PodName) -> Result<Claimed, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &claim.namespace);
    let found = answered(claims.get_opt(&claim.name), || format!("volume claim {claim}")).await?;
    let Some(volume) = found.and_then(|claim| claim.spec?.volume_name) else {
        return Ok(Claimed::default());
    };
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let found = answered(volumes.get_opt(&volume), || format!("volume {volume}")).await?;
    let csi = found.and_then(|volume| volume.spec?.csi);
    Ok(Claimed {
        handle: csi.map(|csi| format!("kubernetes.io/csi/{}^{}", csi.driver, csi.volume_handle)),
        volume: Some(volume),
    })
}

/// A fresh list of a namespace's budgets.
pub(crate) async fn budgets(client: &Client, namespace: &str) -> Result<Vec<BudgetView>, Error> {
    let api: Api<SlimBudget> = Api::namespaced(client.clone(), namespace);
    let what = || format!("the disruption budgets of namespace {namespace}");
    let budgets = list(&api, &ListParams::default(), what).await?;
    Ok(budgets.into_iter().map(BudgetView::from).collect())
}

async fn list<K>(api: &Api<K>, params: &ListParams, what: impl Fn() -> String) -> Result<Vec<K>, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    Ok(answered(api.list(params), what).await?.items)
}

/// Waits no longer than a read may take.
pub(crate) async fn answered<T>(
    read: impl Future<Output = kube::Result<T>>,
    what: impl Fn() -> String,
) -> Result<T, Error> {
    match tokio::time::timeout(LIST_TIME_OUT, read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(source)) => Err(Error::List {
            what: what(),
            source: Box::new(source),
        }),
        Err(_) => Err(Error::ListHangs {
            what: what(),
            seconds: LIST_TIME_OUT.as_secs(),
        }),
    }
}
