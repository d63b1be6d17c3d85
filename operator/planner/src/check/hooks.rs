//! The hooks before a reboot: all of them have ended when it is ordered.

use crate::snapshot::{HookPoint, Operation, Phase};

/// The first hook before the reboot that has not ended, as `point/name`.
pub(super) fn outstanding(operation: &Operation) -> Option<String> {
    // An order that is repeated was given before.
    if operation.phase == Phase::Rebooting {
        return None;
    }
    let points = [
        (HookPoint::BeforeDrain, &operation.settings.hooks.before_drain),
        (HookPoint::BeforeReboot, &operation.settings.hooks.before_reboot),
    ];
    let hooks = points
        .into_iter()
        .flat_map(|(point, hooks)| hooks.iter().map(move |hook| (point, &hook.name)));
    let mut outstanding = hooks.filter(|(point, name)| {
        let mut ended = operation.ended_hooks.iter();
        !ended.any(|ended| ended.point == *point && ended.name == **name)
    });
    let (point, name) = outstanding.next()?;
    Some(format!("{}/{name}", point.as_str()))
}
