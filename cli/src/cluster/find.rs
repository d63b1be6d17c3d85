//! Finds the object of one node; an error suggests similar names.

use kube::Api;
use lockkeeper_crds::{NodeReboot, RebootLock, names};
use lockkeeper_snapshot::{Unmanaged, slim, unmanaged};

use super::connect::Cluster;
use super::installation::SHOW_PODS;
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
    let nodes: Api<slim::Node> = Api::all(cluster.client.clone());
    let node = nodes.get_opt(name).await.ok().flatten();
    let names = objects.reboots.keys().map(String::as_str);
    Err(Failure::error(no_node_reboot(name, node.as_ref(), names)))
}

/// The message for a node that has no `NodeReboot`.
pub(crate) fn no_node_reboot<'a>(
    name: &str,
    node: Option<&slim::Node>,
    names: impl IntoIterator<Item = &'a str>,
) -> String {
    match node.map(unmanaged) {
        Some(Some(Unmanaged::OtherSystem)) => {
            format!("node {name} does not run Linux, so Lockkeeper does not manage it")
        }
        Some(Some(Unmanaged::Virtual)) => {
            format!("node {name} is a virtual node by its label type, so Lockkeeper does not manage it")
        }
        Some(Some(Unmanaged::NoSystem)) => format!(
            "node {name} reports no boot ID and no kernel, as virtual nodes do, so Lockkeeper does not manage it"
        ),
        Some(None) => format!(
            "node {name} has no NodeReboot yet; the operator creates one for each Linux node; \
             check whether it is running: {SHOW_PODS}"
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
    fn a_node_without_a_node_reboot_is_explained() {
        assert_eq!(
            no_node_reboot("w-1", None, ["w-01", "w-10"]),
            "there is no node w-1; did you mean w-01, w-10?"
        );
        assert_eq!(
            no_node_reboot("x", None, []),
            "there is no node x; see: kubectl get nrb"
        );
        let node = serde_json::json!({"metadata": {"name": "v", "labels": {"type": "virtual-kubelet"}}});
        let node: slim::Node = serde_json::from_value(node).unwrap();
        assert_eq!(
            no_node_reboot("v", Some(&node), []),
            "node v is a virtual node by its label type, so Lockkeeper does not manage it"
        );
    }
}
