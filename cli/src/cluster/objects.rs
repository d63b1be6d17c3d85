//! The objects of the cluster as they were read.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy, names};
use lockkeeper_snapshot::slim;
use serde::de::DeserializeOwned;

use super::connect::{Cluster, ParsedPolicy};
use crate::failure::Failure;

/// The three kinds, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) policies: BTreeMap<String, RebootPolicy>,
    /// Policies that cannot be decoded, and why; the others are shown all the same.
    pub(crate) undecodable: BTreeMap<String, String>,
    pub(crate) reboots: BTreeMap<String, NodeReboot>,
    pub(crate) lock: Option<RebootLock>,
}

/// Reads the objects of all three kinds once.
pub(crate) async fn fetch(cluster: &Cluster) -> Result<Objects, Failure> {
    let lock = cluster
        .locks()
        .get_opt(names::LOCK)
        .await
        .map_err(|error| Failure::of_request("read the RebootLock", &cluster.server, &error))?;
    let mut objects = Objects {
        reboots: list(cluster, &cluster.reboots(), "list NodeReboots").await?,
        lock,
        ..Objects::default()
    };
    objects.set_policies(list(cluster, &cluster.policies(), "list RebootPolicies").await?);
    Ok(objects)
}

impl Objects {
    /// Replaces all policies, also those that cannot be decoded.
    pub(crate) fn set_policies(&mut self, policies: impl IntoIterator<Item = (String, ParsedPolicy)>) {
        self.policies.clear();
        self.undecodable.clear();
        for (name, policy) in policies {
            match policy.0 {
                Ok(policy) => drop(self.policies.insert(name, policy)),
                Err(invalid) => drop(self.undecodable.insert(name, invalid.error)),
            }
        }
    }
}

/// Reads all objects of a kind; none if the cluster does not know the kind because Lockkeeper is not installed.
pub(crate) async fn list_if_known<K>(
    cluster: &Cluster,
    api: &Api<K>,
    step: &str,
) -> Result<BTreeMap<String, K>, Failure>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource,
{
    // A list is empty rather than 404 if there are no objects.
    let listed = if_exists(pages(api, &ListParams::default()).await);
    let listed = listed.map_err(|error| Failure::of_request(step, &cluster.server, &error))?;
    Ok(listed.unwrap_or_default())
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
    let api = Api::<slim::Node>::all(cluster.client.clone());
    list(cluster, &api, "list Nodes for the forecast").await
}

async fn list<K>(cluster: &Cluster, api: &Api<K>, step: &str) -> Result<BTreeMap<String, K>, Failure>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource,
{
    let listed = pages(api, &ListParams::default()).await;
    listed.map_err(|error| Failure::of_request(step, &cluster.server, &error))
}

/// Reads all objects of a kind in pages, so that 5,000 nodes do not come as one answer.
async fn pages<K>(api: &Api<K>, params: &ListParams) -> kube::Result<BTreeMap<String, K>>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource,
{
    let mut found = BTreeMap::new();
    let mut page = params.clone().limit(500);
    loop {
        let list = api.list(&page).await?;
        let next = list.metadata.continue_.clone().filter(|token| !token.is_empty());
        found.extend(list.items.into_iter().map(|mut object| {
            // Managed fields are larger than the rest and unused here.
            object.managed_fields_mut().clear();
            (object.name_any(), object)
        }));
        match next {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}
