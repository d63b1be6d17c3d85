//! Volumes, by the objects that say that they are attached.

use anyhow::{Result, ensure};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use lockkeeper_drain::{Settings, Unmanaged};
use lockkeeper_e2e::control_plane::ControlPlane;
use serde_json::json;

use super::fixture::{Scene, done};

pub(super) async fn a_volume_of_a_pod_that_left_is_waited_for(plane: &ControlPlane, node: &str) -> Result<()> {
    let scene = Scene::new(plane, node, "volumes").await?;
    let volume = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    scene.pod("db", json!({"spec": {"volumes": volume}})).await?;
    scene.wait_ready("db", 1).await?;
    let attachments: Api<VolumeAttachment> = Api::all(scene.client.clone());
    let attachment = json!({
        "metadata": {"name": "csi-e2e"},
        "spec": {"attacher": "disk.e2e.lockkeeper.dev", "nodeName": node, "source": {"persistentVolumeName": "pv-e2e"}},
    });
    attachments
        .create(&PostParams::default(), &serde_json::from_value(attachment)?)
        .await?;
    let evict = |settings| Settings {
        unmanaged: Unmanaged::Evict,
        ..settings
    };
    let mut running = scene.drain_with(evict).await?;
    running.blocked_by("volume pv-e2e is still attached").await?;
    attachments.delete("csi-e2e", &DeleteParams::default()).await?;
    ensure!(running.done().await? == done(1, 0));
    let asked = scene.asked(plane)?;
    let about = asked
        .iter()
        .filter(|request| request.resource == "volumeattachments")
        .count();
    ensure!(about == 2, "one list, one watch: {asked:?}");
    Ok(())
}
