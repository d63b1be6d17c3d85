use super::feed::{WatchedTable, handle_event};
use super::*;
use kube::runtime::watcher::Event;
use lockkeeper_planner::{Snapshot, ViewGap};
use lockkeeper_snapshot::{KeptSnapshot, Local};
use serde_json::json;

fn node(name: &str, version: &str, boot: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "resourceVersion": version, "managedFields": [{"manager": "kubelet"}]},
        "status": {"nodeInfo": {"bootID": boot}},
    }))
    .unwrap()
}

fn policy(spec: &serde_json::Value) -> GuardedPolicy {
    serde_json::from_value(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "general", "resourceVersion": "3"}, "spec": spec,
    }))
    .unwrap()
}

fn changes(cache: &SharedCache) -> u64 {
    *cache.changes().borrow()
}

#[test]
fn an_empty_cache_has_seen_nothing() {
    let cache = SharedCache::default();
    assert_eq!(cache.read().unlisted(), WatchedKind::ALL);
}

#[test]
fn a_kind_is_seen_once_its_list_is_complete() {
    let cache = SharedCache::default();
    handle_event(&cache, &WatchedTable::nodes(), Event::Init);
    handle_event(
        &cache,
        &WatchedTable::nodes(),
        Event::InitApply(Guarded(Ok(node("w-01", "5", "b-1")))),
    );
    assert!(cache.read().unlisted().contains(&WatchedKind::Nodes));
    handle_event(&cache, &WatchedTable::nodes(), Event::InitDone);
    assert_eq!(
        cache.read().unlisted(),
        [
            WatchedKind::Reboots,
            WatchedKind::Policies,
            WatchedKind::Lock,
            WatchedKind::StaticPods
        ]
    );
    assert_eq!(cache.read().nodes.get("w-01").unwrap().metadata.managed_fields, None);
}

#[test]
fn a_change_is_counted_and_a_heartbeat_is_not() {
    let cache = SharedCache::default();
    handle_event(
        &cache,
        &WatchedTable::nodes(),
        Event::Apply(Guarded(Ok(node("w-01", "5", "b-1")))),
    );
    assert_eq!(changes(&cache), 1);
    handle_event(
        &cache,
        &WatchedTable::nodes(),
        Event::Apply(Guarded(Ok(node("w-01", "6", "b-1")))),
    );
    assert_eq!(changes(&cache), 1);
    assert_eq!(
        cache
            .read()
            .nodes
            .get("w-01")
            .unwrap()
            .metadata
            .resource_version
            .as_deref(),
        Some("6")
    );
    handle_event(
        &cache,
        &WatchedTable::nodes(),
        Event::Apply(Guarded(Ok(node("w-01", "7", "b-2")))),
    );
    assert_eq!(changes(&cache), 2);
    handle_event(
        &cache,
        &WatchedTable::nodes(),
        Event::Delete(Guarded(Ok(node("w-01", "8", "b-2")))),
    );
    assert_eq!(changes(&cache), 3);
}

#[test]
fn our_own_write_is_there_at_once_and_its_echo_is_no_change() {
    let cache = SharedCache::default();
    cache.absorb_node(node("w-01", "5", "b-1"));
    assert!(cache.read().nodes.get("w-01").is_some());
    handle_event(
        &cache,
        &WatchedTable::nodes(),
        Event::Apply(Guarded(Ok(node("w-01", "5", "b-1")))),
    );
    assert_eq!(changes(&cache), 0);
}

#[test]
fn a_policy_that_cannot_be_decoded_is_kept_with_its_reason() {
    let cache = SharedCache::default();
    handle_event(
        &cache,
        &WatchedTable::policies(),
        Event::Apply(policy(&json!({"suspend": "maybe"}))),
    );
    let read = cache.read();
    let reason = read.policies.get("general").unwrap().as_ref().unwrap_err();
    assert!(
        reason.cause.contains("spec.suspend") && reason.cause.contains("boolean"),
        "{reason:?}"
    );
}

#[test]
fn a_policy_that_is_mended_is_decoded_again() {
    let cache = SharedCache::default();
    handle_event(
        &cache,
        &WatchedTable::policies(),
        Event::Apply(policy(&json!({"suspend": "maybe"}))),
    );
    let mut mended = policy(&json!({"suspend": true}));
    kube::Resource::meta_mut(&mut mended).resource_version = Some("4".into());
    handle_event(&cache, &WatchedTable::policies(), Event::Apply(mended));
    assert!(cache.read().policies.get("general").unwrap().is_ok());
}

/// A `NodeReboot` whose agent has reported this time.
fn record(name: &str, version: &str, boot_time: &str) -> GuardedRecord {
    serde_json::from_value(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "NodeReboot", "spec": {},
        "metadata": {"name": name, "resourceVersion": version, "managedFields": [{"manager": "m"}],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}]},
        "status": {"host": {"bootID": "b-1", "bootTime": boot_time}},
    }))
    .unwrap()
}

