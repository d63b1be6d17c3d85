//! The hooks of a policy, and how far those of an operation are.

use lockkeeper_crds as api;
use lockkeeper_crds::time::whole_seconds;
use lockkeeper_planner as planner;

use super::{bounded, seconds};

/// The hooks of a policy.
pub(super) fn hooks(from: Option<&api::Hooks>) -> planner::Hooks {
    let all = |hooks: &[api::Hook]| hooks.iter().map(hook).collect();
    from.map_or_else(planner::Hooks::default, |from| planner::Hooks {
        before_drain: all(&from.before_drain),
        before_reboot: all(&from.before_reboot),
        after_reboot: all(&from.after_reboot),
    })
}

fn hook(from: &api::Hook) -> planner::Hook {
    let annotation = |annotation: &api::HookAnnotation| planner::HandshakeKeys {
        annotation: annotation.key.clone(),
        label: annotation.label.clone(),
    };
    let kind = match (&from.job, &from.annotation) {
        (Some(job), _) => planner::HookKind::Job {
            template: job.cron_job.clone(),
            on_node: job.on_node,
        },
        (None, Some(keys)) => planner::HookKind::Annotation(annotation(keys)),
        // The API server refuses it; a Job without a template cannot be created, so that the hook does not pass.
        (None, None) => planner::HookKind::Job {
            template: String::new(),
            on_node: false,
        },
    };
    planner::Hook {
        name: from.name.clone(),
        kind,
        timeout: seconds(from.timeout_seconds),
        ignores_failure: match from.failure_policy {
            api::HookFailurePolicy::Fail | api::HookFailurePolicy::Unknown => false,
            api::HookFailurePolicy::Ignore => true,
        },
    }
}

/// The hook in progress; one at a point of a newer version is none.
pub(super) fn current(from: &api::CurrentHook) -> Option<planner::CurrentHook> {
    Some(planner::CurrentHook {
        point: point(from.point)?,
        name: from.name.clone(),
        since: from.started_time,
    })
}

/// The API's word for the hook in progress.
pub(super) fn current_to_api(from: &planner::CurrentHook) -> api::CurrentHook {
    api::CurrentHook {
        point: point_to_api(from.point),
        name: from.name.clone(),
        started_time: whole_seconds(from.since),
    }
}

/// A hook that has ended; one at a point of a newer version is none.
pub(super) fn ended(from: &api::EndedHook) -> Option<planner::EndedHook> {
    Some(planner::EndedHook {
        point: point(from.point)?,
        name: from.name.clone(),
        ended: from.ended_time,
        failure: from.failure.clone(),
    })
}

/// The API's words for a hook that has ended.
pub(super) fn ended_to_api(from: &planner::EndedHook) -> api::EndedHook {
    api::EndedHook {
        point: point_to_api(from.point),
        name: from.name.clone(),
        ended_time: whole_seconds(from.ended),
        failure: from.failure.as_ref().map(|failure| bounded(failure, 256)),
    }
}

fn point(from: api::HookPoint) -> Option<planner::HookPoint> {
    match from {
        api::HookPoint::BeforeDrain => Some(planner::HookPoint::BeforeDrain),
        api::HookPoint::BeforeReboot => Some(planner::HookPoint::BeforeReboot),
        api::HookPoint::AfterReboot => Some(planner::HookPoint::AfterReboot),
        api::HookPoint::Unknown => None,
    }
}

fn point_to_api(from: planner::HookPoint) -> api::HookPoint {
    match from {
        planner::HookPoint::BeforeDrain => api::HookPoint::BeforeDrain,
        planner::HookPoint::BeforeReboot => api::HookPoint::BeforeReboot,
        planner::HookPoint::AfterReboot => api::HookPoint::AfterReboot,
    }
}
