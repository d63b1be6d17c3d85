//! The taint on nodes whose reboot is still to come, and taints that were left behind: derived anew in each pass.

use crate::action::Action;
use crate::assessment::Assessment;
use crate::history::is_set_aside;
use crate::snapshot::{Node, Record, Taint, Taints};

/// At most so many in one pass: a fleet that begins to wait at once must not keep nodes in progress from their next step.
const MAX_CHANGES: usize = 16;

/// Adds and removes taints.
pub(super) fn reconcile(assessment: &Assessment) -> Vec<Action> {
    let snapshot = assessment.context.snapshot;
    // A policy that cannot be decoded is not gone.
    if !snapshot.view_gaps.is_empty() {
        return Vec::new();
    }
    let preferred = snapshot
        .policies
        .values()
        .any(|policy| policy.settings.prefer_updated_nodes);
    let affected = |node: &Node| node.view_gap.is_none() && (preferred || node.taints != Taints::default());
    let nodes = snapshot.nodes.iter().filter(|(_, node)| affected(node));
    let changes = nodes.filter_map(|(name, node)| {
        let record = node.record.as_ref()?;
        change(name, node, record, assessment)
    });
    changes.take(MAX_CHANGES).collect()
}

fn change(name: &str, node: &Node, record: &Record, assessment: &Assessment) -> Option<Action> {
    let node_name = || name.to_owned();
    if record.operation.is_none() && node.taints.rebooting {
        let (node, taint) = (node_name(), Taint::Rebooting);
        return Some(Action::RemoveTaint { node, taint });
    }
    let Taints { reboot_pending, .. } = node.taints;
    let (wanted, taint) = (is_to_come(node, record, assessment), Taint::RebootPending);
    match (reboot_pending, wanted) {
        (false, true) => Some(Action::AddTaint {
            node: node_name(),
            taint,
        }),
        (true, false) => Some(Action::RemoveTaint {
            node: node_name(),
            taint,
        }),
        (false, false) | (true, true) => None,
    }
}

/// Whether the node will be rebooted, now or later, and its policy asks pods to avoid it.
fn is_to_come(node: &Node, record: &Record, assessment: &Assessment) -> bool {
    let prefers = || {
        let policy = assessment.single_policy(node).map(|policy| policy.context.policy);
        policy.is_some_and(|policy| policy.settings.prefer_updated_nodes && !policy.suspend)
    };
    node.requires_reboot() && prefers() && !is_set_aside(node, record, assessment.context.now)
}
