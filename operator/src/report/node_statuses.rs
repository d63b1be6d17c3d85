//! The statuses of nodes: those that changed, nodes in progress first, as many in a pass as can be begun in time.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockkeeper_crds::{NodeReboot, NodeRebootStatus, condition};
use lockkeeper_planner::{Node, Plan, WaitReason};
use lockkeeper_reasons::ReasonName;
use tokio::time::Instant;

use super::event::Event;
use super::log_fields::LogFields;
use super::{Reporter, node_target, policy_target};
use crate::execute::{Executed, Pass};
use crate::failed_writes::FailedWrites;
use crate::status::condition::ConditionType;
use crate::status::node::{apply_derived_status, required};
use crate::status::policy_name;
use crate::tasks::forecasts::Outlook;

/// More nodes than this that begin to wait for the same reason at once are one Event about their policy.
const EVENT_AGGREGATION_THRESHOLD: usize = 20;

/// Nodes that begin to wait, by policy and reason.
type NewWaits<'a> = BTreeMap<(String, ReasonName), Vec<(&'a str, &'a Node, &'a WaitReason)>>;

/// A status as it is, and as it should be.
struct Changed {
    name: String,
    is_in_progress: bool,
    seen: Arc<NodeReboot>,
    before: NodeRebootStatus,
    after: NodeRebootStatus,
}

/// What a publication wrote.
#[derive(Debug, Default)]
pub struct Published {
    /// How the writes ended.
    pub executed: Executed,
    /// Whether statuses are left for the next pass.
    pub is_partial: bool,
    /// When the next status is due that only differs in words.
    pub next_due: Option<Instant>,
}

impl Reporter {
    /// Writes the status of the policies and nodes that changed; called when there is nothing else to do. A status of a
    /// node that could not be written a moment ago is left out.
    pub async fn publish(
        &mut self,
        pass: &mut Pass<'_>,
        plan: &Plan,
        outlook: &Outlook,
        failed: &FailedWrites,
    ) -> Published {
        self.exporter
            .export(&self.metrics, pass.snapshot, pass.seen, plan, pass.now);
        let mut changes = self.changed_statuses(pass, plan);
        changes.retain(|change| !failed.is_waiting(&change.name, Instant::now()));
        sort(&mut changes, &self.last_status);
        let names: Vec<String> = changes.iter().map(|change| change.name.clone()).collect();
        // A policy's status is not older than those of its nodes, and a node whose status is refused delays no other.
        let policies = self.publish_policies(pass, plan, outlook).await;
        let changes = changes
            .into_iter()
            .map(|change| (change.seen, change.before, change.after));
        let mut executed = pass.write_statuses(changes.collect()).await;
        let begun = executed.written.len() + executed.failed.len();
        let last = begun.checked_sub(1).and_then(|last| names.get(last));
        self.last_status = last.cloned().unwrap_or_default();
        let records = self.publish_undecodable_records(pass, plan).await;
        let invalid = self.publish_invalid_policies(pass.now).await;
        executed.shared = policies.and(records).and(invalid).err();
        Published {
            executed,
            is_partial: begun < names.len(),
            next_due: self.unsettled.next_due(Instant::now()),
        }
    }

    /// The statuses that differ from what was decided; sends the Events about it.
    fn changed_statuses(&mut self, pass: &Pass<'_>, plan: &Plan) -> Vec<Changed> {
        let mut changes = Vec::new();
        let mut new_waits = NewWaits::new();
        self.sent.retain(&pass.snapshot.nodes);
        self.unsettled.retain(&pass.snapshot.nodes);
        for (name, view) in &pass.snapshot.nodes {
            let (Some(seen), Some(record)) = (pass.seen.reboots.get(name).cloned(), &view.record) else {
                continue;
            };
            let before = seen.status.clone().unwrap_or_default();
            let mut after = before.clone();
            let waiting = plan.wait_reasons.get(name);
            apply_derived_status(&mut after, &seen, view, record.operation.as_deref(), waiting, pass.now);
            if self.sent.is_new_wait(name, waiting, &before)
                && let Some(waiting) = waiting
            {
                new_waits
                    .entry((policy_name(view), waiting.name()))
                    .or_default()
                    .push((name, view, waiting));
            }
            self.report_required(name, view, &seen);
            let is_phase = record.operation.is_none() || before.state != after.state;
            if self.unsettled.is_due(name, before != after, is_phase, Instant::now()) {
                changes.push(Changed {
                    name: name.clone(),
                    is_in_progress: record.operation.is_some(),
                    seen,
                    before,
                    after,
                });
            }
        }
        self.report_waits(&new_waits);
        changes
    }

