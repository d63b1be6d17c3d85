//! The engine on its way to an empty node.

use std::time::Duration;

use lockkeeper_reasons::ReasonName;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fake::Fake;
use super::{budget, done, pod, settings, with};
use crate::{Cause, DrainClients, Error, Progress, Settings, drain, remaining_pods};

/// A drain that runs.
pub(super) struct Running {
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) task: JoinHandle<Result<(), Error>>,
}

pub(super) fn start(fake: &Fake, settings: Settings) -> Running {
    start_with(fake.client().into(), settings)
}

pub(super) fn start_with(clients: DrainClients, settings: Settings) -> Running {
    let (to, progress) = watch::channel(Progress::Starting);
    Running {
        progress,
        task: tokio::spawn(drain(clients, settings, to)),
    }
}

impl Running {
    /// Waits, in paused time, until the progress is as asked for.
    pub(super) async fn until(&mut self, what: impl Fn(&Progress) -> bool) -> Progress {
        let wait = self.progress.wait_for(what);
        tokio::time::timeout(Duration::from_mins(15), wait)
            .await
            .unwrap()
            .unwrap()
            .clone()
    }

    /// Waits for the end.
    pub(super) async fn done(mut self) -> Progress {
        tokio::time::timeout(Duration::from_mins(15), &mut self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        self.progress.borrow_and_update().clone()
    }

    /// The blockers, in words, once there are any.
    pub(super) async fn blocked(&mut self) -> Vec<String> {
        let progress = self.until(|progress| !blockers(progress).is_empty()).await;
        blockers(&progress).iter().map(ToString::to_string).collect()
    }
}

pub(super) fn blockers(progress: &Progress) -> &[Cause] {
    match progress {
        Progress::Running { waiting_on, .. } => waiting_on,
        Progress::Starting | Progress::Done { .. } => &[],
    }
}

pub(super) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn daemon(name: &str) -> serde_json::Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true});
    with(pod(name), &json!({"metadata": {"ownerReferences": [owner]}}))
}

