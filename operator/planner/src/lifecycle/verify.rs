//! After the reboot: the node is verified and uncordoned.

use lockkeeper_reasons::{WaitReason, format_duration, format_time};

use super::active::{ActiveOperation, Step};
use super::deadline::{daemon_sets_deadline, ready_deadline};
use super::{after_uncordon, hooks};
use crate::recorded::is_ahead;
use crate::snapshot::{DaemonSetReadiness, Failure, HookPoint, Operation, Phase};

/// Why a rebooted node is not healthy yet.
struct Unhealthy {
    message: String,
    /// What to check if it takes too long.
    check: &'static str,
    /// Only its `DaemonSet`s are not ready.
    daemon_sets: bool,
}

/// The next step.
pub(super) fn next_step(active: &ActiveOperation) -> Step {
    // Before the node can be Ready: its network may be a DaemonSet.
    if let Some(action) = active.remove_drain_taint() {
        return Step::act(action);
    }
    if let Some(since) = active.uncordoned() {
        return after_uncordon::next_step(active, since);
    }
    let (health, probe) = check_health(active);
    let step = match health {
        Ok(()) => succeed(active),
        Err(unhealthy) => await_healthy(active, unhealthy),
    };
    Step {
        probe_daemon_sets: probe,
        ..step
    }
}

/// The next step of an operation that failed because time ran out: once the node has a new boot and is healthy, it
/// continues.
pub(super) fn next_step_of_failed(active: &ActiveOperation) -> Option<Step> {
    let timed_out = |failure: &Failure| failure.timed_out;
    if !active.operation.failure.as_ref().is_some_and(timed_out) || !active.has_new_boot() {
        return None;
    }
    let (health, probe) = check_health(active);
    if health.is_err() {
        return probe.then(|| Step {
            probe_daemon_sets: true,
            ..Step::default()
        });
    }
    Some(Step {
        probe_daemon_sets: probe,
        ..active.advance(Operation {
            phase: Phase::Verifying,
            rebooted: active.operation.rebooted.or(Some(active.now())),
            uncordoned: None,
            failure: None,
            ..active.operation.clone()
        })
    })
}

/// Whether the node and its `DaemonSet`s are healthy, and whether the `DaemonSet`s are to be probed.
fn check_health(active: &ActiveOperation) -> (Result<(), Unhealthy>, bool) {
    let ready = check_ready(active);
    let operation = active.operation;
    let counts = !(operation.daemon_sets.is_empty() && operation.static_pods.is_empty());
    // After the uncordon workloads run on the node: its DaemonSets and static pods do not count any more.
    let probe = ready.is_ok() && active.is_cordoned() && counts;
    let health = ready.and_then(|()| if probe { check_workloads(active) } else { Ok(()) });
    (health, probe)
}

fn await_healthy(active: &ActiveOperation, unhealthy: Unhealthy) -> Step {
    let Unhealthy {
        message,
        check,
        daemon_sets,
    } = unhealthy;
    let (operation, name) = (active.operation, active.name);
    let (until, timeout) = match operation.settings.daemon_sets_timeout.filter(|_| daemon_sets) {
        Some(timeout) => (daemon_sets_deadline(operation), timeout),
        None => (ready_deadline(operation), operation.settings.reboot_timeout),
    };
    let until = active.judged_at(until);
    if active.now() < until {
        return Step::wait(WaitReason::NodeNotReady { message, until }, Some(until));
    }
    let timeout = format_duration(timeout);
    active.time_out(format!(
        "{name} rebooted but was not healthy within {timeout}: {message}; check {check}; the node continues by itself once it \
         is healthy; or retry or release it"
    ))
}

fn succeed(active: &ActiveOperation) -> Step {
    if let Some(step) = hooks::next_step(active, HookPoint::AfterReboot) {
        return step;
    }
    if active.is_cordoned() {
        return Step::act(active.uncordon());
    }
    after_uncordon::begin(active)
}

/// The node is Ready, by the reports of a kubelet and an agent of the present boot.
fn check_ready(active: &ActiveOperation) -> Result<(), Unhealthy> {
    let unhealthy = |message: String| Unhealthy {
        message,
        check: "the kubelet and the node agent on it",
        daemon_sets: false,
    };
    let ready = &active.node.ready;
    if !ready.ready {
        return Err(unhealthy(ready.message.clone()));
    }
    let Some(host) = active.node.trusted_host() else {
        return Err(unhealthy("the node agent has not reported from this boot".to_owned()));
    };
    match host.userspace_started() {
        // A host whose clock was ahead at the boot, and was set back since, says nothing by that time.
        Some(boot) if ready.heartbeat < boot && !is_ahead(boot, active.now()) => Err(unhealthy(format!(
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
        daemon_sets: true,
    })
}
