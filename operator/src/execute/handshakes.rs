//! The keys of a hook that waits for an annotation on its Node.

use kube::api::Patch;
use lockkeeper_crds::names;
use lockkeeper_kube_util::patch_params;
use lockkeeper_planner::HandshakeKeys;
use lockkeeper_snapshot::handshake;
use serde_json::{Value, json};

use super::{Error, Pass, api_error};

impl Pass<'_> {
    /// Sets our annotation and the label, and removes an answer from before, in one write.
    pub(super) async fn begin_handshake(&mut self, node: &str, id: &str, keys: &HandshakeKeys) -> Result<(), Error> {
        const STEP: &str = "ask for the annotation of a hook on";
        self.patch_metadata(STEP, node, handshake::begin(id, keys)).await
    }

    /// Removes what [`Pass::begin_handshake`] has set, and the answer.
    pub(super) async fn end_handshake(&mut self, node: &str, keys: &HandshakeKeys) -> Result<(), Error> {
        const STEP: &str = "remove the keys of a hook from";
        self.patch_metadata(STEP, node, handshake::end(keys)).await
    }

    /// Changes metadata of the Node as it was observed.
    pub(super) async fn patch_metadata(
        &mut self,
        step: &'static str,
        node: &str,
        mut metadata: Value,
    ) -> Result<(), Error> {
        let seen = self.node(step, node)?;
        metadata["uid"] = json!(seen.metadata.uid);
        metadata["resourceVersion"] = json!(seen.metadata.resource_version);
        let patch = json!({"metadata": metadata});
        let params = patch_params(names::OPERATOR_MANAGER);
        let written = self.api.nodes.patch(node, &params, &Patch::Merge(&patch)).await;
        self.store_node(written.map_err(api_error(step, node))?);
        Ok(())
    }
}
