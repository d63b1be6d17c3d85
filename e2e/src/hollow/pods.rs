//! What a stage of a pod cannot see: whether its node is up.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::Utc;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::time::to_kubernetes;
use serde_json::json;

use super::node::{boot_id, is_ready};
use super::{HOLLOW, NODE_DOWN};

/// Runs until it is aborted.
pub(super) async fn follow_nodes(client: Client) {
    let config = watcher::Config::default().labels(&format!("{}={}", HOLLOW.0, HOLLOW.1));
    let events = watcher(Api::<Node>::all(client.clone()), config)
        .default_backoff()
        .applied_objects();
    let mut events = std::pin::pin!(events);
    // Whether each was Ready, and in which boot: a whole reboot may pass while the watch is away.
    let mut before: BTreeMap<String, (bool, Option<String>)> = BTreeMap::new();
    loop {
        let node = match events.try_next().await {
            Ok(Some(node)) => node,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "watch of the hollow nodes failed; it is tried again");
                continue;
            }
        };
        let (name, now) = (node.name_any(), (is_ready(&node), boot_id(&node).map(str::to_owned)));
        // A node that is seen for the first time has no pods that were there before.
        let known = before.insert(name.clone(), now.clone()).unwrap_or(now.clone());
        let turned = known.0 != now.0 || now.0 && known.1 != now.1;
        if turned && let Err(error) = turn(&client, &name, now.0).await {
            // Asked again at the node's next change: the pods are not where they should be yet.
            before.insert(name.clone(), known);
            tracing::warn!(
                node = name,
                error = format!("{error:#}"),
                "pods of a hollow node were not updated"
            );
        }
    }
}

/// Tells all pods of a node that it went down, or that it is back; the stages do the rest.
async fn turn(client: &Client, node: &str, up: bool) -> Result<()> {
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client.clone())
        .list(&on_node)
        .await
        .context("list pods")?;
    let mark = (!up).then_some("true");
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { NODE_DOWN: mark } } }));
    for pod in pods {
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        if up && cannot_move(&pod) {
            starts_anew(&api, &pod).await?;
        }
        match api.patch(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {}
            // It went away meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).with_context(|| format!("mark pod {}", pod.name_any())),
        }
    }
    Ok(())
}

/// The pod of a `DaemonSet`, or the mirror of a static pod.
fn cannot_move(pod: &Pod) -> bool {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.kind == "DaemonSet") || pod.annotations().contains_key("kubernetes.io/config.mirror")
}

/// A kubelet's first word about a pod that was there before the boot: its containers do not run yet.
///
/// The pods that were moved are gone by then, so that only those that cannot move are looked at.
async fn starts_anew(api: &Api<Pod>, pod: &Pod) -> Result<()> {
    let now = to_kubernetes(Utc::now());
    let conditions = ["Ready", "ContainersReady"].map(|condition| {
        json!({
            "type": condition, "status": "False", "lastTransitionTime": now, "reason": "ContainersNotReady",
            "message": "containers with unready status: [main]",
        })
    });
    let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
    match api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("start pod {} anew", pod.name_any())),
    }
}
