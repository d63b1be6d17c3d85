//! A policy as the planner reads it; what cannot be read closes it, and the reason names the field and the remedy.

use chrono::TimeDelta;
use lockkeeper_crds as api;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_planner as planner;

use super::operation::{settings, settings_of};
use super::overrides::{deadline, urgent};
use super::{bounded, seconds};

/// The nodes that a status names.
const NAMED: usize = 10;

/// A policy's spec, parsed; one bad field closes the policy and says why.
pub fn policy(from: &api::RebootPolicySpec) -> planner::Policy {
    let disruption = &from.disruption;
    let max_in_progress = limit(&disruption.max_in_progress);
    let max_unavailable = disruption.max_unavailable.as_ref().map_or(max_in_progress, limit);
    let readable = [("maxInProgress", max_in_progress), ("maxUnavailable", max_unavailable)]
        .into_iter()
        .find(|(_, limit)| *limit == planner::Limit::Unreadable)
        .map_or(Ok(()), |(field, _)| {
            Err(format!(
                "spec.disruption.{field} is neither a count nor a percentage from 0% to 100%"
            ))
        });
    let deadline = from.deadline.as_ref().map(deadline).transpose();
    let schedule = readable.and_then(|()| schedule(from));
    let (schedule, deadline) = match deadline {
        Ok(deadline) => (schedule, deadline),
        Err(why) => (schedule.and(Err(why)), None),
    };
    planner::Policy {
        suspend: from.suspend,
        schedule,
        max_in_progress,
        max_unavailable,
        topology: disruption.topology.iter().map(topology).collect(),
        pace: disruption.min_seconds_between.map_or(TimeDelta::zero(), seconds),
        order: match from.order {
            api::QueueOrder::Oldest | api::QueueOrder::Unknown => planner::QueueOrder::Oldest,
            api::QueueOrder::Name => planner::QueueOrder::Name,
        },
        canary: from.canary.as_ref().map(|canary| planner::Canary {
            nodes: count(canary.nodes).max(1),
            soak: seconds(canary.soak_seconds),
        }),
        approval: match from.approval {
            api::Approval::Automatic => planner::Approval::Automatic,
            api::Approval::Manual | api::Approval::Unknown => planner::Approval::Manual,
        },
        checks: from.checks.as_ref().map(checks),
        deadline,
        urgent: from.urgent.as_ref().map(urgent),
        breaker: planner::BreakerRule {
            max_failed: count(from.breaker.max_failed_nodes),
            cooldown: from.breaker.cooldown_seconds.map(seconds),
        },
        settings: settings(&settings_of(from)),
        ..planner::Policy::default()
    }
}

/// The windows and exclusions of a policy, or which field cannot be read and what helps.
pub fn schedule(from: &api::RebootPolicySpec) -> Result<planner::Schedule, String> {
    let windows = from.windows.iter().enumerate().map(|(index, window)| {
        planner::Window::parse(&window.schedule, window.duration_seconds.into(), &window.time_zone)
            .map_err(|error| format!("spec.windows[{index}]: {error}"))
    });
    let exclusions = from.exclusions.iter().enumerate();
    let exclusions =
        exclusions.map(|(index, from)| exclusion(from).map_err(|error| format!("spec.exclusions[{index}]: {error}")));
    Ok(planner::Schedule {
        windows: windows.collect::<Result<_, _>>()?,
        exclusions: exclusions.collect::<Result<_, _>>()?,
    })
}

fn exclusion(from: &api::Exclusion) -> Result<planner::Exclusion, String> {
    let reason = bounded(&from.reason, 256);
    match (from.from, from.until, from.schedule.as_deref(), from.duration_seconds) {
        (Some(from), Some(until), None, None) if from < until => Ok(planner::Exclusion::Dated { from, until, reason }),
        (Some(_), Some(_), None, None) => Err("from must be before until".to_owned()),
        (None, None, Some(schedule), Some(duration)) => {
            let zone = from.time_zone.as_deref().unwrap_or("UTC");
            let when = planner::Window::parse(schedule, duration.into(), zone).map_err(|error| error.to_string())?;
            Ok(planner::Exclusion::Recurring {
                when: Box::new(when),
                reason,
            })
        }
        (Some(_), None, None, None) | (None, Some(_), None, None) => {
            Err("a dated exclusion needs both from and until".to_owned())
        }
        (None, None, Some(_), None) => Err("a recurring exclusion needs durationSeconds beside schedule".to_owned()),
        _ => Err("give from and until, or schedule and durationSeconds".to_owned()),
    }
}

