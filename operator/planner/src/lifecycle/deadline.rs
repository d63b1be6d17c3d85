//! When the present phase of an operation times out, and what the operator does then: the only place that computes it.

use chrono::TimeDelta;

use crate::Instant;
use crate::snapshot::{OnTimeout, Operation, Phase, StageKind};

/// A kubelet kills the containers at the end of the grace period and reports a moment later.
pub const SHUTDOWN_DELAY: TimeDelta = TimeDelta::seconds(10);

/// For how long an order is valid at least: the clocks of operator and host differ, and both may be busy.
const MIN_ORDER_LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// The time-out of the present phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When it is.
    pub at: Instant,
    /// What follows.
    pub then: OnDeadline,
}

/// What the operator does when a phase times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeadline {
    /// It defers the operation.
    Defer,
    /// It deletes the remaining pods regardless of their disruption budgets, if a window is open then; else it defers.
    Delete,
    /// It reboots the node with the remaining pods, if a window is open then; else it defers.
    Reboot,
    /// It marks the operation Failed.
    Fail,
    /// It ends the operation as succeeded, and its history names the workloads that are not ready.
    Finish,
    /// It continues without the hook in progress.
    Continue,
}

/// The deadline of an operation; `None` if nothing follows from time alone.
pub fn deadline(operation: &Operation) -> Option<Deadline> {
    if operation.pending_outcome.is_some() {
        return None;
    }
    if let Some(deadline) = hook_deadline(operation) {
        return Some(deadline);
    }
    let (at, then) = match operation.phase {
        Phase::Preparing => (agent_deadline(operation), OnDeadline::Defer),
        Phase::Draining => (drain_deadline(operation)?, after_drain(operation)),
        Phase::Rebooting => (reboot_deadline(operation), OnDeadline::Fail),
        Phase::Verifying => match operation.uncordoned {
            Some(since) => (workloads_deadline(operation, since), OnDeadline::Finish),
            None => (verify_deadline(operation), OnDeadline::Fail),
        },
        Phase::Failed => return None,
    };
    Some(Deadline { at, then })
}

/// The time-out of the hook in progress.
fn hook_deadline(operation: &Operation) -> Option<Deadline> {
    let (current, hook) = operation.current_hook()?;
    let failed = match operation.phase {
        Phase::Draining => OnDeadline::Defer,
        Phase::Verifying => OnDeadline::Fail,
        Phase::Preparing | Phase::Rebooting | Phase::Failed => return None,
    };
    let then = if hook.ignores_failure {
        OnDeadline::Continue
    } else {
        failed
    };
    let at = current.since + hook.timeout;
    Some(Deadline { at, then })
}

/// When the agent must have answered the order `Prepare`.
pub(super) fn agent_deadline(operation: &Operation) -> Instant {
    operation.asked + operation.settings.agent_timeout
}

/// When the order `Prepare` expires. An answer that comes later than its time-out does no harm.
pub(crate) fn prepare_expires(operation: &Operation) -> Instant {
    operation.asked + order_lifetime(operation)
}

/// When a reboot order that is given now expires: before the reboot times out, because the node may be in use again then.
pub(super) fn reboot_expires(operation: &Operation, now: Instant) -> Instant {
    now + order_lifetime(operation).min(operation.settings.reboot_timeout)
}

fn order_lifetime(operation: &Operation) -> TimeDelta {
    operation.settings.agent_timeout.max(MIN_ORDER_LIFETIME)
}

/// When the drain, or the deletion that followed it, must be complete; `None` once the node reboots with its pods.
pub(super) fn drain_deadline(operation: &Operation) -> Option<Instant> {
    let since = match operation.stage {
        None => operation.evict_from(),
        Some(stage) => match stage.kind {
            StageKind::Delete => stage.since,
            StageKind::Reboot => return None,
        },
    };
    let time_out = since + operation.settings.drain_timeout;
    Some(operation.extended_until.map_or(time_out, |until| time_out.max(until)))
}

/// What follows the time-out of a drain: a stage begins only once.
pub(super) fn after_drain(operation: &Operation) -> OnDeadline {
    match operation.on_timeout() {
        OnTimeout::Delete if operation.stage.is_none() => OnDeadline::Delete,
        OnTimeout::Reboot if operation.stage.is_none() => OnDeadline::Reboot,
        OnTimeout::Defer | OnTimeout::Delete | OnTimeout::Reboot => OnDeadline::Defer,
    }
}

/// Since when the node reboots.
pub(super) fn rebooting_since(operation: &Operation) -> Instant {
    operation.reboot_ordered.unwrap_or(operation.asked)
}

/// When the node must have a new boot.
pub(super) fn reboot_deadline(operation: &Operation) -> Instant {
    rebooting_since(operation) + operation.settings.reboot_timeout
}

/// When the node must be healthy in its new boot: counted from the order, or from the `retry` after it.
pub(super) fn ready_deadline(operation: &Operation) -> Instant {
    rebooting_since(operation).max(operation.asked) + operation.settings.reboot_timeout
}

/// When the counted `DaemonSet`s must be ready again: if they have a time-out of their own, counted from the boot, or from
/// the `retry` after it.
pub(super) fn daemon_sets_deadline(operation: &Operation) -> Instant {
    match (operation.settings.daemon_sets_timeout, operation.rebooted) {
        (Some(timeout), Some(rebooted)) => rebooted.max(operation.asked) + timeout,
        (Some(_), None) | (None, _) => ready_deadline(operation),
    }
}

/// The later of the two: whether the node is Ready is no part of the operation.
fn verify_deadline(operation: &Operation) -> Instant {
    let ready = ready_deadline(operation);
    if operation.daemon_sets.is_empty() {
        ready
    } else {
        ready.max(daemon_sets_deadline(operation))
    }
}

/// When the operation no longer waits for the workloads that it evicted.
pub(super) fn workloads_deadline(operation: &Operation, uncordoned: Instant) -> Instant {
    uncordoned + operation.settings.workloads_timeout
}
