//! The facts of one pass that many nodes ask for: limits, who is down, which windows are open.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::Instant;
use crate::operation::Phase;
use crate::snapshot::{Node, Policy, Snapshot};
use crate::windows::Opening;

/// A node that was never Ready is not counted as down while it is younger than this: it is still being set up.
pub const SETTING_UP: TimeDelta = TimeDelta::minutes(10);
/// The Ready condition is written with the Node; a change later than this after its making was a real one.
const FIRST_CONDITION: TimeDelta = TimeDelta::seconds(60);

/// What one pass knows, computed once.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What was seen.
    pub snapshot: &'a Snapshot,
    /// The instant of this pass.
    pub now: Instant,
    /// Facts of each policy.
    pub policies: BTreeMap<&'a str, PolicyFacts<'a>>,
    /// How many nodes may be inside over all policies.
    pub cluster_limit: usize,
    /// Control-plane nodes that are down by themselves.
    pub control_plane_down: Vec<&'a str>,
}

/// What one pass knows of a policy.
#[derive(Debug)]
pub struct PolicyFacts<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Nodes that it selects.
    pub total: usize,
    /// `maxInProgress` as a number.
    pub limit: usize,
    /// `maxUnavailable` as a number.
    pub max_unavailable: usize,
    /// Its nodes that are down by themselves, and why; those inside count besides.
    pub down: BTreeMap<&'a str, &'static str>,
    /// Its nodes that are Failed.
    pub failed: Vec<String>,
    /// Its windows; an error closes it.
    pub opening: Result<Opening, &'a str>,
}

impl<'a> Facts<'a> {
    /// Computes what this pass needs to know.
    pub fn new(snapshot: &'a Snapshot, now: Instant) -> Self {
        let mut policies: BTreeMap<&str, PolicyFacts> = snapshot
            .policies
            .iter()
            .map(|(name, policy)| (name.as_str(), PolicyFacts::new(policy, now)))
            .collect();
        let mut control_plane_down = Vec::new();
        for (name, node) in &snapshot.nodes {
            let down = why_down(node, now);
            if node.control_plane && down.is_some() {
                control_plane_down.push(name.as_str());
            }
            for policy in &node.policies {
                let Some(policy) = policies.get_mut(policy.as_str()) else {
                    continue;
                };
                policy.total += 1;
                if let Some(why) = down {
                    policy.down.insert(name, why);
                }
            }
            if let Some(operation) = node.record.as_ref().and_then(|record| record.operation.as_ref())
                && operation.phase == Phase::Failed
                && operation.ending.is_none()
                && let Some(policy) = policies.get_mut(operation.policy.as_str())
            {
                policy.failed.push(name.clone());
            }
        }
        for facts in policies.values_mut() {
            facts.limit = facts.policy.max_in_progress.of(facts.total);
            facts.max_unavailable = facts.policy.max_unavailable.of(facts.total);
        }
        let largest = policies.values().map(|facts| facts.limit).max().unwrap_or(0);
        let cap = snapshot.lock.as_ref().and_then(|lock| lock.max_in_progress);
        let cluster_limit = cap.map_or(largest, |cap| cap.of(snapshot.nodes.len()));
        Self {
            snapshot,
            now,
            policies,
            cluster_limit,
            control_plane_down,
        }
    }
}

impl<'a> PolicyFacts<'a> {
    fn new(policy: &'a Policy, now: Instant) -> Self {
        let opening = policy
            .schedule
            .as_ref()
            .map(|schedule| schedule.opening(now))
            .map_err(String::as_str);
        Self {
            policy,
            total: 0,
            limit: 0,
            max_unavailable: 0,
            down: BTreeMap::new(),
            failed: Vec::new(),
            opening,
        }
    }
}

/// Why a node that we do not hold is down, if it is.
pub fn why_down(node: &Node, now: Instant) -> Option<&'static str> {
    if let Some(taint) = &node.leaving {
        return Some(if taint.starts_with("karpenter") {
            "Karpenter disrupts it"
        } else {
            "the autoscaler deletes it"
        });
    }
    let never_ready = node.ready.since - node.created < FIRST_CONDITION;
    let setting_up = never_ready && now - node.created < SETTING_UP;
    (!node.ready.ready && !setting_up).then_some("NotReady")
}
