//! Finds the object of one node; an error suggests similar names.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use lockkeeper_crds::{NodeReboot, RebootLock, names};

use super::connect::Cluster;
use super::objects::{self, if_exists};
use crate::failure::Failure;
use crate::suggest::hint;

/// Reads a node's `NodeReboot`.
pub(crate) async fn reboot(cluster: &Cluster, name: &str) -> Result<NodeReboot, Failure> {
    let step = format!("read NodeReboot {name}");
    // The kind may be unknown as well as the name; the list below distinguishes the two.
    let found = cluster
        .reboots()
        .get_opt(name)
        .await
        .map_err(|error| Failure::of_request(&step, &cluster.server, &error))?;
    if let Some(reboot) = found {
        return Ok(reboot);
    }
    let objects = objects::fetch(cluster).await?;
    let node = cluster.nodes().get_opt(name).await.ok().flatten();
    let names = objects.reboots.keys().map(String::as_str);
    Err(Failure::error(no_node_reboot(name, node.as_ref(), names)))
}

/// The message for a node that has no `NodeReboot`.
pub(crate) fn no_node_reboot<'a>(name: &str, node: Option<&Node>, names: impl IntoIterator<Item = &'a str>) -> String {
    let os = |node: &Node| node.labels().get("kubernetes.io/os").cloned();
    match node {
        Some(node) if os(node).is_some_and(|os| os != "linux") => {
            format!("node {name} does not run Linux, so Lockkeeper does not manage it")
        }
        Some(_) => format!(
            "node {name} has no NodeReboot yet; the operator creates one for each Linux node; \
             check whether it is running: kubectl -n lockkeeper-system get pods"
        ),
        None => format!("there is no node {name}; {}", hint(name, names, "kubectl get nrb")),
    }
}

/// The message for a policy that does not exist.
pub(crate) fn no_policy<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Failure {
    let hint = hint(name, names, "kubectl get rbp");
    Failure::error(format!("there is no RebootPolicy {name}; {hint}"))
}

/// Reads the lock; `None` if it does not exist or Lockkeeper is not installed.
pub(crate) async fn lock(cluster: &Cluster) -> Result<Option<RebootLock>, Failure> {
    let lock = if_exists(cluster.locks().get(names::LOCK).await);
    lock.map_err(|error| Failure::of_request("read the RebootLock", &cluster.server, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_node_name_leads_to_similar_names() {
        assert_eq!(
            no_node_reboot("w-1", None, ["w-01", "w-10"]),
            "there is no node w-1; did you mean w-01, w-10?"
        );
        assert_eq!(
            no_node_reboot("x", None, []),
            "there is no node x; see: kubectl get nrb"
        );
    }
}
