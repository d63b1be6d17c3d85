//! Why a drain is not finished: one line for all pods with the same cause.

use std::fmt;

use chrono::{DateTime, Utc};
use lockkeeper_reasons::{ReasonName, WaitReason};

use crate::blocker::Blocker;
use crate::message::{PodList, message, message_without_pods};
use crate::pod::PodName;

/// How many causes are shown; more would bloat the status.
pub const MAX_CAUSES: usize = 5;
/// How many pods a cause names.
pub const MAX_PODS: usize = 3;

/// One cause, and its pods. `Display` is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The blocker of the first pod; its times hold for all pods together.
    pub blocker: Blocker,
    /// The first pods by name, at most [`MAX_PODS`]; empty if the cause concerns the whole drain.
    pub pods: Vec<PodName>,
    /// How many pods there are.
    pub count: usize,
}

impl Cause {
    /// The reason that status, Events and metrics name.
    pub fn reason(&self) -> ReasonName {
        self.blocker.reason()
    }

    /// The reason with this message, which may name further causes.
    pub fn wait_reason(&self, message: String) -> WaitReason {
        match &self.blocker {
            Blocker::Uncordoned { .. } => WaitReason::Uncordoned,
            Blocker::Undecodable { .. }
            | Blocker::Unmanaged { .. }
            | Blocker::EmptyDir { .. }
            | Blocker::OptedOut { .. }
            | Blocker::Rule { .. }
            | Blocker::TwoBudgets { .. }
            | Blocker::Forbidden { .. }
            | Blocker::Refused { .. }
            | Blocker::Webhook { .. }
            | Blocker::Budget { .. }
            | Blocker::NamespaceTerminating { .. }
            | Blocker::ApiUnavailable { .. } => WaitReason::EvictionBlocked { message },
            Blocker::Stuck { .. } => WaitReason::PodStuck { message },
            Blocker::Responder { .. } => WaitReason::ResponderActive {
                message,
                until: self.until(),
            },
            Blocker::MayComplete { .. } => WaitReason::PodRunning { message },
            Blocker::VolumesAttached { until, .. } => WaitReason::VolumesAttached {
                message,
                until: Some(*until),
            },
            Blocker::Terminating { until, .. } => WaitReason::PodTerminating {
                message,
                until: Some(*until),
            },
            Blocker::LoadBalancerDelay { from } => WaitReason::LoadBalancerDelay { from: *from },
        }
    }

    /// When time alone ends it, if that is known.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.blocker.until()
    }

    /// The pod, if the cause concerns exactly one.
    pub fn only_pod(&self) -> Option<&PodName> {
        match &self.pods[..] {
            [pod] if self.count == 1 => Some(pod),
            _ => None,
        }
    }

    /// The message without the names of its pods.
    pub fn message_without_pods(&self) -> String {
        message_without_pods(&self.blocker, &self.pod_list())
    }

    fn pod_list(&self) -> PodList {
        PodList::first_of(&self.pods, self.count)
    }

    fn new(blocker: Blocker) -> Self {
        let pods: Vec<PodName> = blocker.pod().cloned().into_iter().collect();
        Self {
            count: pods.len(),
            pods,
            blocker,
        }
    }

    fn add(&mut self, other: &Blocker) {
        if let Some(pod) = other.pod() {
            self.count += 1;
            if self.pods.len() < MAX_PODS {
                self.pods.push(pod.clone());
            }
        }
        // The last shutdown or opt-out to end counts, and the pod that has been stuck for longest.
        if let (Blocker::Terminating { until, grace, .. }, Blocker::Terminating { until: u, grace: g, .. }) =
            (&mut self.blocker, other)
            && u > until
        {
            (*until, *grace) = (*u, *g);
        } else if let (Blocker::Stuck { since, .. }, Blocker::Stuck { since: s, .. }) = (&mut self.blocker, other) {
            *since = (*since).min(*s);
        } else if let (Blocker::OptedOut { until, .. }, Blocker::OptedOut { until: u, .. }) = (&mut self.blocker, other)
        {
            *until = (*until).max(*u);
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message(&self.blocker, &self.pod_list()))
    }
}

/// Groups blockers with the same cause. Causes that need a person come first; pods are in the order of their names.
pub fn group_by_cause(mut blockers: Vec<Blocker>) -> Vec<Cause> {
    blockers.sort();
    let mut causes: Vec<Cause> = Vec::new();
    for blocker in blockers {
        match causes.iter_mut().find(|cause| cause.blocker.same_cause(&blocker)) {
            Some(cause) => cause.add(&blocker),
            None => causes.push(Cause::new(blocker)),
        }
    }
    causes
}
