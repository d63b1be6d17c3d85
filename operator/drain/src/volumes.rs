//! Which volumes of pods that left are still attached to the node.
//!
//! Nothing is remembered: what is attached once the pods are gone, less what the pods that stay use, is what the pods
//! that left have used.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::limits::FROM_THE_START;
use crate::pod::PodName;
use crate::select::runs_on;
use crate::state::State;

/// What is known of the volumes.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// The node's attachments by name, each with its volume, as the watch shows them; none before the first list.
    pub(crate) attached: Option<BTreeMap<String, String>>,
    /// The volumes behind claims of pods that stay, as far as they have been looked up.
    pub(crate) claims: BTreeMap<PodName, Claimed>,
    /// Since when no pod is left.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// What is behind a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// The volume; none if the claim is not bound.
    pub(crate) volume: Option<String>,
    /// What a node's status calls it; none if it is of no kind that is attached.
    pub(crate) handle: Option<String>,
}

/// Whether volumes keep the drain from its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detach {
    /// No.
    Clear,
    /// It has to be looked for what is attached.
    Look,
    /// These are still attached, and waited for until then.
    Wait(Vec<String>, DateTime<Utc>),
    /// These are still attached and waited for no longer.
    Over(Vec<String>),
}

impl State {
    /// Whether volumes keep the drain from its end, once no pod does.
    pub(crate) fn detach(&self, now: DateTime<Utc>) -> Detach {
        let wait = TimeDelta::from_std(self.settings.wait_for_volume_detach).unwrap_or(TimeDelta::MAX);
        let until = self.volumes.since.and_then(|since| since.checked_add_signed(wait));
        // A kubelet that does not answer detaches nothing.
        let ready = self.node.as_ref().is_some_and(|node| node.not_ready.is_none());
        if wait.is_zero() || !ready || !self.may_have_volumes() {
            return Detach::Clear;
        }
        let over = until.is_some_and(|until| until <= now);
        match (self.still_attached(), until) {
            (Some(names), _) if names.is_empty() => Detach::Clear,
            (Some(names), _) if over => Detach::Over(names),
            (Some(names), Some(until)) => Detach::Wait(names, until),
            (None, _) if over => Detach::Over(vec!["(those could not be read)".to_owned()]),
            (Some(_) | None, _) => Detach::Look,
        }
    }

    /// Claims of pods that stay and have not been looked up.
    pub(crate) fn claims_unknown(&self) -> BTreeSet<PodName> {
        let known = |claim: &PodName| self.volumes.claims.contains_key(claim);
        self.claims_that_stay().filter(|claim| !known(claim)).collect()
    }

    /// Notes when the last pod has left, or that there are some again.
    pub(crate) fn note_emptiness(&mut self, now: DateTime<Utc>) {
        self.volumes.since = match self.left() {
            Some(0) => self.volumes.since.or(Some(now)),
            Some(_) | None => None,
        };
    }

    /// An attachment that ends is taken off the node's status before it is gone, so an empty status alone is no proof:
    /// it has to have been empty all along, and no pod that used a claim may have left before we looked.
    fn may_have_volumes(&self) -> bool {
        let listed = self.node.as_ref().is_some_and(|node| !node.volumes.is_empty());
        listed || self.seen.values().any(|mover| mover.claims) || !self.from_the_start
    }

    /// Volumes of pods that left; none where it is not known.
    fn still_attached(&self) -> Option<Vec<String>> {
        let attached = self.volumes.attached.as_ref()?;
        if !self.claims_unknown().is_empty() {
            return None;
        }
        let stay: Vec<&Claimed> = self
            .claims_that_stay()
            .filter_map(|claim| self.volumes.claims.get(&claim))
            .collect();
        let volumes: BTreeSet<&String> = stay.iter().filter_map(|claimed| claimed.volume.as_ref()).collect();
        let handles: BTreeSet<&String> = stay.iter().filter_map(|claimed| claimed.handle.as_ref()).collect();
        let mut names: Vec<String> = attached
            .values()
            .filter(|volume| !volumes.contains(volume))
            .cloned()
            .collect();
        if names.is_empty() {
            // Attached without an object that says so: by a driver of old, or its volume was deleted.
            let listed = self.node.iter().flat_map(|node| &node.volumes);
            names.extend(listed.filter(|volume| !handles.contains(volume)).cloned());
        }
        names.sort();
        names.dedup();
        Some(names)
    }

    fn claims_that_stay(&self) -> impl Iterator<Item = PodName> {
        let stay = self.pods.iter().flatten().filter(|(_, pod)| runs_on(&pod.decision));
        stay.flat_map(|(_, pod)| {
            let namespace = &pod.view.name.namespace;
            pod.view.claims.iter().map(move |claim| PodName::new(namespace, claim))
        })
    }

    /// Remembers whether we saw the node's pods soon enough after the cordon to have seen all that had to leave.
    pub(crate) fn note_first_list(&mut self, now: DateTime<Utc>) {
        if self.pods.is_none() {
            self.from_the_start = now <= self.settings.cordoned_at + FROM_THE_START;
        }
    }
}

/// The parts of a `VolumeAttachment` that are decoded.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = k8s_openapi::api::storage::v1::VolumeAttachment)]
pub(crate) struct SlimAttachment {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    node_name: String,
    source: SlimSource,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSource {
    persistent_volume_name: Option<String>,
}

impl SlimAttachment {
    /// The attachment's name and its volume, if it is to this node.
    pub(crate) fn to(self, node: &str) -> Option<(String, String)> {
        let name = self.metadata.name?;
        let volume = self.spec.source.persistent_volume_name;
        (self.spec.node_name == node).then(|| (name.clone(), volume.unwrap_or(name)))
    }
}
