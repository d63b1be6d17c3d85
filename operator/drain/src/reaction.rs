//! What each answer of the API server changes.

use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};

use crate::answer::Answer;
use crate::blocker::Blocker;
use crate::limits::{FAILURE, FORBIDDEN, NAMESPACE_GOES, Pauses, SLOW};
use crate::pod::{PodName, Uid};
use crate::state::{Asked, Attempt, Gate, State};

impl State {
    /// The API server answered about a pod.
    pub(crate) fn answered(&mut self, now: DateTime<Utc>, uid: &Uid, answer: Answer) {
        let Some(asked) = self.asked.remove(uid) else { return };
        if let Answer::Unavailable { message, .. } = &answer {
            self.failed(now, message.clone());
        } else {
            self.trouble = None;
        }
        if answer == Answer::Gone {
            self.pod_deleted(uid);
            return;
        }
        let wait = slow(uid, now);
        let next = self.next_attempt(now, uid, &asked, answer, wait);
        let Some(pod) = self.pods.as_mut().and_then(|pods| pods.get_mut(uid)) else {
            return;
        };
        pod.failures = match next {
            Next::Again { .. } => pod.failures.saturating_add(1),
            Next::Is(_) => 0,
        };
        pod.attempt = match next {
            Next::Is(attempt) => attempt,
            Next::Again {
                pauses,
                not_before,
                why,
            } => Attempt::Later {
                at: now + pauses.after(uid, pod.failures).max(not_before),
                why,
                budget_wakes: false,
            },
        };
    }

    fn next_attempt(&mut self, now: DateTime<Utc>, uid: &Uid, asked: &Asked, answer: Answer, slow: TimeDelta) -> Next {
        let pod = asked.pod.clone();
        let later = |after, why, budget_wakes| {
            Next::Is(Attempt::Later {
                at: now + after,
                why: Some(why),
                budget_wakes,
            })
        };
        match answer {
            Answer::Granted => {
                let budget = asked.budget.as_ref().map(|(name, _)| name.clone());
                if let Some(name) = &budget {
                    // It works: its next opening will be announced, so there is no hurry to ask without.
                    self.gates.insert(
                        name.clone(),
                        Gate {
                            probe_at: Some(now + slow),
                            ..Gate::default()
                        },
                    );
                }
                Next::Is(Attempt::Granted { at: now, budget })
            }
            Answer::Gone => Next::Is(Attempt::Open),
            Answer::Budget {
                name,
                message,
                retry_after,
            } => {
                let after = slow.max(delta(retry_after));
                self.refused(now + after, asked, name.as_deref(), &message);
                if asked.budget.is_some() {
                    return Next::Is(Attempt::Open);
                }
                let budget = name.map(|name| PodName::new(pod.namespace.clone(), name));
                later(
                    after,
                    Blocker::Budget {
                        pod,
                        budget,
                        numbers: None,
                        message,
                    },
                    true,
                )
            }
            Answer::TwoBudgets => {
                let budgets = self.selecting(uid);
                later(slow, Blocker::TwoBudgets { pod, budgets }, true)
            }
            Answer::Webhook { message, .. } => later(slow, Blocker::Webhook { pod, message }, false),
            Answer::NamespaceTerminating => later(NAMESPACE_GOES, Blocker::NamespaceTerminating { pod }, false),
            Answer::Forbidden { message } => Next::Again {
                pauses: FORBIDDEN,
                not_before: TimeDelta::zero(),
                why: Some(Blocker::Forbidden { pod, message }),
            },
            Answer::Refused { code, message } => later(slow, Blocker::Refused { pod, code, message }, false),
            Answer::Busy { retry_after } | Answer::Unavailable { retry_after, .. } => Next::Again {
                pauses: FAILURE,
                not_before: delta(retry_after),
                why: None,
            },
        }
    }

    /// Closes the gate of the budget that refused.
    fn refused(&mut self, probe_at: DateTime<Utc>, asked: &Asked, name: Option<&str>, message: &str) {
        let (name, version) = match (&asked.budget, name) {
            (Some((name, version)), _) => (name.clone(), Some(version.clone())),
            (None, Some(name)) => (PodName::new(asked.pod.namespace.clone(), name), None),
            (None, None) => return,
        };
        self.gates.insert(
            name,
            Gate {
                refused: version,
                probe_at: Some(probe_at),
                message: message.to_owned(),
            },
        );
    }

    /// The budgets that select a pod.
    fn selecting(&self, uid: &Uid) -> Vec<PodName> {
        let Some(pod) = self.pods.as_ref().and_then(|pods| pods.get(uid)) else {
            return Vec::new();
        };
        self.budgets_of(&pod.view).map(|budget| budget.name.clone()).collect()
    }
}

/// What follows from an answer.
enum Next {
    /// The pod is now like this.
    Is(Attempt),
    /// Again, with growing pauses, but not before this.
    Again {
        pauses: Pauses,
        not_before: TimeDelta,
        why: Option<Blocker>,
    },
}

impl Pauses {
    /// The pause after so many failures in a row, between half of it and all of it.
    fn after(self, uid: &Uid, failures: u32) -> TimeDelta {
        let full = (self.first * (1 << failures.saturating_sub(1).min(10))).min(self.longest);
        full / 2 + full / 2 * spread(uid, i64::from(failures)) / 1000
    }
}

/// Between [`SLOW`] and twice that.
fn slow(uid: &Uid, now: DateTime<Utc>) -> TimeDelta {
    SLOW + SLOW * spread(uid, now.timestamp()) / 1000
}

/// Thousandths that differ from pod to pod and from try to try, and are the same in every run.
fn spread(uid: &Uid, salt: i64) -> i32 {
    let mut hasher = DefaultHasher::new();
    (uid, salt).hash(&mut hasher);
    i32::try_from(hasher.finish() % 1000).unwrap_or_default()
}

fn delta(duration: Option<std::time::Duration>) -> TimeDelta {
    duration
        .and_then(|duration| TimeDelta::from_std(duration).ok())
        .unwrap_or_default()
}
