//! Telling people: logs, status, Events and metrics of each pass; never what to do.

use futures::stream::{self, StreamExt};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::{RebootPolicy, names};
use lockkeeper_planner::{Action, Plan, Snapshot, Violation};
use serde_json::json;

use crate::cache::SharedCache;
use crate::client::chain;
use crate::difference::difference;
use crate::execute::{Error, Pass};
use crate::publish::{node::dress, policy};

/// Where all that people see goes.
#[derive(Debug)]
pub struct Teller {
    policies: Policies,
    cache: SharedCache,
}

struct Policies(Api<RebootPolicy>);

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api<RebootPolicy>")
    }
}

impl Teller {
    /// Tells through this client and puts answers into this cache.
    pub fn new(client: &Client, cache: SharedCache) -> Self {
        Self {
            policies: Policies(Api::all(client.clone())),
            cache,
        }
    }

    /// Somebody else leads.
    pub fn idle(&mut self) {}

    /// A pass was planned.
    pub fn pass(&mut self, _snapshot: &Snapshot, _plan: &Plan, violations: &[Violation]) {
        for violation in violations {
            tracing::error!(rule = violation.rule, "the plan is not carried out: {}", violation.what);
        }
    }

    /// An action was carried out, or not.
    pub fn acted(&mut self, action: &Action, error: Option<&Error>) {
        let node = action.node().unwrap_or_default();
        match error {
            None => tracing::info!(node, action = action.name(), "{}", words(action)),
            Some(error) => tracing::debug!(node, action = action.name(), "{}", chain(error)),
        }
    }

    /// Writes the status of the nodes and policies that changed; called when there is nothing else to do.
    pub async fn publish(&mut self, pass: &mut Pass<'_>, plan: &Plan) -> Result<(), Error> {
        for (name, view) in &pass.snapshot.nodes {
            let Some(seen) = pass.seen.reboots.get(name).cloned() else {
                continue;
            };
            if view.record.is_none() {
                continue;
            }
            let before = seen.status.clone().unwrap_or_default();
            let mut after = before.clone();
            let operation = view.record.as_ref().and_then(|record| record.operation.as_ref());
            dress(&mut after, &seen, view, operation, plan.waiting.get(name), pass.now);
            pass.patch_status(&seen, &before, &after).await?;
        }
        self.publish_policies(pass, plan).await
    }

    async fn publish_policies(&self, pass: &Pass<'_>, plan: &Plan) -> Result<(), Error> {
        let api = &self.policies.0;
        let writes = pass.seen.policies.iter().filter_map(|(name, object)| {
            let parsed = pass.snapshot.policies.get(name)?;
            let before = object.status.clone().unwrap_or_default();
            let after = policy::status(name, object, parsed, pass.snapshot, plan, pass.now);
            let status = difference(&before, &after)?;
            let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
            Some((name.clone(), patch))
        });
        let writes: Vec<_> = writes.collect();
        let mut written = stream::iter(writes.into_iter().map(|(name, patch)| async move {
            let manager = Some(names::OPERATOR_MANAGER.to_owned());
            let params = PatchParams {
                field_manager: manager,
                ..PatchParams::default()
            };
            let answer = api.patch_status(&name, &params, &Patch::Merge(&patch)).await;
            answer.map_err(|source| Error::Api {
                step: "write the status of RebootPolicy",
                object: name,
                source,
            })
        }))
        .buffered(8);
        while let Some(answer) = written.next().await {
            self.cache.absorb_policy(answer?);
        }
        Ok(())
    }
}

/// An action in words, for the log.
fn words(action: &Action) -> String {
    match action {
        Action::CreateLock => "made the lock".to_owned(),
        Action::CreateRecord { .. } => "made the NodeReboot".to_owned(),
        Action::SetHolders { holders, because } => {
            let inside: Vec<&str> = holders.iter().map(|holder| holder.node.as_str()).collect();
            format!("inside now: [{}]; {because}", inside.join(", "))
        }
        Action::WriteRecord { change, .. } => record_words(change),
        Action::SetSpec { order, policy, .. } => match order {
            Some(order) => format!("order {} {:?}", order.id, order.action),
            None => format!("no order; policy {}", policy.as_deref().unwrap_or("none")),
        },
        Action::OrderReboot { order, .. } => format!("order {} Reboot, to leave boot {}", order.id, order.boot_id),
        Action::ApplyMarks { operation_id, .. } => format!("cordoned for operation {operation_id}"),
        Action::LiftMarks { keep_cordon: true, .. } => "our marks are lifted; held, so it stays cordoned".to_owned(),
        Action::LiftMarks { .. } => "our marks are lifted".to_owned(),
        Action::RemoveCommand { command, .. } => format!("{} was answered", command.verb),
        Action::RemoveRequest { value, .. } => format!("the request \"{value}\" is fulfilled"),
    }
}

fn record_words(change: &lockkeeper_planner::RecordChange) -> String {
    use lockkeeper_planner::Change;
    if let Some(finished) = &change.finished {
        return format!(
            "operation {} ended: {:?} {}",
            finished.operation.id, finished.outcome, finished.message
        );
    }
    if let Some((command, said)) = &change.answered {
        let (Ok(words) | Err(words)) = said;
        return format!("{} by a person: {words}", command.verb);
    }
    match &change.operation {
        Change::Set(Some(operation)) => match (&operation.ending, &operation.failure) {
            (Some(ending), _) => format!(
                "operation {} ends: {:?} {}",
                operation.id, ending.outcome, ending.message
            ),
            (None, Some(failure)) => format!("operation {} failed: {}", operation.id, failure.message),
            (None, None) => format!("operation {} is {:?}", operation.id, operation.phase),
        },
        Change::Set(None) | Change::Keep => "record changed".to_owned(),
    }
}
