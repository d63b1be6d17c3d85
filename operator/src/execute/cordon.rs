//! The cordon of a Node: one server-side apply sets it, and one removes what is ours and nothing else.

use kube::api::Patch;
use lockkeeper_crds::names;
use lockkeeper_kube_util::patch_params;
use lockkeeper_planner::preconditions::Observed;
use lockkeeper_snapshot::slim;
use serde_json::{Map, Value, json};

use super::{Error, Pass, api_error};

impl Pass<'_> {
    pub(super) async fn cordon(&mut self, node: &str, operation_id: &str) -> Result<(), Error> {
        const STEP: &str = "cordon";
        let seen = self.node(STEP, node)?;
        let patch = cordon_patch(&seen, operation_id);
        let params = patch_params(names::OPERATOR_MANAGER);
        match self.api.nodes.patch(node, &params, &Patch::Apply(&patch)).await {
            Ok(marked) => {
                self.store_node(marked);
                Ok(())
            }
            Err(error) => {
                Err(ownership_conflict(node, operation_id, &error).unwrap_or_else(|| api_error(STEP, node)(error)))
            }
        }
    }

    /// An apply without our fields removes what we alone own; another's cordon, label or annotation stays.
    pub(super) async fn uncordon(&mut self, node: &str, keep_cordon: bool) -> Result<(), Error> {
        const STEP: &str = "uncordon";
        let seen = self.node(STEP, node)?;
        let mut bare = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "uid": seen.metadata.uid},
        });
        let operation = self.record(node).and_then(|record| record.operation);
        if operation.is_some_and(|operation| operation.awaits_cordon()) {
            // This is the cordon of an earlier operation; that of the present one may be set by now.
            bare["metadata"]["resourceVersion"] = json!(seen.metadata.resource_version);
        }
        if keep_cordon {
            let mut held = bare.clone();
            held["spec"] = json!({"unschedulable": true});
            let params = patch_params(names::HOLD_MANAGER);
            let kept = self.api.nodes.patch(node, &params, &Patch::Apply(&held)).await;
            self.store_node(kept.map_err(api_error("keep the cordon of", node))?);
        }
        // The uid alone guards it: a kubelet's heartbeat must not keep a node cordoned.
        let params = patch_params(names::OPERATOR_MANAGER);
        let lifted = self.api.nodes.patch(node, &params, &Patch::Apply(&bare)).await;
        let lifted = lifted.map_err(api_error(STEP, node))?;
        let stays = slim::annotation(&lifted, names::OPERATION).is_some();
        self.store_node(lifted);
        if stays {
            // Another manager owns the annotation now, as after a restored backup: it means nothing, and each pass would try
            // to remove it again. The other manager's cordon stays.
            self.remove_annotation(node, names::OPERATION).await?;
        }
        Ok(())
    }

    /// Removes an annotation that has had its time, such as a request that was fulfilled; the version sees to it that it is that one.
    pub(super) async fn remove_annotation(&mut self, node: &str, annotation: &str) -> Result<(), Error> {
        const STEP: &str = "remove the fulfilled request, the approval or a foreign mark of";
        self.patch_metadata(STEP, node, json!({"annotations": {annotation: null}}))
            .await
    }
}

/// The whole cordon in one apply, without those labels and annotations that are there already: other managers own them.
fn cordon_patch(node: &slim::Node, operation_id: &str) -> Value {
    let there = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref().is_some_and(|map| map.contains_key(key))
    };
    let mut annotations = Map::from_iter([(names::OPERATION.to_owned(), json!(operation_id))]);
    for key in [
        names::CLUSTER_AUTOSCALER_SCALE_DOWN_DISABLED,
        names::KARPENTER_DO_NOT_DISRUPT,
    ] {
        if !there(&node.metadata.annotations, key) {
            annotations.insert(key.to_owned(), json!("true"));
        }
    }
    let mut labels = Map::new();
    if !there(&node.metadata.labels, names::EXCLUDE_FROM_LOAD_BALANCERS) {
        labels.insert(names::EXCLUDE_FROM_LOAD_BALANCERS.to_owned(), json!("true"));
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

/// A conflict of field managers, told apart from one of versions.
fn ownership_conflict(node: &str, operation_id: &str, error: &kube::Error) -> Option<Error> {
    let kube::Error::Api(status) = error else { return None };
    let causes = &status.details.as_ref()?.causes;
    let cause = causes.iter().find(|cause| cause.reason == "FieldManagerConflict")?;
    let manager = cause
        .message
        .split('"')
        .nth(1)
        .unwrap_or("another field manager")
        .to_owned();
    Some(Error::CordonConflict {
        node: node.to_owned(),
        operation_id: operation_id.to_owned(),
        manager,
        field: cause.field.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_another_manager_has_set_are_left_out() {
        let node: slim::Node = serde_json::from_value(json!({"metadata": {
            "name": "w-01", "uid": "u", "resourceVersion": "7",
            "annotations": {"karpenter.sh/do-not-disrupt": "false"},
            "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""},
        }}))
        .unwrap();
        let cordon_patch = cordon_patch(&node, "op");
        assert_eq!(
            cordon_patch["metadata"]["annotations"],
            json!({"lockkeeper.dev/operation": "op", "cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"})
        );
        assert_eq!(cordon_patch["metadata"]["labels"], json!({}));
        assert_eq!(cordon_patch["metadata"]["resourceVersion"], "7");
    }
}
