//! Operations: what a node in progress is at, and the settings with which it began.

use lockkeeper_crds as api;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_planner as planner;

use super::overrides::{overridden, overridden_to_api};
use super::{bounded, causes, hooks, seconds, words};

/// The planner's operation; one in a phase that this version does not know is Failed until a person looks.
pub fn operation(from: &api::Operation) -> planner::Operation {
    let unknown = (from.phase == api::Phase::Unknown).then(|| planner::Failure {
        time: from.started_time,
        message: "the operation is in a phase of a newer version of Lockkeeper; run that version, or release the node"
            .to_owned(),
        timed_out: false,
    });
    planner::Operation {
        id: from.id.clone(),
        attempt: from.attempt,
        phase: match from.phase {
            api::Phase::Preparing => planner::Phase::Preparing,
            api::Phase::Draining => planner::Phase::Draining,
            api::Phase::Rebooting => planner::Phase::Rebooting,
            api::Phase::Verifying => planner::Phase::Verifying,
            api::Phase::Failed | api::Phase::Unknown => planner::Phase::Failed,
        },
        policy: from.policy.clone().into(),
        boot_id_before: from.boot_id_before.clone().into(),
        soft_reboots_before: from.soft_reboots_before,
        kernel_before: from.kernel_before.clone(),
        reasons: words(&from.reasons),
        requested: from.requested.clone(),
        approved: from.approved.clone(),
        required: from.required_time,
        started: from.started_time,
        asked: from.asked_time.unwrap_or(from.started_time),
        cordoned: from.cordoned_time,
        stage: from.stage.as_ref().and_then(stage),
        extended_until: from.extended_until_time,
        reboot_ordered: from.reboot_ordered_time,
        refused: from.reboot_refused_time,
        rebooted: from.rebooted_time,
        uncordoned: from.uncordoned_time,
        pods_moved: from.pods_moved,
        returning_owners: from.returning_owners.iter().map(|owner| owner.0.clone()).collect(),
        daemon_sets: from.daemon_sets.iter().map(workload).collect(),
        static_pods: from.static_pods.iter().map(workload).collect(),
        workloads: from.workloads.iter().map(evicted_workload).collect(),
        checks_baseline: baseline(&from.checks_baseline),
        healthy_since: from.healthy_since_time,
        hook: from.hook.as_ref().and_then(hooks::current),
        ended_hooks: from.ended_hooks.iter().filter_map(hooks::ended).collect(),
        noticed: from.noticed_time,
        overridden: from.overridden.as_ref().map(overridden),
        settings: settings(&from.settings),
        failure: from
            .failure
            .as_ref()
            .map(|failure| planner::Failure {
                time: failure.time,
                message: failure.message.clone(),
                timed_out: failure.timed_out,
            })
            .or(unknown),
        pending_outcome: from.pending_outcome.as_ref().map(pending_outcome),
    }
}

/// The ids of the baseline, sorted, whoever wrote them.
fn baseline(from: &[api::FindingId]) -> Vec<String> {
    let mut ids: Vec<String> = from.iter().map(|id| id.0.clone()).collect();
    ids.sort_unstable();
    ids
}

