//! The deadline of a policy and its urgent override; an override of a newer version is none.

use chrono::TimeDelta;
use lockkeeper_crds as api;
use lockkeeper_planner as planner;

use super::{bounded, seconds};

/// The deadline, its ladder in the order of the times. A window that cannot be read closes the policy.
pub(super) fn deadline(from: &api::Deadline) -> Result<planner::PendingDeadline, String> {
    let rungs = from.ladder.iter().enumerate().filter_map(|(index, from)| {
        let rung = rung(from).transpose()?;
        Some(rung.map_err(|error| format!("spec.deadline.ladder[{index}]: {error}")))
    });
    let mut ladder: Vec<planner::Rung> = rungs.collect::<Result<_, _>>()?;
    ladder.sort_by_key(|rung| rung.after);
    Ok(planner::PendingDeadline {
        max_pending: seconds(from.max_pending_seconds),
        ladder,
    })
}

fn rung(from: &api::Rung) -> Result<Option<planner::Rung>, String> {
    let Some(kind) = override_kind(from.override_) else {
        return Ok(None);
    };
    let window = match (kind, &from.window) {
        (planner::Override::ExtraWindow, None) => return Err("ExtraWindow needs a window".to_owned()),
        (planner::Override::ExtraWindow, Some(window)) => {
            let window = planner::Window::parse(&window.schedule, window.duration_seconds.into(), &window.time_zone);
            Some(window.map_err(|error| format!("window: {error}"))?)
        }
        (planner::Override::IgnoreWindows | planner::Override::IgnoreChecks | planner::Override::DeletePods, _) => None,
    };
    Ok(Some(planner::Rung {
        after: seconds(from.after_seconds),
        kind,
        window,
    }))
}

/// The urgent override of a policy.
pub(super) fn urgent(from: &api::Urgent) -> planner::Urgent {
    let overrides = from.overrides.iter().filter_map(|one| override_kind(*one));
    planner::Urgent {
        reason: bounded(&from.reason, 256),
        from: from.from,
        until: from.until,
        rollout: from.rollout.clone(),
        // A further window has no place in it.
        overrides: overrides
            .filter(|kind| *kind != planner::Override::ExtraWindow)
            .collect(),
    }
}

fn override_kind(from: api::Override) -> Option<planner::Override> {
    match from {
        api::Override::ExtraWindow => Some(planner::Override::ExtraWindow),
        api::Override::IgnoreWindows => Some(planner::Override::IgnoreWindows),
        api::Override::IgnoreChecks => Some(planner::Override::IgnoreChecks),
        api::Override::DeletePods => Some(planner::Override::DeletePods),
        api::Override::Unknown => None,
    }
}

/// An override in the words of the API.
pub fn override_to_api(from: planner::Override) -> api::Override {
    match from {
        planner::Override::ExtraWindow => api::Override::ExtraWindow,
        planner::Override::IgnoreWindows => api::Override::IgnoreWindows,
        planner::Override::IgnoreChecks => api::Override::IgnoreChecks,
        planner::Override::DeletePods => api::Override::DeletePods,
    }
}

/// What an operation has recorded as overridden.
pub(super) fn overridden(from: &api::Overridden) -> planner::Overridden {
    planner::Overridden {
        overrides: from.overrides.iter().filter_map(|one| override_kind(*one)).collect(),
        after: from.after_seconds.map(seconds),
        urgent: from.urgent.clone(),
    }
}

/// The same for a record and its history.
pub fn overridden_to_api(from: &planner::Overridden) -> api::Overridden {
    let whole = |after: TimeDelta| i32::try_from(after.num_seconds()).unwrap_or(i32::MAX);
    api::Overridden {
        overrides: from.overrides.iter().copied().map(override_to_api).collect(),
        after_seconds: from.after.map(whole),
        urgent: from.urgent.as_ref().map(|reason| bounded(reason, 256)),
    }
}
