//! `NodeReboot`, made for each Node.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, names};
use lockkeeper_kube_util::post_params;
use lockkeeper_planner::Action;
use lockkeeper_snapshot::ObservedObjects;
use serde_json::json;

use super::{Error, Pass, api_error};

const STEP: &str = "create NodeReboot";

impl Pass<'_> {
    /// Creates a `NodeReboot` if its precondition holds.
    pub(super) async fn create_verified_record(&self, action: &Action) -> Result<Option<NodeReboot>, Error> {
        self.verify(action).await?;
        self.create_record(action).await
    }

    /// Creates a `NodeReboot`, or makes the Node the owner of one that a person created.
    pub(super) async fn create_record(&self, action: &Action) -> Result<Option<NodeReboot>, Error> {
        let Action::CreateRecord { node, uid, policy } = action else {
            return Ok(None);
        };
        let reboots = &self.api.reboots;
        let orphan = self.seen.reboots.get(node);
        if let Some(orphan) = orphan.filter(|reboot| reboot.owner_references().is_empty()) {
            let patch = json!({"metadata": {
                "resourceVersion": orphan.resource_version(), "ownerReferences": [owner(node, uid)],
            }});
            let adopted = reboots
                .patch(node, &PatchParams::default(), &Patch::Merge(&patch))
                .await;
            return adopted.map(Some).map_err(api_error("adopt NodeReboot", node));
        }
        let spec = NodeRebootSpec {
            policy: policy.as_deref().map(str::to_owned),
            order: None,
        };
        let mut reboot = NodeReboot::new(node, spec);
        reboot.metadata.owner_references = Some(vec![owner(node, uid)]);
        let params = post_params(names::OPERATOR_MANAGER);
        let created = reboots.create(&params, &reboot).await;
        created.map(Some).map_err(api_error(STEP, node))
    }
}

/// The uids of the Nodes that this process has created a record for.
///
/// Only a second record for a Node needs a read before it. An operator that has restarted creates one record too many at
/// most.
#[derive(Debug, Default)]
pub struct CreatedRecords(BTreeSet<String>);

impl CreatedRecords {
    /// Whether this process has created a record for the Node with this uid.
    pub(super) fn contains(&self, uid: &str) -> bool {
        self.0.contains(uid)
    }

    /// Remembers one more, and forgets those of Nodes that are no longer seen.
    pub(super) fn add(&mut self, uid: &str, seen: &ObservedObjects) {
        if self.0.len() > 2 * seen.nodes.len() {
            let here: BTreeSet<_> = seen.nodes.values().filter_map(|node| node.uid()).collect();
            self.0.retain(|uid| here.contains(uid));
        }
        self.0.insert(uid.to_owned());
    }
}

fn owner(node: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }
}
