//! What people see of each pass: Events, gauges, log lines, and the statuses that are written. Nothing is decided here.

mod action_events;
pub mod announcer;
pub mod event;
pub mod event_recorder;
mod gauges;
mod invalid_policies;
mod log_fields;
mod node_statuses;
pub mod notified_pods;
mod policy_events;
pub mod samples;
mod sent_events;
mod undecodable_records;
mod unsettled;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use kube::api::Patch;
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::{NodeReboot, RebootPolicy, RebootPolicyStatus, names};
use lockkeeper_kube_util::{error_chain, patch_params};
use lockkeeper_planner::{Action, Change, Node, Plan, Snapshot, Violation, WaitReason, first_wait_reason};
use lockkeeper_snapshot::ObservedObjects;
use lockkeeper_snapshot::guarded::{GuardedPolicy, GuardedRecord};
use serde_json::json;

use crate::cache::{Rewind, SharedCache};
use crate::execute::{Error, MAX_CONCURRENT_WRITES, Pass, Retry};
use crate::merge_patch::difference;
use crate::metrics::Metrics;
use crate::status::policy;
use crate::tasks::forecasts::Outlook;
use announcer::Announcer;
use event::Event;
use event_recorder::EventTarget;
use gauges::GaugeExporter;
use log_fields::LogFields;
use sent_events::SentEvents;
use unsettled::Unsettled;

pub use node_statuses::Published;

/// Sends Events, exports gauges, writes log lines and statuses.
pub struct Reporter {
    policies: Api<RebootPolicy>,
    cache: SharedCache,
    announcer: Announcer,
    metrics: Arc<Metrics>,
    exporter: GaugeExporter,
    guarded_policies: Api<GuardedPolicy>,
    guarded_records: Api<GuardedRecord>,
    /// Policies that cannot be decoded and whose status the API server did not take: name and generation.
    refused: BTreeMap<String, Option<i64>>,
    /// Nodes whose `NodeReboot` cannot be decoded and whose status the API server did not take: name and message.
    refused_records: BTreeMap<String, String>,
    /// What was said of nodes whose status does not say it yet.
    sent: SentEvents,
    /// The statuses that differ in words only.
    unsettled: Unsettled,
    /// The last node whose status was written; the next batch begins after it.
    last_status: String,
}

/// The records that a plan writes, as they were before it.
#[derive(Debug)]
pub struct RecordsBefore(BTreeMap<String, Arc<NodeReboot>>);

impl RecordsBefore {
    /// The records of these actions as they were observed.
    pub fn of(actions: &[Action], seen: &ObservedObjects) -> Self {
        let writes = |action: &&Action| matches!(action, Action::WriteRecord { .. });
        let names = actions.iter().filter(writes).filter_map(Action::node);
        let records = names.filter_map(|name| Some((name.to_owned(), seen.reboots.get(name)?.clone())));
        Self(records.collect())
    }
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// A reporter that writes with this client and puts the answers into this cache.
    pub fn new(client: &Client, cache: SharedCache, announcer: Announcer, metrics: Arc<Metrics>) -> Self {
        Self {
            policies: Api::all(client.clone()),
            cache,
            announcer,
            metrics,
            exporter: GaugeExporter::default(),
            guarded_policies: Api::all(client.clone()),
            guarded_records: Api::all(client.clone()),
            refused: BTreeMap::new(),
            refused_records: BTreeMap::new(),
            sent: SentEvents::default(),
            unsettled: Unsettled::default(),
            last_status: String::new(),
        }
    }

    /// Another replica leads and exports the gauges.
    pub fn stop_leading(&mut self) {
        self.metrics.clear();
        self.exporter.stop();
        self.sent = SentEvents::default();
        self.unsettled = Unsettled::default();
        self.announcer.stop_leading();
    }

    /// A pass was planned.
    pub fn pass(
        &mut self,
        snapshot: &Snapshot,
        seen: &ObservedObjects,
        plan: &Plan,
        violations: &[Violation],
        now: DateTime<Utc>,
    ) {
        self.metrics.count_pass();
        self.announcer.operations(snapshot, seen);
        if self.exporter.is_due() {
            self.exporter.export(&self.metrics, snapshot, seen, plan, now);
        }
        for violation in violations {
            self.metrics.count_violation();
            tracing::error!(rule = violation.rule, "the plan is not carried out: {}", violation.what);
            self.report_to_policies(&Event::plan_refused(violation));
        }
    }

    /// The data of the cluster went back, and is listed again.
    pub fn cluster_restored(&self, rewind: &Rewind) {
        self.report_to_policies(&Event::cluster_restored(rewind.from, rewind.to));
    }

    /// An Event about all policies: it concerns the whole cluster, for which there is no object.
    fn report_to_policies(&self, event: &Event) {
        let policies: Vec<EventTarget> = self
            .cache
            .read()
            .policies
            .iter()
            .filter_map(|(_, policy)| policy_target(policy.as_ref().ok()?))
            .collect();
        self.announcer.to_all(policies, event);
    }

