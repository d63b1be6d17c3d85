//! What hooks that wait for an annotation leave on a Node: removed as soon as no operation needs it.

use crate::action::Action;
use crate::assessment::Assessment;
use crate::snapshot::{Node, Operation, Phase};

/// Ends the handshakes of hooks that have ended, and of operations that have.
pub(super) fn reconcile(assessment: &Assessment) -> Vec<Action> {
    let nodes = assessment.context.snapshot.nodes.iter();
    let nodes = nodes.filter(|(_, node)| node.view_gap.is_none());
    let ended = nodes.filter_map(|(name, node)| {
        let handshake = node.handshake.as_ref()?;
        let wanted = wanted_id(node).is_some_and(|id| id == handshake.id);
        (!wanted).then(|| Action::EndHandshake {
            node: name.clone(),
            keys: handshake.keys.clone(),
        })
    });
    ended.collect()
}

/// The id of the hook that waits for an annotation of this node.
fn wanted_id(node: &Node) -> Option<String> {
    let runs = |operation: &&Operation| operation.phase != Phase::Failed && operation.pending_outcome.is_none();
    let operation = node.operation().filter(runs)?;
    Some(operation.hook_id(operation.hook.as_ref()?))
}
