//! Real nodes by themselves: they join, run pods, reboot through logind, and stay away when told to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers are not tests in clippy's eyes

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use kube::runtime::wait::await_condition;
use lockkeeper_drain::{not_ready_again, ready_daemons};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::vm::{VmCluster, VmOptions, image};
use lockkeeper_e2e::workdir::Workdir;

/// Emulated on a busy machine; alone a node needs half a minute.
const LIMIT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(200);

async fn start(dir: &Workdir, count: usize, no_reboot: &[&str]) -> (ControlPlane, VmCluster) {
    let images = image::containers(&image::WORKLOAD).unwrap();
    let plane = ControlPlane::start(dir.path(), Options::default()).await.unwrap();
    let options = VmOptions {
        count,
        no_reboot: no_reboot.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(),
        images,
        ..VmOptions::default()
    };
    let begin = Instant::now();
    let mut nodes = VmCluster::start(&plane, &options).unwrap();
    nodes.wait_ready(LIMIT).await.unwrap();
    eprintln!(
        "start to Ready: {:?}, memory {:?} KiB",
        begin.elapsed(),
        nodes.rss_kib()
    );
    (plane, nodes)
}

/// The workload of the demo in one pod.
fn web() -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web"},
        "spec": {
            "containers": [{
                "name": "web", "image": "lockkeeper/web:e2e", "imagePullPolicy": "Never",
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            }],
            "tolerations": [{"operator": "Exists"}],
        },
    }))
    .unwrap()
}

async fn wait_pod_ready(plane: &ControlPlane) {
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    let ready = await_condition(pods, "web", |pod: Option<&Pod>| {
        let conditions = pod
            .and_then(|pod| pod.status.as_ref())
            .and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    });
    tokio::time::timeout(LIMIT, ready)
        .await
        .expect("the pod is not ready in time")
        .unwrap();
}

fn kubectl(plane: &ControlPlane, args: &[&str]) -> String {
    let output = Command::new(plane.binaries().program("kubectl"))
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "kubectl {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_pods_and_comes_back_from_a_reboot_with_a_new_boot_id() {
    let mut dir = Workdir::new("vm-smoke").unwrap();
    let (plane, mut nodes) = start(&dir, 1, &[]).await;
    let begin = Instant::now();
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    pods.create(&PostParams::default(), &web()).await.unwrap();
    wait_pod_ready(&plane).await;
    eprintln!("pod made to ready: {:?}", begin.elapsed());
    // Both go through the API server to the kubelet, by the node's name.
    kubectl(&plane, &["logs", "web"]);
    assert_eq!(
        kubectl(&plane, &["get", "pod", "web", "-o", "jsonpath={.spec.nodeName}"]),
        "node-1"
    );

    nodes
        .stage_update("node-1", &["linux-image-amd64", "libc6"])
        .await
        .unwrap();
    assert_eq!(
        nodes.exec("node-1", "cat /run/reboot-required.pkgs").await.unwrap(),
        "linux-image-amd64\nlibc6\n"
    );
    let enforced = nodes
        .exec("node-1", "cat /sys/module/apparmor/parameters/enabled")
        .await
        .unwrap();
    assert_eq!(enforced.trim(), "Y");
    let archive = &image::containers(&["web"]).unwrap()[0];
    let images = "ctr -n k8s.io images ls -q | grep -c lockkeeper/web";
    let remove = "ctr -n k8s.io images rm $(ctr -n k8s.io images ls -q | grep lockkeeper/web)";
    nodes.exec("node-1", remove).await.unwrap();
    assert!(nodes.exec("node-1", images).await.is_err(), "the image is still there");
    nodes.import_image("node-1", archive).await.unwrap();
    assert_eq!(nodes.exec("node-1", images).await.unwrap(), "1\n");
    assert!(
        nodes
            .exec("node-1", "exit 3")
            .await
            .unwrap_err()
            .to_string()
            .contains("ended with 3")
    );

    let before = nodes.boot_id("node-1").await.unwrap();
    let begin = Instant::now();
    nodes.reboot("node-1").await.unwrap();
    let after = nodes.wait_new_boot("node-1", &before, LIMIT).await.unwrap();
    eprintln!("reboot to Ready: {:?}", begin.elapsed());
    assert_ne!(before, after);
    assert_eq!(nodes.boot_id("node-1").await.unwrap(), after);
    // What an update left in /run is gone with the boot.
    nodes.exec("node-1", "test ! -e /run/reboot-required").await.unwrap();
    dir.passed();
}

