//! Volumes that stay attached after their pods have left.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::{Api, Client};
use lockkeeper_e2e::stack::Stack;
use serde_json::{Value, json};

use super::scene::{deploy, drain_is, events, make, merge, name, rebooted, runs, template, until, waits};

pub(super) async fn volumes_of_pods_that_left_are_waited_for_and_then_named(stack: &Stack) {
    let (node, client) = (name(stack, 11), stack.plane.client());
    for pod in ["goes", "stays", "skipped"] {
        volume(&client, pod, node).await;
    }
    deploy(&client, "goes", node, &uses("goes")).await;
    deploy(&client, "skipped", node, &uses("skipped")).await;
    let mut each = template("stays", node, &json!({}));
    each["spec"]["volumes"] = uses("stays")["spec"]["volumes"].clone();
    let each = json!({
        "metadata": {"name": "stays"},
        "spec": {"selector": {"matchLabels": {"app": "stays"}}, "template": each},
    });
    make(&Api::<DaemonSet>::namespaced(client.clone(), "default"), each).await;
    runs(&client, "", "app=stays").await;
    let skip = json!({"podSelector": {"matchLabels": {"app": "skipped"}}, "behavior": "Skip"});
    drain_is(stack, &json!({"waitForVolumeDetachSeconds": 15, "rules": [skip]}));
    stack.stage_cause(node, "volumes").await.unwrap();
    let waiting = waits(stack, node, "VolumesAttached").await;
    assert_eq!(waiting.message, "volume pv-goes is still attached");
    rebooted(stack, node).await;
    let timed_out =
        "volumes still attached after drain.waitForVolumeDetachSeconds; continuing without waiting: pv-goes";
    // Events are written beside everything else.
    until("an Event says that the wait timed out", async || {
        let said = events(stack, node, "VolumesAttached").await;
        said.iter().any(|(words, _)| words == timed_out)
    })
    .await;
    let said = events(stack, node, "VolumesAttached").await;
    let words: Vec<&String> = said.iter().map(|(words, _)| words).collect();
    assert!(words.iter().all(|words| !words.contains("pv-s")), "{words:?}");
    drain_is(stack, &json!({}));
}

/// The node's status names the volume by its CSI driver, and the `PersistentVolume` by its in-tree driver.
pub(super) async fn a_volume_of_an_in_tree_driver_of_a_pod_that_stays_is_not_waited_for(stack: &Stack) {
    let (node, client) = (name(stack, 18), stack.plane.client());
    let legacy = json!({"awsElasticBlockStore": {"volumeID": "aws://eu-central-1a/vol-0abc"}});
    volume_of(&client, "legacy", node, &legacy, "ebs.csi.aws.com").await;
    let mut each = template("legacy", node, &json!({}));
    each["spec"]["volumes"] = uses("legacy")["spec"]["volumes"].clone();
    let each = json!({
        "metadata": {"name": "legacy"},
        "spec": {"selector": {"matchLabels": {"app": "legacy"}}, "template": each},
    });
    make(&Api::<DaemonSet>::namespaced(client.clone(), "default"), each).await;
    runs(&client, "", "app=legacy").await;
    in_use(stack, node, &json!(["kubernetes.io/csi/ebs.csi.aws.com^vol-0abc"]));
    drain_is(stack, &json!({"waitForVolumeDetachSeconds": 300}));
    stack.stage_cause(node, "legacy").await.unwrap();
    rebooted(stack, node).await;
    assert_eq!(events(stack, node, "VolumesAttached").await, vec![]);
    let drained = stack
        .reboot(node)
        .await
        .unwrap()
        .status
        .unwrap()
        .last_reboot
        .unwrap()
        .drained_seconds;
    assert!(
        drained.is_some_and(|seconds| seconds < 300),
        "drained for {drained:?} s"
    );
    in_use(stack, node, &json!([]));
    drain_is(stack, &json!({}));
}

/// The volumes in use that the node reports.
fn in_use(stack: &Stack, node: &str, volumes: &Value) {
    let patch = json!({"status": {"volumesInUse": volumes}}).to_string();
    let patched = [
        "patch",
        "node",
        node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    stack.plane.kubectl(&patched).unwrap();
}

/// A volume with its claim, and the word that it is attached to the node.
async fn volume(client: &Client, name: &str, node: &str) {
    let source = json!({"hostPath": {"path": "/nowhere"}});
    volume_of(client, name, node, &source, "disk.e2e.lockkeeper.dev").await;
}

async fn volume_of(client: &Client, name: &str, node: &str, source: &Value, attacher: &str) {
    let size = json!({"storage": "1Mi"});
    let mut volume = json!({
        "metadata": {"name": format!("pv-{name}")},
        "spec": {
            "capacity": size, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "claimRef": {"namespace": "default", "name": name},
        },
    });
    merge(&mut volume["spec"], source);
    make(&Api::<PersistentVolume>::all(client.clone()), volume).await;
    let claim = json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": format!("pv-{name}"),
            "resources": {"requests": size},
        },
    });
    make(
        &Api::<PersistentVolumeClaim>::namespaced(client.clone(), "default"),
        claim,
    )
    .await;
    let attachment = json!({
        "metadata": {"name": format!("csi-{name}")},
        "spec": {
            "attacher": attacher, "nodeName": node,
            "source": {"persistentVolumeName": format!("pv-{name}")},
        },
    });
    make(&Api::<VolumeAttachment>::all(client.clone()), attachment).await;
}

fn uses(claim: &str) -> Value {
    json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
}
