//! The harness itself: what every other test takes for granted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{conditions, wait};
use kube::{Api, Client, ResourceExt};
use lockkeeper_e2e::control_plane::{self, ControlPlane, Options};
use lockkeeper_e2e::hollow::{self, HollowCluster};
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workdir::Workdir;
use serde_json::json;
use tokio::time::{Instant, timeout};

/// Waits until a node fulfils a condition.
async fn node_when(client: &Client, name: &str, limit: u64, condition: impl Fn(&Node) -> bool) -> Result<Node> {
    let nodes: Api<Node> = Api::all(client.clone());
    let condition = |node: Option<&Node>| node.is_some_and(&condition);
    let found = timeout(
        Duration::from_secs(limit),
        wait::await_condition(nodes, name, condition),
    )
    .await;
    let found = found.with_context(|| format!("{name} did not get there within {limit} s"))?;
    found?.context("the node went away")
}

async fn deploy(client: &Client, replicas: i32) -> Result<()> {
    let deployment = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "web" }] },
            },
        },
    }))?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment).await?;
    let all_ready = move |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.and_then(|status| status.ready_replicas) == Some(replicas)
    };
    timeout(
        Duration::from_mins(3),
        wait::await_condition(deployments, "web", all_ready),
    )
    .await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_pods_on_hollow_nodes_that_reboot() -> Result<()> {
    let mut workdir = Workdir::new("harness")?;
    let begin = Instant::now();
    let mut plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    println!("control plane: {:?}", begin.elapsed());
    let begin = Instant::now();
    let hollow = HollowCluster::start(&plane, 20).await?;
    println!("20 hollow nodes: {:?}", begin.elapsed());
    let begin = Instant::now();
    deploy(&plane.client(), 40).await?;
    println!("40 pods ready: {:?}", begin.elapsed());
    println!("memory in KiB: kwok {:?}, {:?}", hollow.rss_kib(), plane.rss_kib());

    reboots(&plane, &hollow).await?;
    finalises_a_pod_after_its_own_time(&plane).await?;
    knows_the_node_of_a_token(&plane).await?;
    loses_a_node_for_good(&plane, &hollow).await?;
    survives_without_api_server(&mut plane).await?;
    counts_requests(&plane)?;
    // Ended first: what still writes its log would keep the directory from going away.
    drop((hollow, plane));
    workdir.passed();
    Ok(())
}

async fn reboots(plane: &ControlPlane, hollow: &HollowCluster) -> Result<()> {
    let name = &hollow.names()[3];
    // Down for long enough to be seen on a busy machine, too.
    hollow.annotate(name, hollow::DOWN_SECONDS, Some("6")).await?;
    let begin = Instant::now();
    let next = hollow.reboot(name).await?;
    let down = node_when(&plane.client(), name, 60, |node| !hollow::is_ready(node)).await?;
    ensure!(
        hollow::boot_id(&down) != Some(next.as_str()),
        "the new boot id came before the node went down"
    );
    node_when(&plane.client(), name, 60, |node| {
        hollow::is_ready(node) && hollow::boot_id(node) == Some(&next)
    })
    .await?;
    println!("reboot: {:?}", begin.elapsed());
    Ok(())
}

async fn finalises_a_pod_after_its_own_time(plane: &ControlPlane) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "slow", "annotations": { hollow::TERMINATION_SECONDS: "4" } },
        "spec": { "containers": [{ "name": "slow", "image": "slow" }] },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    timeout(
        Duration::from_mins(1),
        wait::await_condition(pods.clone(), "slow", conditions::is_pod_running()),
    )
    .await??;
    let uid = pods.get("slow").await?.uid().context("uid")?;
    let begin = Instant::now();
    pods.delete("slow", &DeleteParams::default()).await?;
    timeout(
        Duration::from_mins(1),
        wait::await_condition(pods, "slow", conditions::is_deleted(&uid)),
    )
    .await??;
    let took = begin.elapsed();
    println!("a pod that takes 4 s to end: {took:?}");
    ensure!(took > Duration::from_secs(2), "finalised after {took:?} already");
    Ok(())
}

