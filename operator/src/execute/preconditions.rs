//! The reads before a write: each watch can lag, and a version guards only the object that is written.
//!
//! Which preconditions an action has, what they read and what they conclude is in `lockkeeper_planner::preconditions`.
//! Here the reads are made. What was found goes to the next pass, not into this one: its writes stay guarded by the
//! versions that it was planned on.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use futures::stream::{self, StreamExt};
use kube::Resource;
use kube::api::ListParams;
use lockkeeper_crds::names;
use lockkeeper_drain::remaining_pods;
use lockkeeper_planner::preconditions::{
    Fresh, LOCK_FRESH, NodeState, Observed, PolicyIdentity, Proven, Read, RecordState,
};
use lockkeeper_planner::{Action, Change, Lock, Phase, Precondition, RecordChange, preconditions};
use lockkeeper_snapshot::guarded::GuardedPolicy;
use lockkeeper_snapshot::states::{cordons, node_state, policy_identity, record_state};
use lockkeeper_snapshot::{convert, slim};

use super::{Error, MAX_CONCURRENT_WRITES, Pass, api_error};
use crate::drain_settings::of_operation;

/// What the preconditions of one action have shown.
#[derive(Debug, Default)]
pub(super) struct Verified {
    /// The Nodes that were read.
    pub(super) nodes: Vec<slim::Node>,
    /// Whether the policies are verified for the rest of the pass.
    pub(super) policies: bool,
}

impl Pass<'_> {
    /// Reads again what the action depends on; an error if a precondition does not hold any more.
    pub(super) async fn verify(&self, action: &Action) -> Result<Verified, Error> {
        let target = Target::of(action);
        let needed = preconditions(action, self, self.now).map_err(|found| target.stale(found))?;
        // The holders that are removed do not depend on each other.
        let removed = |precondition: &&Precondition| matches!(precondition, Precondition::Released { .. });
        let mut checks = Vec::new();
        for precondition in needed.iter().filter(removed) {
            checks.push(async move { Reader::new(self, target).verify(precondition).await });
        }
        let released: Vec<_> = stream::iter(checks).buffered(MAX_CONCURRENT_WRITES).collect().await;
        released.into_iter().collect::<Result<(), Error>>()?;
        let mut reader = Reader::new(self, target);
        for precondition in needed.iter().filter(|one| !removed(one)) {
            reader.verify(precondition).await?;
        }
        Ok(reader.verified)
    }
}

impl Observed for Pass<'_> {
    fn lock(&self) -> Option<Lock> {
        self.seen.lock.as_deref().map(convert::lock)
    }

    fn node(&self, node: &str) -> Option<NodeState> {
        self.seen.nodes.get(node).map(|node| node_state(node))
    }

    fn record(&self, node: &str) -> Option<RecordState> {
        self.seen.reboots.get(node).map(|reboot| record_state(reboot))
    }

    fn policies(&self) -> BTreeSet<PolicyIdentity> {
        let policies = self.seen.policies.values();
        policies.map(|policy| policy_identity(&policy.metadata)).collect()
    }

    fn cordons(&self) -> BTreeMap<String, String> {
        cordons(self.seen.nodes.values().map(|node| &**node))
    }

    fn policies_verified(&self) -> bool {
        self.policies_verified
    }

    fn has_created_record(&self, uid: &str) -> bool {
        self.created.contains(uid)
    }

    fn has_written_lock(&self) -> bool {
        self.lock_written.is_some_and(|(by_timers, by_clock)| {
            let age = TimeDelta::from_std(by_timers.elapsed());
            age.is_ok_and(|age| age < LOCK_FRESH) && (self.clock.now() - by_clock).abs() < LOCK_FRESH
        })
    }

    fn proven(&self) -> &Proven {
        &self.proven
    }
}

/// The write that waits for its preconditions, as errors name it.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    step: &'static str,
    object: &'a str,
}

impl<'a> Target<'a> {
    fn of(action: &'a Action) -> Self {
        let step = match action {
            Action::CreateLock => "create RebootLock",
            Action::CreateRecord { .. } => "create NodeReboot",
            Action::DeleteRecord { .. } => "delete NodeReboot",
            Action::SetHolders { .. } => "write the holders of RebootLock",
            Action::WriteRecord { change, .. } => record_step(change),
            Action::SetSpec { .. } => "write the order of NodeReboot",
            Action::OrderReboot { .. } => "order the reboot of",
            Action::Cordon { .. } => "cordon",
            Action::Uncordon { .. } => "uncordon",
            Action::AddTaint { .. } | Action::RemoveTaint { .. } => "write the taints of",
            Action::BeginHandshake { .. } => "ask for the annotation of a hook on",
            Action::EndHandshake { .. } => "remove the keys of a hook from",
            Action::GiveNotice { .. } => "set the condition MaintenancePlanned of",
            Action::EndNotice { .. } => "remove the condition MaintenancePlanned from",
            Action::RemoveCommand { .. } => "remove the command from NodeReboot",
            Action::RemoveRequest { .. } => "remove the request from",
            Action::RemoveApproval { .. } => "remove the approval from",
        };
        let object = action.node().unwrap_or(names::LOCK);
        Self { step, object }
    }

    fn stale(self, found: String) -> Error {
        let (step, object) = (self.step, self.object.to_owned());
        Error::Stale { step, object, found }
    }

