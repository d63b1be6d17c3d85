//! What the operator sees and says, against a real API server and with the operator's own rights.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use lockkeeper_crds::reasons::{ReasonName, Severity};
use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workdir::Workdir;
use lockkeeper_kube_util::Clock;
use lockkeeper_operator::cache::{Cache, SharedCache, feed};
use lockkeeper_operator::client::{Clients, Hooks, clients};
use lockkeeper_operator::execute::{Apis, CreatedRecords, Error, Executed, Pass};
use lockkeeper_operator::health::Health;
use lockkeeper_operator::metrics::Metrics;
use lockkeeper_operator::report::event::{Event, EventReason};
use lockkeeper_operator::report::event_recorder::{EventRecorder, EventTarget};
use lockkeeper_operator::watched_kind::WatchedKind;
use lockkeeper_planner::{Action, Snapshot};
use lockkeeper_snapshot::{ObservedObjects, slim};
use serde_json::json;
use tokio::time::{Instant, sleep};

const OPERATOR: Account<'static> = Account {
    namespace: names::NAMESPACE,
    name: "lockkeeper-operator",
};

async fn until(cache: &SharedCache, what: &str, seen: impl Fn(&Cache) -> bool) -> Result<Duration> {
    let start = Instant::now();
    let mut changes = cache.changes();
    while !seen(&cache.read()) {
        let limit = Duration::from_mins(3).saturating_sub(start.elapsed());
        ensure!(
            !limit.is_zero(),
            "{what}: not within three minutes; {:?}",
            cache.read().unlisted()
        );
        // Troubles are not counted as changes, so it also looks by itself.
        let _ = tokio::time::timeout(limit.min(Duration::from_millis(100)), changes.changed()).await;
    }
    Ok(start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_the_cluster_and_its_own_writes() -> Result<()> {
    let mut workdir = Workdir::new("views")?;
    let plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    let metrics = Arc::new(Metrics::new()?);
    waits_for_kinds_that_are_not_installed(&plane, &metrics).await?;

    let kubeconfig = plane.token_kubeconfig("operator", OPERATOR, Bound::Nothing).await?;
    let clients = clients(Some(&kubeconfig), &hooks(&metrics)).await?;
    let cache = SharedCache::counting(metrics.clone());
    let feeding = tokio::spawn(feed(cache.clone(), clients.watch.clone()));
    println!(
        "all listed after {:?}",
        until(&cache, "list", |cache| cache.unlisted().is_empty()).await?
    );

    let node = make_node(&plane, "w-01").await?;
    println!(
        "a new Node seen after {:?}",
        until(&cache, "w-01", |cache| cache.nodes.get("w-01").is_some()).await?
    );
    sees_its_own_write_at_once(&clients, &cache).await?;
    says_what_kubectl_describe_shows(&plane, &clients, &metrics, &node).await?;
    makes_no_second_record_for_a_node_that_is_gone(&plane, &clients, &metrics, &node).await?;
    until(&cache, "w-01 gone", |cache| cache.nodes.get("w-01").is_none()).await?;
    feeding.abort();
    drop(plane);
    workdir.passed();
    Ok(())
}

/// As the leader has them while it renews its Lease.
fn hooks(metrics: &Arc<Metrics>) -> Hooks {
    let hooks = Hooks::new(metrics.clone(), &Health::default());
    hooks.leadership.renew(hooks.leadership.now(), Duration::from_hours(1));
    hooks
}

/// Started before its kinds are there, the operator says which and how to install them, and goes on once they are.
async fn waits_for_kinds_that_are_not_installed(plane: &ControlPlane, metrics: &Arc<Metrics>) -> Result<()> {
    let admin = clients(Some(&plane.kubeconfig()), &hooks(metrics)).await?;
    let cache = SharedCache::counting(metrics.clone());
    let feeding = tokio::spawn(feed(cache.clone(), admin.watch.clone()));
    // A server that has just started may complain of something else first.
    let remedy = "kubectl apply --server-side -f deploy/lockkeeper.yaml";
    until(&cache, "Nodes and three troubles", |cache| {
        cache.unlisted() == [WatchedKind::Reboots, WatchedKind::Policies, WatchedKind::Lock]
            && cache.watch_failures().count() == 3
            && cache
                .watch_failures()
                .all(|(_, failure)| failure.message.contains(remedy))
    })
    .await?;
    ensure!(
        metrics
            .text()?
            .contains(r#"lockkeeper_watch_errors_total{kind="RebootPolicies"}"#)
    );
    plane.install()?;
    println!(
        "installed kinds seen after {:?}",
        until(&cache, "kinds", |cache| cache.unlisted().is_empty()).await?
    );
    // A server that has just got the kinds may ask to wait for a moment; what was wrong before is forgotten.
    let missing = |message: &str| message.contains("kubectl apply");
    ensure!(
        !cache
            .read()
            .watch_failures()
            .any(|(_, failure)| missing(&failure.message)),
        "the troubles are over"
    );
    feeding.abort();
    Ok(())
}

async fn make_node(plane: &ControlPlane, name: &str) -> Result<Node> {
    let node = serde_json::from_value(json!({"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}}))?;
    Ok(Api::<Node>::all(plane.client())
        .create(&PostParams::default(), &node)
        .await?)
}

/// A hundred writes, each absorbed: the cache never goes back behind the last one, whatever the watch delivers.
async fn sees_its_own_write_at_once(clients: &Clients, cache: &SharedCache) -> Result<()> {
    let nodes: Api<slim::Node> = Api::all(clients.api.clone());
    // One that the operator may set.
    let key = names::OPERATION;
    for number in 0..100 {
        let patch = json!({"metadata": {"annotations": {key: number.to_string()}}});
        let written = nodes
            .patch("w-01", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        ensure!(
            !written.metadata.labels.clone().unwrap_or_default().is_empty(),
            "the answer is a whole Node"
        );
        cache.absorb_node(written);
        for _ in 0..3 {
            let seen = cache
                .read()
                .nodes
                .get("w-01")
                .and_then(|node| slim::annotation(node, key).map(ToOwned::to_owned));
            ensure!(seen == Some(number.to_string()), "wrote {number}, saw {seen:?}");
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// To a view of the Nodes that lags a record that the garbage collector took looks like one that a person deleted.
async fn makes_no_second_record_for_a_node_that_is_gone(
    plane: &ControlPlane,
    clients: &Clients,
    metrics: &Arc<Metrics>,
    node: &Node,
) -> Result<()> {
    let snapshot = Snapshot::default();
    let mut pass = Pass {
        api: &Apis::new(&clients.api),
        cache: &SharedCache::counting(metrics.clone()),
        seen: &mut ObservedObjects::default(),
        snapshot: &snapshot,
        now: chrono::Utc::now(),
        clock: Clock::machine(),
        namespace: names::NAMESPACE,
        policies_verified: false,
        lock_written: None,
        proven: Default::default(),
        empty_nodes: Default::default(),
        created: CreatedRecords::default(),
    };
    let creation = [Action::CreateRecord {
        node: node.name_any(),
        uid: node.uid().context("a uid")?,
        policy: None,
    }];
    let reboots = Api::<NodeReboot>::all(plane.client());
    first_failure(pass.execute_all(&creation, |_, _| {}).await)?;
    plane.kubectl(&["delete", "nodereboot", "w-01"])?;
    first_failure(pass.execute_all(&creation, |_, _| {}).await)?;
    let again = reboots.get("w-01").await?.uid().context("a uid")?;
    plane.kubectl(&["delete", "node", "w-01"])?;
    let collected = await_condition(reboots, "w-01", is_deleted(&again));
    tokio::time::timeout(Duration::from_mins(5), collected).await??;
    let refused = first_failure(pass.execute_all(&creation, |_, _| {}).await);
    let words = refused.err().context("a record for a Node that is gone")?.to_string();
    ensure!(words.contains("create NodeReboot w-01: its Node with uid"), "{words}");
    Ok(())
}

fn first_failure(executed: Executed) -> Result<(), Error> {
    let failed = executed.failed.into_iter().map(|(_, error)| error);
    executed.shared.into_iter().chain(failed).next().map_or(Ok(()), Err)
}

async fn says_what_kubectl_describe_shows(
    plane: &ControlPlane,
    clients: &Clients,
    metrics: &Arc<Metrics>,
    node: &Node,
) -> Result<()> {
    let (events, writer) = EventRecorder::new(&clients.api, "views", metrics.clone(), Clock::machine());
    let writer = tokio::spawn(writer);
    let event = |reason, message: &str| Event {
        severity: Severity::Normal,
        reason,
        message: message.to_owned(),
    };
    let about = || EventTarget::Node {
        name: node.name_any(),
        uid: node.uid().unwrap_or_default(),
    };
    events.record(
        about(),
        event(EventReason::LockAcquired, "slot 1 of 1 taken under policy workers"),
    );
    events.record(
        about(),
        event(EventReason::LockAcquired, "slot 1 of 1 taken under policy workers"),
    );
    let blocked = EventReason::Wait(ReasonName::EvictionBlocked);
    let message = "pod shop/db-0: budget shop/db. ".repeat(100);
    events.record(
        about(),
        Event {
            severity: Severity::Warning,
            ..event(blocked, &message)
        },
    );
    drop(events);
    writer.await?;
    let mut shown = String::new();
    for _ in 0..50 {
        shown = plane.kubectl(&["describe", "node", "w-01"])?;
        if shown.contains("EvictionBlocked") {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let lines: Vec<_> = shown.lines().skip_while(|line| !line.starts_with("Events:")).collect();
    println!("{}", lines.join("\n"));
    let line = |reason| {
        lines
            .iter()
            .find(|line| line.contains(reason))
            .context("an event is not shown")
    };
    let acquired = line("LockAcquired")?;
    ensure!(acquired.contains("Normal") && acquired.contains("lockkeeper") && acquired.contains("slot 1 of 1"));
    ensure!(
        lines.iter().filter(|line| line.contains("LockAcquired")).count() == 1,
        "said twice"
    );
    ensure!(line("EvictionBlocked")?.contains("Warning"));
    ensure!(
        metrics
            .text()?
            .contains(r#"lockkeeper_events_total{result="posted"} 2"#)
    );
    Ok(())
}
