//! Volumes of evicted pods: the drain waits for them, names them, and stops waiting after a limit.

use std::time::Duration;

use chrono::TimeDelta;
use expect_test::expect;
use lockkeeper_reasons::ReasonName;
use serde_json::{Value, json};

use super::engine::{blockers, seconds, start};
use super::fake::Fake;
use super::{done, pod, settings, with};
use crate::{Behavior, Progress, Rule, Settings};

fn using(name: &str, claim: &str) -> Value {
    let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": claim}});
    with(pod(name), &json!({"spec": {"volumes": [volume]}}))
}

fn attach(fake: &Fake, volume: &str, node: &str) {
    let spec = json!({"nodeName": node, "attacher": "disk.example", "source": {"persistentVolumeName": volume}});
    let object = json!({"metadata": {"name": format!("csi-{volume}"), "uid": volume}, "spec": spec});
    fake.world().put("volumeattachments", object);
}

/// What claim `shop/{claim}` stands for.
fn bind(fake: &Fake, claim: &str, volume: &str) {
    let mut world = fake.world();
    let object = json!({"metadata": {"name": claim, "namespace": "shop"}, "spec": {"volumeName": volume}});
    world.named.insert(format!("persistentvolumeclaims/{claim}"), object);
    let csi = json!({"driver": "disk.example", "volumeHandle": format!("handle-{volume}")});
    let object = json!({"metadata": {"name": volume}, "spec": {"csi": csi}});
    world.named.insert(format!("persistentvolumes/{volume}"), object);
}

