//! From the cordon to the reboot order: the taint, load balancers, pods, and what follows a time-out.

use lockkeeper_reasons::{WaitReason, format_duration};

use super::active::{ActiveOperation, Step};
use super::deadline::{OnDeadline, after_drain, drain_deadline};
use crate::action::Action;
use crate::snapshot::{Drain, Operation, OrderAction, Phase, Stage, StageKind, Taint};

/// The next step.
pub(super) fn next_step(active: &ActiveOperation) -> Step {
    let (operation, now) = (active.operation, active.now());
    if active.record.order.as_ref() == Some(&active.order(OrderAction::Reboot)) {
        return active.advance(Operation {
            phase: Phase::Rebooting,
            reboot_ordered: Some(now),
            pods_moved: active.pods_moved(),
            ..operation.clone()
        });
    }
    if let Some(step) = active.verify_new_boot().or_else(|| active.abort()) {
        return step;
    }
    if !active.is_cordoned() || !active.node.unschedulable {
        return active.defer(&WaitReason::Uncordoned);
    }
    if operation.settings.daemon_sets_last && !active.node.taints.rebooting {
        return Step::act(Action::AddTaint {
            node: active.name.to_owned(),
            taint: Taint::Rebooting,
        });
    }
    let from = operation.evict_from();
    if now < from {
        return Step::wait(WaitReason::LoadBalancerDelay { from }, Some(from));
    }
    match &active.node.drain {
        Drain::Done { .. } => active.order_reboot(),
        Drain::Running { waiting, .. } => await_pods(active, waiting.clone()),
        Drain::NotStarted => await_pods(active, None),
    }
}

/// Pods remain: wait for them, or do what the policy says once the drain has timed out.
fn await_pods(active: &ActiveOperation, blocker: Option<WaitReason>) -> Step {
    let Some(deadline) = drain_deadline(active.operation) else {
        return active.order_reboot();
    };
    if active.now() < deadline {
        return Step {
            wait_reason: blocker,
            recheck_at: Some(deadline),
            ..Step::default()
        };
    }
    if let Some(kind) = next_stage(active) {
        let since = active.now();
        return active.advance(Operation {
            stage: Some(Stage { kind, since }),
            pods_moved: active.pods_moved(),
            ..active.operation.clone()
        });
    }
    let timeout = format_duration(active.operation.settings.drain_timeout);
    active.defer(&blocker.unwrap_or_else(|| WaitReason::EvictionBlocked {
        message: format!("the drain did not end within {timeout}"),
    }))
}

/// The stage that begins now that the drain has timed out, if a window is open.
fn next_stage(active: &ActiveOperation) -> Option<StageKind> {
    let policy = active.assessment.single_policy(active.node)?;
    let kind = match after_drain(active.operation) {
        OnDeadline::Delete => StageKind::Delete,
        OnDeadline::Reboot => StageKind::Reboot,
        OnDeadline::Defer | OnDeadline::Fail => return None,
    };
    policy.context.is_open().then_some(kind)
}