/// What the wait for `DaemonSet`s after a reboot rests on: a kubelet says anew of each pod that it is ready.
#[tokio::test(flavor = "multi_thread")]
async fn says_anew_after_a_reboot_that_the_pod_of_a_daemon_set_is_ready() {
    let mut dir = Workdir::new("vm-smoke").unwrap();
    let (plane, mut nodes) = start(&dir, 1, &[]).await;
    let pod = web();
    let labels = serde_json::json!({"app": "web"});
    let set = serde_json::json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod.spec},
        },
    });
    let sets: Api<DaemonSet> = Api::namespaced(plane.client(), "default");
    let set = serde_json::from_value(set).unwrap();
    sets.create(&PostParams::default(), &set).await.unwrap();
    let client = plane.client();
    let end = Instant::now() + LIMIT;
    let counted = loop {
        let ready = ready_daemons(&client, "node-1").await.unwrap();
        if !ready.is_empty() {
            break ready;
        }
        assert!(Instant::now() < end, "the pod is not ready in time");
        tokio::time::sleep(POLL).await;
    };
    assert!(counted[0].since.is_some(), "{counted:?}");
    let words = not_ready_again(&client, "node-1", &counted).await.unwrap();
    assert!(words.is_some(), "nothing was said anew yet");

    let before = nodes.boot_id("node-1").await.unwrap();
    nodes.reboot("node-1").await.unwrap();
    nodes.wait_new_boot("node-1", &before, LIMIT).await.unwrap();
    let (begin, mut said) = (Instant::now(), None);
    loop {
        let words = not_ready_again(&client, "node-1", &counted).await.unwrap();
        if said.as_ref() != Some(&words) {
            eprintln!("{:?} after Ready: {words:?}", begin.elapsed());
            said = Some(words);
        }
        if said == Some(None) {
            break;
        }
        assert!(begin.elapsed() < LIMIT, "{said:?}");
        tokio::time::sleep(POLL).await;
    }
    dir.passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_where_it_should_not_come_back_until_somebody_starts_it_again() {
    let mut dir = Workdir::new("vm-smoke").unwrap();
    let (_plane, mut nodes) = start(&dir, 1, &["node-1"]).await;
    let before = nodes.boot_id("node-1").await.unwrap();
    let begin = Instant::now();
    nodes.reboot("node-1").await.unwrap();
    nodes.wait_end("node-1", LIMIT).await.unwrap();
    eprintln!("reboot to end: {:?}", begin.elapsed());
    assert!(nodes.exec("node-1", "true").await.is_err());

    let begin = Instant::now();
    nodes.restart("node-1").unwrap();
    nodes.wait_new_boot("node-1", &before, LIMIT).await.unwrap();
    eprintln!("restart to Ready: {:?}", begin.elapsed());
    assert!(!nodes.has_ended("node-1").unwrap());
    dir.passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_three_at_once_that_differ_in_all_that_names_a_machine() {
    let mut dir = Workdir::new("vm-smoke").unwrap();
    let (plane, nodes) = start(&dir, 3, &[]).await;
    let joined: Api<Node> = Api::all(plane.client());
    let listed = joined.list(&ListParams::default()).await.unwrap();
    let infos: Vec<_> = listed
        .into_iter()
        .map(|node| node.status.unwrap().node_info.unwrap())
        .collect();
    let boots: BTreeSet<_> = infos.iter().map(|info| info.boot_id.clone()).collect();
    let machines: BTreeSet<_> = infos.iter().map(|info| info.machine_id.clone()).collect();
    assert_eq!((boots.len(), machines.len()), (3, 3));
    for name in nodes.node_names() {
        assert_eq!(nodes.exec(&name, "hostname").await.unwrap().trim(), name);
        assert!(boots.contains(&nodes.boot_id(&name).await.unwrap()));
    }
    dir.passed();
}
