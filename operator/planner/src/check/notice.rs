//! The advance notice of a drain: given only where the policy asks for it, removed only if it is the operator's own, recorded only as
//! the Node shows it, and given before the reboot.

use chrono::TimeDelta;

use super::violation::{Violation, violation};
use crate::snapshot::{Node, NoticeCondition, Operation, Phase};

/// S5: a notice is given for the operation for which the node is cordoned, for the time that it asks for, and takes the place of no
/// other client's condition.
pub(super) fn given(name: &str, node: &Node, id: &str, length: TimeDelta) -> Option<Violation> {
    let operation = node.operation().filter(|operation| {
        operation.phase == Phase::Draining
            && operation.order_id() == id
            && node.cordoned_for.as_ref() == Some(&operation.id)
    });
    let asked = operation.is_some_and(|operation| operation.settings.notice == Some(length));
    let refused = match &node.notice {
        NoticeCondition::Foreign { .. } => "in the place of another client's",
        NoticeCondition::Absent | NoticeCondition::Ours(_) if asked => return None,
        NoticeCondition::Absent | NoticeCondition::Ours(_) => "that no operation asks for",
    };
    Some(violation("S5", format!("{name} would get a notice {refused}")))
}

/// S5: the operator removes its own notice only.
pub(super) fn ended(name: &str, node: &Node, id: &str) -> Option<Violation> {
    let own = node.notice.ours().is_some_and(|notice| notice.id == id);
    (!own).then(|| violation("S5", format!("{name} has no notice of ours to remove")))
}

/// S3: a notice is recorded as the Node shows it. Evictions start when it ends, by its record.
pub(super) fn recorded(name: &str, node: &Node, operation: &Operation) -> Option<Violation> {
    let before = node.operation().filter(|before| before.id == operation.id);
    let is_new = before.is_some_and(|before| before.noticed.is_none());
    let noticed = operation.noticed.filter(|_| is_new)?;
    let shown = node
        .notice
        .ours()
        .is_some_and(|notice| (notice.id.as_str(), notice.given) == (operation.order_id().as_str(), noticed));
    (!shown).then(|| {
        violation(
            "S3",
            format!("a notice of {name} would be recorded that its Node does not show"),
        )
    })
}

/// S3: a notice that the policy asks for was given before the reboot is ordered.
pub(super) fn outstanding(name: &str, operation: &Operation) -> Option<Violation> {
    // An order that is repeated was given before.
    let missing =
        operation.phase == Phase::Draining && operation.settings.notice.is_some() && operation.noticed.is_none();
    missing.then(|| violation("S3", format!("{name} would be rebooted without notice")))
}
