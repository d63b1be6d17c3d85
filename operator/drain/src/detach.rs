//! Whether volumes of evicted pods are still attached to the node.
//!
//! This is not remembered: the volumes that are attached once all pods have left, without those that remaining pods
//! use, are the volumes of evicted pods.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::in_tree::StatusName;
use crate::limits::FRESH_CORDON;
use crate::pod::PodName;
use crate::select::keeps_running;
use crate::state::{State, TrackedPod};
use crate::volumes::ClaimedVolume;

/// Whether attached volumes delay the end of the drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DetachState {
    /// They do not.
    Detached,
    /// The attachments or claims must be read first.
    Unknown,
    /// These are still attached, and the drain waits for them until then.
    Attached(Vec<String>, DateTime<Utc>),
    /// These are still attached, and the drain does not wait any longer.
    TimedOut(Vec<String>),
}

impl State {
    /// Whether attached volumes delay the end of the drain, once all pods have left.
    pub(crate) fn detach_state(&self, now: DateTime<Utc>) -> DetachState {
        let wait = TimeDelta::from_std(self.settings.wait_for_volume_detach).unwrap_or(TimeDelta::MAX);
        let left_at = self.volumes.last_pod_left_at;
        let until = left_at.and_then(|at| at.checked_add_signed(wait));
        // A kubelet that does not respond detaches nothing.
        let ready = self.node.as_ref().is_some_and(|node| node.not_ready.is_none());
        if wait.is_zero() || !ready || !self.may_have_volumes() {
            return DetachState::Detached;
        }
        let timed_out = until.is_some_and(|until| until <= now);
        match (self.still_attached(), until) {
            (Some(names), _) if names.is_empty() => DetachState::Detached,
            (Some(names), _) if timed_out => DetachState::TimedOut(names),
            (Some(names), Some(until)) => DetachState::Attached(names, until),
            (None, _) if timed_out => DetachState::TimedOut(vec!["(could not be read)".to_owned()]),
            (Some(_) | None, _) => DetachState::Unknown,
        }
    }

    /// Claims of remaining pods that have not been read.
    pub(crate) fn claims_unknown(&self) -> BTreeSet<PodName> {
        let known = |claim: &PodName| self.volumes.claims.contains_key(claim);
        self.claims_of_remaining_pods().filter(|claim| !known(claim)).collect()
    }

    /// Records when the last pod left, or that a pod holds the node again.
    pub(crate) fn note_last_pod(&mut self, now: DateTime<Utc>) {
        self.volumes.last_pod_left_at = match self.remaining() {
            Some(0) => self.volumes.last_pod_left_at.or(Some(now)),
            Some(_) | None => None,
        };
    }

    /// Records whether the first list is young enough to show every pod that has to leave.
    pub(crate) fn note_first_list(&mut self, now: DateTime<Utc>) {
        if self.pods.is_none() {
            self.saw_every_pod = now <= self.settings.cordoned_at + FRESH_CORDON;
        }
    }

    /// An ending attachment is removed from the node's status before it is gone, so an empty status alone proves
    /// nothing: no pod with a claim may have left either, and none may have left before the drain saw it.
    fn may_have_volumes(&self) -> bool {
        let listed = self.node.as_ref().is_some_and(|node| !node.volumes.is_empty());
        listed || self.pods_to_move.values().any(|pod| pod.claims) || !self.saw_every_pod
    }

    /// Attached volumes of evicted pods; `None` if they are not known.
    fn still_attached(&self) -> Option<Vec<String>> {
        let attached = self.volumes.attached.as_ref()?;
        if !self.claims_unknown().is_empty() {
            return None;
        }
        let in_use: Vec<&ClaimedVolume> = self
            .claims_of_remaining_pods()
            .filter_map(|claim| self.volumes.claims.get(&claim))
            .collect();
        let volumes: BTreeSet<&String> = in_use.iter().filter_map(|claimed| claimed.volume.as_ref()).collect();
        let inline = self.remaining_pods().flat_map(|pod| &pod.view.inline_volumes);
        let in_use: Vec<&StatusName> = in_use
            .iter()
            .flat_map(|claimed| &claimed.status_names)
            .chain(inline)
            .collect();
        let used = |name: &String| in_use.iter().any(|known| known.matches(name));
        let mut names: Vec<String> = attached
            .values()
            .filter(|volume| !volumes.contains(volume) && !used(volume))
            .cloned()
            .collect();
        if names.is_empty() {
            // Attached without a VolumeAttachment: by an in-tree driver, or the object was deleted.
            let listed = self.node.iter().flat_map(|node| &node.volumes);
            names.extend(listed.filter(|volume| !used(volume)).cloned());
        }
        names.sort();
        names.dedup();
        Some(names)
    }

    fn remaining_pods(&self) -> impl Iterator<Item = &TrackedPod> {
        let pods = self.pods.iter().flatten().map(|(_, pod)| pod);
        pods.filter(|pod| keeps_running(&pod.decision))
    }

    fn claims_of_remaining_pods(&self) -> impl Iterator<Item = PodName> {
        self.remaining_pods().flat_map(|pod| {
            let namespace = &pod.view.name.namespace;
            pod.view.claims.iter().map(move |claim| PodName::new(namespace, claim))
        })
    }
}
