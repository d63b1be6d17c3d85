//! Whether the operator holds a node: then a person's drain would interfere, or the node is about to reboot.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use lockkeeper_crds::{RebootLock, names};

use crate::failure::Failure;

/// Refuses a node that holds a slot of the lock, or that the operator has cordoned.
pub(crate) fn check(node: &Node, lock: Option<&RebootLock>) -> Result<(), Failure> {
    check_annotation(node)?;
    let holders = lock.and_then(|lock| lock.status.as_ref()).map(|status| &status.holders);
    let name = node.name_any();
    match holders.into_iter().flatten().find(|holder| holder.node == name) {
        Some(holder) => Err(refused(&name, &holder.operation_id)),
        None => Ok(()),
    }
}

/// Refuses a node that the operator has cordoned.
pub(crate) fn check_annotation(node: &Node) -> Result<(), Failure> {
    match node.annotations().get(names::OPERATION) {
        Some(operation) => Err(refused(&node.name_any(), operation)),
        None => Ok(()),
    }
}

/// The error for a node that the operator is rebooting.
pub(crate) fn refused(node: &str, operation: &str) -> Failure {
    Failure::refused(format!(
        "the operator is rebooting node {node} (operation {operation}); see: kubectl lockkeeper explain {node}; \
         to cancel the operation before the reboot: kubectl lockkeeper cancel {node}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_the_operator_has_cordoned_or_admitted_is_refused() {
        let bare: Node = serde_json::from_value(json!({"metadata": {"name": "w-01"}})).unwrap();
        let cordoned = json!({"metadata": {"name": "w-01", "annotations": {"lockkeeper.dev/operation": "7f3c"}}});
        let cordoned: Node = serde_json::from_value(cordoned).unwrap();
        let lock = |node: &str| -> RebootLock {
            serde_json::from_value(json!({
                "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootLock", "metadata": {"name": "cluster"}, "spec": {},
                "status": {"holders": [{"node": node, "nodeUID": "u", "policy": "p", "operationID": "7f3c",
                    "acquiredTime": "2026-11-24T22:00:00Z"}]},
            }))
            .unwrap()
        };
        assert!(check(&bare, None).is_ok() && check(&bare, Some(&lock("w-02"))).is_ok());
        for failure in [check(&cordoned, None), check(&bare, Some(&lock("w-01")))] {
            let failure = failure.unwrap_err();
            assert_eq!(failure.exit, crate::failure::Exit::Refused);
            assert!(failure.message.contains("operation 7f3c"), "{}", failure.message);
        }
    }
}
