use super::feed::{WatchedTable, handle_event};
use super::*;
use kube::runtime::watcher::Event;
use serde_json::json;

fn node(name: &str, version: &str, boot: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "resourceVersion": version, "managedFields": [{"manager": "kubelet"}]},
        "status": {"nodeInfo": {"bootID": boot}},
    }))
    .unwrap()
}

fn policy(spec: &serde_json::Value) -> ParsedPolicy {
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
        Event::InitApply(node("w-01", "5", "b-1")),
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
    handle_event(&cache, &WatchedTable::nodes(), Event::Apply(node("w-01", "5", "b-1")));
    assert_eq!(changes(&cache), 1);
    handle_event(&cache, &WatchedTable::nodes(), Event::Apply(node("w-01", "6", "b-1")));
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
    handle_event(&cache, &WatchedTable::nodes(), Event::Apply(node("w-01", "7", "b-2")));
    assert_eq!(changes(&cache), 2);
    handle_event(&cache, &WatchedTable::nodes(), Event::Delete(node("w-01", "8", "b-2")));
    assert_eq!(changes(&cache), 3);
}

#[test]
fn our_own_write_is_there_at_once_and_its_echo_is_no_change() {
    let cache = SharedCache::default();
    cache.absorb_node(node("w-01", "5", "b-1"));
    assert!(cache.read().nodes.get("w-01").is_some());
    handle_event(&cache, &WatchedTable::nodes(), Event::Apply(node("w-01", "5", "b-1")));
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