#[tokio::test(start_paused = true)]
async fn a_drain_costs_one_request_per_pod_and_seven_more() {
    let fake = Fake::new();
    for number in 0..110 {
        fake.put_pod(pod(&format!("shop/web-{number}")));
    }
    fake.put_pod(daemon("kube-system/proxy-1"));
    let settings = Settings {
        cordoned_at: fake.world().now() - chrono::TimeDelta::seconds(3),
        wait_for_volume_detach: Duration::from_mins(5),
        ..settings()
    };
    assert_eq!(start(&fake, settings).done().await, done(110, 1));
    assert_eq!(fake.count("POST"), 110);
    assert_eq!(
        fake.world().requests.len(),
        117,
        "two lists and a watch of pods, a list and a watch each of the node and of budgets"
    );
    assert!(
        fake.age() < Duration::from_millis(3100),
        "shutdowns take 2 s, side by side; the cordon has to stand for 3 s"
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_node_is_drained_after_a_second_list() {
    let fake = Fake::new();
    assert_eq!(start(&fake, settings()).done().await, done(0, 0));
    assert_eq!(fake.count("LIST pods"), 2);
    assert_eq!(fake.count("LIST poddisruptionbudgets"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_list_is_at_least_three_seconds_younger_than_the_cordon() {
    let fake = Fake::new();
    let settings = Settings {
        cordoned_at: fake.world().now(),
        ..settings()
    };
    start(&fake, settings).done().await;
    let lists = fake.times("LIST pods");
    assert!(lists.len() == 2 && lists[1] >= 3000 && lists[1] < 3100, "{lists:?}");
}

#[tokio::test(start_paused = true)]
async fn the_age_of_the_cordon_counts_by_the_local_clock() {
    for hours in [-1, 1] {
        let fake = Fake::new();
        let settings = Settings {
            cordoned_at: fake.world().now() + chrono::TimeDelta::hours(hours),
            ..settings()
        };
        start(&fake, settings).done().await;
        assert_eq!(fake.age().as_secs(), 3, "{hours}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_cordon_must_be_three_seconds_old_again() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(10));
    fake.put_pod(pod("shop/web-0"));
    let running = start(&fake, settings());
    seconds(8).await;
    fake.change_node(&json!({"spec": {"unschedulable": null}}));
    seconds(1).await;
    fake.change_node(&json!({"spec": {"unschedulable": true}}));
    running.done().await;
    assert_eq!(fake.age().as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_pod_bound_after_the_cordon_is_evicted_too() {
    let fake = Fake::new();
    let settings = Settings {
        cordoned_at: fake.world().now(),
        ..settings()
    };
    let running = start(&fake, settings);
    seconds(2).await;
    fake.put_pod(pod("shop/late-0"));
    assert_eq!(running.done().await, done(1, 0));
    assert_eq!(fake.count("POST shop/late-0"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_bound_after_the_last_list_is_found_by_the_next_list() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    let running = start(&fake, settings());
    seconds(1).await;
    fake.world().after_list = Some(pod("shop/late-0"));
    let running = running.done().await;
    let left = remaining_pods(&fake.client(), &settings()).await.unwrap();
    // The list was empty when it was taken: whoever orders a reboot lists again.
    assert_eq!((running, left.len()), (done(1, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn the_fresh_list_counts_when_the_watch_is_behind() {
    let fake = Fake::new();
    let settings = Settings {
        cordoned_at: fake.world().now(),
        ..settings()
    };
    let running = start(&fake, settings);
    seconds(1).await;
    fake.world().silent = true;
    fake.put_pod(pod("shop/late-0"));
    seconds(30).await;
    assert!(!running.task.is_finished());
    fake.world().silent = false;
    fake.change_pod("uid-late-0", &json!({"metadata": {"labels": {"seen": "now"}}}));
    assert_eq!(running.done().await, done(1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_names_the_uid_and_never_a_grace_period_of_zero() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    fake.put_pod(with(
        pod("shop/abrupt-0"),
        &json!({"spec": {"terminationGracePeriodSeconds": 0}}),
    ));
    start(&fake, settings()).done().await;
    for body in &fake.world().evictions {
        let name = body["metadata"]["name"].as_str().unwrap();
        assert_eq!(body["deleteOptions"]["preconditions"]["uid"], format!("uid-{name}"));
        let grace = &body["deleteOptions"]["gracePeriodSeconds"];
        assert_eq!(grace.as_i64(), (name == "abrupt-0").then_some(1), "{name}");
    }
    let fake = Fake::new();
    fake.put_pod(pod("shop/web-0"));
    start(
        &fake,
        Settings {
            grace_period_seconds: Some(0),
            ..settings()
        },
    )
    .done()
    .await;
    assert_eq!(fake.world().evictions[0]["deleteOptions"]["gracePeriodSeconds"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_not_complete_before_the_last_pod_is_gone() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(25));
    fake.put_pod(pod("shop/web-0"));
    let mut running = start(&fake, settings());
    let shown = running.blocked().await;
    assert!(
        shown[0].starts_with("pod shop/web-0 is shutting down; its grace period of 30 s ends at 20"),
        "{shown:?}"
    );
    running.done().await;
    assert!(fake.age() >= Duration::from_secs(25));
    assert_eq!(fake.count("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_recreated_on_another_node_is_not_evicted() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 2, 2));
    fake.put_pod(pod("shop/db-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    fake.remove_pod("uid-db-0");
    let elsewhere = json!({"metadata": {"uid": "uid-new"}, "spec": {"nodeName": "n2"}});
    fake.put_pod(with(pod("shop/db-0"), &elsewhere));
    fake.change_budget("db", &json!({"status": {"disruptionsAllowed": 1}}));
    assert_eq!(running.done().await, done(1, 0));
    assert_eq!(fake.count("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_recreated_on_the_node_is_evicted_by_its_new_uid() {
    let fake = Fake::new();
    fake.put_pod(pod("shop/db-0"));
    let running = start(&fake, settings());
    seconds(1).await;
    fake.remove_pod("uid-db-0");
    fake.put_pod(with(pod("shop/db-0"), &json!({"metadata": {"uid": "uid-new"}})));
    assert_eq!(running.done().await, done(2, 0));
    let world = fake.world();
    let uids: Vec<_> = world
        .evictions
        .iter()
        .map(|body| &body["deleteOptions"]["preconditions"]["uid"])
        .collect();
    assert_eq!(uids, ["uid-db-0", "uid-new"]);
}

#[tokio::test(start_paused = true)]
async fn an_unmanaged_pod_blocks_while_the_others_are_evicted() {
    let fake = Fake::new();
    fake.put_pod(with(pod("shop/pet-0"), &json!({"metadata": {"ownerReferences": null}})));
    fake.put_pod(pod("shop/web-0"));
    let mut running = start(&fake, settings());
    let shown = running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 1,
                    remaining: 1,
                    ..
                }
            )
        })
        .await;
    assert!(
        blockers(&shown)[0]
            .to_string()
            .starts_with("pod shop/pet-0: no controller would recreate it")
    );
    seconds(600).await;
    assert_eq!((fake.count("POST shop/pet-0"), running.task.is_finished()), (0, false));
    fake.remove_pod("uid-pet-0");
    assert_eq!(running.done().await, done(2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_pod_names_the_finalizer_that_holds_it() {
    let fake = Fake::new();
    fake.world().shutdown = None;
    fake.put_pod(with(
        pod("shop/db-0"),
        &json!({"metadata": {"finalizers": ["shop.example/backup"]}}),
    ));
    let mut running = start(&fake, settings());
    let stuck = |cause: &Cause| cause.reason() == ReasonName::PodStuck;
    let shown = running.until(|progress| blockers(progress).iter().any(stuck)).await;
    assert!(
        blockers(&shown)[0]
            .to_string()
            .ends_with("Z: held by finalizer shop.example/backup")
    );
    assert_eq!(fake.count("POST"), 1);
    fake.change_pod("uid-db-0", &json!({"metadata": {"finalizers": null}}));
    fake.remove_pod("uid-db-0");
    running.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_drain_continues_where_a_dropped_one_stopped() {
    let fake = Fake::new();
    fake.world().shutdown = Some(Duration::from_secs(20));
    for number in 0..40 {
        fake.put_pod(pod(&format!("shop/web-{number}")));
    }
    let first = start(&fake, settings());
    seconds(5).await;
    first.task.abort();
    assert_eq!(fake.count("POST"), 40);
    assert_eq!(start(&fake, settings()).done().await, done(40, 0));
    assert_eq!(fake.count("POST"), 40, "what is shutting down is not asked again");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_drain_stops_new_requests_at_once() {
    let fake = Fake::new();
    fake.put_budget(budget("shop/db", 0, 2, 2, 2));
    fake.put_pod(pod("shop/db-0"));
    let mut running = start(&fake, settings());
    running.blocked().await;
    running.task.abort();
    seconds(120).await;
    assert_eq!(fake.count("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_evicted_when_its_opt_out_has_ended() {
    let fake = Fake::new();
    let started = fake.world().now() - chrono::TimeDelta::minutes(50);
    let change = json!({
        "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "1h"}},
        "status": {"startTime": started},
    });
    fake.put_pod(with(pod("shop/build-0"), &change));
    assert_eq!(start(&fake, settings()).done().await, done(1, 0));
    let times = fake.times("POST");
    assert!(times.len() == 1 && (599_000..600_100).contains(&times[0]), "{times:?}");
}
