//! This command's own cordon: one server-side apply sets its fields, an apply without them removes those that it owns.
//!
//! The fields are those of the operator's cordon but for `lockkeeper.dev/operation`, under the plugin's field manager. It
//! never takes over or removes a cordon, label or annotation of another client.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::Patch;
use kube::core::Status;
use lockkeeper_crds::names;
use lockkeeper_kube_util::patch_params;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::ownership;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::suggest::hint;

/// How often a write is retried after a conflict.
const ATTEMPTS: usize = 10;
/// How often an uncordon is retried while the API server does not answer, and the delay before each: half a minute.
const UNCORDON_ATTEMPTS: usize = 30;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The annotations of the cordon.
const ANNOTATIONS: [&str; 2] = [
    names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
    names::KARPENTER_DO_NOT_DISRUPT,
];

/// A node that this command has cordoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CordonedNode {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Whether an earlier run had cordoned it: then only `--cancel` uncordons it.
    pub(crate) by_earlier_run: bool,
}

/// The state of a node after an uncordon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncordoned {
    /// Pods can be scheduled to it again.
    Schedulable,
    /// The cordon of another client remains.
    CordonedByOther,
    /// The node was deleted; another one may have its name.
    Deleted,
}

/// Reads the node; an error suggests similar names.
pub(crate) async fn find(cluster: &Cluster, node: &str) -> Result<Node, Failure> {
    let step = format!("read node {node}");
    let found = cluster.nodes().get_opt(node).await;
    if let Some(found) = found.map_err(|error| failed(cluster, &step, &error))? {
        return Ok(found);
    }
    let all = cluster.nodes().list_metadata(&kube::api::ListParams::default()).await;
    let names: Vec<String> = all.iter().flatten().map(ResourceExt::name_any).collect();
    let hint = hint(node, names.iter().map(String::as_str), "kubectl get nodes");
    Err(Failure::error(format!("there is no node {node}; {hint}")))
}

/// Cordons the node and keeps autoscalers and load balancers off it, in one write.
pub(crate) async fn cordon(cluster: &Cluster, node: &str) -> Result<CordonedNode, Failure> {
    let step = format!("cordon node {node}");
    let params = patch_params(names::CLI_MANAGER);
    for _ in 0..ATTEMPTS {
        let current = find(cluster, node).await?;
        ownership::check_annotation(&current)?;
        let owned = owned(&current);
        let patch = Patch::Apply(cordon_patch(&current, &owned));
        match cluster.nodes().patch(node, &params, &patch).await {
            Ok(_) => {
                return Ok(CordonedNode {
                    name: node.to_owned(),
                    uid: current.uid().unwrap_or_default(),
                    by_earlier_run: owned.cordon,
                });
            }
            Err(kube::Error::Api(status)) if conflict(&status).is_some() => {
                let (manager, field) = conflict(&status).unwrap_or_default();
                return Err(Failure::refused(format!(
                    "{step}: field {field} is owned by {manager} with a different value; nothing was evicted; remove the field from its configuration"
                )));
            }
            // The kubelet updated the node in between.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(cluster, &step, &error)),
        }
    }
    Err(Failure::error(format!(
        "{step}: {ATTEMPTS} attempts ended with a conflict; nothing was evicted; try again"
    )))
}

/// Removes our cordon; it is retried for half a minute while the API server does not answer.
pub(crate) async fn uncordon(cluster: &Cluster, node: &str, uid: &str) -> Result<Uncordoned, Failure> {
    let step = format!("uncordon node {node}");
    let empty = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "uid": uid}});
    let params = patch_params(names::CLI_MANAGER);
    let mut attempts = 0;
    loop {
        // Without a resource version: an update of the kubelet must not keep a node cordoned.
        let error = match cluster.nodes().patch(node, &params, &Patch::Apply(&empty)).await {
            Ok(node) => return Ok(remaining_cordon(&node)),
            Err(error) => error,
        };
        attempts += 1;
        match &error {
            kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422) => {
                let found = cluster.nodes().get_opt(node).await;
                if matches!(&found, Ok(found) if found.as_ref().is_none_or(|found| found.uid().as_deref() != Some(uid)))
                {
                    return Ok(Uncordoned::Deleted);
                }
            }
            kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
                return Err(may_be_cordoned(&failed(cluster, &step, &error), node));
            }
            _ => {}
        }
        if attempts == UNCORDON_ATTEMPTS {
            return Err(may_be_cordoned(&failed(cluster, &step, &error), node));
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Whether this command has cordoned the node.
pub(crate) fn is_ours(node: &Node) -> bool {
    owned(node) != Owned::default()
}

/// Explains an error of a request for nodes or pods, which need other permissions than the other commands.
pub(crate) fn failed(cluster: &Cluster, step: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 403 => Failure::error(format!(
            "{step}: not permitted: {}; a drain requires get, list, watch and patch on nodes, list and watch on pods \
             and poddisruptionbudgets, and create on pods/eviction",
            status.message
        )),
        _ => Failure::of_request(step, &cluster.server, error),
    }
}

