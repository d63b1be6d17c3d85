//! What was seen of one policy, counted for the rules about starts.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::overrides::binding;
use crate::Instant;
use crate::recorded::{or_now, unless_ahead};
use crate::snapshot::{Node, Phase, Policy, Rollout};
use crate::windows::window_fit::too_late;
use crate::windows::{Opening, Schedule};

/// One policy's nodes, counted.
#[derive(Debug, Default)]
pub(super) struct PolicyCounts<'a> {
    /// Nodes that it selects.
    pub(super) total: usize,
    /// Those of them that are down by themselves.
    pub(super) down: BTreeSet<&'a str>,
    /// Its Failed nodes, and since when.
    pub(super) failed: Vec<(&'a str, Instant)>,
    /// Nodes that stand cordoned in an operation under it.
    pub(super) cordoned: BTreeSet<&'a str>,
    /// Nodes that were rebooted in this rollout, and when they were back; only while a canary is awaited.
    done: Vec<(&'a Node, Instant)>,
    /// How many of the nodes that it selects stand cordoned and are not down by themselves.
    pub(super) cordoned_up: usize,
    /// When the last of its proven reboots began.
    pub(super) last_success: Option<Instant>,
    /// The last of them that does not lie ahead of now.
    last_start: Option<Instant>,
}

/// What a policy's failures say to the next node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failures {
    /// Nothing.
    Fine,
    /// One node may try.
    OneProbe,
    /// None may.
    Stop,
}

impl<'a> PolicyCounts<'a> {
    /// A node that the policy selects.
    pub(super) fn add(&mut self, name: &'a str, node: &'a Node, down: bool, policy: Option<&Policy>, now: Instant) {
        self.total += 1;
        if down {
            self.down.insert(name);
        }
        let last = node.record.as_ref().and_then(|record| record.last_reboot.as_ref());
        let Some((last, started)) = last.and_then(|last| Some((last, unless_ahead(last.started, now)?))) else {
            return;
        };
        self.last_success = self.last_success.max(Some(started));
        if last.started <= now {
            self.last_start = self.last_start.max(Some(last.started));
        }
        let rollout = policy
            .filter(|policy| policy.canary.is_some())
            .and_then(|policy| policy.state.rollout.as_ref());
        let since = |rollout: &Rollout| or_now(rollout.started, now);
        if rollout.is_some_and(|rollout| !rollout.has_passed_canary(now) && started >= since(rollout)) {
            self.done.push((node, last.time));
        }
    }

    /// A node that has an operation under the policy; says whether it stands cordoned.
    pub(super) fn add_in_progress(&mut self, name: &'a str, node: &'a Node, now: Instant) -> bool {
        let Some(operation) = node.operation() else {
            return false;
        };
        if operation.phase == Phase::Failed && operation.pending_outcome.is_none() {
            let failure = operation.failure.as_ref();
            let since = failure.map_or(operation.asked, |failure| failure.time);
            self.failed.push((name, or_now(since, now)));
        }
        node.cordoned_for.as_ref() == Some(&operation.id) && self.cordoned.insert(name)
    }

    /// Design section 9: open until a person or the cooldown lets one probe go, closed once that succeeded.
    pub(super) fn failures(&self, policy: &Policy, now: Instant) -> Failures {
        let newest = self.failed.iter().map(|(_, since)| *since).max();
        let Some(newest) = newest.filter(|_| self.failed.len() >= policy.breaker.max_failed.max(1)) else {
            return Failures::Fine;
        };
        if self.last_start > Some(newest) {
            return Failures::Fine;
        }
        let acknowledged = policy.acknowledged.is_some_and(|time| newest <= time && time <= now);
        let cooled = policy.breaker.cooldown.is_some_and(|cooldown| newest + cooldown <= now);
        if acknowledged || cooled {
            Failures::OneProbe
        } else {
            Failures::Stop
        }
    }

    /// How many nodes may be in progress until the canary has passed; absent if it has passed, or if there is none.
    pub(super) fn canaries(&self, policy: &Policy, now: Instant) -> Option<usize> {
        let canary = policy.canary.filter(|canary| canary.nodes > 0)?;
        let rollout = policy.state.rollout.as_ref();
        if rollout.is_some_and(|rollout| rollout.has_passed_canary(now)) {
            return None;
        }
        if self.done.len() < canary.nodes {
            return Some(canary.nodes - self.done.len());
        }
        let healthy = |(node, back): &(&Node, Instant)| {
            let since = unless_ahead(*back, now).max(unless_ahead(node.ready.since, now));
            node.ready.ready && since.is_some_and(|since| since + canary.soak <= now)
        };
        (!self.done.iter().all(healthy)).then_some(0)
    }
}

/// Why this node may not start under the policy now, by its switch and the windows that bind the node.
pub(super) fn closed_for(policy: &Policy, node: &Node, now: Instant) -> Option<&'static str> {
    match &policy.schedule {
        Ok(schedule) => closed_by(policy, &binding(policy, schedule, node, now), now),
        Err(_) => closed(policy, now),
    }
}

/// Why no node may start under this policy now, by its switch and its windows.
pub(super) fn closed(policy: &Policy, now: Instant) -> Option<&'static str> {
    match &policy.schedule {
        Ok(schedule) => closed_by(policy, schedule, now),
        Err(_) => Some("its windows cannot be read"),
    }
}

fn closed_by(policy: &Policy, schedule: &Schedule, now: Instant) -> Option<&'static str> {
    if policy.suspend {
        return Some("it is suspended");
    }
    match schedule.opening(now) {
        Opening::Open { closes: None } => None,
        Opening::Open { closes: Some(closes) } => {
            too_late(schedule, usual_time(policy), closes, now).map(|_| "it does not fit what is left of the window")
        }
        Opening::Closed { .. } | Opening::Excluded { .. } => Some("it is outside its windows"),
    }
}

/// Whether the grace periods of this node's pods do not fit what is left of the window.
pub(super) fn grace_does_not_fit(node: &Node, policy: &Policy, now: Instant) -> bool {
    let Ok(schedule) = &policy.schedule else {
        return true;
    };
    let grace = node.drain_details.longest_grace + TimeDelta::minutes(5);
    let needs = if node.drain_details.longest_grace > policy.duration_estimate.cordoned {
        grace + policy.settings.notice.unwrap_or_default()
    } else {
        usual_time(policy)
    };
    let schedule = binding(policy, schedule, node, now);
    match schedule.opening(now) {
        Opening::Open { closes: Some(closes) } => too_late(&schedule, needs, closes, now).is_some(),
        Opening::Open { closes: None } | Opening::Closed { .. } | Opening::Excluded { .. } => false,
    }
}

/// The time that a reboot takes, and its notice.
fn usual_time(policy: &Policy) -> TimeDelta {
    policy.duration_estimate.cordoned + policy.settings.notice.unwrap_or_default()
}
