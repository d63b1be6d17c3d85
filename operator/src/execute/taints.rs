//! Our own taints on a Node, where a policy asks for them; taints of others stay as they are.

use kube::api::Patch;
use lockkeeper_crds::names;
use lockkeeper_kube_util::patch_params;
use lockkeeper_planner::Taint;
use lockkeeper_snapshot::taints::with;
use serde_json::json;

use super::{Error, Pass, api_error};

impl Pass<'_> {
    /// Writes all taints of the Node with one more or one less; the version makes sure that no taint of another writer is lost.
    ///
    /// `spec.taints` is one atomic list: an apply of ours would own those of all others.
    pub(super) async fn set_taint(&mut self, node: &str, taint: Taint, there: bool) -> Result<(), Error> {
        const STEP: &str = "write the taints of";
        let seen = self.node(STEP, node)?;
        let patch = json!({
            "metadata": {"uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version},
            "spec": {"taints": with(&seen.spec.taints, taint, there)},
        });
        let params = patch_params(names::OPERATOR_MANAGER);
        let written = self.api.nodes.patch(node, &params, &Patch::Merge(&patch)).await;
        self.store_node(written.map_err(api_error(STEP, node))?);
        Ok(())
    }
}
