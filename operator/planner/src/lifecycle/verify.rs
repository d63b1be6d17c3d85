//! After the reboot: the node is verified and uncordoned, and the operation ends.

use lockkeeper_reasons::{WaitReason, format_duration, format_time};

use super::active::{ActiveOperation, Step};
use super::deadline::ready_deadline;
use super::finish;
use crate::snapshot::{DaemonSetReadiness, Outcome, PendingOutcome, StageKind};

/// Why a rebooted node is not healthy yet.
struct Unhealthy {
    message: String,
    /// What to check if it takes too long.
    check: &'static str,
}

/// The next step.
pub(super) fn next_step(active: &ActiveOperation) -> Step {
    // Before the node can be Ready: its network may be a DaemonSet.
    if let Some(action) = active.remove_drain_taint() {
        return Step::act(action);
    }
    let ready = check_ready(active);
    let operation = active.operation;
    let counts = !(operation.daemon_sets.is_empty() && operation.static_pods.is_empty());
    // After the uncordon workloads run on the node: its DaemonSets and static pods do not count any more.
    let probe = ready.is_ok() && active.is_cordoned() && counts;
    let healthy = ready.and_then(|()| if probe { check_workloads(active) } else { Ok(()) });
    let step = match healthy {
        Ok(()) => succeed(active),
        Err(unhealthy) => await_healthy(active, unhealthy),
    };
    Step {
        probe_daemon_sets: probe,
        ..step
    }
}

fn await_healthy(active: &ActiveOperation, unhealthy: Unhealthy) -> Step {
    let Unhealthy { message, check } = unhealthy;
    let until = ready_deadline(active.operation);
    if active.now() >= until {
        return active.fail(format!(
            "{} rebooted but was not healthy within {}: {message}; check {check}, then retry or release it",
            active.name,
            format_duration(active.operation.settings.reboot_timeout)
        ));
    }
    Step::wait(WaitReason::NodeNotReady { message, until }, Some(until))
}

fn succeed(active: &ActiveOperation) -> Step {
    if active.is_cordoned() {
        return Step::act(active.uncordon());
    }
    let message = if active.operation.is_in(StageKind::Reboot) {
        "rebooted with remaining pods (drain.onTimeout: Reboot)"
    } else {
        ""
    };
    let pending = PendingOutcome {
        outcome: Outcome::Succeeded,
        time: active.now(),
        cause: String::new(),
        message: message.to_owned(),
    };
    Step::act(finish::next_action(active, &pending))
}

/// The node is Ready, by the reports of a kubelet and an agent of the present boot.
fn check_ready(active: &ActiveOperation) -> Result<(), Unhealthy> {
    let unhealthy = |message: String| Unhealthy {
        message,
        check: "the kubelet and the node agent on it",
    };
    let ready = &active.node.ready;
    if !ready.ready {
        return Err(unhealthy(ready.message.clone()));
    }
    let Some(host) = active.node.trusted_host() else {
        return Err(unhealthy("the node agent has not reported from this boot".to_owned()));
    };
    match host.boot_time {
        Some(boot) if ready.heartbeat < boot => Err(unhealthy(format!(
            "the kubelet has not reported since the reboot at {}",
            format_time(boot)
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What was ready at the cordon and cannot move is ready again; what was not checked counts as not ready.
fn check_workloads(active: &ActiveOperation) -> Result<(), Unhealthy> {
    let message = match &active.node.daemon_sets {
        DaemonSetReadiness::Ready => return Ok(()),
        DaemonSetReadiness::NotReady { what } => what.clone(),
        DaemonSetReadiness::Unknown => "its DaemonSets and static pods have not been checked yet".to_owned(),
    };
    Err(Unhealthy {
        message,
        check: "that pod",
    })
}