    /// Sends the Event that a node requires a reboot, unless the condition says so already.
    pub(super) fn report_required(&mut self, name: &str, node: &Node, seen: &NodeReboot) {
        let conditions = seen.status.as_ref().map(|status| status.conditions.as_slice());
        let is_said = condition::is_true(conditions.unwrap_or_default(), ConditionType::RebootRequired.as_str());
        if self.sent.is_new_requirement(name, node.requires_reboot(), is_said) {
            let event = Event::reboot_required(&required(node, seen).message);
            self.announcer
                .about_node(node_target(name, node), event, LogFields::of_node(node));
        }
    }

    /// The wait reasons that began now: an Event for each node, or one about the policy if they are many.
    fn report_waits(&self, new_waits: &NewWaits<'_>) {
        for ((policy, reason), nodes) in new_waits {
            let policy_target = self
                .cache
                .read()
                .policies
                .get(policy)
                .and_then(|policy| policy_target(policy.as_ref().ok()?));
            match (policy_target, nodes.as_slice()) {
                (Some(target), [(_, _, first), ..]) if nodes.len() > EVENT_AGGREGATION_THRESHOLD => {
                    let event = Event::wait_of_many(nodes.len(), first);
                    tracing::info!(policy, reason = reason.as_str(), "{}", event.message);
                    self.announcer.about_policy(target, event);
                }
                (_, nodes) => {
                    for (name, node, waiting) in nodes {
                        self.report_wait(name, node, waiting);
                    }
                }
            }
        }
    }

    /// The Event that a node waits.
    pub(super) fn report_wait(&self, name: &str, node: &Node, waiting: &WaitReason) {
        let LogFields { policy, operation, .. } = LogFields::of_node(node);
        let reason = waiting.name().as_str();
        tracing::info!(node = name, policy, operation, reason, "waits: {waiting}");
        self.announcer
            .about_node(node_target(name, node), Event::wait(waiting), LogFields::of_node(node));
    }
}

/// Those in progress, then the others in the order of their names, beginning after the last one that was written: a status
/// that changes in every pass delays no other.
fn sort(changes: &mut [Changed], last: &str) {
    changes.sort_by(|one, other| {
        let group = |change: &Changed| (!change.is_in_progress, change.name.as_str() <= last);
        group(one).cmp(&group(other)).then_with(|| one.name.cmp(&other.name))
    });
}

#[cfg(test)]
mod tests {
    use lockkeeper_crds::NodeRebootSpec;

    use super::*;

    fn changed(name: &str, is_in_progress: bool) -> Changed {
        Changed {
            name: name.to_owned(),
            is_in_progress,
            seen: Arc::new(NodeReboot::new(name, NodeRebootSpec::default())),
            before: NodeRebootStatus::default(),
            after: NodeRebootStatus::default(),
        }
    }

    #[test]
    fn nodes_in_progress_come_first_and_the_others_continue_after_the_last_status() {
        let order = |last: &str| {
            let mut changes = ["a", "b", "c", "d"].map(|name| changed(name, name == "c"));
            sort(&mut changes, last);
            changes.map(|change| change.name).join(" ")
        };
        assert_eq!(order(""), "c a b d");
        assert_eq!(order("a"), "c b d a");
        assert_eq!(order("d"), "c a b d");
    }
}
