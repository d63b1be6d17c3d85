//! Which Nodes Lockkeeper manages: Linux machines that can reboot.

use kube::ResourceExt;
use lockkeeper_crds::{NodeReboot, names};

use crate::slim::{self, annotation};
use crate::states::node_owners;

/// Why Lockkeeper does not manage a Node. Such a Node counts nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmanaged {
    /// It runs another operating system.
    OtherSystem,
    /// Its label says that it stands for something else than a machine, such as another cluster or a cloud's containers.
    Virtual,
    /// It reports neither a boot ID nor a kernel, as virtual nodes do.
    NoSystem,
}

/// Why Lockkeeper does not manage this Node; `None` if it does.
///
/// A Node with the cordon of an operation is always managed, so that the operation ends whatever becomes of its labels.
pub fn unmanaged(node: &slim::Node) -> Option<Unmanaged> {
    if annotation(node, names::OPERATION).is_some() {
        return None;
    }
    let labels = node.labels();
    let info = &node.status.node_info;
    let os = labels
        .get("kubernetes.io/os")
        .map_or(info.operating_system.as_str(), String::as_str);
    if !(os.is_empty() || os == "linux") {
        return Some(Unmanaged::OtherSystem);
    }
    let kind = labels.get(names::VIRTUAL_NODE_LABEL).map(String::as_str);
    if kind.is_some_and(|kind| names::VIRTUAL_NODE_VALUES.contains(&kind)) {
        return Some(Unmanaged::Virtual);
    }
    // A kubelet reports both with its first status. A Node that has not reported yet may become a machine.
    let has_no_system = node.status.ready.is_some() && info.boot_id.is_empty() && info.kernel_version.is_empty();
    has_no_system.then_some(Unmanaged::NoSystem)
}

/// Whether this `NodeReboot` is that of a Node which is not managed any more, and nothing needs it.
///
/// A Node that registers anew may have no boot ID for a moment: then the report of its agent keeps the record.
pub(crate) fn is_unmanaged_record(node: &slim::Node, reboot: &NodeReboot) -> bool {
    let status = reboot.status.as_ref();
    let is_over = match unmanaged(node) {
        None => false,
        Some(Unmanaged::OtherSystem | Unmanaged::Virtual) => true,
        Some(Unmanaged::NoSystem) => status.is_none_or(|status| status.host.is_none()),
    };
    let is_owned = node_owners(&reboot.metadata).any(|owner| Some(owner) == node.metadata.uid.as_deref());
    let in_progress = status.is_some_and(|status| status.operation.is_some());
    is_over && is_owned && !in_progress && reboot.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(labels: &Value, boot_id: &str, kernel: &str) -> Option<Unmanaged> {
        unmanaged(&node(labels, &json!({}), boot_id, kernel))
    }

    fn node(labels: &Value, annotations: &Value, boot_id: &str, kernel: &str) -> slim::Node {
        let value = json!({
            "metadata": {"name": "n", "labels": labels, "annotations": annotations},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"bootID": boot_id, "kernelVersion": kernel, "operatingSystem": "linux"},
            },
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_virtual_node_is_known_by_its_label_or_by_its_lack_of_a_kernel() {
        for kind in ["virtual-kubelet", "virtual-node"] {
            let labels = json!({"kubernetes.io/os": "linux", "type": kind});
            assert_eq!(of(&labels, "b", "6.1"), Some(Unmanaged::Virtual), "{kind}");
        }
        let linux = json!({"kubernetes.io/os": "linux"});
        assert_eq!(of(&linux, "", ""), Some(Unmanaged::NoSystem));
        assert_eq!(
            of(&json!({"kubernetes.io/os": "windows"}), "b", "10"),
            Some(Unmanaged::OtherSystem)
        );
    }

    #[test]
    fn a_machine_is_managed_whatever_else_it_is_called() {
        for (labels, boot_id, kernel) in [
            (json!({"kubernetes.io/os": "linux"}), "b", "6.1"),
            (json!({"type": "worker"}), "b", "6.1"),
            (json!({}), "b", ""),
            (json!({}), "", "6.1"),
        ] {
            assert_eq!(of(&labels, boot_id, kernel), None, "{labels}");
        }
    }

    #[test]
    fn a_node_that_has_not_reported_yet_may_become_a_machine() {
        let node: slim::Node = serde_json::from_value(json!({"metadata": {"name": "new"}})).unwrap();
        assert_eq!(unmanaged(&node), None);
    }

    #[test]
    fn a_node_with_an_operation_stays_managed() {
        let annotations = json!({"lockkeeper.dev/operation": "7f3c"});
        let labels = json!({"type": "virtual-kubelet"});
        assert_eq!(unmanaged(&node(&labels, &annotations, "", "")), None);
    }
}
