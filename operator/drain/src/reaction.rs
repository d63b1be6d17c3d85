//! What each answer of the API server changes.

use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};

use crate::answer::EvictionAnswer;
use crate::blocker::{Blocker, BudgetOutlook};
use crate::limits::{FAILURE_BACKOFF, NAMESPACE_RETRY, PERMISSION_BACKOFF, REFUSAL_RETRY, RetryBackoff};
use crate::pod::{PodName, Uid};
use crate::state::{Attempt, EvictionGate, PendingRequest, State};

impl State {
    /// The API server has answered a request for this pod.
    pub(crate) fn record_answer(&mut self, now: DateTime<Utc>, uid: &Uid, answer: EvictionAnswer) {
        let Some(request) = self.requests.remove(uid) else {
            return;
        };
        if let EvictionAnswer::Unavailable { message, .. } = &answer {
            self.record_failure(now, message.clone());
        } else {
            self.failure = None;
        }
        if answer == EvictionAnswer::Gone {
            self.pod_deleted(uid);
            return;
        }
        let next = self.next_attempt(now, uid, &request, answer);
        let Some(pod) = self.pods.as_mut().and_then(|pods| pods.get_mut(uid)) else {
            return;
        };
        (pod.attempt, pod.failures) = match next {
            NextAttempt::State(attempt) => (attempt, 0),
            NextAttempt::Backoff {
                backoff,
                not_before,
                blocker,
            } => {
                let failures = pod.failures.saturating_add(1);
                let attempt = Attempt::Later {
                    at: now + backoff.delay(uid, failures).max(not_before),
                    blocker,
                    retry_on_budget_change: false,
                };
                (attempt, failures)
            }
        };
    }

    fn next_attempt(
        &mut self,
        now: DateTime<Utc>,
        uid: &Uid,
        request: &PendingRequest,
        answer: EvictionAnswer,
    ) -> NextAttempt {
        let pod = request.pod.clone();
        let retry = refusal_retry(uid, now);
        match answer {
            EvictionAnswer::Granted => self.granted(now + retry, now, request),
            EvictionAnswer::RespondersAsked => NextAttempt::State(Attempt::Asked { at: now }),
            EvictionAnswer::RespondersNotServed => {
                self.evict_plainly(uid);
                NextAttempt::State(Attempt::Open)
            }
            EvictionAnswer::Gone => NextAttempt::State(Attempt::Open),
            EvictionAnswer::Budget {
                name,
                message,
                retry_after,
            } => {
                let at = now + retry.max(delta(retry_after));
                self.close_gate(at, request, name.as_deref(), &message);
                if request.budget.is_some() {
                    return NextAttempt::State(Attempt::Open);
                }
                let budget = name.map(|name| PodName::new(pod.namespace.clone(), name));
                NextAttempt::refused_by_budget(
                    at,
                    Blocker::Budget {
                        pod,
                        budget,
                        numbers: None,
                        outlook: BudgetOutlook::MayAllow,
                        message,
                    },
                )
            }
            EvictionAnswer::TwoBudgets => {
                let budgets = self.selecting_budgets(uid);
                NextAttempt::refused_by_budget(now + retry, Blocker::TwoBudgets { pod, budgets })
            }
            EvictionAnswer::Webhook { message, .. } => {
                NextAttempt::refused(now + retry, Blocker::Webhook { pod, message })
            }
            EvictionAnswer::NamespaceTerminating => {
                NextAttempt::refused(now + NAMESPACE_RETRY, Blocker::NamespaceTerminating { pod })
            }
            EvictionAnswer::Forbidden { message } => NextAttempt::Backoff {
                backoff: PERMISSION_BACKOFF,
                not_before: TimeDelta::zero(),
                blocker: Some(Blocker::Forbidden { pod, message }),
            },
            EvictionAnswer::Refused { code, message } => {
                NextAttempt::refused(now + retry, Blocker::Refused { pod, code, message })
            }
            EvictionAnswer::Busy { retry_after } | EvictionAnswer::Unavailable { retry_after, .. } => {
                NextAttempt::Backoff {
                    backoff: FAILURE_BACKOFF,
                    not_before: delta(retry_after),
                    blocker: None,
                }
            }
        }
    }

    /// The budget works: the watch will show when it allows the next disruption, so a probe can wait.
    fn granted(&mut self, probe_at: DateTime<Utc>, now: DateTime<Utc>, request: &PendingRequest) -> NextAttempt {
        let budget = request.budget.as_ref().map(|(name, _)| name.clone());
        if let Some(name) = &budget {
            self.gates.insert(
                name.clone(),
                EvictionGate {
                    probe_at: Some(probe_at),
                    ..EvictionGate::default()
                },
            );
        }
        NextAttempt::State(Attempt::Granted { at: now, budget })
    }

    /// Closes the gate of the budget that refused.
    fn close_gate(&mut self, probe_at: DateTime<Utc>, request: &PendingRequest, name: Option<&str>, message: &str) {
        let (name, version) = match (&request.budget, name) {
            (Some((name, version)), _) => (name.clone(), Some(version.clone())),
            (None, Some(name)) => (PodName::new(request.pod.namespace.clone(), name), None),
            (None, None) => return,
        };
        self.gates.insert(
            name,
            EvictionGate {
                refused_version: version,
                probe_at: Some(probe_at),
                message: message.to_owned(),
            },
        );
    }

    /// The budgets that select a pod.
    fn selecting_budgets(&self, uid: &Uid) -> Vec<PodName> {
        let Some(pod) = self.pods.as_ref().and_then(|pods| pods.get(uid)) else {
            return Vec::new();
        };
        self.budgets_of(&pod.view).map(|budget| budget.name.clone()).collect()
    }
}

/// What follows from an answer.
enum NextAttempt {
    /// The eviction is in this state.
    State(Attempt),
    /// The request is repeated with a growing delay, but not before this.
    Backoff {
        backoff: RetryBackoff,
        not_before: TimeDelta,
        blocker: Option<Blocker>,
    },
}

impl NextAttempt {
    fn refused(at: DateTime<Utc>, blocker: Blocker) -> Self {
        Self::State(Attempt::Later {
            at,
            blocker: Some(blocker),
            retry_on_budget_change: false,
        })
    }

    fn refused_by_budget(at: DateTime<Utc>, blocker: Blocker) -> Self {
        Self::State(Attempt::Later {
            at,
            blocker: Some(blocker),
            retry_on_budget_change: true,
        })
    }
}

impl RetryBackoff {
    /// The delay after this many consecutive failures, between half of the full delay and all of it.
    fn delay(self, uid: &Uid, failures: u32) -> TimeDelta {
        let full = (self.first * (1 << failures.saturating_sub(1).min(10))).min(self.max);
        full / 2 + full / 2 * jitter(uid, i64::from(failures)) / 1000
    }
}

/// Between [`REFUSAL_RETRY`] and twice that.
fn refusal_retry(uid: &Uid, now: DateTime<Utc>) -> TimeDelta {
    REFUSAL_RETRY + REFUSAL_RETRY * jitter(uid, now.timestamp()) / 1000
}

/// Thousandths that differ by pod and attempt, and are the same in every run.
fn jitter(uid: &Uid, salt: i64) -> i32 {
    let mut hasher = DefaultHasher::new();
    (uid, salt).hash(&mut hasher);
    i32::try_from(hasher.finish() % 1000).unwrap_or_default()
}

fn delta(duration: Option<std::time::Duration>) -> TimeDelta {
    duration
        .and_then(|duration| TimeDelta::from_std(duration).ok())
        .unwrap_or_default()
}