    fn api_error(self) -> impl FnOnce(kube::Error) -> Error {
        api_error(self.step, self.object)
    }
}

fn record_step(change: &RecordChange) -> &'static str {
    if change.finished.is_some() {
        return "end the operation of";
    }
    let Change::Set(Some(operation)) = &change.operation else {
        return "write the status of NodeReboot";
    };
    match operation.phase {
        Phase::Preparing => "begin the operation of",
        Phase::Failed => "reconstruct the lost operation of",
        Phase::Verifying => "record the reboot of",
        Phase::Draining | Phase::Rebooting => "write the status of NodeReboot",
    }
}

/// Reads for the preconditions of one action; two that need the same object share one read.
struct Reader<'p> {
    pass: &'p Pass<'p>,
    target: Target<'p>,
    fresh: Fresh,
    /// The list that was read last, for the next pass if it was not as planned.
    listed: Listed,
    verified: Verified,
}

#[derive(Default)]
struct Listed {
    policies: Vec<GuardedPolicy>,
    cordoned: Vec<slim::Node>,
}

impl<'p> Reader<'p> {
    fn new(pass: &'p Pass<'p>, target: Target<'p>) -> Self {
        Self {
            pass,
            target,
            fresh: Fresh::default(),
            listed: Listed::default(),
            verified: Verified::default(),
        }
    }

    async fn verify(&mut self, precondition: &Precondition) -> Result<(), Error> {
        while let Some(read) = precondition.next_read(&self.fresh) {
            self.read(read).await?;
        }
        let verdict = precondition.check(&self.fresh);
        let listed = std::mem::take(&mut self.listed);
        let Err(found) = verdict else {
            self.verified.policies |= matches!(
                precondition,
                Precondition::PoliciesUnchanged {
                    once_per_pass: true,
                    ..
                }
            );
            return Ok(());
        };
        let cache = self.pass.cache;
        for policy in listed.policies {
            cache.upsert_policy(policy);
        }
        for node in listed.cordoned {
            cache.absorb_node(node);
        }
        if let Precondition::Drained { node } = precondition {
            let node = node.clone();
            return Err(Error::NotEmpty { node, found });
        }
        Err(self.target.stale(found))
    }

    async fn read(&mut self, read: Read) -> Result<(), Error> {
        let (api, cache, target) = (self.pass.api, self.pass.cache, self.target);
        match read {
            Read::Lock => {
                let lock = api.locks.get(names::LOCK).await.map_err(target.api_error())?;
                self.fresh.lock = Some(convert::lock(&lock));
                cache.absorb_lock(lock);
            }
            Read::Node(node) => {
                let found = api.nodes.get(&node).await.map_err(target.api_error())?;
                self.keep_node(node, Some(found));
            }
            Read::NodeIfPresent(node) => {
                let found = api.nodes.get_opt(&node).await.map_err(target.api_error())?;
                self.keep_node(node, found);
            }
            Read::Record(node) => {
                let found = api.reboots.get_opt(&node).await.map_err(target.api_error())?;
                self.fresh.records.insert(node, found.as_ref().map(record_state));
                if let Some(reboot) = found {
                    cache.absorb_reboot(reboot);
                }
            }
            Read::Policies => {
                let found = api.policies.list(&ListParams::default()).await;
                let policies = found.map_err(target.api_error())?.items;
                let identities = policies.iter().map(|policy| policy_identity(policy.meta()));
                self.fresh.policies = Some(identities.collect());
                self.listed.policies = policies;
            }
            Read::CordonedNodes => {
                // Only cordoned Nodes are sent.
                let cordoned = ListParams::default().fields("spec.unschedulable=true");
                let cordoned = api.node_lists.list(&cordoned).await.map_err(target.api_error())?.items;
                let cordoned: Vec<slim::Node> = cordoned.into_iter().map(slim::Node::from).collect();
                self.fresh.cordons = Some(cordons(cordoned.iter()));
                self.listed.cordoned = cordoned;
            }
            Read::Pods(node) => self.fresh.pods = Some(self.remaining_pods(&node).await?),
        }
        Ok(())
    }

    fn keep_node(&mut self, name: String, node: Option<slim::Node>) {
        self.fresh.nodes.insert(name, node.as_ref().map(node_state));
        if let Some(node) = node {
            self.pass.cache.absorb_node(node.clone());
            self.verified.nodes.push(node);
        }
    }

    /// The pods that the drain of the operation would evict; its own list may be seconds old.
    async fn remaining_pods(&self, node: &str) -> Result<Vec<String>, Error> {
        let step = self.target.step;
        let reboot = self.pass.reboot(step, node)?;
        let operation = reboot.status.as_ref().and_then(|status| status.operation.as_ref());
        let operation = operation.ok_or_else(|| self.target.stale("it has no operation".to_owned()))?;
        let settings =
            of_operation(node, operation, self.pass.namespace, self.pass.clock).map_err(|source| Error::Settings {
                node: node.to_owned(),
                source,
            })?;
        let left = remaining_pods(&self.pass.api.client, &settings).await;
        let left = left.map_err(|source| Error::Pods {
            step,
            node: node.to_owned(),
            source,
        })?;
        Ok(left.iter().map(ToString::to_string).collect())
    }
}
