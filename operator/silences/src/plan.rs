//! Which silences are made, extended and ended. Nothing is read or written here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::api::Silence;
use crate::config::Config;

/// The operations that there are, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Marks our silences: the same for all operators of a cluster, and for no other cluster.
    pub cluster: String,
    /// Operations in progress.
    pub in_progress: BTreeMap<String, InProgress>,
    /// Operations that failed: a person must hear of what is wrong with their nodes.
    pub failed: BTreeSet<String>,
}

/// A node that is in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InProgress {
    /// The node.
    pub node: String,
    /// The policy.
    pub policy: String,
}

/// What is to be done in Alertmanager.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A silence is made for this operation.
    Create {
        /// The ID of the operation.
        operation: String,
    },
    /// A silence ends at another time: later while its operation is in progress, sooner once it has ended.
    EndAt {
        /// The silence.
        silence: Silence,
        /// The new time.
        at: DateTime<Utc>,
    },
    /// A silence ends at once.
    Expire {
        /// The ID of the silence.
        id: String,
    },
}

/// What is to be done, given all silences of Alertmanager.
pub fn steps(desired: &Desired, existing: &[Silence], config: &Config, now: DateTime<Utc>) -> Vec<Step> {
    let ours = ours(desired, existing, now);
    let mut steps = Vec::new();
    for operation in desired.in_progress.keys() {
        // There may be two after a crash or a lost answer; one is kept going.
        let latest = ours
            .iter()
            .filter(|silence| silence.operation() == Some(operation))
            .max_by_key(|one| one.ends_at);
        match latest {
            None => steps.push(Step::Create {
                operation: operation.clone(),
            }),
            Some(silence) if silence.ends_at <= now + config.duration / 2 => {
                steps.push(Step::EndAt {
                    silence: (*silence).clone(),
                    at: now + config.duration,
                });
            }
            Some(_) => {}
        }
    }
    for silence in ours {
        let Some(operation) = silence.operation() else { continue };
        if desired.in_progress.contains_key(operation) {
            continue;
        }
        let at = now + config.linger;
        if desired.failed.contains(operation) || config.linger.is_zero() {
            steps.push(Step::Expire { id: silence.id.clone() });
        } else if silence.ends_at > at {
            steps.push(Step::EndAt {
                silence: silence.clone(),
                at,
            });
        }
    }
    steps
}

/// When the list is to be looked at again although no operation began or ended: before a silence that is needed ends.
pub fn next_due(desired: &Desired, config: &Config, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // All were made or extended within the last half of their time.
    (!desired.in_progress.is_empty()).then(|| now + config.duration / 4)
}

/// Our silences that have not ended.
fn ours<'a>(desired: &Desired, existing: &'a [Silence], now: DateTime<Utc>) -> Vec<&'a Silence> {
    let created_by = crate::api::created_by(&desired.cluster);
    let ours = |silence: &&Silence| silence.created_by == created_by && !silence.has_ended(now);
    existing.iter().filter(ours).collect()
}