/// The API's operation, with whole seconds and bounded texts, and the policy's settings as they were when it began.
pub fn operation_to_api(from: &planner::Operation, settings: &api::OperationSettings) -> api::Operation {
    let deadline = planner::deadline(from);
    let named = |one: &planner::CountedWorkload| (one.name.clone(), one.since);
    api::Operation {
        id: from.id.clone(),
        attempt: from.attempt,
        phase: match from.phase {
            planner::Phase::Preparing => api::Phase::Preparing,
            planner::Phase::Draining => api::Phase::Draining,
            planner::Phase::Rebooting => api::Phase::Rebooting,
            planner::Phase::Verifying => api::Phase::Verifying,
            planner::Phase::Failed => api::Phase::Failed,
        },
        policy: from.policy.to_string(),
        boot_id_before: from.boot_id_before.to_string(),
        soft_reboots_before: from.soft_reboots_before,
        kernel_before: from.kernel_before.clone(),
        reasons: causes(&from.reasons),
        requested: from.requested.as_ref().map(|text| bounded(text, 1024)),
        approved: from.approved.as_ref().map(|text| bounded(text, 1024)),
        required_time: from.required.map(whole_seconds),
        started_time: whole_seconds(from.started),
        asked_time: Some(whole_seconds(from.asked)),
        cordoned_time: from.cordoned.map(whole_seconds),
        stage: from.stage.map(stage_to_api),
        extended_until_time: from.extended_until.map(whole_seconds),
        reboot_ordered_time: from.reboot_ordered.map(whole_seconds),
        reboot_refused_time: from.refused.map(whole_seconds),
        rebooted_time: from.rebooted.map(whole_seconds),
        uncordoned_time: from.uncordoned.map(whole_seconds),
        deadline_time: deadline.map(|deadline| whole_seconds(deadline.at)),
        on_deadline: deadline.map(|deadline| on_deadline_to_api(deadline.then)),
        pods_moved: from.pods_moved,
        returning_owners: from.returning_owners.iter().cloned().map(api::OwnerName).collect(),
        daemon_sets: workloads(from.daemon_sets.iter().map(named)),
        static_pods: workloads(from.static_pods.iter().map(named)),
        workloads: from.workloads.iter().map(evicted_workload_to_api).collect(),
        checks_baseline: from.checks_baseline.iter().cloned().map(api::FindingId).collect(),
        healthy_since_time: from.healthy_since.map(whole_seconds),
        hook: from.hook.as_ref().map(hooks::current_to_api),
        ended_hooks: from.ended_hooks.iter().map(hooks::ended_to_api).collect(),
        noticed_time: from.noticed.map(whole_seconds),
        overridden: from.overridden.as_ref().map(overridden_to_api),
        settings: settings.clone(),
        failure: from.failure.as_ref().map(|failure| api::Failure {
            time: whole_seconds(failure.time),
            message: bounded(&failure.message, 1024),
            timed_out: failure.timed_out,
        }),
        pending_outcome: from
            .pending_outcome
            .as_ref()
            .map(|pending_outcome| api::PendingOutcome {
                outcome: outcome_to_api(pending_outcome.outcome),
                time: whole_seconds(pending_outcome.time),
                cause: pending_outcome.cause.clone(),
                message: bounded(&pending_outcome.message, 1024),
            }),
    }
}

fn on_deadline_to_api(from: planner::OnDeadline) -> api::OnDeadline {
    match from {
        planner::OnDeadline::Defer => api::OnDeadline::Defer,
        planner::OnDeadline::Delete => api::OnDeadline::Delete,
        planner::OnDeadline::Reboot => api::OnDeadline::Reboot,
        planner::OnDeadline::Fail => api::OnDeadline::Fail,
        planner::OnDeadline::Finish => api::OnDeadline::Finish,
        planner::OnDeadline::Continue => api::OnDeadline::Continue,
    }
}

fn workload(from: &api::CountedWorkload) -> planner::CountedWorkload {
    planner::CountedWorkload {
        name: from.name.clone(),
        since: from.ready_time,
    }
}

/// `DaemonSet`s or static pods, `namespace/name` and since when each is ready, as a record keeps them: the first 100.
pub fn workloads(all: impl Iterator<Item = (String, Option<planner::Instant>)>) -> Vec<api::CountedWorkload> {
    let kept = all.take(100).map(|(name, since)| api::CountedWorkload {
        name,
        ready_time: since.map(whole_seconds),
    });
    kept.collect()
}

fn evicted_workload(from: &api::EvictedWorkload) -> planner::EvictedWorkload {
    planner::EvictedWorkload {
        owner: from.owner.0.clone(),
        deployment: from.deployment.clone(),
        replicas: from.replicas,
    }
}

