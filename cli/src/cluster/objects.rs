//! The objects of the cluster as they were read.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kube::ResourceExt;
use kube::api::ListParams;
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_kube_util::{Guarded, GuardedApi, Rest, Undecodable};
use lockkeeper_snapshot::guarded::{UndecodablePolicy, UndecodableRecord};
use lockkeeper_snapshot::slim;
use serde::de::DeserializeOwned;

use super::connect::Cluster;
use crate::failure::Failure;

/// The three kinds, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) policies: BTreeMap<String, RebootPolicy>,
    pub(crate) reboots: BTreeMap<String, NodeReboot>,
    pub(crate) lock: Option<RebootLock>,
    pub(crate) undecodable: UndecodableObjects,
}

/// The objects that cannot be decoded, by name; the others are shown all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct UndecodableObjects {
    pub(crate) policies: BTreeMap<String, UndecodablePolicy>,
    pub(crate) reboots: BTreeMap<String, UndecodableRecord>,
    pub(crate) locks: BTreeMap<String, Undecodable>,
}

/// Reads the objects of all three kinds once.
pub(crate) async fn fetch(cluster: &Cluster) -> Result<Objects, Failure> {
    let lock = cluster
        .guarded_locks()
        .get_opt(names::LOCK)
        .await
        .map_err(|error| Failure::of_request("read the RebootLock", &cluster.server, &error))?;
    let (policies, undecodable_policies) = list(cluster, "list RebootPolicies").await?;
    let (reboots, undecodable_reboots) = list(cluster, "list NodeReboots").await?;
    let (mut locks, undecodable_locks) = split(lock);
    Ok(Objects {
        policies,
        reboots,
        lock: locks.remove(names::LOCK),
        undecodable: UndecodableObjects {
            policies: undecodable_policies,
            reboots: undecodable_reboots,
            locks: undecodable_locks,
        },
    })
}

/// Objects by name: those that can be decoded, and the others.
pub(crate) type Split<K, R> = (BTreeMap<String, K>, BTreeMap<String, Undecodable<R>>);

fn split<K: kube::Resource, R>(objects: impl IntoIterator<Item = Guarded<K, R>>) -> Split<K, R> {
    let mut found = Split::default();
    for mut object in objects {
        // Managed fields are larger than the rest and unused here.
        object.managed_fields_mut().clear();
        put(object, &mut found.0, &mut found.1);
    }
    found
}

/// Replaces the object of this name, in the map where it belongs.
pub(crate) fn put<K: kube::Resource, R>(
    object: Guarded<K, R>,
    decoded: &mut BTreeMap<String, K>,
    undecodable: &mut BTreeMap<String, Undecodable<R>>,
) {
    let name = object.name_any();
    match object.0 {
        Ok(object) => {
            undecodable.remove(&name);
            decoded.insert(name, object);
        }
        Err(failed) => {
            decoded.remove(&name);
            undecodable.insert(name, failed);
        }
    }
}

/// Reads all objects of a kind; none if the cluster does not know the kind because Lockkeeper is not installed.
pub(crate) async fn list_if_known<K, R>(cluster: &Cluster, step: &str) -> Result<Split<K, R>, Failure>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource<DynamicType = ()> + Send + 'static,
    R: Rest + Clone + Debug + Send + 'static,
{
    // A list is empty rather than 404 if there are no objects.
    let listed = if_exists(pages(&GuardedApi::all(cluster.client.clone())).await);
    let listed = listed.map_err(|error| Failure::of_request(step, &cluster.server, &error))?;
    Ok(listed.map(split).unwrap_or_default())
}

/// The object; `None` if the object or its kind does not exist.
///
/// `get_opt` in contrast returns an error for a kind that the API server does not know.
pub(crate) fn if_exists<K>(read: kube::Result<K>) -> kube::Result<Option<K>> {
    match read {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        read => read.map(Some),
    }
}

/// Nodes by name, with the fields that the planner uses.
pub(crate) type Nodes = BTreeMap<String, slim::Node>;

/// Reads the Nodes, which requires more rights than reading Lockkeeper's own kinds.
pub(crate) async fn fetch_nodes(cluster: &Cluster) -> Result<Nodes, Failure> {
    let listed = pages::<slim::Node, ()>(&GuardedApi::all(cluster.client.clone())).await;
    let listed = listed.map_err(|error| Failure::of_request("list Nodes for the forecast", &cluster.server, &error))?;
    let nodes = listed.into_iter().map(|node| {
        let mut node = slim::Node::from(node);
        node.metadata.managed_fields = None;
        (node.name_any(), node)
    });
    Ok(nodes.collect())
}

async fn list<K, R>(cluster: &Cluster, step: &str) -> Result<Split<K, R>, Failure>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource<DynamicType = ()> + Send + 'static,
    R: Rest + Clone + Debug + Send + 'static,
{
    let listed = pages(&GuardedApi::all(cluster.client.clone())).await;
    let listed = listed.map_err(|error| Failure::of_request(step, &cluster.server, &error))?;
    Ok(split(listed))
}

/// Reads all objects of a kind in pages, so that 5,000 nodes do not come as one answer.
async fn pages<K, R>(api: &GuardedApi<K, R>) -> kube::Result<Vec<Guarded<K, R>>>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource<DynamicType = ()> + Send + 'static,
    R: Rest + Clone + Debug + Send + 'static,
{
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(500);
    loop {
        let list = api.list(&page).await?;
        let next = list.metadata.continue_.clone().filter(|token| !token.is_empty());
        found.extend(list.items);
        match next {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}
