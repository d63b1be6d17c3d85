//! Dry runs of evictions: what webhooks, admission policies and permissions would say, which no list shows.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};

use futures::stream::{self, StreamExt};
use kube::Client;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::blocker::Blocker;
use crate::evict::{Ask, evict};
use crate::limits::{ALL_ASKED_AGAIN, AT_ONCE_PER_BUDGET};
use crate::pod::{PodName, Uid};

/// What the dry runs of one node's pods were answered, for use by the next preflight of that node.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// When all were asked; none before the first time.
    since: Option<Instant>,
    /// What is in a pod's way; none if nothing is.
    pub(crate) by_pod: BTreeMap<Uid, Option<Blocker>>,
}

/// A pod of which nobody could say whether it may be evicted, and what went wrong.
pub(crate) type Unanswered = (PodName, String);

impl Answers {
    /// Asks for the pods that were not asked yet, and checks by samples that the older answers still hold; all are asked
    /// again where one does not, and when the answers are too old.
    pub(crate) async fn renew(&mut self, client: &Client, asks: Vec<Ask>) -> Option<Unanswered> {
        let now = Instant::now();
        if self.since.is_none_or(|since| now >= since + ALL_ASKED_AGAIN) {
            self.since = Some(now);
            self.by_pod.clear();
        }
        let here: BTreeSet<Uid> = asks.iter().map(|ask| ask.uid.clone()).collect();
        self.by_pod.retain(|uid, _| here.contains(uid));
        let (now, rest) = self.samples(asks);
        let (unanswered, same) = self.ask(client, now).await;
        if unanswered.is_some() || same {
            return unanswered;
        }
        self.ask(client, rest).await.0
    }

    /// One pod for each namespace.
    pub(crate) async fn glance(&mut self, client: &Client, mut asks: Vec<Ask>) -> Option<Unanswered> {
        let mut namespaces = BTreeSet::new();
        asks.retain(|ask| namespaces.insert(ask.pod.namespace.clone()));
        self.ask(client, asks).await.0
    }

    /// Those whose answer is not known, with one of each namespace and kind of answer; and the rest.
    fn samples(&self, asks: Vec<Ask>) -> (Vec<Ask>, Vec<Ask>) {
        let mut kinds: BTreeSet<String> = BTreeSet::new();
        asks.into_iter().partition(|ask| match self.by_pod.get(&ask.uid) {
            None => true,
            Some(known) => kinds.insert(format!("{} {:?}", ask.pod.namespace, kind(known.as_ref()))),
        })
    }

    /// Asks a few at a time and keeps the answers; whether those that were known before are still the same.
    async fn ask(&mut self, client: &Client, asks: Vec<Ask>) -> (Option<Unanswered>, bool) {
        let answers = stream::iter(asks).map(|ask| async move { (evict(client, &ask).await, ask) });
        let answers: Vec<_> = answers.buffer_unordered(AT_ONCE_PER_BUDGET).collect().await;
        let (mut unanswered, mut same) = (None::<Unanswered>, true);
        for (answer, ask) in answers {
            match meaning(answer, &ask.pod) {
                Ok(found) => {
                    let before = self.by_pod.get(&ask.uid).map(|before| kind(before.as_ref()));
                    same &= before.is_none_or(|before| before == kind(found.as_ref()));
                    self.by_pod.insert(ask.uid, found);
                }
                // Always the same one of several, so that status and log do not change from time to time.
                Err(words) => {
                    let first = unanswered.as_ref().is_none_or(|(pod, _)| ask.pod < *pod);
                    unanswered = if first { Some((ask.pod, words)) } else { unanswered };
                }
            }
        }
        (unanswered, same)
    }
}

fn kind(found: Option<&Blocker>) -> Option<Discriminant<Blocker>> {
    found.map(discriminant)
}

/// What in an answer waiting does not change; an error where there was none.
fn meaning(answer: Answer, pod: &PodName) -> Result<Option<Blocker>, String> {
    let pod = pod.clone();
    Ok(match answer {
        // Webhooks that do not know dry runs are not asked by the API server, which then says so.
        Answer::Refused { code: 400, message } if message.contains("dry run") => None,
        Answer::Webhook { message, .. } if message.contains("failed calling webhook") => return Err(message),
        // With 429 a webhook says that asking has set something off; with 5xx that it has trouble.
        Answer::Webhook { code, message } => (code < 500 && code != 429).then_some(Blocker::Webhook { pod, message }),
        Answer::Forbidden { message } => Some(Blocker::Forbidden { pod, message }),
        Answer::Refused { code, message } => Some(Blocker::Refused { pod, code, message }),
        Answer::TwoBudgets => Some(Blocker::TwoBudgets {
            pod,
            budgets: Vec::new(),
        }),
        Answer::Granted | Answer::Gone | Answer::Budget { .. } | Answer::NamespaceTerminating => None,
        Answer::Busy { .. } => return Err("the API server has too many requests".to_owned()),
        Answer::Unavailable { message, .. } => return Err(message),
    })
}
