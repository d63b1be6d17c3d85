//! Dry runs of evictions: they show what webhooks, admission policies and permissions would answer.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};

use futures::stream::{self, StreamExt};
use kube::Client;
use tokio::time::Instant;

use crate::answer::EvictionAnswer;
use crate::blocker::Blocker;
use crate::evict::{EvictionRequest, evict};
use crate::limits::{DRY_RUN_MAX_AGE, MAX_REQUESTS_PER_BUDGET};
use crate::pod::{PodName, Uid};

/// The answers to the dry runs for one node, for use by its next preflight.
#[derive(Clone, Debug, Default)]
pub struct DryRunCache {
    /// When dry runs were sent for all pods; `None` before the first time.
    filled_at: Option<Instant>,
    /// What blocks each pod; `None` if nothing does.
    pub(crate) by_pod: BTreeMap<Uid, Option<Blocker>>,
}

/// A pod whose dry run had no conclusive answer, and the error.
pub(crate) type UnansweredPod = (PodName, String);

impl DryRunCache {
    /// Sends dry runs for new pods and for a sample of the others. If a sample has changed, or the answers are too old,
    /// dry runs are sent for all pods.
    pub(crate) async fn refresh(&mut self, client: &Client, requests: Vec<EvictionRequest>) -> Option<UnansweredPod> {
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
        mut requests: Vec<EvictionRequest>,
    ) -> Option<UnansweredPod> {
        let mut namespaces = BTreeSet::new();
        requests.retain(|request| namespaces.insert(request.pod.namespace.clone()));
        self.send(client, requests).await.0
    }

    /// The pods without an answer and one pod of each namespace and kind of answer; and the rest.
    fn samples(&self, requests: Vec<EvictionRequest>) -> (Vec<EvictionRequest>, Vec<EvictionRequest>) {
        let mut kinds: BTreeSet<String> = BTreeSet::new();
        requests
            .into_iter()
            .partition(|request| match self.by_pod.get(&request.uid) {
                None => true,
                Some(known) => kinds.insert(format!("{} {:?}", request.pod.namespace, kind(known.as_ref()))),
            })
    }

    /// Sends a few dry runs at a time and keeps the answers. Returns whether all known answers are unchanged.
    async fn send(&mut self, client: &Client, requests: Vec<EvictionRequest>) -> (Option<UnansweredPod>, bool) {
        let answers = stream::iter(requests).map(|request| async move { (evict(client, &request).await, request) });
        let answers: Vec<_> = answers.buffer_unordered(MAX_REQUESTS_PER_BUDGET).collect().await;
        let (mut unanswered, mut unchanged) = (None::<UnansweredPod>, true);
        for (answer, request) in answers {
            match permanent_blocker(answer, &request.pod) {
                Ok(found) => {
                    let before = self.by_pod.get(&request.uid).map(|before| kind(before.as_ref()));
                    unchanged &= before.is_none_or(|before| before == kind(found.as_ref()));
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

fn kind(found: Option<&Blocker>) -> Option<Discriminant<Blocker>> {
    found.map(discriminant)
}

/// What waiting does not solve, if the answer shows it; an error if the answer is not conclusive.
fn permanent_blocker(answer: EvictionAnswer, pod: &PodName) -> Result<Option<Blocker>, String> {
    let pod = pod.clone();
    Ok(match answer {
        // The API server does not call webhooks that do not support dry runs, and answers so.
        EvictionAnswer::Refused { code: 400, message } if message.contains("dry run") => None,
        EvictionAnswer::Webhook { message, .. } if message.contains("failed calling webhook") => return Err(message),
        // With 429 a webhook says that it moves the pod itself; with 5xx that it fails.
        EvictionAnswer::Webhook { code, message } => {
            (code < 500 && code != 429).then_some(Blocker::Webhook { pod, message })
        }
        EvictionAnswer::Forbidden { message } => Some(Blocker::Forbidden { pod, message }),
        EvictionAnswer::Refused { code, message } => Some(Blocker::Refused { pod, code, message }),
        EvictionAnswer::TwoBudgets => Some(Blocker::TwoBudgets {
            pod,
            budgets: Vec::new(),
        }),
        EvictionAnswer::Granted
        | EvictionAnswer::Gone
        | EvictionAnswer::Budget { .. }
        | EvictionAnswer::NamespaceTerminating => None,
        EvictionAnswer::Busy { .. } => return Err("the API server has too many requests".to_owned()),
        EvictionAnswer::Unavailable { message, .. } => return Err(message),
    })
}
