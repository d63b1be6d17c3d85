//! The objects, kept up to date by watches.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use lockkeeper_crds::{NodeReboot, RebootLock, RebootPolicy};
use lockkeeper_kube_util::{Guarded, GuardedApi, Rest, Undecodable, error_chain};
use lockkeeper_snapshot::guarded::{GuardedLock, GuardedPolicy, GuardedRecord, PolicyRest, RecordRest};
use serde::de::DeserializeOwned;

use super::connect::Cluster;
use super::objects::{Objects, put};

/// One event of one of the watches.
pub(crate) type Change = Result<WatchEvent, watcher::Error>;

#[derive(Debug)]
pub(crate) enum WatchEvent {
    Policy(Box<Event<GuardedPolicy>>),
    Reboot(Box<Event<GuardedRecord>>),
    Lock(Box<Event<GuardedLock>>),
}

/// A broken watch is retried within 30 s, so an older error is over.
const ERROR_EXPIRY: Duration = Duration::from_mins(1);

/// Watches all three kinds.
pub(crate) fn watch(cluster: &Cluster) -> BoxStream<'static, Change> {
    select_all([
        watch_kind(cluster, |event| WatchEvent::Policy(Box::new(event))),
        watch_kind(cluster, |event| WatchEvent::Reboot(Box::new(event))),
        watch_kind(cluster, |event| WatchEvent::Lock(Box::new(event))),
    ])
    .boxed()
}

fn watch_kind<K, R>(cluster: &Cluster, change: fn(Event<Guarded<K, R>>) -> WatchEvent) -> BoxStream<'static, Change>
where
    K: Clone + Debug + DeserializeOwned + kube::Resource<DynamicType = ()> + Send + 'static,
    R: Rest + Clone + Debug + Send + 'static,
{
    let api: GuardedApi<K, R> = GuardedApi::all(cluster.client.clone());
    let events = api.watch(watcher::Config::default()).default_backoff();
    // Managed fields are larger than the rest and unused here.
    let events = events.modify(|object| object.managed_fields_mut().clear());
    events.map_ok(change).boxed()
}

/// The objects as the watches have reported them.
pub(crate) struct LiveObjects {
    objects: Objects,
    policies: Listing<RebootPolicy, PolicyRest>,
    reboots: Listing<NodeReboot, RecordRest>,
    locks: Listing<RebootLock, ()>,
    error: Option<(Instant, String)>,
}

/// A list in progress; it replaces the objects once it is complete.
struct Listing<K, R> {
    partial: Vec<Guarded<K, R>>,
}

impl LiveObjects {
    /// Starts from what was listed.
    pub(crate) fn new(objects: Objects) -> Self {
        Self {
            objects,
            policies: Listing::default(),
            reboots: Listing::default(),
            locks: Listing::default(),
            error: None,
        }
    }

    /// Applies one event.
    pub(crate) fn apply(&mut self, change: Change) {
        let undecodable = &mut self.objects.undecodable;
        match change {
            Ok(WatchEvent::Policy(event)) => {
                self.policies
                    .apply(*event, &mut self.objects.policies, &mut undecodable.policies);
            }
            Ok(WatchEvent::Reboot(event)) => {
                self.reboots
                    .apply(*event, &mut self.objects.reboots, &mut undecodable.reboots);
            }
            Ok(WatchEvent::Lock(event)) => {
                let mut locks: BTreeMap<String, RebootLock> = self
                    .objects
                    .lock
                    .take()
                    .map(|lock| (lock.name_any(), lock))
                    .into_iter()
                    .collect();
                self.locks.apply(*event, &mut locks, &mut undecodable.locks);
                self.objects.lock = locks.into_values().next();
            }
            Err(error) => self.error = Some((Instant::now(), error_chain(&error))),
        }
    }

    /// The objects; those of an incomplete list are not among them yet.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The error of a watch that is failing now.
    pub(crate) fn notice(&self) -> Option<String> {
        let (when, error) = self.error.as_ref()?;
        (when.elapsed() < ERROR_EXPIRY)
            .then(|| format!("the API server does not answer; this may be out of date: {error}"))
    }
}

