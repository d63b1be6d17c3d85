//! What a first policy costs on a large cluster: how soon it has a status, and how soon a node moves.
//!
//! `make bench-scale`, with `COUNT` (2,000 unless set). Each record then needs a write of `spec.policy`. Times depend on
//! the machine; what the benchmark fails on is the order: neither the status nor the first node waits for those writes.

use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use lockkeeper_crds::{NodeReboot, RebootPolicy};
use lockkeeper_e2e::stack::Stack;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// A ceiling, not a measure.
const LONG: Duration = Duration::from_mins(30);
const POLL: Duration = Duration::from_millis(250);

/// What a look at the cluster shows.
#[derive(Debug, Default)]
struct Look {
    /// Records whose agent has reported.
    reported: usize,
    /// Records that name their policy.
    written: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_policy_on_many_nodes_does_not_wait_for_the_writes_of_all_records() {
    let count = std::env::var("COUNT").ok().and_then(|count| count.parse().ok());
    let count: usize = count.unwrap_or(2000);
    let begin = Instant::now();
    let mut stack = Stack::start("bench-scale", count, 1).await.unwrap();
    println!("{count} nodes are Ready after {:.0?}", begin.elapsed());
    let all = wait(&stack, "all agents to report", |look| look.reported == count).await;
    println!("{} agents have reported after {:.0?}", all.reported, begin.elapsed());
    let first = stack.nodes.names()[count / 2].clone();
    stack.stage_cause(&first, "scale").await.unwrap();

    let begin = Instant::now();
    // Some emulated kubelets report late on a busy machine; that is not what is measured.
    let limits = json!({"disruption": {"maxUnavailable": "50%"}});
    stack.plane.policy("general", limits).await.unwrap();
    let policies = Api::<RebootPolicy>::all(stack.plane.client());
    until("a status of the policy", async || {
        policies.get("general").await.unwrap().status.is_some()
    })
    .await;
    let after = begin.elapsed();
    let status = look(&stack).await;
    println!(
        "status after {after:.1?}; {} of {count} records written by then",
        status.written
    );
    let records = Api::<NodeReboot>::all(stack.plane.client());
    until("the node in progress", async || {
        let record = records.get(&first).await.unwrap();
        record.status.is_some_and(|status| status.operation.is_some())
    })
    .await;
    let after = begin.elapsed();
    let moved = look(&stack).await;
    println!(
        "first node in progress after {after:.1?}; {} of {count} records written by then",
        moved.written
    );
    let done = wait(&stack, "all records", |look| look.written == count).await;
    println!(
        "all {} records written after {:.1?}: {:.0} a second",
        done.written,
        begin.elapsed(),
        count as f64 / begin.elapsed().as_secs_f64()
    );
    assert!(status.written < count, "the status waited for all records: {status:?}");
    assert!(
        moved.written < count,
        "the first node waited for all records: {moved:?}"
    );
    stack.wait_rebooted_for(&[first], "scale", LONG).await.unwrap();
    stack.workdir.passed();
}

/// One object is asked for, which costs the API server little.
async fn until(what: &str, good: impl AsyncFn() -> bool) {
    let end = Instant::now() + LONG;
    while !good().await {
        assert!(Instant::now() < end, "waited for {what}");
        sleep(POLL).await;
    }
}

async fn wait(stack: &Stack, what: &str, good: impl Fn(&Look) -> bool) -> Look {
    let end = Instant::now() + LONG;
    loop {
        let begin = Instant::now();
        let now = look(stack).await;
        if good(&now) {
            return now;
        }
        assert!(Instant::now() < end, "waited for {what}: {now:?}");
        // The lists must not keep the API server from its work.
        sleep(POLL.max(begin.elapsed() * 5)).await;
    }
}

async fn look(stack: &Stack) -> Look {
    let client = stack.plane.client();
    // From the cache of the API server, as a person's `kubectl get` is.
    let (records, cached) = (Api::<NodeReboot>::all(client), ListParams::default().match_any());
    let records = records.list(&cached).await.unwrap().items;
    let count = |good: fn(&NodeReboot) -> bool| records.iter().filter(|record| good(record)).count();
    Look {
        reported: count(|record| record.status.as_ref().is_some_and(|status| status.host.is_some())),
        written: count(|record| record.spec.policy.is_some()),
    }
}
