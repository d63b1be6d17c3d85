//! From the reboot order to the new boot, and what is left to do when it fails.

use chrono::TimeDelta;
use lockkeeper_reasons::{WaitReason, format_duration, format_time};

use super::active::{ActiveOperation, Step};
use super::deadline::{reboot_deadline, rebooting_since};
use super::verify;
use crate::snapshot::{AnswerState, Operation, OrderAction};

/// So long after a refused reboot order the kubelet must have reported from the same boot: a shutdown takes less.
const STAYS_UP: TimeDelta = TimeDelta::seconds(60);

/// The next step.
pub(super) fn next_step(active: &ActiveOperation) -> Step {
    if let Some(step) = active.verify_new_boot() {
        return step;
    }
    let ordered = active.has_order(OrderAction::Reboot);
    // A Node that was deleted while its machine rebooted registers without the cordon. It is not ordered to reboot again.
    if !ordered && active.is_cordoned() {
        return active.order_reboot();
    }
    if let Some(answer) = active.answer() {
        match answer.state {
            AnswerState::Refused => return after_refusal(active, &answer.message),
            AnswerState::Failed => {
                return active.fail(format!(
                    "the host did not reboot: {}; look at systemd-logind on {}, then retry or release",
                    answer.message, active.name
                ));
            }
            AnswerState::Ready | AnswerState::Rebooting | AnswerState::Withdrawn => {}
        }
    }
    await_new_boot(active)
}

/// The agent refused the order. Its answer may be wrong: a request may have reached the host although its reply was lost.
/// So the node keeps its slot and its cordon until its kubelet has reported for a while that the same boot goes on; a host
/// that goes down instead is rebooting.
fn after_refusal(active: &ActiveOperation, message: &str) -> Step {
    let (operation, now) = (active.operation, active.now());
    let Some(refused) = operation.refused else {
        return active.advance(Operation {
            refused: Some(now),
            ..operation.clone()
        });
    };
    let ready = &active.node.ready;
    if !ready.ready {
        return await_new_boot(active);
    }
    let confirmed_from = refused + STAYS_UP;
    let until = active.judged_at(reboot_deadline(operation).max(confirmed_from));
    let refusal = active.refusal(message);
    // A node that is still Ready when its reboot times out stays up, however seldom its kubelet reports.
    if now >= until || (now >= confirmed_from && ready.heartbeat >= confirmed_from) {
        return active.defer(&refusal);
    }
    let why = WaitReason::RebootRefused {
        cause: refusal.to_string(),
        until,
    };
    // The report of a kubelet that shows nothing but life starts no pass: it is looked for once a minute.
    let minutes = (now - refused).num_minutes() + 1;
    Step::wait(why, Some(until.min(refused + TimeDelta::minutes(minutes))))
}

fn await_new_boot(active: &ActiveOperation) -> Step {
    let since = rebooting_since(active.operation);
    let until = active.judged_at(reboot_deadline(active.operation));
    let settings = &active.operation.settings;
    if active.now() >= until && !settings.method.needs_agent() {
        return active.time_out(format!(
            "{} was not rebooted by another system within {} (reboot.method: External); reboot it; it continues by itself once \
             it is back; or retry or release it",
            active.name,
            format_duration(settings.reboot_timeout),
        ));
    }
    if active.now() >= until && active.operation.soft_reboots_before.is_some() && active.node.ready.ready {
        return active.time_out(format!(
            "{} did not soft-reboot within {} of the order at {}: systemd counts no further soft-reboot; look at systemd-logind and \
             at the actuator on it; it continues by itself once it has rebooted; or retry or release it",
            active.name,
            format_duration(settings.reboot_timeout),
            format_time(since)
        ));
    }
    if active.now() >= until {
        return active.time_out(format!(
            "{} did not come back within {} of the reboot ordered at {}; check its console and power; it continues by itself \
             once it is back; or retry or release it",
            active.name,
            format_duration(settings.reboot_timeout),
            format_time(since)
        ));
    }
    let why = if settings.method.needs_agent() || !active.node.ready.ready {
        WaitReason::Rebooting { since, until }
    } else {
        WaitReason::AwaitingExternalReboot { since, until }
    };
    Step {
        reboot: active.missing_reboot(),
        ..Step::wait(why, Some(until))
    }
}

/// The next step of a Failed operation: it keeps its slot until a person acts, or, if only time ran out, until the node has a
/// new boot and is healthy.
pub(super) fn next_step_of_failed(active: &ActiveOperation) -> Step {
    // An agent that is late must not reboot a node that no operation waits for.
    if active.record.order.is_some() {
        return Step::act(active.set_order(None));
    }
    // A person who checks the node needs the DaemonSets that run on every node, and so does a host that comes back late.
    if let Some(action) = active.remove_drain_taint() {
        return Step::act(action);
    }
    let recovery = verify::next_step_of_failed(active).unwrap_or_default();
    if recovery.action.is_some() {
        return recovery;
    }
    let failure = active.operation.failure.as_ref();
    let message = failure.map(|failure| failure.message.clone()).unwrap_or_default();
    Step {
        wait_reason: Some(WaitReason::Failed { message }),
        ..recovery
    }
}
