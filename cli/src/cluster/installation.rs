//! Where Lockkeeper is installed: the chart may be in any namespace.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_crds::reasons::Installation;

use super::connect::Cluster;

/// Shows the pods of the operator and the agents, in whatever namespace they are.
pub(crate) const SHOW_PODS: &str = "kubectl get pods -A -l app.kubernetes.io/part-of=lockkeeper";

/// The operator's `ClusterRoleBinding` unless the chart renames it. Only an administrator writes it, so that a pod of a
/// tenant cannot pass for one of Lockkeeper's.
const BINDING: &str = "lockkeeper-operator";

/// The namespace of the operator's service account; the default if it cannot be read.
pub(crate) async fn namespace(cluster: &Cluster) -> String {
    let api: Api<ClusterRoleBinding> = Api::all(cluster.client.clone());
    let by_name = api.get(BINDING).await.ok().filter(is_part_of_lockkeeper);
    if let Some(namespace) = by_name.as_ref().and_then(account_namespace) {
        return namespace;
    }
    let labels = format!("{},{}=operator", part_of(), names::COMPONENT_LABEL);
    let listed = api.list(&ListParams::default().labels(&labels)).await;
    let mut listed = listed.iter().flat_map(|list| &list.items);
    let namespace = listed.find_map(account_namespace);
    namespace.unwrap_or_else(|| names::NAMESPACE.to_owned())
}

/// The installation, with the agent's pod on this node.
pub(crate) async fn of_node(cluster: &Cluster, node: &str) -> Installation {
    let namespace = namespace(cluster).await;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let params = ListParams::default()
        .labels(&format!("{},{}=node-agent", part_of(), names::COMPONENT_LABEL))
        .fields(&format!("spec.nodeName={node}"));
    // A reader who may not list pods gets the command that shows them.
    let pods = api.list_metadata(&params).await;
    let agent_pod = pods.ok().and_then(|pods| pods.iter().map(ResourceExt::name_any).min());
    Installation { namespace, agent_pod }
}

fn part_of() -> String {
    format!("{}={}", names::PART_OF_LABEL, names::PART_OF)
}

fn is_part_of_lockkeeper(binding: &ClusterRoleBinding) -> bool {
    binding
        .labels()
        .get(names::PART_OF_LABEL)
        .is_some_and(|value| value == names::PART_OF)
}

fn account_namespace(binding: &ClusterRoleBinding) -> Option<String> {
    let mut subjects = binding.subjects.iter().flatten();
    subjects
        .find(|subject| subject.kind == "ServiceAccount")?
        .namespace
        .clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn binding(part_of: &str, subject: &serde_json::Value) -> ClusterRoleBinding {
        let binding = json!({"metadata": {"name": BINDING, "labels": {"app.kubernetes.io/part-of": part_of}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lockkeeper-operator"},
            "subjects": [subject]});
        serde_json::from_value(binding).unwrap()
    }

    #[test]
    fn the_namespace_is_that_of_the_operators_service_account() {
        let account = json!({"kind": "ServiceAccount", "name": "operator", "namespace": "ops"});
        let found = binding("lockkeeper", &account);
        assert!(is_part_of_lockkeeper(&found));
        assert_eq!(account_namespace(&found).as_deref(), Some("ops"));
        let user = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ops"});
        assert_eq!(account_namespace(&binding("lockkeeper", &user)), None);
        assert!(!is_part_of_lockkeeper(&binding("other", &account)));
    }
}