    /// An action was carried out, or not.
    pub fn action_done(&mut self, snapshot: &Snapshot, before: &RecordsBefore, action: &Action, error: Option<&Error>) {
        let name = action.node().unwrap_or_default();
        let result = match error.map(Error::retry) {
            None => "ok",
            Some(Retry::OnChange) => "conflict",
            Some(Retry::Later) => "error",
        };
        self.metrics.count_action(action.name(), result);
        match error {
            None => {
                let LogFields {
                    node,
                    policy,
                    operation,
                    reason,
                } = LogFields::of(action, snapshot);
                let action_name = action.name();
                tracing::info!(
                    node,
                    policy,
                    operation,
                    reason,
                    action = action_name,
                    "{}",
                    action_events::describe(action)
                );
            }
            Some(error) => {
                tracing::debug!(node = name, action = action.name(), "{}", error_chain(error));
                return;
            }
        }
        if let Some(node) = snapshot.nodes.get(name) {
            action_events::count_order(&self.metrics, action, node.operation());
            // A node that is admitted at once has its conditions from this write, so that nothing is left to publish later.
            if let (Action::WriteRecord { .. }, Some(record)) = (action, before.0.get(name)) {
                self.report_required(name, node, record);
            }
            if let Some(event) = action_events::event(action) {
                self.announcer
                    .about_node(node_target(name, node), event, LogFields::of(action, snapshot));
            }
            if let Some(waiting) = first_wait(action, snapshot) {
                self.report_wait(name, node, &waiting);
            }
        }
        action_events::count(&self.metrics, action);
    }

    /// An Event about a drain, or about what a drain would meet, which is sent once.
    pub fn drain(&self, snapshot: &Snapshot, name: &str, event: Event) {
        let Some(node) = snapshot.nodes.get(name) else { return };
        let LogFields { policy, operation, .. } = LogFields::of_node(node);
        let reason = event.reason.as_str();
        tracing::info!(node = name, policy, operation, reason, "{}", event.message);
        self.announcer
            .about_node(node_target(name, node), event, LogFields::of_node(node));
    }

    fn report_policy(&self, policy: &Arc<RebootPolicy>, before: &RebootPolicyStatus, after: &RebootPolicyStatus) {
        let Some(target) = policy_target(policy) else { return };
        for event in policy_events::events(&policy.name_any(), before, after) {
            let reason = event.reason.as_str();
            tracing::info!(policy = policy.name_any(), reason, "{}", event.message);
            self.announcer.about_policy(target.clone(), event);
        }
    }

    /// Writes the statuses of the policies that changed; one that is refused delays no other. Returns the first failure.
    pub async fn publish_policies(&self, pass: &Pass<'_>, plan: &Plan, outlook: &Outlook) -> Result<(), Error> {
        let statuses = pass.seen.policies.iter().filter_map(|(name, object)| {
            let after = policy::status(name, object, pass.snapshot, pass.seen, plan, outlook, pass.now)?;
            Some((name, object, after))
        });
        let statuses: Vec<_> = statuses.collect();
        let shown = statuses.iter().map(|(name, _, after)| (name.as_str(), after));
        gauges::export_statuses(&self.metrics, shown);
        let writes = statuses.into_iter().filter_map(|(name, object, after)| {
            let before = object.status.clone().unwrap_or_default();
            self.report_policy(object, &before, &after);
            let status = difference(&before, &after)?;
            let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
            let missed = before.last_missed_window_time != after.last_missed_window_time;
            Some((name.clone(), patch, missed))
        });
        let writes: Vec<_> = writes.collect();
        let mut written = stream::iter(writes.into_iter().map(|(name, patch, missed)| async move {
            let params = patch_params(names::OPERATOR_MANAGER);
            let answer = self.policies.patch_status(&name, &params, &Patch::Merge(&patch)).await;
            let answer = answer.map_err(|source| Error::Api {
                step: "write the status of RebootPolicy",
                object: name,
                source,
            })?;
            Ok::<_, Error>((answer, missed))
        }))
        .buffered(MAX_CONCURRENT_WRITES);
        let mut first = Ok(());
        while let Some(answer) = written.next().await {
            match answer {
                Ok((policy, missed)) => {
                    // If two operators noticed, the API server takes the write of one.
                    if missed {
                        self.metrics.count_missed(&policy.name_any());
                    }
                    self.cache.absorb_policy(policy);
                }
                Err(error) => first = first.and(Err(error)),
            }
        }
        first
    }
}

/// The wait reason that was written with the phase of an operation.
fn first_wait(action: &Action, snapshot: &Snapshot) -> Option<WaitReason> {
    let Action::WriteRecord { node, change } = action else {
        return None;
    };
    match &change.operation {
        Change::Set(Some(operation)) => first_wait_reason(snapshot, node, operation),
        Change::Set(None) | Change::Keep => None,
    }
}

fn node_target(name: &str, node: &Node) -> EventTarget {
    EventTarget::Node {
        name: name.to_owned(),
        uid: node.uid.clone(),
    }
}

fn policy_target(policy: &Arc<RebootPolicy>) -> Option<EventTarget> {
    Some(EventTarget::Policy {
        name: policy.name_any(),
        uid: policy.uid()?,
    })
}
