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
    let cordoned: i64 = seconds.into_iter().flatten().sum();
    // The notice is what the policy says now, whatever it was then.
    let noticed = record.noticed_seconds.unwrap_or_default();
    (record.outcome == Outcome::Succeeded).then(|| Success {
        ended: record.ended_time,
        cordoned: TimeDelta::try_seconds(cordoned - noticed).unwrap_or_default(),
        total: record.ended_time - record.started_time - TimeDelta::try_seconds(noticed).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_notice_is_no_part_of_what_a_reboot_took() {
        let entry = |noticed: Option<i64>| {
            let entry = json!({
                "operationID": "7f3c", "outcome": "Succeeded",
                "startedTime": "2026-12-01T14:00:00Z", "endedTime": "2026-12-01T14:20:00Z",
                "drainedSeconds": 700, "downSeconds": 60, "verifiedSeconds": 40, "noticedSeconds": noticed,
            });
            success(&serde_json::from_value(entry).unwrap()).unwrap()
        };
        let took = |success: &Success| (success.cordoned.num_seconds(), success.total.num_seconds());
        assert_eq!(took(&entry(None)), (800, 1200));
        assert_eq!(took(&entry(Some(600))), (200, 600));
    }
}