async fn knows_the_node_of_a_token(plane: &ControlPlane) -> Result<()> {
    let account = Account {
        namespace: "default",
        name: "default",
    };
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    let pod = pods
        .list(&ListParams::default().labels("app=web"))
        .await?
        .items
        .pop()
        .context("no pod")?;
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .context("the pod has no node")?;
    let node = plane_node(plane, node).await?;
    for (name, bound) in [
        ("node", Bound::Node(&node.name_any())),
        ("pod", Bound::Pod(&pod.name_any())),
    ] {
        let kubeconfig = plane.token_kubeconfig(name, account, bound).await?;
        let client = control_plane::client(&kubeconfig, "harness-token").await?;
        let reviews: Api<SelfSubjectReview> = Api::all(client);
        let review = reviews
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await?;
        let user = review.status.and_then(|status| status.user_info).context("no user")?;
        ensure!(
            user.username.as_deref() == Some("system:serviceaccount:default:default"),
            "{user:?}"
        );
        let extra = user.extra.unwrap_or_default();
        let one = |key: &str| {
            extra
                .get(&format!("authentication.kubernetes.io/{key}"))
                .and_then(|all| all.first())
        };
        ensure!(
            one("node-name").map(String::as_str) == node.metadata.name.as_deref(),
            "{bound:?}: {extra:?}"
        );
        ensure!(one("node-uid") == node.uid().as_ref(), "{bound:?}: {extra:?}");
    }
    Ok(())
}

async fn plane_node(plane: &ControlPlane, name: &str) -> Result<Node> {
    Ok(Api::<Node>::all(plane.client()).get(name).await?)
}

async fn loses_a_node_for_good(plane: &ControlPlane, hollow: &HollowCluster) -> Result<()> {
    let name = &hollow.names()[7];
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    let pod = json!({
        "metadata": { "name": "stranded" },
        "spec": { "nodeName": name, "containers": [{ "name": "a", "image": "a" }] },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?)
        .await?;
    timeout(
        Duration::from_mins(1),
        wait::await_condition(pods.clone(), "stranded", conditions::is_pod_running()),
    )
    .await??;
    hollow.annotate(name, hollow::NEVER_BACK, Some("true")).await?;
    ensure!(
        hollow::is_ready(&plane_node(plane, name).await?),
        "went down before its reboot"
    );
    let next = hollow.reboot(name).await?;
    let unknown = |node: &Node| {
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
    };
    node_when(&plane.client(), name, 60, unknown).await?;
    // Its pods learn a moment later that no kubelet runs them.
    let told = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.annotations().contains_key(hollow::NODE_DOWN));
    timeout(
        Duration::from_mins(1),
        wait::await_condition(pods.clone(), "stranded", told),
    )
    .await??;
    let uid = pods.get("stranded").await?.uid().context("uid")?;
    pods.delete("stranded", &DeleteParams::default()).await?;
    let gone = timeout(
        Duration::from_secs(3),
        wait::await_condition(pods.clone(), "stranded", conditions::is_deleted(&uid)),
    );
    ensure!(gone.await.is_err(), "a pod was finalised on a node that is gone");
    // A person repairs it.
    hollow.annotate(name, hollow::NEVER_BACK, None).await?;
    node_when(&plane.client(), name, 60, |node| {
        hollow::is_ready(node) && hollow::boot_id(node) == Some(&next)
    })
    .await?;
    timeout(
        Duration::from_mins(1),
        wait::await_condition(pods, "stranded", conditions::is_deleted(&uid)),
    )
    .await??;
    Ok(())
}

async fn survives_without_api_server(plane: &mut ControlPlane) -> Result<()> {
    plane.stop_api_server();
    ensure!(
        plane.client().apiserver_version().await.is_err(),
        "the API server still answers"
    );
    let begin = Instant::now();
    plane.start_api_server().await?;
    println!("API server again: {:?}", begin.elapsed());
    // Everybody is still at work: a new pod gets scheduled and runs.
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    let spec = json!({ "metadata": { "name": "after" }, "spec": { "containers": [{ "name": "a", "image": "a" }] } });
    pods.create(&PostParams::default(), &serde_json::from_value(spec)?)
        .await?;
    timeout(
        Duration::from_mins(1),
        wait::await_condition(pods, "after", conditions::is_pod_running()),
    )
    .await??;
    Ok(())
}

fn counts_requests(plane: &ControlPlane) -> Result<()> {
    let counts = lockkeeper_e2e::audit::count_by_program(&plane.requests()?);
    println!("requests: {counts:?}");
    for program in [
        "lockkeeper-e2e",
        "harness-token",
        "kwok",
        "kube-scheduler",
        "kube-controller-manager",
    ] {
        ensure!(counts.contains_key(program), "{program} is not in the audit log");
    }
    Ok(())
}
