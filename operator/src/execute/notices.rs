//! The condition of a Node that gives notice of its drain.

use chrono::TimeDelta;
use kube::api::Patch;
use lockkeeper_crds::names;
use lockkeeper_kube_util::patch_params;
use lockkeeper_snapshot::notice;
use serde_json::{Value, json};

use super::{Error, Pass, api_error};

impl Pass<'_> {
    /// Sets the condition. Its time is that of the write, not of the plan: it may have waited.
    pub(super) async fn give_notice(&mut self, node: &str, id: &str, lasts: TimeDelta) -> Result<(), Error> {
        const STEP: &str = "set the condition MaintenancePlanned of";
        let status = notice::give(id, self.clock.now(), lasts);
        self.patch_conditions(STEP, node, &status).await
    }

    /// Removes the condition.
    pub(super) async fn end_notice(&mut self, node: &str) -> Result<(), Error> {
        const STEP: &str = "remove the condition MaintenancePlanned from";
        self.patch_conditions(STEP, node, &notice::end()).await
    }

    /// Changes conditions of the Node as it was observed: the version shows that another client has set none meanwhile.
    async fn patch_conditions(&mut self, step: &'static str, node: &str, status: &Value) -> Result<(), Error> {
        let seen = self.node(step, node)?;
        let metadata = json!({"uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version});
        let patch = json!({"metadata": metadata, "status": status});
        let params = patch_params(names::OPERATOR_MANAGER);
        let written = self
            .api
            .nodes
            .patch_status(node, &params, &Patch::Strategic(&patch))
            .await;
        self.store_node(written.map_err(api_error(step, node))?);
        Ok(())
    }
}
