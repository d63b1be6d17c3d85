//! What fresh lists say: the node's pods, and the budgets over them.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use crate::budget::{BudgetView, SlimBudget};
use crate::error::Error;
use crate::pod::{PodName, PodView, SlimPod};
use crate::select::decide;
use crate::settings::Settings;
use crate::state::matters;
use crate::watches::on_node;

/// A list that hangs is a list that failed.
const TIME_OUT: Duration = Duration::from_secs(15);

/// The pods that would still have to leave, from a fresh list: for use right before the reboot order.
pub async fn still_there(client: &Client, settings: &Settings) -> Result<Vec<PodName>, Error> {
    let pods = pods(client, &settings.node).await?;
    let mut left: Vec<PodName> = pods
        .into_iter()
        .filter(|pod| matters(decide(pod, settings)))
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
    match tokio::time::timeout(TIME_OUT, api.list(params)).await {
        Ok(Ok(list)) => Ok(list.items),
        Ok(Err(source)) => Err(Error::List {
            what: what(),
            source: Box::new(source),
        }),
        Err(_) => Err(Error::ListHangs {
            what: what(),
            seconds: TIME_OUT.as_secs(),
        }),
    }
}
