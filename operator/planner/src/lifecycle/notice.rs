//! The advance notice of a drain: a condition of the Node, and a time for workloads to leave by themselves.
//!
//! The Node shows for which attempt the notice was given and when, so that a new operator continues the same notice. That it was
//! given is recorded before anything else follows.

use chrono::TimeDelta;
use lockkeeper_reasons::WaitReason;

use super::active::{ActiveOperation, Step};
use crate::action::Action;
use crate::snapshot::{Drain, NoticeCondition, Operation};

/// Gives the notice and records it; none once that is done, or if the policy wants no notice.
pub(super) fn give(active: &ActiveOperation) -> Option<Step> {
    let operation = active.operation;
    let lasts = operation.settings.notice.filter(|_| operation.awaits_notice())?;
    let id = operation.order_id();
    Some(match &active.node.notice {
        NoticeCondition::Ours(notice) if notice.id == id => active.advance(Operation {
            noticed: Some(notice.given),
            ..operation.clone()
        }),
        NoticeCondition::Foreign { reason } => active.defer(&WaitReason::WriteRefused {
            message: format!(
                "another client has set the condition MaintenancePlanned of this node, with reason {reason}"
            ),
        }),
        NoticeCondition::Absent | NoticeCondition::Ours(_) => Step::act(Action::GiveNotice {
            node: active.name.to_owned(),
            id,
            lasts,
        }),
    })
}

/// Waits until evictions may start; none if they may. A node that all pods have left by themselves waits for load balancers only.
pub(super) fn await_evictions(active: &ActiveOperation) -> Option<Step> {
    let (operation, now) = (active.operation, active.now());
    let from = operation.evict_from();
    let balancers = operation.load_balancers_ready();
    if now < balancers && operation.settings.load_balancer_delay > TimeDelta::zero() {
        return Some(Step::wait(WaitReason::LoadBalancerDelay { from }, Some(balancers)));
    }
    let has_left = matches!(active.node.drain, Drain::Done { .. });
    let ends = operation.notice_ends().filter(|ends| now < *ends && !has_left)?;
    Some(Step::wait(
        WaitReason::NoticeGiven { until: from.max(ends) },
        Some(ends),
    ))
}
