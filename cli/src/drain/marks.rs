//! This command's own marks on a Node: one apply puts them on, an apply of nothing takes off what is ours alone.
//!
//! They are those of the operator but for `lockkeeper.dev/operation`, under the plugin's field manager. Somebody else's
//! cordon, label or annotation is never taken over and never removed.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use lockkeeper_crds::names;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::close::close;
use crate::connect::Cluster;
use crate::drain::held;
use crate::failure::Failure;

/// How often a write that met a newer object is tried again on what is there then.
const ATTEMPTS: usize = 10;
/// How often an API server that does not answer is asked again to take marks off, and the pause before: half a minute.
const LIFTS: usize = 30;
const LIFT_PAUSE: Duration = Duration::from_secs(1);

/// The label and annotations among our marks.
const ANNOTATIONS: [&str; 2] = [
    names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
    names::KARPENTER_DO_NOT_DISRUPT,
];

/// A node with our marks on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) node: String,
    pub(crate) uid: String,
    /// Whether an earlier run had put them on: then they are not ours to take off unasked.
    pub(crate) before: bool,
}

/// What is left after our marks are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifted {
    /// It takes pods again.
    Schedulable,
    /// Somebody else has cordoned it.
    Cordoned,
    /// The node is gone, or another one has its name.
    Gone,
}

/// Reads the node, or says which one may have been meant.
pub(crate) async fn find(cluster: &Cluster, node: &str) -> Result<Node, Failure> {
    let step = format!("read node {node}");
    let found = cluster.nodes().get_opt(node).await;
    if let Some(found) = found.map_err(|error| failed(cluster, &step, &error))? {
        return Ok(found);
    }
    let all = cluster.nodes().list_metadata(&kube::api::ListParams::default()).await;
    let names: Vec<String> = all.iter().flatten().map(ResourceExt::name_any).collect();
    let meant = close(node, names.iter().map(String::as_str));
    let meant = if meant.is_empty() {
        "see: kubectl get nodes".to_owned()
    } else {
        format!("did you mean {}?", meant.join(", "))
    };
    Err(Failure::error(format!("there is no node {node}; {meant}")))
}

/// Cordons the node and sets what keeps autoscalers and load balancers away, or nothing of it.
pub(crate) async fn put_on(cluster: &Cluster, node: &str) -> Result<Marked, Failure> {
    let step = format!("cordon node {node}");
    let params = PatchParams::apply(names::CLI_MANAGER);
    for _ in 0..ATTEMPTS {
        let seen = find(cluster, node).await?;
        held::by_annotation(&seen)?;
        let owned = owned(&seen);
        let patch = Patch::Apply(marks(&seen, &owned));
        match cluster.nodes().patch(node, &params, &patch).await {
            Ok(_) => {
                return Ok(Marked {
                    node: node.to_owned(),
                    uid: seen.uid().unwrap_or_default(),
                    before: owned.cordon,
                });
            }
            Err(kube::Error::Api(status)) if conflict(&status).is_some() => {
                let (manager, field) = conflict(&status).unwrap_or_default();
                return Err(Failure::refused(format!(
                    "{step}: {manager} holds {field} on this node with another value; nothing was evicted; remove it there"
                )));
            }
            // A heartbeat came between.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(cluster, &step, &error)),
        }
    }
    Err(Failure::error(format!(
        "{step}: it changed under each of {ATTEMPTS} attempts; nothing was evicted; try again"
    )))
}

/// Takes our marks off; an API server that does not answer is asked again for half a minute.
pub(crate) async fn lift(cluster: &Cluster, node: &str, uid: &str) -> Result<Lifted, Failure> {
    let step = format!("lift the marks on node {node}");
    let bare = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "uid": uid}});
    let params = PatchParams::apply(names::CLI_MANAGER);
    let mut tries = 0;
    loop {
        // The uid alone guards it: a kubelet's heartbeat must not keep a node cordoned.
        let error = match cluster.nodes().patch(node, &params, &Patch::Apply(&bare)).await {
            Ok(left) => return Ok(cordon(&left)),
            Err(error) => error,
        };
        tries += 1;
        match &error {
            kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422) => {
                let found = cluster.nodes().get_opt(node).await;
                if matches!(&found, Ok(found) if found.as_ref().is_none_or(|found| found.uid().as_deref() != Some(uid)))
                {
                    return Ok(Lifted::Gone);
                }
            }
            kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
                return Err(left_on(&failed(cluster, &step, &error), node));
            }
            _ => {}
        }
        if tries == LIFTS {
            return Err(left_on(&failed(cluster, &step, &error), node));
        }
        sleep(LIFT_PAUSE).await;
    }
}

/// Whether the node has marks of this command.
pub(crate) fn are_on(node: &Node) -> bool {
    owned(node) != Owned::default()
}

/// Says what a request on nodes or pods came to; another permission is missing than for the other commands.
pub(crate) fn failed(cluster: &Cluster, step: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 403 => Failure::error(format!(
            "{step}: no permission: {}; a drain needs get, list, watch and patch on nodes, list and watch on pods \
             and budgets, create on pods/eviction",
            status.message
        )),
        _ => Failure::of_request(step, &cluster.server, error),
    }
}

fn left_on(failure: &Failure, node: &str) -> Failure {
    Failure::new(
        failure.exit,
        format!(
            "{}; its marks may still be on: kubectl lockkeeper drain --cancel {node}",
            failure.message
        ),
    )
}

/// Whether pods are kept off the node.
pub(crate) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

fn cordon(node: &Node) -> Lifted {
    if is_cordoned(node) {
        Lifted::Cordoned
    } else {
        Lifted::Schedulable
    }
}

/// Which marks our field manager owns.
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

/// All marks in one apply, less those labels and annotations that somebody else has set already.
fn marks(node: &Node, owned: &Owned) -> Value {
    let free = |key: &str, there: bool| !there || owned.keys.contains(&key);
    let mut annotations = Map::new();
    for key in ANNOTATIONS {
        if free(key, node.annotations().contains_key(key)) {
            annotations.insert(key.to_owned(), json!("true"));
        }
    }
    let mut labels = Map::new();
    let key = names::EXCLUDE_FROM_LOAD_BALANCERS;
    if free(key, node.labels().contains_key(key)) {
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

/// A conflict of field managers, told apart from one of versions: who, and which field.
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
    fn what_somebody_else_has_set_is_left_out() {
        let node = node(&managed("gitops"));
        assert!(!are_on(&node));
        let marks = marks(&node, &owned(&node));
        assert_eq!(
            marks["metadata"]["annotations"],
            json!({"cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"})
        );
        assert_eq!(marks["metadata"]["labels"], json!({}));
        assert_eq!(marks["metadata"]["resourceVersion"], "7");
        assert_eq!(marks["metadata"]["annotations"].get(names::OPERATION), None);
    }

    #[test]
    fn what_an_earlier_run_has_set_stays_in_the_apply_and_is_known() {
        let node = node(&managed("kubectl-lockkeeper"));
        assert!(are_on(&node) && owned(&node).cordon);
        let marks = marks(&node, &owned(&node));
        assert_eq!(marks["metadata"]["annotations"].as_object().unwrap().len(), 2);
        assert_eq!(marks["metadata"]["labels"].as_object().unwrap().len(), 1);
    }
}