/// Cordoned just now, so that all that leaves is seen.
fn waiting(fake: &Fake) -> Settings {
    Settings {
        cordoned_at: fake.world().now(),
        wait_for_volume_detach: Duration::from_mins(1),
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn the_drain_waits_for_volumes_of_evicted_pods_and_names_them() {
    let fake = Fake::new();
    fake.put_pod(using("shop/db-0", "data-0"));
    attach(&fake, "pv-0", "n1");
    attach(&fake, "pv-elsewhere", "n2");
    let mut running = start(&fake, waiting(&fake));
    let shown = running
        .until(|progress| {
            blockers(progress)
                .iter()
                .any(|cause| cause.reason() == ReasonName::VolumesAttached)
        })
        .await;
    expect!["volume pv-0 is still attached"].assert_eq(&blockers(&shown)[0].to_string());
    seconds(20).await;
    assert!(!running.task.is_finished());
    fake.world().remove("volumeattachments", "csi-pv-0");
    assert_eq!(running.done().await, done(1, 0));
    assert!((20..30).contains(&fake.age().as_secs()), "{:?}", fake.age());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_stays_attached_is_named_when_the_wait_ends() {
    let fake = Fake::new();
    fake.put_pod(using("shop/db-0", "data-0"));
    attach(&fake, "pv-0", "n1");
    let end = start(&fake, waiting(&fake)).done().await;
    let Progress::Done { still_attached, .. } = end else {
        panic!("{end:?}")
    };
    assert_eq!(still_attached, ["pv-0"]);
    assert!((62..65).contains(&fake.age().as_secs()), "{:?}", fake.age());
}

#[tokio::test(start_paused = true)]
async fn volumes_of_remaining_pods_are_not_waited_for() {
    let fake = Fake::new();
    fake.put_pod(using("shop/db-0", "data-0"));
    fake.put_pod(using("shop/logs-0", "logs"));
    bind(&fake, "logs", "pv-logs");
    attach(&fake, "pv-logs", "n1");
    let names = json!([{"name": "kubernetes.io/csi/disk.example^handle-pv-logs", "devicePath": ""}]);
    fake.change_node(&json!({"status": {"volumesAttached": names}}));
    let logs = serde_json::from_value(json!({"matchLabels": {"app": "logs"}})).unwrap();
    let settings = Settings {
        rules: vec![Rule::parse(0, Some(logs), None, Behavior::Skip, 0).unwrap()],
        ..waiting(&fake)
    };
    assert_eq!(start(&fake, settings).done().await, done(1, 1));
    assert!(fake.age() < Duration::from_secs(5), "{:?}", fake.age());
    assert_eq!(fake.count("GET persistentvolume"), 2, "one claim and its volume");
}

#[tokio::test(start_paused = true)]
async fn a_volume_listed_only_in_the_node_status_is_waited_for() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let names = json!([{"name": "kubernetes.io/csi/disk.example^orphan", "devicePath": ""}]);
    fake.change_node(&json!({"status": {"volumesAttached": names}}));
    let mut running = start(&fake, waiting(&fake));
    let shown = running
        .until(|progress| {
            blockers(progress)
                .iter()
                .any(|cause| cause.reason() == ReasonName::VolumesAttached)
        })
        .await;
    expect!["volume kubernetes.io/csi/disk.example^orphan is still attached"]
        .assert_eq(&blockers(&shown)[0].to_string());
    fake.change_node(&json!({"status": {"volumesAttached": null}}));
    assert_eq!(running.done().await, done(1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_volumes_costs_no_requests_for_them() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    attach(&fake, "pv-elsewhere", "n2");
    assert_eq!(start(&fake, waiting(&fake)).done().await, done(1, 0));
    assert_eq!(fake.count("LIST volumeattachments") + fake.count("GET"), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_volumes_of_pods_evicted_before_are_waited_for() {
    let fake = Fake::new();
    attach(&fake, "pv-0", "n1");
    let mut settings = waiting(&fake);
    settings.cordoned_at -= TimeDelta::seconds(40);
    let mut running = start(&fake, settings);
    let shown = running.blocked().await;
    expect!["volume pv-0 is still attached"].assert_eq(&shown[0]);
    fake.world().remove("volumeattachments", "csi-pv-0");
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn volumes_on_a_node_that_is_not_ready_are_not_waited_for() {
    let fake = Fake::new();
    fake.put_pod(using("shop/db-0", "data-0"));
    attach(&fake, "pv-0", "n1");
    let condition = json!([{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]);
    fake.change_node(&json!({"status": {"conditions": condition}}));
    assert_eq!(start(&fake, waiting(&fake)).done().await, done(1, 0));
    assert!(fake.age() < Duration::from_secs(5), "{:?}", fake.age());
}

#[tokio::test(start_paused = true)]
async fn a_late_pod_is_evicted_and_the_wait_for_volumes_starts_again() {
    let fake = Fake::new();
    fake.put_pod(using("shop/db-0", "data-0"));
    attach(&fake, "pv-0", "n1");
    let running = start(&fake, waiting(&fake));
    seconds(30).await;
    fake.put_pod(pod("shop/late-0"));
    let end = running.done().await;
    let Progress::Done {
        moved, still_attached, ..
    } = end
    else {
        panic!("{end:?}")
    };
    assert_eq!((moved, still_attached.len()), (2, 1));
    assert!(fake.age() > Duration::from_secs(90), "{:?}", fake.age());
}

fn daemon(object: Value) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true});
    with(object, &json!({"metadata": {"ownerReferences": [owner]}}))
}

#[tokio::test(start_paused = true)]
async fn a_migrated_in_tree_volume_of_a_pod_that_stays_is_not_waited_for() {
    let cases = [
        (
            json!({"awsElasticBlockStore": {"volumeID": "aws://eu-central-1a/vol-0abc"}}),
            "kubernetes.io/csi/ebs.csi.aws.com^vol-0abc",
        ),
        (
            json!({"gcePersistentDisk": {"pdName": "pd-1"}}),
            "kubernetes.io/csi/pd.csi.storage.gke.io^projects/UNSPECIFIED/zones/a/disks/pd-1",
        ),
        (json!({"cinder": {"volumeID": "4f-1"}}), "kubernetes.io/cinder/4f-1"),
    ];
    for (source, in_use) in cases {
        let fake = Fake::new();
        fake.put_pod(daemon(using("shop/logs-0", "logs")));
        bind(&fake, "logs", "pv-logs");
        let volume = json!({"metadata": {"name": "pv-logs"}, "spec": source});
        fake.world()
            .named
            .insert("persistentvolumes/pv-logs".to_owned(), volume);
        fake.change_node(&json!({"status": {"volumesInUse": [in_use]}}));
        let settings = waiting(&fake);
        assert_eq!(start(&fake, settings).done().await, done(0, 1), "{in_use}");
        assert!(fake.age() < Duration::from_secs(5), "{in_use}: {:?}", fake.age());
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_without_a_claim_of_a_pod_that_stays_is_not_waited_for() {
    let fake = Fake::new();
    let volume = json!({"name": "data", "awsElasticBlockStore": {"volumeID": "vol-0abc"}});
    fake.put_pod(daemon(with(
        pod("shop/logs-0"),
        &json!({"spec": {"volumes": [volume]}}),
    )));
    fake.put_pod(using("shop/db-0", "data-0"));
    let name = "kubernetes.io/csi/ebs.csi.aws.com^vol-0abc";
    fake.change_node(&json!({"status": {"volumesInUse": [name]}}));
    let inline = json!({"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-0abc"}});
    let spec = json!({"nodeName": "n1", "attacher": "ebs.csi.aws.com", "source": {"inlineVolumeSpec": inline}});
    let attachment = json!({"metadata": {"name": "csi-1", "uid": "csi-1"}, "spec": spec});
    fake.world().put("volumeattachments", attachment);
    assert_eq!(start(&fake, waiting(&fake)).done().await, done(1, 1));
    assert!(fake.age() < Duration::from_secs(5), "{:?}", fake.age());
}
