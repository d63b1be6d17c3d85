//! What has happened, by a clock that is right: breaker, canary, fit, loops and time-outs are judged by it, and not by the
//! times that were recorded or by the planner's formulas.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use lockkeeper_planner::*;

use super::cluster::Cluster;
use super::writer::{Allowed, Writer};

/// How far the clocks of two operators differ at most, unless one is far off; in milliseconds.
const DIFFERENCE: i64 = 100_000;
const DAY: i64 = 24 * 3600 * 1000;
/// A node is rebooted no more often than this in a day, unless a person requests it: one at the end of a count, and three more.
const REBOOTS_A_DAY: usize = 4;
/// A writer whose clock is off by more than this would not lead.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(60);
/// How late a watch shows something at most.
const LAG: i64 = 400_000;
/// A drain may lack a tenth of its time-out at the begin, a second is lost to rounding.
const DRAINED: i64 = 9;

#[derive(Clone, Copy, Debug)]
struct Success {
    node: usize,
    began: i64,
    ended: i64,
    /// The record of it is gone, or could not be decoded for a while.
    is_unknown: bool,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// When each node's operation began: its id, and when.
    began: Vec<Option<(String, i64)>>,
    /// When each node's operation was marked Failed, if it is.
    failed: Vec<Option<i64>>,
    /// Whether the drain of each node has reached a stage.
    staged: Vec<bool>,
    /// Whether an operator has written while its clock was far off, or records of success were lost with a backup.
    pub clock_was_wrong: bool,
    /// Every success.
    successes: Vec<Success>,
    /// The reboots of each node that no person requested: when they ended.
    reboots: Vec<Vec<i64>>,
    /// When the last success began under each policy.
    success: BTreeMap<PolicyName, i64>,
    /// When a person acknowledged the failures of each policy.
    acknowledged: BTreeMap<PolicyName, i64>,
}

impl History {
    pub fn new(cluster: &Cluster) -> Self {
        let count = cluster.nodes.len();
        Self {
            began: vec![None; count],
            failed: vec![None; count],
            staged: vec![false; count],
            reboots: vec![vec![]; count],
            ..Self::default()
        }
    }

    /// The record of the node is gone, and with it what an operator can know.
    pub fn forget(&mut self, node: usize) {
        self.reboots[node].clear();
        self.failed[node] = None;
        self.loses_sight(node);
    }

    /// No operator can tell that the node was rebooted.
    pub fn loses_sight(&mut self, node: usize) {
        let of_node = self.successes.iter_mut().filter(|success| success.node == node);
        of_node.for_each(|success| success.is_unknown = true);
    }

    /// Times and counts of before say nothing any more.
    pub fn restored(&mut self) {
        self.clock_was_wrong = true;
    }

    pub fn acknowledges(&mut self, policy: &PolicyName, at: i64) {
        self.acknowledged.insert(policy.clone(), at);
    }