impl<K, R> Default for Listing<K, R> {
    fn default() -> Self {
        Self { partial: Vec::new() }
    }
}

impl<K: kube::Resource, R> Listing<K, R> {
    fn apply(
        &mut self,
        event: Event<Guarded<K, R>>,
        decoded: &mut BTreeMap<String, K>,
        undecodable: &mut BTreeMap<String, Undecodable<R>>,
    ) {
        match event {
            Event::Init => self.partial.clear(),
            Event::InitApply(object) => self.partial.push(object),
            Event::InitDone => {
                decoded.clear();
                undecodable.clear();
                for object in self.partial.drain(..) {
                    put(object, decoded, undecodable);
                }
            }
            Event::Apply(object) => put(object, decoded, undecodable),
            Event::Delete(object) => {
                let name = object.name_any();
                decoded.remove(&name);
                undecodable.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{objects, reboot};

    fn names(live: &LiveObjects) -> Vec<&str> {
        live.objects().reboots.keys().map(String::as_str).collect()
    }

    fn reboots(event: Event<GuardedRecord>) -> WatchEvent {
        WatchEvent::Reboot(Box::new(event))
    }

    fn policy(value: serde_json::Value) -> GuardedPolicy {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_policy_that_cannot_be_decoded_does_not_hide_the_others() {
        let mut live = LiveObjects::new(objects(vec![], vec![]));
        let good = json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "good"}, "spec": {}});
        let mut odd = good.clone();
        odd["metadata"]["name"] = json!("odd");
        odd["spec"] = json!({"suspend": "perhaps"});
        for event in [
            Event::Init,
            Event::InitApply(policy(good)),
            Event::InitDone,
            Event::Apply(policy(odd.clone())),
        ] {
            live.apply(Ok(WatchEvent::Policy(Box::new(event))));
        }
        let names = |live: &LiveObjects| {
            let objects = live.objects();
            let good: Vec<String> = objects.policies.keys().cloned().collect();
            let odd: Vec<String> = objects.undecodable.policies.keys().cloned().collect();
            (good, odd)
        };
        assert_eq!(names(&live), (vec!["good".to_owned()], vec!["odd".to_owned()]));
        assert!(live.objects().undecodable.policies["odd"].cause.contains("perhaps"));
        live.apply(Ok(WatchEvent::Policy(Box::new(Event::Delete(policy(odd))))));
        assert_eq!(names(&live), (vec!["good".to_owned()], vec![]));
    }

    #[test]
    fn a_repeated_list_removes_deleted_objects_once_it_is_complete() {
        let mut live = LiveObjects::new(objects(vec![], vec![reboot("a", json!({})), reboot("b", json!({}))]));
        assert_eq!(names(&live), ["a", "b"]);
        live.apply(Ok(reboots(Event::Init)));
        live.apply(Ok(reboots(Event::InitApply(Guarded(Ok(reboot("b", json!({}))))))));
        assert_eq!(names(&live), ["a", "b"]);
        live.apply(Ok(reboots(Event::InitDone)));
        assert_eq!(names(&live), ["b"]);
        live.apply(Ok(reboots(Event::Delete(Guarded(Ok(reboot("b", json!({}))))))));
        assert_eq!(names(&live), Vec::<&str>::new());
    }

    #[test]
    fn a_record_that_cannot_be_decoded_any_more_hides_no_other_one() {
        let mut live = LiveObjects::new(objects(vec![], vec![reboot("a", json!({})), reboot("b", json!({}))]));
        let poisoned = json!({"metadata": {"name": "b"}, "spec": {},
            "status": {"host": {"bootTime": "2026-11-21T12:00:00Ztrailing words"}}});
        let poisoned: GuardedRecord = serde_json::from_value(poisoned).unwrap();
        live.apply(Ok(reboots(Event::Apply(poisoned))));
        assert_eq!(names(&live), ["a"]);
        assert!(
            live.objects().undecodable.reboots["b"]
                .cause
                .starts_with("status.host.bootTime")
        );
        live.apply(Ok(reboots(Event::Apply(Guarded(Ok(reboot("b", json!({}))))))));
        assert_eq!(names(&live), ["a", "b"]);
        assert!(live.objects().undecodable.reboots.is_empty());
    }
}
