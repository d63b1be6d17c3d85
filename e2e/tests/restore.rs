//! etcd is restored from a backup while everything else goes on: operator and agent see the cluster again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use lockkeeper_crds::{NodeReboot, NodeRebootSpec, names};
use lockkeeper_e2e::control_plane::{ControlPlane, Options, client};
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workdir::Workdir;
use lockkeeper_kube_util::{Clock, WatchBackoff, relisting_watcher};
use lockkeeper_operator::cache::{Cache, SharedCache, feed};
use lockkeeper_operator::client::{Hooks, clients};
use lockkeeper_operator::election::{LeaseConfig, Pace, identity, run};
use lockkeeper_operator::health::Health;
use lockkeeper_operator::metrics::Metrics;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A ceiling for a busy machine.
const LONG: Duration = Duration::from_mins(3);
/// Nodes made after the backup: enough versions that watches which resume stay blind for the whole test.
const LATER: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn operator_and_agent_see_the_cluster_again_after_a_restore_of_etcd() -> Result<()> {
    let mut workdir = Workdir::new("restore")?;
    let mut plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    plane.install()?;
    let metrics = Arc::new(Metrics::new()?);
    let (cache, leading) = start_operator(&plane, &metrics).await?;
    make_node(&plane, "before").await?;
    let reboots: Api<NodeReboot> = Api::all(plane.client());
    let reboot = NodeReboot::new("before", NodeRebootSpec::default());
    reboots.create(&PostParams::default(), &reboot).await?;
    let mut policy = start_agent(&plane, "before").await?;
    until(&cache, "the first node", |cache| cache.nodes.get("before").is_some()).await?;

    plane.back_up().await?;
    for number in 0..LATER {
        make_node(&plane, &format!("later-{number}")).await?;
    }
    let last = format!("later-{}", LATER - 1);
    until(&cache, "the last node", |cache| cache.nodes.get(&last).is_some()).await?;
    ensure!(cache.read().rewind().is_none(), "an outage is no restore");

    plane.restore().await?;
    make_node(&plane, "after").await?;
    let noticed = until(&cache, "what the backup has", |cache| {
        cache.unlisted().is_empty() && cache.nodes.get("after").is_some() && cache.nodes.get("later-0").is_none()
    })
    .await?;
    println!("the operator saw the cluster again after {noticed:?}");
    ensure!(cache.read().rewind().is_some());
    let text = metrics.text()?;
    let counted = text
        .lines()
        .find(|line| line.starts_with("lockkeeper_api_rewinds_total"));
    ensure!(counted == Some("lockkeeper_api_rewinds_total 1"), "{counted:?}");
    let mut leading = leading;
    timeout(LONG, leading.wait_for(|leads| *leads)).await??;

    let patch = json!({"spec": {"policy": "restored"}});
    let written = reboots
        .patch("before", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let begin = Instant::now();
    timeout(LONG, policy.wait_for(|seen| *seen == written.spec.policy)).await??;
    println!("the agent's watch showed an order after {:?}", begin.elapsed());
    drop(plane);
    workdir.passed();
    Ok(())
}

/// The operator's watches and its election, with its own rights.
async fn start_operator(plane: &ControlPlane, metrics: &Arc<Metrics>) -> Result<(SharedCache, watch::Receiver<bool>)> {
    let account = Account {
        namespace: names::NAMESPACE,
        name: "lockkeeper-operator",
    };
    let kubeconfig = plane.token_kubeconfig("operator", account, Bound::Nothing).await?;
    let hooks = Hooks::new(metrics.clone(), &Health::default());
    let clients = clients(Some(&kubeconfig), &hooks).await?;
    let cache = SharedCache::counting(metrics.clone());
    let lease = LeaseConfig {
        client: clients.lease.clone(),
        watch: clients.watch.clone(),
        pace: Pace::default(),
        namespace: names::NAMESPACE.to_owned(),
        name: names::LEASE.to_owned(),
        identity: identity("restore"),
        clock: Clock::machine(),
        leadership: hooks.leadership,
        server_clock: hooks.server_clock.limited(Some(Duration::from_secs(30))),
        health: hooks.election,
        cache: cache.clone(),
    };
    let (sender, mut leading) = watch::channel(false);
    tokio::spawn(run(lease, sender, CancellationToken::new()));
    tokio::spawn(feed(cache.clone(), clients.watch.clone()));
    until(&cache, "everything", |cache| cache.unlisted().is_empty()).await?;
    timeout(LONG, leading.wait_for(|leads| *leads)).await??;
    Ok((cache, leading))
}

/// The agent's watch on its own object: the name of the policy that it shows.
async fn start_agent(plane: &ControlPlane, node: &str) -> Result<watch::Receiver<Option<String>>> {
    let api: Api<NodeReboot> = Api::all(client(&plane.kubeconfig(), "an-agent").await?);
    let own = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let mut events = relisting_watcher(api, own)
        .backoff(WatchBackoff::for_agent(node))
        .boxed();
    let (sender, mut receiver) = watch::channel(Some("not seen".to_owned()));
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Ok(Event::InitApply(object) | Event::Apply(object)) = event {
                sender.send_replace(object.spec.policy.clone());
            }
        }
    });
    timeout(LONG, receiver.wait_for(Option::is_none)).await??;
    Ok(receiver)
}

async fn make_node(plane: &ControlPlane, name: &str) -> Result<()> {
    let node: Node = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let nodes: Api<Node> = Api::all(plane.client());
    let made = nodes.create(&PostParams::default(), &node).await?;
    ensure!(made.name_any() == name);
    Ok(())
}

/// Waits until the cache shows something, and says how long that took.
async fn until(cache: &SharedCache, what: &str, shows: impl Fn(&Cache) -> bool) -> Result<Duration> {
    let (begin, mut changes) = (Instant::now(), cache.changes());
    while !shows(&cache.read()) {
        ensure!(begin.elapsed() < LONG, "the cache does not show {what}");
        let _ = timeout(Duration::from_millis(100), changes.changed()).await;
    }
    Ok(begin.elapsed())
}
