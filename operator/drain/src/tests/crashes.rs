//! The process dies after each of its requests in turn; the next one finishes the work.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::engine::{Running, start};
use super::fake::Fake;
use super::world::Death;
use super::{budget, pod, settings, with};
use crate::{Behavior, Progress, Rule, Settings};

/// Tiers, a budget of one at a time, a rule by namespace, a volume, a pod of a `DaemonSet` that stays.
fn cluster() -> Fake {
    let fake = Fake::new();
    fake.put_budget(budget("shop/web", 1, 3, 2, 3));
    for number in 0..3 {
        fake.put_pod(pod(&format!("shop/web-{number}")));
    }
    let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
    fake.put_pod(with(pod("shop/db-0"), &json!({"spec": {"volumes": [claim]}})));
    let critical = json!({"spec": {"priorityClassName": "system-cluster-critical"}});
    fake.put_pod(with(pod("shop/dns-0"), &critical));
    fake.put_pod(pod("lab/cell-0"));
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true}]);
    let logs = json!({"name": "logs", "persistentVolumeClaim": {"claimName": "logs"}});
    let daemon = json!({"metadata": {"ownerReferences": owner}, "spec": {"volumes": [logs]}});
    fake.put_pod(with(pod("shop/proxy-0"), &daemon));
    let mut world = fake.world();
    for (namespace, labels) in [("shop", json!({})), ("lab", json!({"last": "yes"}))] {
        let object = json!({"metadata": {"name": namespace, "labels": labels}});
        world.named.insert(format!("namespaces/{namespace}"), object);
    }
    let object = json!({"metadata": {"name": "logs"}, "spec": {"volumeName": "pv-logs"}});
    world.named.insert("persistentvolumeclaims/logs".to_owned(), object);
    for volume in ["pv-data", "pv-logs"] {
        let spec = json!({"nodeName": "n1", "attacher": "x", "source": {"persistentVolumeName": volume}});
        world.put(
            "volumeattachments",
            json!({"metadata": {"name": volume, "uid": volume}, "spec": spec}),
        );
    }
    drop(world);
    fake
}

/// The controllers: room in the budget as soon as no pod under it shuts down, and the volume of a pod that is gone.
async fn control(fake: Fake) {
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (leaving, closed, detached) = {
            let world = fake.world();
            let leaving = world.pods.values().any(|pod| {
                pod["metadata"]["labels"]["app"] == "web" && !pod["metadata"]["deletionTimestamp"].is_null()
            });
            let closed = world.budgets["web"]["status"]["disruptionsAllowed"] == 0;
            (leaving, closed, !world.pods.contains_key("uid-db-0"))
        };
        if closed && !leaving {
            let open = json!({"status": {"disruptionsAllowed": 1, "disruptedPods": null}});
            fake.change_budget("web", &open);
        }
        if detached {
            tokio::time::sleep(Duration::from_secs(2)).await;
            fake.world().remove("volumeattachments", "pv-data");
        }
    }
}

fn wanted(fake: &Fake) -> Settings {
    let last = serde_json::from_value(json!({"matchLabels": {"last": "yes"}})).unwrap();
    Settings {
        rules: vec![Rule::parse(0, None, Some(last), Behavior::Evict, 5).unwrap()],
        cordoned_at: fake.world().now(),
        wait_for_volume_detach: Duration::from_mins(5),
        ..settings()
    }
}

/// How often each pod was evicted, by uid.
fn evicted(fake: &Fake) -> BTreeMap<String, usize> {
    let mut evicted = BTreeMap::new();
    for uid in &fake.world().granted {
        *evicted.entry(uid.clone()).or_default() += 1;
    }
    evicted
}

/// What happens when a request has been carried out and not been answered.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    /// The process dies; another one goes on.
    Dies(usize),
    /// The API server is away for so many seconds.
    Away(usize, u64),
}

/// Whether the request arrives after which the process or the server dies: the last ones vary from run to run.
async fn comes(died: &Notify, running: &Running) -> bool {
    let limit = Instant::now() + Duration::from_mins(15);
    loop {
        tokio::select! {
            () = died.notified() => return true,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if running.task.is_finished() {
                    return false;
                }
            }
        }
        assert!(Instant::now() < limit, "neither a death nor an end");
    }
}

async fn check(event: Event) -> usize {
    let fake = cluster();
    let controllers = tokio::spawn(control(fake.clone()));
    let settings = wanted(&fake);
    let died = {
        let mut world = fake.world();
        world.dies_after = match event {
            Event::Nothing => None,
            Event::Dies(after) => Some((after, Death::Process)),
            Event::Away(after, _) => Some((after, Death::Server)),
        };
        world.died.clone()
    };
    let mut running = start(&fake, settings.clone());
    match event {
        Event::Nothing => {}
        Event::Dies(_) => {
            if comes(&died, &running).await {
                running.task.abort();
                let _ = running.task.await;
                running = start(&fake, settings);
            }
        }
        Event::Away(_, seconds) => {
            if comes(&died, &running).await {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                fake.come_back();
            }
        }
    }
    let end = running.done().await;
    controllers.abort();
    let Progress::Done {
        stayed, still_attached, ..
    } = end
    else {
        panic!("{event:?}: {end:?}")
    };
    assert_eq!((stayed, still_attached.len()), (1, 0), "{event:?}");
    let world = fake.world();
    let left: Vec<&String> = world.pods.keys().collect();
    assert_eq!(left, ["uid-proxy-0"], "{event:?}");
    let attached: Vec<&String> = world.attachments.keys().collect();
    assert_eq!(attached, ["pv-logs"], "{event:?}");
    drop(world);
    for (uid, times) in evicted(&fake) {
        assert!(times <= 2, "{event:?}: {uid} was evicted {times} times");
    }
    // Refusals of a closed budget are questions, not evictions; they too are few.
    let bodies = fake.world().evictions.clone();
    assert!(bodies.len() <= 6 + 4, "{event:?}: {} questions", bodies.len());
    let grace = |body: &Value| body["deleteOptions"]["gracePeriodSeconds"].clone();
    assert!(bodies.iter().map(grace).all(|grace| grace.is_null()), "{event:?}");
    fake.world().requests.len()
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_request_is_continued_by_the_next_process() {
    let requests = check(Event::Nothing).await;
    assert!(requests > 20, "{requests}");
    for after in 1..=requests {
        check(Event::Dies(after)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_after_any_request_does_not_end_the_drain() {
    let requests = check(Event::Nothing).await;
    for after in 1..=requests {
        for seconds in [3, 60] {
            check(Event::Away(after, seconds)).await;
        }
    }
}
