//! A `NodeReboot` that cannot be decoded: the wait reason of its node in its status, where the API server takes it, and an
//! Event about the node.

use kube::api::Patch;
use lockkeeper_crds::{NodeState, names};
use lockkeeper_kube_util::{error_chain, patch_params};
use lockkeeper_planner::Plan;
use lockkeeper_snapshot::guarded::UndecodableRecord;
use serde_json::json;

use super::event::Event;
use super::log_fields::LogFields;
use super::{Reporter, node_target};
use crate::execute::{Error, Pass};
use crate::status::node::waiting_status;

impl Reporter {
    /// Writes the wait reasons of the nodes whose `NodeReboot` cannot be decoded, if they changed.
    pub(super) async fn publish_undecodable_records(&mut self, pass: &Pass<'_>, plan: &Plan) -> Result<(), Error> {
        let undecodable = &pass.seen.undecodable.reboots;
        self.refused_records.retain(|name, _| undecodable.contains_key(name));
        let mut first = Ok(());
        for (name, record) in undecodable {
            first = first.and(self.publish_undecodable_record(name, record, pass, plan).await);
        }
        first
    }

    async fn publish_undecodable_record(
        &mut self,
        name: &str,
        record: &UndecodableRecord,
        pass: &Pass<'_>,
        plan: &Plan,
    ) -> Result<(), Error> {
        let (Some(node), Some(reason)) = (pass.snapshot.nodes.get(name), plan.wait_reasons.get(name)) else {
            return Ok(());
        };
        let before = record.rest.waiting.as_ref();
        let waiting = waiting_status(reason, before, pass.now);
        if before == Some(&waiting) || self.refused_records.get(name) == Some(&waiting.message) {
            return Ok(());
        }
        self.announcer
            .about_node(node_target(name, node), Event::wait(reason), LogFields::of_node(node));
        let mut status = json!({"waiting": &waiting});
        if !record.rest.in_progress {
            status["state"] = json!(NodeState::Unknown);
        }
        let patch = json!({"metadata": {"resourceVersion": record.metadata.resource_version}, "status": status});
        let (params, patch) = (patch_params(names::OPERATOR_MANAGER), Patch::Merge(&patch));
        match self.guarded_records.patch_status(name, &params, &patch).await {
            Ok(record) => self.cache.upsert_record(record),
            // What the definition does not allow is not tried again before the cause changes.
            Err(source) if matches!(&source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422)) => {
                tracing::warn!(
                    node = name,
                    "the NodeReboot cannot be decoded and the API server does not take its status: {}",
                    error_chain(&source)
                );
                self.refused_records.insert(name.to_owned(), waiting.message);
            }
            Err(source) => {
                return Err(Error::Api {
                    step: "write the status of NodeReboot",
                    object: name.to_owned(),
                    source,
                });
            }
        }
        Ok(())
    }
}
