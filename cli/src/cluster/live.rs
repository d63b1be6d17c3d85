//! The objects, kept up to date by watches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_kind};
use lockkeeper_crds::{NodeReboot, RebootLock};

use super::connect::{Cluster, ParsedPolicy};
use super::objects::Objects;

/// One event of one of the watches.
pub(crate) type Change = Result<WatchEvent, watcher::Error>;

#[derive(Debug)]
pub(crate) enum WatchEvent {
    Policy(Box<Event<ParsedPolicy>>),
    Reboot(Box<Event<NodeReboot>>),
    Lock(Box<Event<RebootLock>>),
}

/// A broken watch is retried within 30 s, so an older error is over.
const ERROR_EXPIRY: Duration = Duration::from_mins(1);

/// Watches all three kinds.
pub(crate) fn watch(cluster: &Cluster) -> BoxStream<'static, Change> {
    let config = watcher::Config::default;
    select_all([
        watch_kind(cluster.policies(), config())
            .default_backoff()
            .map_ok(|event| WatchEvent::Policy(Box::new(event)))
            .boxed(),
        watch_kind(cluster.reboots(), config())
            .default_backoff()
            .modify(slim)
            .map_ok(|event| WatchEvent::Reboot(Box::new(event)))
            .boxed(),
        watch_kind(cluster.locks(), config())
            .default_backoff()
            .map_ok(|event| WatchEvent::Lock(Box::new(event)))
            .boxed(),
    ])
    .boxed()
}

/// Managed fields are larger than the rest and unused here.
fn slim(reboot: &mut NodeReboot) {
    reboot.managed_fields_mut().clear();
}

/// The objects as the watches have reported them.
pub(crate) struct LiveObjects {
    objects: Objects,
    /// All policies, also those that cannot be decoded.
    parsed: BTreeMap<String, ParsedPolicy>,
    policies: Listing<ParsedPolicy>,
    reboots: Listing<NodeReboot>,
    locks: Listing<RebootLock>,
    error: Option<(Instant, String)>,
}

/// A list in progress; it replaces the objects once it is complete.
struct Listing<K> {
    partial: BTreeMap<String, K>,
}

impl LiveObjects {
    /// Starts from what was listed.
    pub(crate) fn new(objects: Objects) -> Self {
        Self {
            objects,
            parsed: BTreeMap::new(),
            policies: Listing::default(),
            reboots: Listing::default(),
            locks: Listing::default(),
            error: None,
        }
    }

    /// Applies one event.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Ok(WatchEvent::Policy(event)) => {
                let is_partial = matches!(*event, Event::Init | Event::InitApply(_));
                self.policies.apply(*event, &mut self.parsed);
                if !is_partial {
                    self.objects.set_policies(self.parsed.clone());
                }
            }
            Ok(WatchEvent::Reboot(event)) => self.reboots.apply(*event, &mut self.objects.reboots),
            Ok(WatchEvent::Lock(event)) => {
                let mut locks: BTreeMap<String, RebootLock> = self
                    .objects
                    .lock
                    .take()
                    .map(|lock| (lock.name_any(), lock))
                    .into_iter()
                    .collect();
                self.locks.apply(*event, &mut locks);
                self.objects.lock = locks.into_values().next();
            }
            Err(error) => self.error = Some((Instant::now(), error.to_string().replace('\n', " "))),
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

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self {
            partial: BTreeMap::new(),
        }
    }
}

impl<K: ResourceExt> Listing<K> {
    fn apply(&mut self, event: Event<K>, objects: &mut BTreeMap<String, K>) {
        match event {
            Event::Init => self.partial.clear(),
            Event::InitApply(object) => {
                self.partial.insert(object.name_any(), object);
            }
            Event::InitDone => *objects = std::mem::take(&mut self.partial),
            Event::Apply(object) => {
                objects.insert(object.name_any(), object);
            }
            Event::Delete(object) => {
                objects.remove(&object.name_any());
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

    fn reboots(event: Event<NodeReboot>) -> WatchEvent {
        WatchEvent::Reboot(Box::new(event))
    }

    fn policy(value: serde_json::Value) -> ParsedPolicy {
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
            let odd: Vec<String> = objects.undecodable.keys().cloned().collect();
            (good, odd)
        };
        assert_eq!(names(&live), (vec!["good".to_owned()], vec!["odd".to_owned()]));
        assert!(live.objects().undecodable["odd"].contains("perhaps"));
        live.apply(Ok(WatchEvent::Policy(Box::new(Event::Delete(policy(odd))))));
        assert_eq!(names(&live), (vec!["good".to_owned()], vec![]));
    }

    #[test]
    fn a_repeated_list_removes_deleted_objects_once_it_is_complete() {
        let mut live = LiveObjects::new(objects(vec![], vec![reboot("a", json!({})), reboot("b", json!({}))]));
        assert_eq!(names(&live), ["a", "b"]);
        live.apply(Ok(reboots(Event::Init)));
        live.apply(Ok(reboots(Event::InitApply(reboot("b", json!({}))))));
        assert_eq!(names(&live), ["a", "b"]);
        live.apply(Ok(reboots(Event::InitDone)));
        assert_eq!(names(&live), ["b"]);
        live.apply(Ok(reboots(Event::Delete(reboot("b", json!({}))))));
        assert_eq!(names(&live), Vec::<&str>::new());
    }
}
