//! What the last successes of each policy teach about how long a node takes.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use lockkeeper_crds::{HistoryEntry, NodeReboot, Outcome};
use lockkeeper_planner::{DurationEstimate, Node, PolicyName};
use lockkeeper_planner::{MAX_SUCCESSES, Success, estimate_durations};

/// So many are gathered before all but the latest are forgotten.
const GATHERED: usize = 1_000;

/// Successes by policy, as far as they can matter.
#[derive(Debug, Default)]
pub(crate) struct DurationHistory<'a> {
    by_policy: BTreeMap<&'a str, Vec<Success>>,
}

impl<'a> DurationHistory<'a> {
    /// Takes in what a node's history says, under the policy that selects it now.
    pub(crate) fn add(&mut self, policy: &'a str, reboot: &NodeReboot) {
        let history = reboot.status.iter().flat_map(|status| &status.history);
        let mut successes = history.filter_map(success).peekable();
        if successes.peek().is_none() {
            return;
        }
        let gathered = self.by_policy.entry(policy).or_default();
        gathered.extend(successes);
        if gathered.len() > GATHERED {
            gathered.sort_unstable_by(|one, other| other.cmp(one));
            gathered.truncate(MAX_SUCCESSES);
        }
    }

    /// The duration estimate of a policy.
    pub(crate) fn estimate(&mut self, policy: &str) -> DurationEstimate {
        self.by_policy
            .remove(policy)
            .map_or_else(DurationEstimate::default, estimate_durations)
    }
}

/// The policy of a node, if it has exactly one.
pub(crate) fn policy_of(node: &Node) -> Option<&PolicyName> {
    match &*node.policies {
        [one] => Some(one),
        _ => None,
    }
}

/// A reboot that was proven; its times are those of the record.
fn success(record: &HistoryEntry) -> Option<Success> {
    let seconds = [record.drained_seconds, record.down_seconds, record.verified_seconds];
    let cordoned = seconds.into_iter().flatten().sum();
    (record.outcome == Outcome::Succeeded).then(|| Success {
        ended: record.ended_time,
        cordoned: TimeDelta::try_seconds(cordoned).unwrap_or_default(),
        total: record.ended_time - record.started_time,
    })
}
