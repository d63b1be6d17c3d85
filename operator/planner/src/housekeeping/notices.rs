//! The condition that gives notice of a drain: removed as soon as its node is not cordoned for that operation any more, or the
//! operation ends.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::assessment::Assessment;
use crate::snapshot::{Node, Operation};

/// Ends the notices of operations that have ended, or end, or were tried again.
pub(super) fn reconcile(assessment: &Assessment, planned: &[Action]) -> Vec<Action> {
    let given = planned.iter().filter_map(|action| match action {
        Action::GiveNotice { node, .. } => Some(node.as_str()),
        _ => None,
    });
    // A new notice takes the place of the old one.
    let replaced: BTreeSet<&str> = given.collect();
    let nodes = assessment.context.snapshot.nodes.iter();
    let nodes = nodes.filter(|(name, node)| node.view_gap.is_none() && !replaced.contains(name.as_str()));
    let ended = nodes.filter_map(|(name, node)| {
        let notice = node.notice.ours()?;
        let wanted = wanted_id(node).is_some_and(|id| id == notice.id);
        (!wanted).then(|| Action::EndNotice {
            node: name.clone(),
            id: notice.id.clone(),
        })
    });
    ended.collect()
}

/// The id of the attempt for which the node has its notice.
fn wanted_id(node: &Node) -> Option<String> {
    let needs = |operation: &&Operation| {
        operation.settings.notice.is_some()
            && operation.pending_outcome.is_none()
            && node.cordoned_for.as_ref() == Some(&operation.id)
    };
    node.operation().filter(needs).map(Operation::order_id)
}
