//! Leader election against a real API server, with the operator's own rights.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use chrono::TimeDelta;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::Api;
use lockkeeper_crds::names;
use lockkeeper_e2e::control_plane::{ControlPlane, Options};
use lockkeeper_e2e::tokens::{Account, Bound};
use lockkeeper_e2e::workdir::Workdir;
use lockkeeper_kube_util::Clock;
use lockkeeper_operator::cache::SharedCache;
use lockkeeper_operator::client::{Clients, Hooks, clients};
use lockkeeper_operator::election::{LeaseConfig, Pace, identity, run};
use lockkeeper_operator::health::Health;
use lockkeeper_operator::leadership::Leadership;
use lockkeeper_operator::metrics::Metrics;
use lockkeeper_operator::server_clock::ServerClock;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const OPERATOR: Account<'static> = Account {
    namespace: names::NAMESPACE,
    name: "lockkeeper-operator",
};

/// An elector and what it says of itself.
struct Elector {
    leading: watch::Receiver<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Elector {
    fn start(clients: &Clients, name: &str) -> Self {
        let lease = LeaseConfig {
            client: clients.lease.clone(),
            watch: clients.watch.clone(),
            pace: Pace::default(),
            namespace: names::NAMESPACE.to_owned(),
            name: names::LEASE.to_owned(),
            identity: identity(name),
            clock: Clock::machine(),
            leadership: Leadership::default(),
            server_clock: ServerClock::default(),
            health: Health::default().component("election", Duration::from_mins(1)),
            cache: SharedCache::default(),
        };
        let (sender, leading) = watch::channel(false);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(lease, sender, stop.clone()));
        Self { leading, stop, task }
    }

    fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// How long it takes until it leads, or leads no more.
    async fn until(&mut self, leads: bool) -> Result<Duration> {
        let start = Instant::now();
        timeout(Duration::from_secs(40), self.leading.wait_for(|now| *now == leads)).await??;
        Ok(start.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_one_operator_leads_through_faults_of_it_and_of_the_server() -> Result<()> {
    let mut workdir = Workdir::new("lease")?;
    let mut plane = ControlPlane::start(workdir.path(), Options::default()).await?;
    plane.install()?;
    let kubeconfig = plane.token_kubeconfig("operator", OPERATOR, Bound::Nothing).await?;
    let hooks = Hooks::new(Arc::new(Metrics::new()?), &Health::default());
    let clients = clients(Some(&kubeconfig), &hooks).await?;

    let mut first = Elector::start(&clients, "first");
    println!("first leader after {:?}", first.until(true).await?);
    let mut second = Elector::start(&clients, "second");
    idles_on_one_write_in_three_seconds(&plane).await?;
    ensure!(
        first.leads() && !second.leads(),
        "the first one leads, the second one follows"
    );

    first.task.abort();
    let taken = second.until(true).await?;
    // 8 s after the last renewal, which is not older than a few; `until` has the ceiling.
    println!("taken over {taken:?} after a kill");

    let mut third = Elector::start(&clients, "third");
    sleep(Duration::from_secs(2)).await;
    second.stop.cancel();
    timeout(Duration::from_secs(40), &mut second.task).await??;
    // With a handover it is free before the process ends, or the next one's already; else it would have to run out first.
    let holder = holder(&plane).await?;
    ensure!(!holder.starts_with("second_"), "{holder} kept the Lease");
    println!("handed over in {:?}", third.until(true).await?);

    let fourth = Elector::start(&clients, "fourth");
    survives_without_server(&mut plane, third, fourth).await?;
    drop(plane);
    workdir.passed();
    Ok(())
}

/// Who holds the Lease; empty if it is free.
async fn holder(plane: &ControlPlane) -> Result<String> {
    let leases = Api::<LeaseObject>::namespaced(plane.client(), names::NAMESPACE);
    let lease = leases.get(names::LEASE).await?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
}

/// P9: an idle operator and its stand-by cost one write in three seconds between them.
async fn idles_on_one_write_in_three_seconds(plane: &ControlPlane) -> Result<()> {
    sleep(Duration::from_secs(2)).await;
    let before = plane.requests()?.len();
    sleep(Duration::from_secs(12)).await;
    let requests = plane.requests()?;
    let ours = requests[before..]
        .iter()
        .filter(|request| request.program() == "lockkeeper-operator");
    let (renewals, others): (Vec<_>, Vec<_>) =
        ours.partition(|request| request.verb == "update" && request.resource == "leases");
    let gaps: Vec<TimeDelta> = renewals
        .windows(2)
        .map(|two| two[1].received - two[0].received)
        .collect();
    println!("renewals in 12 idle seconds, one after the other: {gaps:?}");
    // Counted by their own times: the sleep may last longer than asked for.
    let (Some(first), Some(last)) = (renewals.first(), renewals.last()) else {
        bail!("not renewed at all");
    };
    ensure!(renewals.len() >= 3, "hardly renewed: {renewals:?}");
    let distance = TimeDelta::milliseconds(3000 * gaps.len() as i64 - 1000);
    ensure!(
        last.received - first.received > distance,
        "more than one in three seconds: {gaps:?}"
    );
    // A Lease that has not changed for 4 s is read, as it should have: on a machine that is late, and nowhere else.
    let late = gaps.iter().any(|gap| *gap > TimeDelta::milliseconds(3300));
    let looks = others
        .iter()
        .all(|request| request.verb == "get" && request.resource == "leases");
    ensure!(others.is_empty() || late && looks, "more than renewals: {others:?}");
    Ok(())
}

/// Without a server no operator leads; when it is back, one of them does, and never both.
async fn survives_without_server(plane: &mut ControlPlane, mut leader: Elector, mut other: Elector) -> Result<()> {
    let (crowd, watched) = (
        CancellationToken::new(),
        [leader.leading.clone(), other.leading.clone()],
    );
    let most = tokio::spawn(most_leaders(watched, crowd.clone()));
    plane.stop_api_server();
    let stepped_down = leader.until(false).await?;
    println!("stepped down {stepped_down:?} after the server went away");
    // 6 s after its last renewal; a busy machine may be late by less than the 2 s in which no other may start.
    ensure!(
        stepped_down < Duration::from_secs(8),
        "stepped down only after {stepped_down:?}"
    );
    sleep(Duration::from_secs(4)).await;
    ensure!(!leader.leads() && !other.leads(), "an operator leads without a server");
    plane.start_api_server().await?;
    tokio::select! {
        led = leader.until(true) => led?,
        led = other.until(true) => led?,
    };
    // Long enough for the other one to take over, if it wrongly would.
    sleep(Duration::from_secs(9)).await;
    ensure!(leader.leads() != other.leads(), "one leads");
    crowd.cancel();
    ensure!(most.await? == 1, "two led at once");
    Ok(())
}

/// The largest number that ever led at the same time, until `stop`.
async fn most_leaders(electors: [watch::Receiver<bool>; 2], stop: CancellationToken) -> usize {
    let mut most = 0;
    while !stop.is_cancelled() {
        most = most.max(electors.iter().filter(|leading| *leading.borrow()).count());
        sleep(Duration::from_millis(1)).await;
    }
    most
}
