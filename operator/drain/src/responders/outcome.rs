//! What follows from the requests and evictions of a namespace: whether a pod still waits for its responders.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::DEFAULT_RESPONDER;
use super::object::{ActiveResponder, ObservedEviction};
use super::watch::{Change, Kind, ResponderEvent};
use crate::blocker::Blocker;
use crate::evict::EvictionMethod;
use crate::limits::{ASK_AGAIN, RESPONDERS_TIMEOUT};
use crate::pod::{Controller, PodName, PodView, Uid};
use crate::state::{Attempt, State, TrackedPod};

/// What the watches show of one namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceResponders {
    requests: Objects,
    evictions: Objects,
}

/// The objects of one kind, by their names.
#[derive(Debug, Default)]
struct Objects {
    known: BTreeMap<String, ObservedEviction>,
    /// Those of a list that is not complete yet.
    listing: BTreeMap<String, ObservedEviction>,
    /// Why the watch fails, if it does.
    failure: Option<String>,
}

impl Objects {
    /// Applies a change. Returns the pods whose object is gone.
    fn apply(&mut self, change: Change) -> BTreeSet<Uid> {
        // A list that starts may fail as well.
        if !matches!(change, Change::ListStarts) {
            self.failure = None;
        }
        match change {
            Change::ListStarts => self.listing.clear(),
            Change::Listed(name, object) => drop(object.map(|object| self.listing.insert(name, object))),
            Change::ListComplete => {
                let before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listing));
                let gone = before.into_iter().filter(|(name, _)| !self.known.contains_key(name));
                return gone.map(|(_, object)| object.pod).collect();
            }
            Change::Applied(name, Some(object)) => drop(self.known.insert(name, object)),
            Change::Applied(name, None) => drop(self.known.remove(&name)),
            Change::Deleted(name) => return self.known.remove(&name).map(|object| object.pod).into_iter().collect(),
            Change::Failed(message) => self.failure = Some(message),
        }
        BTreeSet::new()
    }

    /// The object for a pod. Of several, one that has not failed.
    fn of_pod(&self, uid: &Uid) -> Option<&ObservedEviction> {
        let objects = self.known.values().filter(|object| object.pod == *uid);
        objects.min_by_key(|object| object.has_failed)
    }
}

impl State {
    /// Whether the responders of a pod are asked, instead of its eviction.
    pub(crate) fn asks_responders(&self, pod: &TrackedPod) -> bool {
        self.settings.eviction_requests && pod.view.may_be_asked() && !pod.responders_ended
    }

    /// The namespaces of pods whose responders have been asked.
    pub(crate) fn namespaces_asked(&self) -> BTreeSet<String> {
        let pods = self.pods.iter().flatten().map(|(_, pod)| pod);
        pods.filter(|pod| matches!(pod.attempt, Attempt::Asked { .. }))
            .map(|pod| pod.view.name.namespace.clone())
            .collect()
    }

    /// A watch shows a request or an eviction. Responders whose request is gone are asked again, after a while: a person may
    /// have deleted it on purpose, and does not win a race.
    pub(crate) fn responders_changed(&mut self, now: DateTime<Utc>, event: ResponderEvent) {
        let namespace = self.responders.entry(event.namespace).or_default();
        let objects = match event.kind {
            Kind::Requests => &mut namespace.requests,
            Kind::Evictions => &mut namespace.evictions,
        };
        let gone = objects.apply(event.change);
        for uid in gone.iter().filter(|_| event.kind == Kind::Requests) {
            let pod = self.pods.as_mut().and_then(|pods| pods.get_mut(uid));
            if let Some(pod) = pod.filter(|pod| matches!(pod.attempt, Attempt::Asked { .. })) {
                pod.attempt = Attempt::Later {
                    at: now + ASK_AGAIN,
                    blocker: None,
                    retry_on_budget_change: false,
                };
            }
        }
    }

    /// Evicts each pod from now on whose responders have ended without its eviction, or do not answer.
    pub(crate) fn end_requests(&mut self, now: DateTime<Utc>) {
        let ended: Vec<Uid> = self
            .asked()
            .filter(|(uid, pod, at)| self.has_ended(now, uid, pod, *at))
            .map(|(uid, ..)| uid.clone())
            .collect();
        for uid in ended {
            self.evict_plainly(&uid);
        }
    }

    /// Asks the responders of a pod no more.
    pub(crate) fn evict_plainly(&mut self, uid: &Uid) {
        if let Some(pod) = self.pods.as_mut().and_then(|pods| pods.get_mut(uid)) {
            (pod.responders_ended, pod.requested, pod.attempt) = (true, false, Attempt::Open);
        }
    }

    /// The pods whose responders have been asked, with the time.
    fn asked(&self) -> impl Iterator<Item = (&Uid, &TrackedPod, DateTime<Utc>)> {
        self.pods.iter().flatten().filter_map(|(uid, pod)| match pod.attempt {
            Attempt::Asked { at } if self.method(pod) == Some(EvictionMethod::AskResponders) => Some((uid, pod, at)),
            Attempt::Asked { .. } | Attempt::Open | Attempt::Granted { .. } | Attempt::Later { .. } => None,
        })
    }

    fn has_ended(&self, now: DateTime<Utc>, uid: &Uid, pod: &TrackedPod, asked: DateTime<Utc>) -> bool {
        let Some(responders) = self.responders.get(&pod.view.name.namespace) else {
            return false;
        };
        let active = responders.active(uid);
        let default_is_active = active.is_some_and(|active| active.name == DEFAULT_RESPONDER);
        let request = responders.requests.of_pod(uid);
        let has_failed = request.is_some_and(|request| request.has_failed);
        // Only a request that the watch shows is known to have no answer: a watch that fails shows nothing.
        let is_late = request.is_some() && now >= asked + RESPONDERS_TIMEOUT && !responders.have_answered(uid);
        has_failed || default_is_active || is_late
    }

    /// When the responders of a pod count as not answering; `None` if they have answered.
    pub(crate) fn responders_due(&self, uid: &Uid, pod: &TrackedPod, asked: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let responders = self.responders.get(&pod.view.name.namespace);
        let have_answered = responders.is_some_and(|responders| responders.have_answered(uid));
        (!have_answered).then(|| asked + RESPONDERS_TIMEOUT)
    }

    /// What a pod waits for whose responders have been asked.
    pub(crate) fn responder_blocker(&self, uid: &Uid, pod: PodName, asked: DateTime<Utc>) -> Blocker {
        let responders = self.responders.get(&pod.namespace);
        Blocker::Responder {
            active: responders.and_then(|responders| responders.active(uid)).cloned(),
            asked,
            failure: responders.and_then(NamespaceResponders::failure),
            pod,
        }
    }
}

impl NamespaceResponders {
    /// The responder that works on the eviction of a pod.
    fn active(&self, uid: &Uid) -> Option<&ActiveResponder> {
        self.evictions.of_pod(uid).and_then(|eviction| eviction.active.as_ref())
    }

    /// Whether a controller has taken the request for a pod up.
    fn have_answered(&self, uid: &Uid) -> bool {
        self.requests.of_pod(uid).is_some_and(|request| request.is_observed) || self.active(uid).is_some()
    }

    /// Why a watch fails, so that the progress may be out of date.
    fn failure(&self) -> Option<String> {
        self.requests.failure.clone().or_else(|| self.evictions.failure.clone())
    }
}

impl PodView {
    /// Whether it has responders that can be asked. The API does not support pods of a `DaemonSet`.
    fn may_be_asked(&self) -> bool {
        self.has_responders && self.controller != Controller::DaemonSet
    }
}
