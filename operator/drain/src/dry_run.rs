//! Dry runs of evictions: they show what webhooks, admission policies and permissions would answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::mem::discriminant;

use futures::stream::{self, StreamExt};
use kube::Client;
use tokio::time::Instant;

use crate::answer::EvictionAnswer;
use crate::blocker::Blocker;
use crate::evict::{RemovalRequest, evict};
use crate::limits::{DRY_RUN_MAX_AGE, MAX_REQUESTS_PER_BUDGET};
use crate::pod::{PodName, Uid};

/// The answers to the dry runs for one node, for use by its next preflight.
#[derive(Clone, Debug, Default)]
pub struct DryRunCache {
    /// When dry runs were sent for all pods; `None` before the first time.
    filled_at: Option<Instant>,
    /// What the dry run for each pod showed.
    pub(crate) by_pod: BTreeMap<Uid, DryRunResult>,
}

/// What a conclusive answer to a dry run shows.
#[derive(Clone, Debug)]
pub(crate) enum DryRunResult {
    /// Nothing is in the way.
    Clear,
    /// A webhook refuses for now: the request may be what makes it move the pod.
    Doubt(Blocker),
    /// Waiting does not help.
    Blocked(Blocker),
}

/// A pod whose dry run had no conclusive answer, and the error.
pub(crate) type UnansweredPod = (PodName, String);

impl DryRunCache {
    /// Sends dry runs for new pods and for a sample of the others. If a sample has changed, or the answers are too old,
    /// dry runs are sent for all pods.
    pub(crate) async fn refresh(&mut self, client: &Client, requests: Vec<RemovalRequest>) -> Option<UnansweredPod> {
        let now = Instant::now();
        if self.filled_at.is_none_or(|at| now >= at + DRY_RUN_MAX_AGE) {
            self.filled_at = Some(now);
            self.by_pod.clear();
        }
        let present: BTreeSet<Uid> = requests.iter().map(|request| request.uid.clone()).collect();
        self.by_pod.retain(|uid, _| present.contains(uid));
        let (samples, rest) = self.samples(requests);
        let (unanswered, unchanged) = self.send(client, samples).await;
        if unanswered.is_some() || unchanged {
            return unanswered;
        }
        self.send(client, rest).await.0
    }

    /// Sends a dry run for one pod of each namespace.
    pub(crate) async fn sample_namespaces(
        &mut self,
        client: &Client,
        mut requests: Vec<RemovalRequest>,
    ) -> Option<UnansweredPod> {
        let mut namespaces = BTreeSet::new();
        requests.retain(|request| namespaces.insert(request.pod.namespace.clone()));
        self.send(client, requests).await.0
    }

    /// The pods without an answer and one pod of each namespace and kind of answer; and the rest.
    fn samples(&self, requests: Vec<RemovalRequest>) -> (Vec<RemovalRequest>, Vec<RemovalRequest>) {
        let mut kinds: BTreeSet<String> = BTreeSet::new();
        requests
            .into_iter()
            .partition(|request| match self.by_pod.get(&request.uid) {
                None => true,
                Some(known) => kinds.insert(format!("{} {:?}", request.pod.namespace, known.kind())),
            })
    }

    /// Sends a few dry runs at a time and keeps the answers. Returns whether all known answers are unchanged.
    async fn send(&mut self, client: &Client, requests: Vec<RemovalRequest>) -> (Option<UnansweredPod>, bool) {
        let answers = stream::iter(requests).map(|request| async move { (evict(client, &request).await, request) });
        let answers: Vec<_> = answers.buffer_unordered(MAX_REQUESTS_PER_BUDGET).collect().await;
        let (mut unanswered, mut unchanged) = (None::<UnansweredPod>, true);
        for (answer, request) in answers {
            match dry_run_result(answer, &request.pod) {
                Ok(found) => {
                    let before = self.by_pod.get(&request.uid).map(DryRunResult::kind);
                    unchanged &= before.is_none_or(|before| before == found.kind());
                    self.by_pod.insert(request.uid, found);
                }
                // The first pod by name, so that status and log stay the same from time to time.
                Err(message) => {
                    let first = unanswered.as_ref().is_none_or(|(pod, _)| request.pod < *pod);
                    unanswered = if first {
                        Some((request.pod, message))
                    } else {
                        unanswered
                    };
                }
            }
        }
        (unanswered, unchanged)
    }
}

impl DryRunResult {
    /// What two results with the same cause have in common, whatever the messages are.
    fn kind(&self) -> impl Eq + Debug + use<> {
        let blocker = match self {
            Self::Clear => None,
            Self::Doubt(blocker) | Self::Blocked(blocker) => Some(discriminant(blocker)),
        };
        (discriminant(self), blocker)
    }
}

/// What the answer shows; an error if it is not conclusive.
fn dry_run_result(answer: EvictionAnswer, pod: &PodName) -> Result<DryRunResult, String> {
    let pod = pod.clone();
    Ok(DryRunResult::Blocked(match answer {
        // The API server does not call webhooks that do not support dry runs, and answers so.
        EvictionAnswer::Refused { code: 400, message } | EvictionAnswer::Webhook { code: 400, message }
            if message.contains("does not support dry run") =>
        {
            return Ok(DryRunResult::Clear);
        }
        EvictionAnswer::Webhook { message, .. } if message.contains("failed calling webhook") => return Err(message),
        // With 429 a webhook says that it moves the pod itself; with 5xx that it fails.
        EvictionAnswer::Webhook {
            code: code @ (429 | 500..),
            message,
        } => {
            let message =
                format!("{message} ({code}: the drain requests the eviction again until the webhook allows it)");
            return Ok(DryRunResult::Doubt(Blocker::Webhook { pod, message }));
        }
        EvictionAnswer::Webhook { message, .. } => Blocker::Webhook { pod, message },
        EvictionAnswer::Forbidden { message } => Blocker::Forbidden { pod, message },
        EvictionAnswer::Refused { code, message } => Blocker::Refused { pod, code, message },
        EvictionAnswer::TwoBudgets => Blocker::TwoBudgets {
            pod,
            budgets: Vec::new(),
        },
        EvictionAnswer::Granted
        | EvictionAnswer::RespondersAsked
        | EvictionAnswer::RespondersNotServed
        | EvictionAnswer::Gone
        | EvictionAnswer::Budget { .. }
        | EvictionAnswer::NamespaceTerminating => return Ok(DryRunResult::Clear),
        EvictionAnswer::Busy { .. } => return Err("the API server has too many requests".to_owned()),
        EvictionAnswer::Unavailable { message, .. } => return Err(message),
    }))
}
