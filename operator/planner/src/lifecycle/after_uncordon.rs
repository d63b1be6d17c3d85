//! From the uncordon to the success, with the slot still held: the workloads that were evicted are ready again, then the
//! checks after the reboot pass, for as long as the policy wants.
//!
//! The node has been verified. What is waited for here has a time of its own, counted from the uncordon. When that of the
//! workloads is over, the operation continues and says what was missing; when that of the checks is over, the
//! operation has failed.

use chrono::TimeDelta;
use lockkeeper_reasons::{WaitReason, format_duration, format_time, names, plural};

use super::active::{ActiveOperation, Step};
use super::deadline::{ready_deadline, reboot_deadline, rebooting_since, workloads_deadline};
use super::{finish, soak};
use crate::Instant;
use crate::recorded::or_now;
use crate::snapshot::{EndedHook, Operation, Outcome, PendingOutcome, StageKind, WorkloadReadiness};

/// The first step once the node is uncordoned: success, or the record of the time from which on something is waited for.
pub(super) fn begin(active: &ActiveOperation) -> Step {
    if !awaits_workloads(active.operation) && !soak::awaits_checks(active) {
        return succeed(active, None);
    }
    active.advance(Operation {
        uncordoned: Some(active.now()),
        ..active.operation.clone()
    })
}

/// The next step of a node that is uncordoned since `since`.
pub(super) fn next_step(active: &ActiveOperation, since: Instant) -> Step {
    if !active.node.ready.ready {
        return soak::restart(active).unwrap_or_else(|| await_ready(active, since));
    }
    let step = match await_workloads(active, since) {
        Progress::Waiting(step) => *step,
        Progress::Over { missing } => soak::next_step(active, since).unwrap_or_else(|| succeed(active, missing)),
    };
    // Until the operation has ended, so that each of its last writes finds the answer.
    Step {
        probe_workloads: awaits_workloads(active.operation),
        ..step
    }
}

/// How far one of the waits is.
enum Progress {
    /// It goes on.
    Waiting(Box<Step>),
    /// It is over: all is well, or its time is over and this was missing.
    Over { missing: Option<String> },
}

fn awaits_workloads(operation: &Operation) -> bool {
    !operation.workloads.is_empty() && !operation.settings.workloads_timeout.is_zero()
}

fn await_workloads(active: &ActiveOperation, since: Instant) -> Progress {
    if !awaits_workloads(active.operation) {
        return Progress::Over { missing: None };
    }
    let (workloads, failure) = match &active.node.workloads {
        WorkloadReadiness::Ready => return Progress::Over { missing: None },
        WorkloadReadiness::NotReady { workloads, failure } => (workloads.clone(), failure.clone()),
        WorkloadReadiness::Unknown => (Vec::new(), None),
    };
    let until = active.judged_at(workloads_deadline(active.operation, since));
    if active.now() < until {
        let why = WaitReason::WorkloadsNotReady {
            workloads,
            failure,
            until,
        };
        return Progress::Waiting(Box::new(Step::wait(why, Some(until))));
    }
    let missing = missing(&workloads, failure, active.operation.settings.workloads_timeout);
    Progress::Over { missing: Some(missing) }
}

/// What the history says about workloads that were not ready in time.
fn missing(workloads: &[String], failure: Option<String>, timeout: TimeDelta) -> String {
    let timeout = format_duration(timeout);
    let missing = if workloads.is_empty() {
        format!("the workloads that were evicted could not be checked within {timeout} of the uncordon")
    } else {
        let count = plural(workloads.len(), "evicted workload");
        let all = names(workloads);
        format!("{count} not ready again within {timeout} of the uncordon: {all}")
    };
    let failure = failure.map(|failure| format!("; {failure}"));
    missing + &failure.unwrap_or_default()
}

/// The node was healthy after its reboot and is not Ready any more. Its reboot has not timed out, however long ago it was
/// ordered: it has the time of a reboot to become Ready again.
fn await_ready(active: &ActiveOperation, uncordoned: Instant) -> Step {
    let (operation, ready) = (active.operation, &active.node.ready);
    let timeout = operation.settings.reboot_timeout;
    let lost = or_now(ready.since, active.now()).max(uncordoned);
    let until = active.judged_at(ready_deadline(operation).max(lost + timeout));
    let message = ready.message.clone();
    if active.now() < until {
        return Step::wait(WaitReason::NodeNotReady { message, until }, Some(until));
    }
    active.time_out(format!(
        "{} was healthy after its reboot and was uncordoned at {}, but then was not Ready for {}: {message}; check the kubelet on \
         it; the node continues by itself once it is healthy; or retry or release it",
        active.name,
        format_time(uncordoned),
        format_duration(timeout),
    ))
}

fn succeed(active: &ActiveOperation, missing: Option<String>) -> Step {
    let pods = active.operation.is_in(StageKind::Reboot);
    let pods = pods.then(|| "rebooted with remaining pods (drain.onTimeout: Reboot)".to_owned());
    let remarks = [pods, came_back_late(active.operation), missing];
    let hooks = active.operation.ended_hooks.iter().filter_map(ignored_failure);
    let remarks: Vec<String> = remarks.into_iter().flatten().chain(hooks).collect();
    let pending = PendingOutcome {
        outcome: Outcome::Succeeded,
        time: active.now(),
        cause: String::new(),
        message: remarks.join("; "),
    };
    Step::act(finish::next_action(active, &pending))
}

/// What the history says about a hook that failed although the operation went on.
fn ignored_failure(hook: &EndedHook) -> Option<String> {
    let failure = hook.failure.as_ref()?;
    Some(format!("hook {} failed (failurePolicy: Ignore): {failure}", hook.name))
}

/// How late the new boot was observed, if that was after the time-out of the reboot.
fn came_back_late(operation: &Operation) -> Option<String> {
    let rebooted = operation.rebooted?;
    (rebooted > reboot_deadline(operation)).then(|| {
        let after = format_duration(rebooted - rebooting_since(operation));
        let timeout = format_duration(operation.settings.reboot_timeout);
        format!("came back late: {after} after the reboot was ordered, {timeout} were allowed")
    })
}
