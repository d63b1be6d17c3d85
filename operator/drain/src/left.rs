//! What a fresh list says is still on the node.

use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};

use crate::error::Error;
use crate::pod::{PodName, PodView, SlimPod};
use crate::select::decide;
use crate::settings::Settings;
use crate::state::matters;
use crate::watches::on_node;

/// A list that hangs is a list that failed.
const TIME_OUT: Duration = Duration::from_secs(15);

/// The pods that would still have to leave, from a fresh list: for use right before the reboot order.
///
/// Without a resource version the API server asks etcd, so no cache can be behind.
pub async fn still_there(client: &Client, settings: &Settings) -> Result<Vec<PodName>, Error> {
    let pods: Api<SlimPod> = Api::all(client.clone());
    let on_node = ListParams::default().fields(&on_node(&settings.node));
    let list = tokio::time::timeout(TIME_OUT, pods.list(&on_node))
        .await
        .map_err(|_| Error::ListHangs {
            node: settings.node.clone(),
            seconds: TIME_OUT.as_secs(),
        })?
        .map_err(|source| Error::List {
            node: settings.node.clone(),
            source: Box::new(source),
        })?;
    let mut left: Vec<PodName> = list
        .items
        .into_iter()
        .map(PodView::from)
        .filter(|pod| matters(decide(pod, settings)))
        .map(|pod| pod.name)
        .collect();
    left.sort();
    Ok(left)
}
