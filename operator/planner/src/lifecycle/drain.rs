//! From the cordon to the reboot order: the notice, the taint, load balancers, pods, and what follows a time-out.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use lockkeeper_reasons::{ViewGap, WaitReason, format_duration};

use super::active::{ActiveOperation, Step};
use super::deadline::{OnDeadline, SHUTDOWN_DELAY, after_drain, drain_deadline};
use super::{hooks, notice};
use crate::Instant;
use crate::action::Action;
use crate::snapshot::{
    Drain, HookPoint, MAX_GRACE_WAIT, MAX_RETURNING_OWNERS, Operation, OrderAction, Phase, Stage, StageKind, Taint,
};
use crate::windows::Opening;

/// The next step.
pub(super) fn next_step(active: &ActiveOperation) -> Step {
    let (operation, now) = (active.operation, active.now());
    if active.has_order(OrderAction::Reboot) {
        return active.advance(Operation {
            phase: Phase::Rebooting,
            reboot_ordered: Some(now),
            pods_moved: active.pods_moved(),
            ..operation.clone()
        });
    }
    let end = active.verify_new_boot().or_else(|| active.abort());
    if let Some(step) = end.or_else(|| active.defer_refused()) {
        return step;
    }
    if !active.is_cordoned() || !active.node.unschedulable {
        return active.defer(&WaitReason::Uncordoned);
    }
    if let Some(step) = notice::give(active).or_else(|| hooks::next_step(active, HookPoint::BeforeDrain)) {
        return step;
    }
    if operation.settings.daemon_sets_last && !active.node.taints.rebooting {
        return Step::act(Action::AddTaint {
            node: active.name.to_owned(),
            taint: Taint::Rebooting,
        });
    }
    if let Some(step) = notice::await_evictions(active).or_else(|| record_returning_owners(active)) {
        return step;
    }
    match &active.node.drain {
        Drain::Done { .. } => order_reboot(active),
        Drain::Running { waiting, .. } => await_pods(active, waiting.clone()),
        Drain::NotStarted => await_pods(active, None),
    }
}

/// The node is empty. After an outage the order waits until no scheduler can have missed the cordon; the pods are listed once
/// more right before it.
fn order_reboot(active: &ActiveOperation) -> Step {
    if let Some(step) = hooks::next_step(active, HookPoint::BeforeReboot) {
        return step;
    }
    match active.assessment.context.snapshot.schedulers_know_at(active.now()) {
        Some(at) => Step::wait(
            WaitReason::ViewIncomplete(ViewGap::SchedulersUnaware { until: at }),
            Some(at),
        ),
        None => active.reboot_fully().unwrap_or_else(|| active.order_reboot()),
    }
}

/// Owners whose pods return to the node are recorded before the reboot is ordered: the last list of pods leaves them out,
/// and so does the next drain if this one ends with its process.
fn record_returning_owners(active: &ActiveOperation) -> Option<Step> {
    let recorded = &active.operation.returning_owners;
    let mut owners: BTreeSet<&String> = active.node.drain_details.returning_owners.iter().collect();
    owners.extend(recorded);
    let owners: Vec<String> = owners.into_iter().take(MAX_RETURNING_OWNERS).cloned().collect();
    (owners != *recorded).then(|| {
        active.advance(Operation {
            returning_owners: owners,
            pods_moved: active.pods_moved(),
            ..active.operation.clone()
        })
    })
}

/// Pods remain: wait for them, or do what the policy says once the drain has timed out.
fn await_pods(active: &ActiveOperation, blocker: Option<WaitReason>) -> Step {
    let Some(deadline) = drain_deadline(active.operation) else {
        let hooks = hooks::next_step(active, HookPoint::BeforeReboot);
        let order = || active.reboot_fully().unwrap_or_else(|| active.order_reboot());
        return hooks.unwrap_or_else(order);
    };
    if active.now() < deadline {
        return Step {
            wait_reason: blocker,
            recheck_at: Some(deadline),
            ..Step::default()
        };
    }
    if let Some(until) = extend_after_gap(active).or_else(|| extend_for_grace(active)) {
        return active.advance(Operation {
            extended_until: Some(until),
            pods_moved: active.pods_moved(),
            ..active.operation.clone()
        });
    }
    if let Some(kind) = next_stage(active) {
        let since = active.now();
        return active.advance(Operation {
            stage: Some(Stage { kind, since }),
            extended_until: None,
            pods_moved: active.pods_moved(),
            ..active.operation.clone()
        });
    }
    let timeout = format_duration(active.operation.settings.drain_timeout);
    active.defer(&blocker.unwrap_or_else(|| WaitReason::EvictionBlocked {
        message: format!("the drain did not end within {timeout}"),
    }))
}

/// Until when the drain goes on because the time that has passed since the cordon was not spent on evictions: no operator
/// led, the API server was away, or a clock was set forward. The drain gets the rest of its time.
///
/// A drain that could not ask for evictions although it has run for twice its time-out is over.
fn extend_after_gap(active: &ActiveOperation) -> Option<Instant> {
    let (details, timeout) = (&active.node.drain_details, active.operation.settings.drain_timeout);
    let has_run = details.running_for >= timeout * 2;
    let rest = (timeout - details.evicting_for).min(timeout * 2 - details.running_for);
    let rest = rest.max(TimeDelta::seconds(1));
    (!active.node.has_spent_drain_time(timeout) && !has_run).then(|| active.now() + rest)
}

/// Until when the drain goes on although it has timed out: only pods within their own grace period remain, and these would
/// shut down all the same if the node were deferred.
fn extend_for_grace(active: &ActiveOperation) -> Option<Instant> {
    let (details, settings, now) = (&active.node.drain_details, &active.operation.settings, active.now());
    let ends = details.grace_ends?;
    let latest = now + settings.drain_timeout + MAX_GRACE_WAIT - details.running_for;
    let until = (ends + SHUTDOWN_DELAY).min(latest);
    (settings.wait_for_grace_period && until > now).then_some(until)
}

/// The stage that begins now that the drain has timed out, if a window is open and evictions were asked for until then.
fn next_stage(active: &ActiveOperation) -> Option<StageKind> {
    let policy = active.assessment.single_policy(active.node)?;
    let kind = match after_drain(active.operation) {
        OnDeadline::Delete => StageKind::Delete,
        OnDeadline::Reboot => StageKind::Reboot,
        OnDeadline::Defer | OnDeadline::Fail | OnDeadline::Finish | OnDeadline::Continue => return None,
    };
    let timeout = active.operation.settings.drain_timeout;
    let opening = policy.context.opening_for(active.node, active.now());
    let is_open = matches!(opening, Ok(Opening::Open { .. }));
    (is_open && active.node.has_spent_drain_time(timeout)).then_some(kind)
}
