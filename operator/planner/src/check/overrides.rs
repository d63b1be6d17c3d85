//! What a policy overrides for a node, read anew for the safety rules: by the deadline of the policy and how long
//! the node has required a reboot, and by the urgent override.

use std::borrow::Cow;

use crate::Instant;
use crate::recorded::unless_ahead;
use crate::snapshot::{Node, OnTimeout, Operation, Override, Policy, Rung, StageKind};
use crate::windows::{Opening, Schedule};

/// Whether the policy overrides this for the node now.
pub(super) fn allows(policy: &Policy, node: &Node, kind: Override, now: Instant) -> bool {
    let by_deadline = reached(policy, node, now).any(|rung| rung.kind == kind);
    by_deadline || urgently(policy, kind, now)
}

/// The rungs that the node has reached.
fn reached<'a>(policy: &'a Policy, node: &Node, now: Instant) -> impl Iterator<Item = &'a Rung> {
    let waited = waited(node, now);
    let ladder = policy.deadline.iter().flat_map(|deadline| &deadline.ladder);
    ladder.filter(move |rung| waited.is_some_and(|waited| waited >= rung.after))
}

/// How long the host has required a reboot. It cannot have before its Node was there, nor before the last reboot began.
fn waited(node: &Node, now: Instant) -> Option<chrono::TimeDelta> {
    let host = node.record.as_ref()?.host.as_ref()?;
    if !host.required || host.boot_id != node.boot_id {
        return None;
    }
    let record = node.record.as_ref()?;
    // A time that lies ahead was recorded by a wrong clock.
    let mut reported = [host.required_since, record.required_observed].into_iter().flatten();
    let since = reported.find_map(|time| unless_ahead(time, now))?;
    let last = record.last_reboot.as_ref();
    let bounds = [Some(node.created), last.map(|last| last.started)];
    let bounds = bounds.into_iter().flatten().filter_map(|time| unless_ahead(time, now));
    Some(now - bounds.chain([since]).max()?)
}

fn urgently(policy: &Policy, kind: Override, now: Instant) -> bool {
    policy.urgent.as_ref().is_some_and(|urgent| {
        let of_rollout = match (&urgent.rollout, &policy.state.rollout) {
            (None, _) => true,
            (Some(named), Some(present)) => *named == present.id,
            (Some(_), None) => false,
        };
        of_rollout && (urgent.from..urgent.until).contains(&now) && urgent.overrides.contains(&kind)
    })
}

/// The windows and exclusions that bind the node.
pub(super) fn binding<'a>(policy: &Policy, schedule: &'a Schedule, node: &Node, now: Instant) -> Cow<'a, Schedule> {
    if schedule.windows.is_empty() {
        return Cow::Borrowed(schedule);
    }
    if allows(policy, node, Override::IgnoreWindows, now) {
        let exclusions = schedule.exclusions.clone();
        let windows = Vec::new();
        return Cow::Owned(Schedule { windows, exclusions });
    }
    let further = reached(policy, node, now).filter(|rung| rung.kind == Override::ExtraWindow);
    let further: Vec<_> = further.filter_map(|rung| rung.window.clone()).collect();
    if further.is_empty() {
        return Cow::Borrowed(schedule);
    }
    let mut bound = schedule.clone();
    bound.windows.extend(further);
    Cow::Owned(bound)
}

/// Why a stage of the drain must not begin: the policy does not ask for it, or no window is open.
pub(super) fn refused_stage(
    policy: Option<&Policy>,
    node: &Node,
    operation: &Operation,
    now: Instant,
) -> Option<String> {
    let recorded = operation.overridden.as_ref();
    let deletes = recorded.is_some_and(|recorded| recorded.overrides.contains(&Override::DeletePods));
    let asked = match operation.stage?.kind {
        StageKind::Delete => match operation.settings.on_timeout {
            OnTimeout::Delete => true,
            OnTimeout::Defer => deletes,
            OnTimeout::Reboot => false,
        },
        StageKind::Reboot => operation.settings.on_timeout == OnTimeout::Reboot,
    };
    if !asked {
        return Some("although nothing asks for it".to_owned());
    }
    let Some((policy, Ok(schedule))) = policy.map(|policy| (policy, &policy.schedule)) else {
        return Some("although its windows are not known".to_owned());
    };
    let opening = binding(policy, schedule, node, now).opening(now);
    (!matches!(opening, Opening::Open { .. })).then(|| "although no window is open".to_owned())
}

/// What an operation that begins records as overridden without being allowed to.
pub(super) fn unallowed(policy: Option<&Policy>, node: &Node, operation: &Operation, now: Instant) -> Option<Override> {
    let recorded = operation.overridden.iter().flat_map(|recorded| &recorded.overrides);
    let allowed = |kind: Override| policy.is_some_and(|policy| allows(policy, node, kind, now));
    recorded.copied().find(|kind| !allowed(*kind))
}