fn evicted_workload_to_api(from: &planner::EvictedWorkload) -> api::EvictedWorkload {
    api::EvictedWorkload {
        owner: api::OwnerName(from.owner.clone()),
        deployment: from.deployment.clone(),
        replicas: from.replicas,
    }
}

/// A stage of a newer version is none.
fn stage(from: &api::DrainStage) -> Option<planner::Stage> {
    let kind = match from.kind {
        api::StageKind::Delete => planner::StageKind::Delete,
        api::StageKind::Reboot => planner::StageKind::Reboot,
        api::StageKind::Unknown => return None,
    };
    Some(planner::Stage {
        kind,
        since: from.started_time,
    })
}

fn stage_to_api(from: planner::Stage) -> api::DrainStage {
    api::DrainStage {
        kind: match from.kind {
            planner::StageKind::Delete => api::StageKind::Delete,
            planner::StageKind::Reboot => api::StageKind::Reboot,
        },
        started_time: whole_seconds(from.since),
    }
}

fn pending_outcome(from: &api::PendingOutcome) -> planner::PendingOutcome {
    planner::PendingOutcome {
        outcome: match from.outcome {
            api::Outcome::Succeeded => planner::Outcome::Succeeded,
            api::Outcome::Deferred | api::Outcome::Unknown => planner::Outcome::Deferred,
            api::Outcome::Withdrawn => planner::Outcome::Withdrawn,
            api::Outcome::Held => planner::Outcome::Held,
            api::Outcome::Released => planner::Outcome::Released,
        },
        time: from.time,
        cause: from.cause.clone(),
        message: from.message.clone(),
    }
}

/// The API's word for how an operation ends.
pub fn outcome_to_api(from: planner::Outcome) -> api::Outcome {
    match from {
        planner::Outcome::Succeeded => api::Outcome::Succeeded,
        planner::Outcome::Deferred => api::Outcome::Deferred,
        planner::Outcome::Withdrawn => api::Outcome::Withdrawn,
        planner::Outcome::Held => api::Outcome::Held,
        planner::Outcome::Released => api::Outcome::Released,
    }
}

/// The settings that an operation under this policy finishes with.
pub fn settings_of(policy: &api::RebootPolicySpec) -> api::OperationSettings {
    api::OperationSettings {
        drain: policy.drain.clone(),
        reboot: policy.reboot.clone(),
        hooks: policy.hooks.clone(),
        notice: policy.notice.clone(),
        require_agent_seconds: policy.require_agent_seconds,
    }
}

/// Those of them that the planner decides by.
pub(super) fn settings(from: &api::OperationSettings) -> planner::Settings {
    planner::Settings {
        drain_timeout: seconds(from.drain.timeout_seconds),
        wait_for_grace_period: from.drain.wait_for_grace_period,
        on_timeout: match from.drain.on_timeout {
            api::OnTimeout::Defer | api::OnTimeout::Unknown => planner::OnTimeout::Defer,
            api::OnTimeout::Delete => planner::OnTimeout::Delete,
            api::OnTimeout::Reboot => planner::OnTimeout::Reboot,
        },
        load_balancer_delay: seconds(from.drain.exclude_from_load_balancers_seconds),
        daemon_sets_last: from.drain.daemon_sets_last,
        prefer_updated_nodes: from.drain.prefer_updated_nodes,
        hooks: hooks::hooks(from.hooks.as_ref()),
        notice: from.notice.as_ref().map(|notice| seconds(notice.seconds)),
        method: super::method(from.reboot.method),
        reboot_timeout: seconds(from.reboot.timeout_seconds),
        daemon_sets_timeout: from.reboot.daemon_sets_timeout_seconds.map(seconds),
        workloads_timeout: seconds(from.drain.wait_for_workloads_seconds),
        agent_timeout: seconds(from.require_agent_seconds),
    }
}
