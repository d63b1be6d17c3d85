//! What holds up a drain, one line for all pods with the same cause.

use std::fmt;

use chrono::{DateTime, Utc};
use lockkeeper_reasons::{ReasonName, WaitReason};

use crate::blocker::Blocker;
use crate::pod::PodName;
use crate::words::{self, Who};

/// How many causes are shown: more would be read by nobody and bloat the status.
pub const MAX_CAUSES: usize = 5;
/// How many pods a cause names.
pub const MAX_PODS: usize = 3;

/// One cause, and the pods that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The blocker of the first pod; times are the ones that count for all pods.
    pub blocker: Blocker,
    /// The first pods by name, at most [`MAX_PODS`]; none where the cause is about no pod.
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
            Blocker::Unmanaged { .. }
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
            Blocker::Running { .. } => WaitReason::PodRunning { message },
            Blocker::Volumes { until, .. } => WaitReason::VolumesAttached {
                message,
                until: Some(*until),
            },
            Blocker::Terminating { until, .. } => WaitReason::PodTerminating {
                message,
                until: Some(*until),
            },
            Blocker::Delayed { from } => WaitReason::LoadBalancerDelay { from: *from },
        }
    }

    /// Until when it holds, if time alone ends it.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.blocker.until()
    }

    fn new(blocker: Blocker) -> Self {
        let pods: Vec<PodName> = blocker.pod().cloned().into_iter().collect();
        Self {
            count: pods.len(),
            pods,
            blocker,
        }
    }

    fn add(&mut self, other: Blocker) {
        if let Some(pod) = other.pod() {
            self.count += 1;
            if self.pods.len() < MAX_PODS {
                self.pods.push(pod.clone());
            }
        }
        match (&mut self.blocker, other) {
            // All are gone when the last is; the longest stuck is the one to look at.
            (Blocker::Terminating { until, grace, .. }, Blocker::Terminating { until: u, grace: g, .. })
                if u > *until =>
            {
                (*until, *grace) = (u, g);
            }
            (Blocker::Stuck { since, .. }, Blocker::Stuck { since: s, .. }) if s < *since => *since = s,
            _ => {}
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::write(f, &self.blocker, &Who::first_of(&self.pods, self.count))
    }
}

/// Puts what has the same cause together: the worst first, pods by name, the same in every pass.
pub fn group(mut blockers: Vec<Blocker>) -> Vec<Cause> {
    blockers.sort();
    let mut causes: Vec<Cause> = Vec::new();
    for blocker in blockers {
        match causes.iter_mut().find(|cause| cause.blocker.same_cause(&blocker)) {
            Some(cause) => cause.add(blocker),
            None => causes.push(Cause::new(blocker)),
        }
    }
    causes
}