const POISON: &str = "2026-11-21T12:00:00Ztrailing words";
const TIME: &str = "2026-11-21T12:00:00Z";

/// A cache that has listed three nodes with their records; the times are those that their agents report.
fn listed(times: [&str; 3]) -> SharedCache {
    let cache = SharedCache::default();
    let names = ["w-01", "w-02", "w-03"];
    let view = WatchedTable::nodes();
    handle_event(&cache, &view, Event::Init);
    for name in names {
        let mut node = node(name, "5", "b-1");
        node.metadata.uid = Some(name.to_owned());
        handle_event(&cache, &view, Event::InitApply(Guarded(Ok(node))));
    }
    handle_event(&cache, &view, Event::InitDone);
    let view = WatchedTable::reboots();
    handle_event(&cache, &view, Event::Init);
    for (name, time) in names.into_iter().zip(times) {
        handle_event(&cache, &view, Event::InitApply(record(name, "5", time)));
    }
    handle_event(&cache, &view, Event::InitDone);
    for view in [Event::Init, Event::InitDone] {
        handle_event(&cache, &WatchedTable::policies(), view);
    }
    for view in [Event::Init, Event::InitDone] {
        handle_event(&cache, &WatchedTable::lock(), view);
    }
    cache
}

fn snapshot_of(cache: &SharedCache, now: Instant) -> Snapshot {
    let mut kept = KeptSnapshot::default();
    observe(&mut kept, &cache.read(), &Local::default(), now);
    kept.parts().0.clone()
}

fn gaps(cache: &SharedCache) -> (Vec<String>, Vec<ViewGap>, Option<ViewGap>) {
    let snapshot = snapshot_of(cache, Instant::now());
    let nodes = snapshot.nodes.iter().filter(|(_, node)| node.view_gap.is_some());
    let global = snapshot.unlisted.into_iter().chain(snapshot.view_gaps);
    (
        nodes.map(|(name, _)| name.clone()).collect(),
        global.collect(),
        snapshot.control_plane_gap,
    )
}

fn static_pods_listed(cache: &SharedCache) {
    for event in [Event::Init, Event::InitDone] {
        handle_event(cache, &WatchedTable::static_pods(), event);
    }
}

#[test]
fn one_record_of_three_that_cannot_be_decoded_is_a_gap_of_its_own_node_alone() {
    let cache = listed([TIME, POISON, TIME]);
    static_pods_listed(&cache);
    assert_eq!(gaps(&cache), (vec!["w-02".to_owned()], vec![], None));
    let read = cache.read();
    let undecodable = read.reboots.get("w-02").unwrap().as_ref().unwrap_err();
    assert_eq!(undecodable.metadata.managed_fields, None);
    drop(read);
    handle_event(
        &cache,
        &WatchedTable::reboots(),
        Event::Apply(record("w-02", "6", TIME)),
    );
    assert_eq!(gaps(&cache), (vec![], vec![], None));
    handle_event(
        &cache,
        &WatchedTable::reboots(),
        Event::Apply(record("w-03", "7", POISON)),
    );
    assert_eq!(gaps(&cache).0, ["w-03"]);
}

#[test]
fn a_lock_that_cannot_be_decoded_stops_everything() {
    let cache = listed([TIME; 3]);
    static_pods_listed(&cache);
    let lock = json!({"metadata": {"name": "cluster", "resourceVersion": "6"}, "spec": {}, "status": {"holders": 5}});
    handle_event(
        &cache,
        &WatchedTable::lock(),
        Event::Apply(serde_json::from_value(lock).unwrap()),
    );
    let (_, global, _) = gaps(&cache);
    assert!(matches!(global.as_slice(), [ViewGap::LockInvalid { .. }]), "{global:?}");
}

#[test]
fn static_pods_that_may_not_be_listed_are_a_gap_of_the_control_plane_alone() {
    let cache = listed([TIME; 3]);
    assert!(
        matches!(gaps(&cache).1.as_slice(), [ViewGap::NotListed { .. }]),
        "the list is on its way"
    );
    let denied = "not permitted (pods is forbidden); check the ClusterRole";
    cache
        .read()
        .record_failure(WatchedKind::StaticPods, denied, Instant::now());
    let (nodes, global, control_plane) = gaps(&cache);
    assert_eq!((nodes, global), (vec![], vec![]));
    assert_eq!(
        control_plane.unwrap().to_string(),
        "the watch on Pods of the control plane is failing: not permitted (pods is forbidden); check the ClusterRole; \
         control-plane nodes do not start, and all others one at a time"
    );
}

