//! The objects, kept up to date by watches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_kind};
use lockkeeper_crds::{NodeReboot, RebootLock};

use crate::connect::Cluster;
use crate::objects::{Guarded, Objects};

/// One event of one of the watches.
pub(super) type Change = Result<Seen, watcher::Error>;

#[derive(Debug)]
pub(super) enum Seen {
    Policy(Box<Event<Guarded>>),
    Reboot(Box<Event<NodeReboot>>),
    Lock(Box<Event<RebootLock>>),
}

/// A broken watch is tried again within 30 s, so an error older than this one is over.
const ERROR_LASTS: Duration = Duration::from_mins(1);

/// All three kinds, watched.
pub(super) fn watch(cluster: &Cluster) -> BoxStream<'static, Change> {
    let config = watcher::Config::default;
    select_all([
        watch_kind(cluster.guarded_policies(), config())
            .default_backoff()
            .map_ok(|event| Seen::Policy(Box::new(event)))
            .boxed(),
        watch_kind(cluster.reboots(), config())
            .default_backoff()
            .modify(slim)
            .map_ok(|event| Seen::Reboot(Box::new(event)))
            .boxed(),
        watch_kind(cluster.locks(), config())
            .default_backoff()
            .map_ok(|event| Seen::Lock(Box::new(event)))
            .boxed(),
    ])
    .boxed()
}

/// The records of who owns which field are larger than the rest, and nobody here reads them.
fn slim(reboot: &mut NodeReboot) {
    reboot.managed_fields_mut().clear();
}

/// What the watches have said so far.
pub(super) struct Follower {
    objects: Objects,
    /// All policies as they came, those that cannot be decoded too.
    guarded: BTreeMap<String, Guarded>,
    policies: Listing<Guarded>,
    reboots: Listing<NodeReboot>,
    locks: Listing<RebootLock>,
    error: Option<(Instant, String)>,
}

/// A list that is coming in, which replaces the objects once it is whole.
struct Listing<K> {
    coming: BTreeMap<String, K>,
}

impl Follower {
    /// Starts from what was listed.
    pub(super) fn new(objects: Objects) -> Self {
        Self {
            objects,
            guarded: BTreeMap::new(),
            policies: Listing::default(),
            reboots: Listing::default(),
            locks: Listing::default(),
            error: None,
        }
    }

    pub(super) fn take(&mut self, change: Change) {
        match change {
            Ok(Seen::Policy(event)) => {
                let half_in = matches!(*event, Event::Init | Event::InitApply(_));
                self.policies.take(*event, &mut self.guarded);
                if !half_in {
                    self.objects.set_policies(self.guarded.clone());
                }
            }
            Ok(Seen::Reboot(event)) => self.reboots.take(*event, &mut self.objects.reboots),
            Ok(Seen::Lock(event)) => {
                let mut locks: BTreeMap<String, RebootLock> = self
                    .objects
                    .lock
                    .take()
                    .map(|lock| (lock.name_any(), lock))
                    .into_iter()
                    .collect();
                self.locks.take(*event, &mut locks);
                self.objects.lock = locks.into_values().next();
            }
            Err(error) => self.error = Some((Instant::now(), error.to_string().replace('\n', " "))),
        }
    }

    /// The objects; what a list that is half in says is not among them yet.
    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// What went wrong lately, if anything.
    pub(super) fn notice(&self) -> Option<String> {
        let (when, error) = self.error.as_ref()?;
        (when.elapsed() < ERROR_LASTS).then(|| format!("the API server does not answer, this may be old: {error}"))
    }
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self {
            coming: BTreeMap::new(),
        }
    }
}

impl<K: ResourceExt> Listing<K> {
    fn take(&mut self, event: Event<K>, objects: &mut BTreeMap<String, K>) {
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => {
                self.coming.insert(object.name_any(), object);
            }
            Event::InitDone => *objects = std::mem::take(&mut self.coming),
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

    fn names(follower: &Follower) -> Vec<&str> {
        follower.objects().reboots.keys().map(String::as_str).collect()
    }

    fn reboots(event: Event<NodeReboot>) -> Seen {
        Seen::Reboot(Box::new(event))
    }

    fn policy(value: serde_json::Value) -> Guarded {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_policy_that_cannot_be_decoded_hides_no_other() {
        let mut follower = Follower::new(objects(vec![], vec![]));
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
            follower.take(Ok(Seen::Policy(Box::new(event))));
        }
        let names = |follower: &Follower| {
            let objects = follower.objects();
            let good: Vec<String> = objects.policies.keys().cloned().collect();
            let odd: Vec<String> = objects.undecodable.keys().cloned().collect();
            (good, odd)
        };
        assert_eq!(names(&follower), (vec!["good".to_owned()], vec!["odd".to_owned()]));
        assert!(follower.objects().undecodable["odd"].contains("perhaps"));
        follower.take(Ok(Seen::Policy(Box::new(Event::Delete(policy(odd))))));
        assert_eq!(names(&follower), (vec!["good".to_owned()], vec![]));
    }

    #[test]
    fn a_list_that_comes_again_forgets_what_is_gone_once_it_is_whole() {
        let mut follower = Follower::new(objects(vec![], vec![reboot("a", json!({})), reboot("b", json!({}))]));
        assert_eq!(names(&follower), ["a", "b"]);
        follower.take(Ok(reboots(Event::Init)));
        follower.take(Ok(reboots(Event::InitApply(reboot("b", json!({}))))));
        assert_eq!(names(&follower), ["a", "b"]);
        follower.take(Ok(reboots(Event::InitDone)));
        assert_eq!(names(&follower), ["b"]);
        follower.take(Ok(reboots(Event::Delete(reboot("b", json!({}))))));
        assert_eq!(names(&follower), Vec::<&str>::new());
    }
}