fn may_be_cordoned(failure: &Failure, node: &str) -> Failure {
    Failure::new(
        failure.exit,
        format!(
            "{}; the node may still be cordoned; to uncordon it: kubectl lockkeeper drain --cancel {node}",
            failure.message
        ),
    )
}

/// Whether the node is cordoned, by any client.
pub(crate) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

fn remaining_cordon(node: &Node) -> Uncordoned {
    if is_cordoned(node) {
        Uncordoned::CordonedByOther
    } else {
        Uncordoned::Schedulable
    }
}

/// Which fields of the cordon our field manager owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Owned {
    cordon: bool,
    keys: Vec<&'static str>,
}

fn owned(node: &Node) -> Owned {
    let ours = node
        .managed_fields()
        .iter()
        .filter(|entry| entry.manager.as_deref() == Some(names::CLI_MANAGER))
        .filter(|entry| entry.operation.as_deref() == Some("Apply"))
        .filter_map(|entry| entry.fields_v1.as_ref());
    let mut owned = Owned::default();
    for fields in ours {
        let has = |path: &[&str]| {
            let at = path.iter().try_fold(&fields.0, |at, key| at.get(format!("f:{key}")));
            at.is_some()
        };
        owned.cordon |= has(&["spec", "unschedulable"]);
        owned.keys.extend(
            ANNOTATIONS
                .into_iter()
                .filter(|key| has(&["metadata", "annotations", key])),
        );
        if has(&["metadata", "labels", names::EXCLUDE_FROM_LOAD_BALANCERS]) {
            owned.keys.push(names::EXCLUDE_FROM_LOAD_BALANCERS);
        }
    }
    owned
}

/// The cordon in one apply, without labels and annotations that another client has set already.
fn cordon_patch(node: &Node, owned: &Owned) -> Value {
    let is_free = |key: &str, exists: bool| !exists || owned.keys.contains(&key);
    let mut annotations = Map::new();
    for key in ANNOTATIONS {
        if is_free(key, node.annotations().contains_key(key)) {
            annotations.insert(key.to_owned(), json!("true"));
        }
    }
    let mut labels = Map::new();
    let key = names::EXCLUDE_FROM_LOAD_BALANCERS;
    if is_free(key, node.labels().contains_key(key)) {
        labels.insert(key.to_owned(), json!("true"));
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": node.metadata.name, "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version,
            "annotations": annotations, "labels": labels,
        },
        "spec": {"unschedulable": true},
    })
}

/// The manager and the field of a conflict of field managers; `None` for a conflict of versions.
fn conflict(status: &Status) -> Option<(String, String)> {
    let causes = &status.details.as_ref()?.causes;
    let cause = causes.iter().find(|cause| cause.reason == "FieldManagerConflict")?;
    let manager = cause.message.split('"').nth(1).unwrap_or("another field manager");
    Some((manager.to_owned(), cause.field.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(managed: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {
            "name": "w-01", "uid": "u", "resourceVersion": "7", "managedFields": managed,
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": "true"},
        }}))
        .unwrap()
    }

    fn managed(manager: &str) -> Value {
        json!([{"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {"f:annotations": {"f:karpenter.sh/do-not-disrupt": {}},
                "f:labels": {"f:node.kubernetes.io/exclude-from-external-load-balancers": {}}},
            "f:spec": {"f:unschedulable": {}},
        }}])
    }

    #[test]
    fn fields_that_another_client_has_set_are_left_out() {
        let node = node(&managed("gitops"));
        assert!(!is_ours(&node));
        let patch = cordon_patch(&node, &owned(&node));
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({"cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"})
        );
        assert_eq!(patch["metadata"]["labels"], json!({}));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["metadata"]["annotations"].get(names::OPERATION), None);
    }

    #[test]
    fn fields_that_an_earlier_run_has_set_stay_in_the_apply() {
        let node = node(&managed("kubectl-lockkeeper"));
        assert!(is_ours(&node) && owned(&node).cordon);
        let patch = cordon_patch(&node, &owned(&node));
        assert_eq!(patch["metadata"]["annotations"].as_object().unwrap().len(), 2);
        assert_eq!(patch["metadata"]["labels"].as_object().unwrap().len(), 1);
    }
}