    /// A record was written.
    pub fn remembers(
        &mut self,
        cluster: &Cluster,
        node: usize,
        (before, change): (Option<&Operation>, &RecordChange),
        writer: &Writer,
        at: i64,
        violations: &mut Vec<String>,
    ) {
        let name = &cluster.names[node];
        let is_wrong = writer.skew.abs() > MAX_SKEW;
        self.clock_was_wrong |= is_wrong;
        if let Change::Set(Some(operation)) = &change.operation {
            let fails = operation.phase == Phase::Failed && operation.pending_outcome.is_none();
            let known = self.began[node].as_ref().is_some_and(|(id, _)| *id == operation.id);
            if !known {
                // One that is resumed, with an id that a person put into the lock, began when the node's last one did.
                let last = self.began[node]
                    .as_ref()
                    .filter(|_| operation.phase != Phase::Preparing);
                let began = last.map_or(at, |(_, began)| *began);
                self.began[node] = Some((operation.id.clone(), began));
                self.failed[node] = None;
            }
            let timed_out = operation.failure.as_ref().is_some_and(|failure| failure.timed_out);
            let failed_before = before.is_some_and(|before| before.phase == Phase::Failed);
            if fails && !failed_before && timed_out && writer.watched_for < 60_000 {
                violations.push(format!("L1: {name} fails on a view of {} ms", writer.watched_for));
            }
            // One that a clock recorded that was behind looks older than it is.
            let is_known = fails && !(is_wrong && writer.skew < TimeDelta::zero());
            self.failed[node] = is_known.then(|| self.failed[node].unwrap_or(at));
            let timeout = operation.settings.drain_timeout.num_milliseconds();
            let begins = operation.stage.is_some() && !self.staged[node];
            self.staged[node] = operation.stage.is_some();
            // An operator that no longer leads has ended its drains, and may have one write left.
            if let Some(drained) = writer.drained_for.filter(|_| begins)
                && drained * 10 < timeout * DRAINED
            {
                violations.push(format!("S3: a stage of {name} begins after {drained} ms of evictions"));
            }
        }
        if let Some(finished) = &change.finished {
            self.failed[node] = None;
            if finished.outcome == Outcome::Succeeded {
                self.succeeds(node, &finished.operation, at);
            }
        }
    }

    fn succeeds(&mut self, node: usize, operation: &Operation, at: i64) {
        let began = self.began[node].as_ref().filter(|(id, _)| *id == operation.id);
        let began = began.map_or(at, |(_, began)| *began);
        self.successes.push(Success {
            node,
            began,
            ended: at,
            is_unknown: false,
        });
        let last = self.success.entry(operation.policy.clone()).or_insert(began);
        *last = began.max(*last);
        if operation.requested.is_some() {
            self.reboots[node].clear();
        } else {
            self.reboots[node].push(at);
        }
    }

    /// A node is cordoned.
    pub fn starts(
        &mut self,
        cluster: &Cluster,
        node: usize,
        allowed: &Allowed,
        writer: &Writer,
        at: i64,
        violations: &mut Vec<String>,
    ) {
        // What an operator does whose clock is wrong at that moment cannot be held against the planner.
        let Some(operation) = cluster.operation(node).filter(|_| writer.skew.abs() <= MAX_SKEW) else {
            return;
        };
        let name = &cluster.names[node];
        let mut broken = |rule: &str, what: String| violations.push(format!("{rule}: {name} starts {what}"));
        let today = self.reboots[node].iter().filter(|ended| at - **ended < DAY).count();
        if today >= REBOOTS_A_DAY && operation.requested.is_none() && !self.clock_was_wrong {
            broken("S2", format!("after {today} reboots within a day"));
        }
        let seen = allowed.seen.iter().find(|(name, _)| *name == operation.policy);
        let Some(seen) = seen else { return };
        let (_, policy) = seen;
        if operation.attempt == 0 && !self.breaker_admits(cluster, node, seen, allowed, at) {
            broken("S2", "although too many nodes have failed".to_owned());
        }
        if !self.clock_was_wrong && !self.canary_admits(cluster, node, seen, allowed, at) {
            broken("S2", "before the canary has passed".to_owned());
        }
        let schedule = allowed
            .in_force(name)
            .map_or(&policy.schedule, |in_force| &in_force.schedule);
        if let Some(planned) = allowed.planned
            && !fits(policy, schedule, planned)
        {
            broken("S2", "although the window closes too soon".to_owned());
        }
    }