#[test]
fn a_stale_watch_on_static_pods_is_a_gap_of_the_control_plane_alone() {
    let cache = listed([TIME; 3]);
    static_pods_listed(&cache);
    let start = Instant::now();
    for seconds in [0, 30, 62] {
        let now = start + Duration::from_secs(seconds);
        cache.read().record_failure(WatchedKind::StaticPods, "refused", now);
    }
    let now = start + Duration::from_secs(63);
    let snapshot = snapshot_of(&cache, now);
    assert_eq!((snapshot.unlisted, snapshot.view_gaps), (vec![], vec![]));
    assert!(snapshot.control_plane_gap.is_some());
}

#[test]
fn a_failure_is_news_once_and_a_sign_of_life_ends_it() {
    let mut cache = Cache::default();
    let now = Instant::now();
    assert!(cache.record_failure(WatchedKind::Nodes, "gone", now));
    assert!(!cache.record_failure(WatchedKind::Nodes, "gone", now));
    assert!(cache.record_failure(WatchedKind::Nodes, "forbidden", now));
    assert_eq!(
        cache
            .watch_failures()
            .map(|(kind, failure)| (kind, failure.count))
            .collect::<Vec<_>>(),
        [(WatchedKind::Nodes, 3)]
    );
    cache.clear_failure(WatchedKind::Nodes);
    assert_eq!(cache.watch_failures().count(), 0);
}

#[test]
fn the_nodes_are_watched_since_the_last_list_or_failure_of_their_watches() {
    let mut cache = Cache::default();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    for kind in WatchedKind::ALL {
        cache.interrupted(kind, after(10));
    }
    assert_eq!(cache.watched_for(after(40)), Duration::ZERO, "nothing is listed yet");
    cache.nodes.start_list();
    cache.nodes.end_list();
    cache.reboots.start_list();
    cache.reboots.end_list();
    cache.record_failure(WatchedKind::StaticPods, "not permitted", after(39));
    assert_eq!(cache.watched_for(after(40)), Duration::from_secs(30));
    cache.record_failure(WatchedKind::Reboots, "refused", after(35));
    assert_eq!(cache.watched_for(after(40)), Duration::from_secs(5));
    // A watch that works again is silent until something changes.
    assert_eq!(cache.watched_for(after(100)), Duration::from_secs(65));
}

#[test]
fn a_watch_that_fails_for_a_minute_is_stale_until_it_fails_no_more() {
    let mut cache = Cache::default();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    cache.record_failure(WatchedKind::Lock, "refused", start);
    cache.record_failure(WatchedKind::Lock, "refused", after(30));
    assert!(cache.stale(after(31)).is_empty());
    cache.record_failure(WatchedKind::Lock, "refused", after(62));
    assert_eq!(cache.stale(after(63)).len(), 1);
    assert!(cache.stale(after(125)).is_empty());
}

#[test]
fn smaller_versions_are_believed_after_the_data_of_the_server_went_back() {
    let cache = SharedCache::default();
    let nodes = WatchedTable::nodes();
    let list = |version: &str, boot: &str| {
        for event in [
            Event::Init,
            Event::InitApply(Guarded(Ok(node("w-01", version, boot)))),
            Event::InitDone,
        ] {
            handle_event(&cache, &WatchedTable::nodes(), event);
        }
    };
    list("900", "b-9");
    handle_event(&cache, &nodes, Event::Apply(Guarded(Ok(node("w-01", "950", "b-9")))));
    cache.rewind(950, 400);
    assert!(
        cache.read().unlisted().contains(&WatchedKind::Nodes),
        "nothing is known"
    );
    assert!(cache.read().nodes.is_empty());
    handle_event(&cache, &nodes, Event::Init);
    // The answer to a write arrives while the list is on its way.
    cache.absorb_node(node("w-01", "410", "b-4"));
    handle_event(
        &cache,
        &nodes,
        Event::InitApply(Guarded(Ok(node("w-01", "405", "b-4")))),
    );
    handle_event(&cache, &nodes, Event::InitDone);
    let version = |cache: &SharedCache| {
        cache
            .read()
            .nodes
            .get("w-01")
            .unwrap()
            .metadata
            .resource_version
            .clone()
    };
    assert_eq!(version(&cache).as_deref(), Some("410"));
    handle_event(&cache, &nodes, Event::Apply(Guarded(Ok(node("w-01", "420", "b-5")))));
    assert_eq!(version(&cache).as_deref(), Some("420"));
}

#[tokio::test]
async fn a_rewind_restarts_each_watch_once_and_is_counted() {
    use futures::StreamExt;
    let metrics = Arc::new(Metrics::new().unwrap());
    let cache = SharedCache::counting(metrics.clone());
    let mut restarts = cache.restarts();
    assert!(futures::poll!(restarts.next()).is_pending());
    cache.rewind(950, 400);
    assert_eq!(restarts.next().await, Some(()));
    assert!(futures::poll!(restarts.next()).is_pending());
    assert_eq!(
        cache.read().rewind(),
        Some(Rewind {
            number: 1,
            from: 950,
            to: 400
        })
    );
    assert!(metrics.text().unwrap().contains("\nlockkeeper_api_rewinds_total 1\n"));
}