/// What the planner must know of the checks; the operator evaluates them.
fn checks(from: &api::Checks) -> planner::Checks {
    let jobs_before = from.before.iter().filter_map(|check| check.job.as_ref());
    let mut all = from.before.iter().chain(&from.after);
    planner::Checks {
        evaluates: !(from.before.is_empty() && from.after.is_empty()),
        after: !from.after.is_empty(),
        per_node: all.any(api::Check::is_about_node),
        before_jobs: jobs_before.map(|job| seconds(job.timeout_seconds)).max(),
        after_jobs: from.after.iter().any(|check| check.job.is_some()),
        soak: seconds(from.soak_seconds),
        timeout: seconds(from.timeout_seconds),
        round: None,
    }
}

fn topology(from: &api::Topology) -> planner::Topology {
    planner::Topology {
        key: from.key.clone(),
        max_domains: from.max_domains.map(count),
        max_in_progress_per_domain: from.max_in_progress_per_domain.map(count),
    }
}

/// A limit; what cannot be read allows nothing.
pub fn limit(from: &api::IntOrPercent) -> planner::Limit {
    let percent = |text: &str| {
        text.strip_suffix('%')?
            .parse::<usize>()
            .ok()
            .filter(|percent| *percent <= 100)
    };
    match from {
        api::IntOrPercent::Int(count) => {
            usize::try_from(*count).map_or(planner::Limit::Unreadable, planner::Limit::Count)
        }
        api::IntOrPercent::Percent(text) => percent(text).map_or(planner::Limit::Unreadable, planner::Limit::Percent),
    }
}

/// What a policy's status remembers; a breaker in a state of a newer version counts as it was left.
pub fn policy_state(from: &api::RebootPolicyStatus) -> planner::PolicyState {
    let breaker = from.breaker.as_ref();
    planner::PolicyState {
        rollout: from.rollout.as_ref().map(|rollout| planner::Rollout {
            id: rollout.id.clone(),
            started: rollout.started_time,
            canary_passed: rollout.canary_passed_time,
        }),
        breaker: breaker.map_or_else(planner::Breaker::default, |breaker| planner::Breaker {
            state: match breaker.state {
                api::BreakerState::Closed => planner::BreakerState::Closed,
                api::BreakerState::Open | api::BreakerState::Unknown => planner::BreakerState::Open,
                api::BreakerState::Probing => planner::BreakerState::Probing,
            },
            opened: breaker.opened_time,
            failed: breaker.failed_nodes.clone(),
        }),
    }
}

/// What a policy's status is to remember; nothing of a breaker that has nothing to say.
pub fn policy_state_to_api(from: &planner::PolicyState) -> (Option<api::RolloutStatus>, Option<api::BreakerStatus>) {
    let rollout = from.rollout.as_ref().map(|rollout| api::RolloutStatus {
        id: bounded(&rollout.id, 64),
        started_time: whole_seconds(rollout.started),
        canary_passed_time: rollout.canary_passed.map(whole_seconds),
    });
    let breaker = (from.breaker != planner::Breaker::default()).then(|| api::BreakerStatus {
        state: match from.breaker.state {
            planner::BreakerState::Closed => api::BreakerState::Closed,
            planner::BreakerState::Open => api::BreakerState::Open,
            planner::BreakerState::Probing => api::BreakerState::Probing,
        },
        opened_time: from.breaker.opened.map(whole_seconds),
        failed_nodes: from.breaker.failed.iter().take(NAMED).cloned().collect(),
    });
    (rollout, breaker)
}

/// A count; a negative one allows nothing.
fn count(from: i32) -> usize {
    usize::try_from(from).unwrap_or(0)
}

#[cfg(test)]
mod tests;