    /// Whether the node is one of the canary nodes of the rollout that was seen, or as many as those have succeeded long
    /// enough ago.
    ///
    /// What an operator may not have seen yet counts neither as started nor as succeeded for the first question, and what it
    /// may have counted counts for the second one.
    fn canary_admits(
        &self,
        cluster: &Cluster,
        node: usize,
        seen: &(PolicyName, Policy),
        allowed: &Allowed,
        at: i64,
    ) -> bool {
        let (name, policy) = seen;
        let Some(canary) = policy.canary.filter(|canary| canary.nodes > 0) else {
            return true;
        };
        let started = policy.state.rollout.as_ref().map(|rollout| rollout.started);
        let began = started.map_or(at, |started| {
            at - (allowed.planned.unwrap_or(started) - started).num_milliseconds()
        });
        let cordoned = cluster.marked.iter().copied().filter(|other| {
            let operation = cluster.readable_operation(*other);
            let known =
                |operation: &Operation| operation.policy == *name && allowed.in_progress.contains(&operation.id);
            *other != node && operation.is_some_and(known)
        });
        let surely: BTreeSet<usize> = self
            .successes
            .iter()
            .filter(|success| !success.is_unknown && is_selected(cluster, success.node, name))
            .filter(|success| success.began > began + DIFFERENCE && success.ended < at - LAG)
            .map(|success| success.node)
            .chain(cordoned)
            .collect();
        if surely.len() < canary.nodes {
            return true;
        }
        let soak = canary.soak.num_milliseconds();
        let soaked: BTreeSet<usize> = self
            .successes
            .iter()
            .filter(|success| success.began >= began - DIFFERENCE && success.ended + soak <= at + DIFFERENCE)
            .map(|success| success.node)
            .collect();
        soaked.len() >= canary.nodes
    }

    /// Whether a person or a success after the failures, or the cooldown, lets a node start.
    ///
    /// The success is one under the policy, or of a node that it selects by now.
    fn breaker_admits(
        &self,
        cluster: &Cluster,
        node: usize,
        (name, policy): &(PolicyName, Policy),
        allowed: &Allowed,
        at: i64,
    ) -> bool {
        let failed = allowed.failed.iter().filter(|(other, _)| other == name);
        let failed: Vec<i64> = failed
            .filter(|(_, other)| *other != node)
            .filter_map(|(_, other)| self.failed[*other])
            .collect();
        let Some(last) = failed
            .iter()
            .max()
            .filter(|_| failed.len() >= policy.breaker.max_failed.max(1))
        else {
            return true;
        };
        let after = |time: Option<&i64>| time.is_some_and(|time| time + DIFFERENCE >= *last);
        let cooldown = policy.breaker.cooldown.map(|cooldown| cooldown.num_milliseconds());
        let cooled = cooldown.is_some_and(|cooldown| at - last + DIFFERENCE >= cooldown);
        // A start that a clock recorded that was ahead counts as one of when it was noticed.
        let latest = |success: &Success| {
            if self.clock_was_wrong {
                success.ended
            } else {
                success.began
            }
        };
        let mut successes = self.successes.iter();
        let probed = successes.any(|success| is_selected(cluster, success.node, name) && after(Some(&latest(success))));
        cooled || probed || after(self.success.get(name)) || after(self.acknowledged.get(name))
    }
}

/// Whether the policy of this name selects the node.
pub fn is_selected(cluster: &Cluster, node: usize, name: &PolicyName) -> bool {
    let mut policies = cluster.policies_of(node);
    policies.any(|(index, _)| cluster.policy_names[index] == *name)
}

/// Whether the window is open for as long as a reboot takes, minute by minute, or no window of the next eight days is.
fn fits(policy: &Policy, schedule: &Result<Schedule, String>, now: Instant) -> bool {
    let Ok(schedule) = schedule else { return false };
    let needs = policy.duration_estimate.cordoned + policy.settings.notice.unwrap_or_default();
    let needs = needs.num_minutes();
    let open = |minute: i64| schedule.is_open(now + TimeDelta::minutes(minute));
    if (0..needs).all(open) {
        return true;
    }
    let mut longest = 0;
    let mut length = 0;
    for minute in 0..8 * 24 * 60 {
        length = if open(minute) { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    // No pass runs at the very instant of an opening: a window that it fits exactly is none that it fits.
    longest <= needs
}
