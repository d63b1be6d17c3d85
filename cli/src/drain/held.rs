//! Whether the operator holds a node: then a person's drain would be in its way, or the node is about to reboot.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use lockkeeper_crds::{RebootLock, names};

use crate::connect::Cluster;
use crate::failure::Failure;
use crate::objects::if_there;

/// Reads who is inside; nobody where Lockkeeper is not installed.
pub(crate) async fn lock(cluster: &Cluster) -> Result<Option<RebootLock>, Failure> {
    let lock = if_there(cluster.locks().get(names::LOCK).await);
    lock.map_err(|error| Failure::of_request("read the RebootLock", &cluster.server, &error))
}

/// Refuses a node that is inside the lock, or has the operator's mark.
pub(crate) fn check(node: &Node, lock: Option<&RebootLock>) -> Result<(), Failure> {
    by_annotation(node)?;
    let holders = lock.and_then(|lock| lock.status.as_ref()).map(|status| &status.holders);
    let name = node.name_any();
    match holders.into_iter().flatten().find(|holder| holder.node == name) {
        Some(holder) => Err(refused(&name, &holder.operation_id)),
        None => Ok(()),
    }
}

/// Refuses a node with the operator's mark.
pub(crate) fn by_annotation(node: &Node) -> Result<(), Failure> {
    match node.annotations().get(names::OPERATION) {
        Some(operation) => Err(refused(&node.name_any(), operation)),
        None => Ok(()),
    }
}

fn refused(node: &str, operation: &str) -> Failure {
    Failure::refused(format!(
        "node {node} is the operator's: it holds it for a reboot (operation {operation}); see: kubectl lockkeeper \
         explain {node}; to take it out: kubectl lockkeeper cancel {node}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_the_operator_holds_is_refused_by_its_mark_or_by_the_lock() {
        let bare: Node = serde_json::from_value(json!({"metadata": {"name": "w-01"}})).unwrap();
        let marked = json!({"metadata": {"name": "w-01", "annotations": {"lockkeeper.dev/operation": "7f3c"}}});
        let marked: Node = serde_json::from_value(marked).unwrap();
        let lock = |node: &str| -> RebootLock {
            serde_json::from_value(json!({
                "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootLock", "metadata": {"name": "cluster"}, "spec": {},
                "status": {"holders": [{"node": node, "nodeUID": "u", "policy": "p", "operationID": "7f3c",
                    "acquiredTime": "2026-11-24T22:00:00Z"}]},
            }))
            .unwrap()
        };
        assert!(check(&bare, None).is_ok() && check(&bare, Some(&lock("w-02"))).is_ok());
        for failure in [check(&marked, None), check(&bare, Some(&lock("w-01")))] {
            let failure = failure.unwrap_err();
            assert_eq!(failure.exit, crate::failure::Exit::Refused);
            assert!(failure.message.contains("operation 7f3c"), "{}", failure.message);
        }
    }
}
